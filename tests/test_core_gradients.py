"""The outer step's gradients, against finite differences, closed forms and the algorithms written out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mutatis
from core_problems import (
    CLASSES,
    INPUTS,
    WIDE,
    assert_close,
    draw,
    gradient_of,
    labelled_tasks,
    mean_square,
    outer_step,
    smooth_net,
    start,
    tasks_of,
    unlabelled_tasks,
)
from mutatis import nn


def _rate(value):
    return jnp.asarray(value, WIDE)


def _learned_loss():
    return mutatis.LearnedLoss(smooth_net(CLASSES, 4, 1, seed=20))


def _context_mean(pseudo_count=0.0):
    net = smooth_net(INPUTS, 4, 2, norm=True, seed=30)
    return mutatis.ContextMean(net, (2,), pseudo_count=pseudo_count, dtype=WIDE)


ROWS_OF_VALUES = {
    "no adaptation": (smooth_net(INPUTS, 4, CLASSES), mutatis.NoAdaptation(), labelled_tasks),
    "one learned step": (
        smooth_net(INPUTS, 4, CLASSES),
        mutatis.GradientSteps(mean_square, _rate(0.3)),
        labelled_tasks,
    ),
    "three steps": (
        smooth_net(INPUTS, 4, CLASSES),
        mutatis.GradientSteps(mean_square, _rate(0.3), steps=3),
        labelled_tasks,
    ),
    "proximal minibatches": (
        smooth_net(INPUTS, 4, CLASSES),
        mutatis.GradientSteps(mean_square, _rate(0.3), steps=3, batch_size=2, proximal=0.5),
        labelled_tasks,
    ),
    "moments": (
        smooth_net(INPUTS, 4, CLASSES, norm=True),
        mutatis.BatchMoments(pseudo_count=jnp.asarray(3.0, WIDE)),
        unlabelled_tasks,
    ),
    "pooled moments": (
        smooth_net(INPUTS, 4, CLASSES, norm=True),
        mutatis.BatchMoments(pool_tasks=True),
        unlabelled_tasks,
    ),
    "learned loss": (
        smooth_net(INPUTS, 4, CLASSES),
        mutatis.GradientSteps(_learned_loss(), _rate(0.3), steps=2),
        unlabelled_tasks,
    ),
    "learned loss and moments": (
        smooth_net(INPUTS, 4, CLASSES, norm=True),
        mutatis.BatchMoments(mutatis.GradientSteps(_learned_loss(), 0.3)),
        unlabelled_tasks,
    ),
    "context mean": (smooth_net(INPUTS + 2, 4, CLASSES), _context_mean(_rate(2.0)), unlabelled_tasks),
    "context mean and moments": (
        smooth_net(INPUTS + 2, 4, CLASSES, norm=True),
        mutatis.BatchMoments(_context_mean()),
        unlabelled_tasks,
    ),
}


@pytest.mark.parametrize("name", ROWS_OF_VALUES)
def test_unrolled_gradient_is_the_finite_difference(name):
    model, rule, make_tasks = ROWS_OF_VALUES[name]
    learner, tasks = mutatis.Learner(model, rule), make_tasks()
    gradient, _ = gradient_of(learner, tasks)
    params, static = eqx.partition(learner, mutatis.trainable(learner))
    flat, rebuild = jax.flatten_util.ravel_pytree(params)
    for seed in range(3):
        way = draw(flat.size, seed=seed)

        def loss_at(amount, way=way):
            moved = eqx.combine(rebuild(flat + amount * way), static)
            return gradient_of(moved, tasks)[1].mean()

        step = 1e-5
        slope = (8 * (loss_at(step) - loss_at(-step)) - (loss_at(2 * step) - loss_at(-2 * step))) / (12 * step)
        np.testing.assert_allclose(jax.flatten_util.ravel_pytree(gradient)[0] @ way, slope, rtol=1e-6, atol=1e-9)


# Least squares with a linear model, so that everything below is a line of numpy.
W = np.random.default_rng(3).standard_normal(INPUTS)
LEAST_SQUARES = tasks_of(
    (draw(4, 6, INPUTS, seed=1), draw(4, 6, seed=2)), (draw(4, 6, INPUTS, seed=3), draw(4, 6, seed=4))
)


class Linear(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return x @ self.weight


def _numpy_tasks():
    (x, y), (query_x, query_y) = jax.tree.map(np.asarray, (LEAST_SQUARES.context, LEAST_SQUARES.query))
    return zip(x, y, query_x, query_y, strict=True)


def _slope(w, x, y):
    return 2 * x.T @ (x @ w - y) / len(y)


def _curvature(x):
    return 2 * x.T @ x / len(x)


@pytest.mark.parametrize("steps", [1, 3])
def test_first_order_is_fomaml_by_hand(steps):
    expected, losses = [], []
    for x, y, query_x, query_y in _numpy_tasks():
        w = W.copy()
        for _ in range(steps):
            w = w - 0.1 * _slope(w, x, y)
        expected.append(_slope(w, query_x, query_y))
        losses.append(np.mean((query_x @ w - query_y) ** 2))
    learner = mutatis.Learner(Linear(jnp.asarray(W)), mutatis.GradientSteps(mean_square, _rate(0.1), steps=steps))
    gradient, seen = gradient_of(learner, LEAST_SQUARES, direction=mutatis.FirstOrder())
    np.testing.assert_allclose(gradient.model.weight, np.mean(expected, 0), rtol=1e-12)
    np.testing.assert_allclose(seen, losses, rtol=1e-12)
    assert gradient.rule.learning_rate == 0  # what only shapes the state receives nothing


@pytest.mark.parametrize("steps", [1, 3])
def test_unrolled_is_maml_by_hand(steps):
    expected = []
    for x, y, query_x, query_y in _numpy_tasks():
        w, jacobian = W.copy(), np.eye(INPUTS)
        for _ in range(steps):
            w, jacobian = w - 0.1 * _slope(w, x, y), (np.eye(INPUTS) - 0.1 * _curvature(x)) @ jacobian
        expected.append(jacobian.T @ _slope(w, query_x, query_y))
    learner = mutatis.Learner(Linear(jnp.asarray(W)), mutatis.GradientSteps(mean_square, 0.1, steps=steps))
    gradient, _ = gradient_of(learner, LEAST_SQUARES)
    np.testing.assert_allclose(gradient.model.weight, np.mean(expected, 0), rtol=1e-6)  # 0.1 is kept as it is typed


def test_implicit_is_the_closed_form_of_ridge_regression():
    strength, expected = 0.7, []
    for x, y, query_x, query_y in _numpy_tasks():
        system = _curvature(x) + strength * np.eye(INPUTS)
        phi = np.linalg.solve(system, 2 * x.T @ y / len(y) + strength * W)
        expected.append(strength * np.linalg.solve(system, _slope(phi, query_x, query_y)))
    rule = mutatis.GradientSteps(mean_square, _rate(0.15), steps=400, proximal=strength)
    learner = mutatis.Learner(Linear(jnp.asarray(W)), rule)
    implicit, _ = gradient_of(learner, LEAST_SQUARES, direction=mutatis.Implicit(mean_square, strength))
    np.testing.assert_allclose(implicit.model.weight, np.mean(expected, 0), rtol=1e-9)
    unrolled, _ = gradient_of(learner, LEAST_SQUARES)
    np.testing.assert_allclose(unrolled.model.weight, np.mean(expected, 0), rtol=1e-9)


def test_displacement_averaged_with_rate_one_is_federated_averaging():
    # McMahan et al. 2017, algorithm 1: local epochs of minibatches of two, then the mean of the clients' models.
    local, losses = [], []
    for x, y, query_x, query_y in _numpy_tasks():
        w = W.copy()
        for _ in range(2):
            for rows in (slice(0, 2), slice(2, 4), slice(4, 6)):
                w = w - 0.05 * _slope(w, x[rows], y[rows])
        local.append(w)
        losses.append(np.mean((query_x @ W - query_y) ** 2))
    rule = mutatis.GradientSteps(mean_square, _rate(0.05), steps=6, batch_size=2)
    learner = mutatis.Learner(Linear(jnp.asarray(W)), rule)
    for weighting in (mutatis.Average(), mutatis.QFair(0.0, 0.05)):
        moved, seen = gradient_of(learner, LEAST_SQUARES, direction=mutatis.Displacement(), weighting=weighting)
        np.testing.assert_allclose(W - np.asarray(moved.model.weight), np.mean(local, 0), rtol=1e-12)
        np.testing.assert_allclose(seen, losses, rtol=1e-12)  # of the model before its local steps
        assert moved.rule.learning_rate == 0


def test_reptile_moves_a_part_of_the_way():
    rule = mutatis.GradientSteps(mean_square, _rate(0.05), steps=3)
    learner = mutatis.Learner(Linear(jnp.asarray(W)), rule)
    tasks = jax.tree.map(lambda leaf: leaf[:1], LEAST_SQUARES)
    state = mutatis.outer_init(learner, mutatis.Average(), optax.sgd(0.25), num_groups=4, key=jax.random.key(0))
    after, *_ = outer_step(learner, state, tasks, objective=mean_square, direction=mutatis.Displacement())
    adapted = mutatis.adapt(learner, jax.tree.map(lambda leaf: leaf[0], tasks.context), key=jax.random.key(0))
    np.testing.assert_allclose(after.model.weight, W + 0.25 * (adapted.weight - W), rtol=1e-12)


class AverageByGramian(mutatis.AbstractWeighting):
    """The mean, by the path that makes a row per task; remembers the Gramian it was given."""

    needs_gramian = True

    def init(self, num_groups):
        return jnp.zeros((num_groups, num_groups), WIDE)

    def weigh(self, losses, gramian, index, state, *, key):
        return jnp.full_like(losses, 1 / losses.size), gramian.astype(WIDE)


@pytest.mark.parametrize("name", ["three steps", "pooled moments", "learned loss and moments", "context mean"])
def test_gramian_path_vector_jacobian_path_and_mapped_tasks_agree(name):
    model, rule, make_tasks = ROWS_OF_VALUES[name]
    learner, tasks = mutatis.Learner(model, rule), make_tasks()
    by_product = gradient_of(learner, tasks)
    assert_close(gradient_of(learner, tasks, weighting=AverageByGramian()), by_product, rtol=1e-9, atol=1e-12)
    if rule.couples_tasks:
        with pytest.raises(ValueError, match="map_tasks"):
            gradient_of(learner, tasks, map_tasks=True)
    else:
        assert_close(gradient_of(learner, tasks, map_tasks=True), by_product, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["one learned step", "pooled moments"])
def test_gramian_is_that_of_the_tasks_own_gradients(name):
    model, rule, make_tasks = ROWS_OF_VALUES[name]
    learner, tasks = mutatis.Learner(model, rule), make_tasks()
    _, state, _ = outer_step(learner, start(learner, AverageByGramian()), tasks, objective=mean_square)
    rows = []
    for task in range(3):
        # A weighting that asks for one task alone shows that task's row.
        gradient, _ = gradient_of(learner, tasks, weighting=Only(jnp.array(task)))
        rows.append(jax.flatten_util.ravel_pytree(gradient)[0])
    rows = jnp.stack(rows)
    np.testing.assert_allclose(state.weighting_state, rows @ rows.T, rtol=1e-8, atol=1e-12)


class Only(mutatis.AbstractWeighting):
    """One task's row."""

    task: jax.Array
    needs_gramian = False

    def init(self, num_groups):
        return None

    def weigh(self, losses, gramian, index, state, *, key):
        return jnp.zeros_like(losses).at[self.task].set(1), None


def test_mapped_tasks_get_the_same_keys_as_tasks_side_by_side():
    class Noisy(mutatis.AbstractRule):
        def init(self, model):
            return jnp.zeros(())

        def update(self, model, state, context, *, key):
            return jax.random.normal(key, ())

        def bind(self, model, state):
            return lambda x: model(x) + state

    learner = mutatis.Learner(smooth_net(INPUTS, 4, CLASSES), Noisy())
    side_by_side, mapped = (gradient_of(learner, labelled_tasks(), map_tasks=over)[1] for over in (False, True))
    np.testing.assert_allclose(mapped, side_by_side, rtol=1e-12)
    assert len(np.unique(np.round(side_by_side, 9))) == 3


def test_a_kinked_net_has_the_same_gradient_in_both_precisions():
    # relu has no finite difference at its kink; single against double precision guards the library's own layers.
    net = nn.mlp((INPUTS, 8, CLASSES), key=jax.random.key(0), dtype=WIDE)
    learner = mutatis.Learner(net, mutatis.GradientSteps(mean_square, _rate(0.3)))
    narrow = lambda tree: jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, tree
    )
    wide, _ = gradient_of(learner, labelled_tasks())
    single, losses = gradient_of(narrow(learner), narrow(labelled_tasks()))
    assert losses.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(single))
    assert_close(single, wide, rtol=2e-3, atol=1e-5)
