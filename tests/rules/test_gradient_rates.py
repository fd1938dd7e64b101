"""Learning rates of the inner loop: against steps written out, and the rates that are best in theory."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mutatis
from core_problems import assert_close, draw, gradient_of, labelled_tasks, mean_square, outer_step, smooth_net, start
from mutatis.rules._rates import Positive, per_element, per_tensor

KEY = jax.random.key(0)
RATES = [0.1, 0.2, 0.3, 0.4]  # of the leaves of a net with two layers


def net(dtype=jnp.float64):
    return smooth_net(3, 4, 2, dtype=dtype)


def context(dtype=jnp.float64):
    return draw(6, 3, seed=1).astype(dtype), draw(6, 2, seed=2).astype(dtype)


adapt = eqx.filter_jit(mutatis.adapt)


def adapted(rate, model=None, data=None, **settings):
    model, data = net() if model is None else model, context() if data is None else data
    rule = mutatis.GradientSteps(mean_square, rate, **settings)
    return jax.tree.leaves(adapt(mutatis.Learner(model, rule), data, key=KEY))


def by_hand(rates, steps=1):
    leaves, structure = jax.tree.flatten(net())
    slope = jax.grad(lambda leaves: mean_square(jax.tree.unflatten(structure, leaves), context()))
    for _ in range(steps):
        leaves = [leaf - rate * g for leaf, rate, g in zip(leaves, rates, slope(leaves), strict=True)]
    return leaves


def arrays(values, dtype=jnp.float64):
    return [jnp.asarray(value, dtype) for value in values]


def ramps(scale=1.0):
    """For each leaf an array of different rates."""
    return [
        scale * (0.05 + 0.3 * jnp.arange(leaf.size).reshape(leaf.shape) / leaf.size) for leaf in jax.tree.leaves(net())
    ]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("make", [lambda: arrays(RATES), ramps], ids=["per tensor", "per element"])
def test_each_leaf_goes_at_its_own_rate(make, steps):
    rates = make()
    expected = by_hand(rates, steps)
    assert_close(adapted(rates, steps=steps), expected, rtol=1e-12, atol=1e-14)
    assert_close(adapted(tuple(rates), steps=steps), expected, rtol=1e-12, atol=1e-14)
    assert_close(adapted(Positive(rates), steps=steps), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_equal_rates_are_the_one_rate_bit_by_bit(dtype):
    model, data, rate = net(dtype), context(dtype), jnp.asarray(0.1, dtype)
    one = adapted(rate, model, data, steps=2)
    assert all(leaf.dtype == dtype for leaf in one)
    for way in (
        per_tensor(model, mutatis.trainable, 0.1),
        per_element(model, mutatis.trainable, 0.1),
        mutatis.Fixed(rate),
    ):
        jax.tree.map(np.testing.assert_array_equal, adapted(way, model, data, steps=2), one)
    # A plain number is kept as float32, whatever the model's precision.
    single = adapted(jnp.asarray(0.1, jnp.float32), model, data)
    jax.tree.map(np.testing.assert_array_equal, adapted(0.1, model, data), single)
    jax.tree.map(np.testing.assert_array_equal, adapted([0.1] * 4, model, data), single)


def test_builders_follow_the_leaves_that_move():
    weights = lambda model: jax.tree.map(lambda leaf: leaf.ndim == 2, model)
    shapes = [leaf.shape for leaf in jax.tree.leaves(net()) if leaf.ndim == 2]
    assert [rate.shape for rate in per_element(net(), weights, 0.1)] == shapes
    assert [rate.shape for rate in per_tensor(net(jnp.float32), weights, 0.1)] == [(), ()]
    assert {rate.dtype for rate in per_tensor(net(jnp.float32), weights, 0.1)} == {jnp.dtype("float32")}
    moved = adapted(per_element(net(), weights, 0.1), where=weights)
    for leaf, before in zip(moved, jax.tree.leaves(net()), strict=True):
        assert np.all(leaf == before) if leaf.ndim == 1 else np.all(leaf != before)


def outer_gradient(rate):
    learner = mutatis.Learner(net(), mutatis.GradientSteps(mean_square, rate, steps=2))
    return gradient_of(learner, labelled_tasks())[0].rule.learning_rate


def test_the_gradient_of_a_logarithm_is_the_rate_times_that_of_the_rate():
    slopes, logs = outer_gradient(ramps()), outer_gradient(Positive(ramps())).logs
    assert_close(logs, [rate * slope for rate, slope in zip(ramps(), slopes, strict=True)], rtol=1e-9)
    assert max(float(jnp.max(jnp.abs(slope))) for slope in slopes) > 1e-3


def test_what_is_fixed_stays_and_the_rest_is_trained():
    rates = [mutatis.Fixed(jnp.asarray(0.1)), jnp.asarray(0.2), 0.3, jnp.asarray(0.4)]
    slopes = outer_gradient(rates)
    trained = [each.value is None if isinstance(each, mutatis.Fixed) else None for each in slopes]
    assert trained == [True, None, True, None]  # None: no number was there to move
    every = outer_gradient(arrays(RATES))
    np.testing.assert_allclose([slopes[1], slopes[3]], [every[1], every[3]], rtol=1e-6)
    assert outer_gradient(Positive(mutatis.Fixed(jnp.asarray(0.1)))).logs.value is None


def square(w, target):
    return jnp.sum(jnp.square(w - target)) / 2


def test_a_rate_that_training_drives_down_stays_positive():
    # The context says the opposite of the query, so that the best rate is -1.
    targets = jnp.concatenate([draw(4, 3), -draw(4, 3)])
    tasks = mutatis.Task(-targets, targets, jnp.arange(8))
    signs = []
    for rate in (jnp.asarray(0.1), Positive(jnp.asarray(0.1))):
        learner: Any = mutatis.Learner(jnp.zeros(3), mutatis.GradientSteps(square, rate))
        state = start(learner, optim=optax.sgd(0.5), groups=8)
        for _ in range(5):
            learner, state, _ = outer_step(learner, state, tasks, objective=square)
        trained = learner.rule.learning_rate
        signs.append(float(trained.values if isinstance(trained, Positive) else trained) > 0)
    assert signs == [False, True]


def test_rates_of_each_number_learn_the_inverse_curvature():
    # L = h (w - target)^2 / 2: one step of rate 1/h arrives, from anywhere, so Meta-SGD's best rates are known.
    curvature = jnp.array([0.5, 1.0, 4.0])
    objective = lambda w, target: jnp.sum(curvature * jnp.square(w - target)) / 2
    begin = jnp.zeros(3)
    rate = Positive(per_element(begin, mutatis.trainable, 0.3))
    learner: Any = mutatis.Learner(begin, mutatis.GradientSteps(objective, rate))
    targets = draw(8, 3, seed=5)
    tasks = mutatis.Task(targets, targets, jnp.arange(8))
    state = start(learner, optim=optax.adam(0.05), groups=8)

    @eqx.filter_jit
    def train(learner, state):
        arrays, static = eqx.partition((learner, state), eqx.is_array)

        def step(arrays, _):
            learner, state = eqx.combine(arrays, static)
            learner, state, _ = mutatis.outer_step(learner, state, tasks, objective=objective)
            return eqx.filter((learner, state), eqx.is_array), None

        return eqx.combine(jax.lax.scan(step, arrays, length=400)[0], static)

    learner, _ = train(learner, state)
    np.testing.assert_allclose(learner.rule.learning_rate.values[0], 1 / curvature, rtol=1e-2)


def test_another_rate_is_not_another_program():
    traces = []

    @eqx.filter_jit
    def run(learner):
        traces.append(None)
        return mutatis.adapt(learner, context(), key=KEY)

    for value in (0.1, 0.2):
        for rate in ([value] * 4, Positive(value), per_tensor(net(), mutatis.trainable, value)):
            run(mutatis.Learner(net(), mutatis.GradientSteps(mean_square, rate)))
    assert len(traces) == 3


@pytest.mark.parametrize(
    "rate, complaint",
    [
        (lambda: arrays([0.1, 0.1]), "learning_rate is a list of 2, but 4 leaves move"),
        (lambda: [jnp.ones(5)] * 4, r"learning_rate has shape \(5,\) for moving leaf 0 of shape \(3, 4\)"),
        (lambda: Positive(jnp.ones(2)), r"learning_rate has shape \(2,\)"),
        (lambda: Positive(0.0), "above zero"),
        (lambda: Positive([jnp.array([0.1, -0.1])]), "above zero"),
    ],
)
def test_rates_that_do_not_fit_are_refused(rate, complaint):
    with pytest.raises(ValueError, match=complaint):
        adapted(rate())
