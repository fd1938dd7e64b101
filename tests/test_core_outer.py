"""The outer loop: one compilation, values that stay fixed, one pass where two would be equal."""

import io
import re

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
    ROWS,
    TASKS,
    WIDE,
    assert_close,
    draw,
    labelled_tasks,
    mean_square,
    outer_step,
    smooth_net,
    start,
    tasks_of,
    unlabelled_tasks,
)
from mutatis import nn
from mutatis._share import same_leaves_once, share_equal_computations


def _moments_learner():
    return mutatis.Learner(smooth_net(INPUTS, 6, 5, CLASSES, norm=True), mutatis.BatchMoments())


def _small_learner():
    return mutatis.Learner(smooth_net(INPUTS, 4, CLASSES, norm=True), mutatis.BatchMoments())


class Sampler(eqx.Module):
    """Fresh noise as tasks."""

    scale: jax.Array

    def __call__(self, key):
        context, query = (self.scale * jax.random.normal(k, (TASKS, ROWS, INPUTS)) for k in jax.random.split(key))
        return tasks_of(context, (query, jnp.sin(query[..., :CLASSES])))


def test_nothing_is_compiled_again_after_the_first_call():
    traces = []

    def objective(model, query):
        traces.append(None)
        return mean_square(model, query)

    learner = _small_learner()
    state, sampler = start(learner, mutatis.GroupDRO(), optax.adam(1e-3)), Sampler(jnp.array(1.0))
    counts = []
    for scale in (1.0, 2.0, 3.0):
        sampler = Sampler(jnp.array(scale))
        learner, state, _ = mutatis.outer_scan(learner, state, sampler, steps=4, objective=objective)
        counts.append(len(traces))
    assert counts[0] > 0
    assert counts == [counts[0]] * 3
    # A setting of the weighting is an array, so another value of it is the same program.
    state = eqx.tree_at(lambda s: s.weighting, state, mutatis.GroupDRO(0.5))
    mutatis.outer_scan(learner, state, sampler, steps=4, objective=objective)
    assert len(traces) == counts[0]


def test_scans_are_the_step_repeated():
    learner = _small_learner()
    state, sampler = start(learner, mutatis.PCGrad(), optax.adam(1e-2)), Sampler(jnp.array(1.0))
    scanned, scanned_state, seen = learner, state, []
    for _ in range(2):
        scanned, scanned_state, history = mutatis.outer_scan(
            scanned, scanned_state, sampler, steps=2, objective=mean_square
        )
        assert history.index.shape == (2, TASKS)
        seen += list(history.losses)

    @eqx.filter_jit
    def step(learner, state):
        key, sample_key = jax.random.split(state.key)
        state = eqx.tree_at(lambda s: s.key, state, key)
        return mutatis.outer_step(learner, state, sampler(sample_key), objective=mean_square)

    for number in range(4):
        learner, state, losses = step(learner, state)
        np.testing.assert_allclose(seen[number], losses, rtol=1e-9)
    assert scanned_state.step == 4
    arrays = lambda tree: eqx.filter(tree, eqx.is_inexact_array)
    assert_close(arrays((scanned, scanned_state)), arrays((learner, state)), rtol=1e-8, atol=1e-12)


def test_fixed_leaves_change_neither_by_gradients_nor_by_weight_decay():
    optim = optax.adamw(1e-2, weight_decay=0.1)
    rule = mutatis.GradientSteps(mean_square, 0.1, steps=2)
    learner = mutatis.Learner(smooth_net(INPUTS, 4, CLASSES, norm=True), rule)
    fixed = lambda tree: [
        leaf.value
        for leaf in jax.tree.leaves(tree, is_leaf=lambda n: isinstance(n, mutatis.Fixed))
        if isinstance(leaf, mutatis.Fixed)
    ]
    source = (jnp.array([0.3, -0.2, 0.0, 1.0]), jnp.array([2.0, 1.0, 0.5, 1.5]))
    learner = eqx.tree_at(lambda tree: nn.batch_norms(tree)[0].source.value, learner, source)
    after, _, _ = mutatis.outer_scan(
        learner, start(learner, optim=optim), lambda _: labelled_tasks(), steps=5, objective=mean_square
    )
    assert len(fixed(learner)) == 2
    assert_close(fixed(after), fixed(learner), rtol=0)
    changes = jax.tree.map(
        lambda a, b: float(jnp.max(jnp.abs(a - b))),
        *(eqx.filter(tree, mutatis.trainable(tree)) for tree in (after, learner)),
    )
    assert min(jax.tree.leaves(changes)) > 0


def test_an_inner_loop_does_not_move_fixed_leaves_either():
    learner = mutatis.Learner(
        smooth_net(INPUTS, 4, CLASSES, norm=True), mutatis.GradientSteps(mean_square, jnp.asarray(0.1, WIDE))
    )
    context = jax.tree.map(lambda leaf: leaf[0], labelled_tasks().context)
    adapted = mutatis.adapt(learner, context, key=jax.random.key(0))
    assert_close(nn.batch_norms(adapted)[0].source, nn.batch_norms(learner.model)[0].source, rtol=0)
    assert jnp.max(jnp.abs(adapted.layers[0].weight - learner.model.layers[0].weight)) > 1e-4


def test_remembered_moments_become_those_of_the_data():
    inputs = 3 + draw(TASKS, ROWS, INPUTS) * jnp.array([0.5, 2.0, 4.0])[None, None]
    tasks = tasks_of(inputs, (inputs, inputs))
    for pool in (True, False):
        learner = mutatis.Learner(nn.BatchNorm(INPUTS, dtype=WIDE), mutatis.BatchMoments(pool_tasks=pool))
        after, _, _ = mutatis.outer_scan(
            learner, start(learner, optim=optax.sgd(0.0)), lambda _: tasks, steps=300, objective=mean_square
        )
        mean, variance = after.model.source.value
        rows = np.asarray(inputs).reshape(-1, INPUTS)
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-9)
        np.testing.assert_allclose(variance, rows.var(0), rtol=1e-9)


def test_momentum_is_the_weight_of_one_step():
    tasks = unlabelled_tasks()
    learner = mutatis.Learner(nn.BatchNorm(INPUTS, dtype=WIDE), mutatis.BatchMoments(momentum=0.25))
    objective = lambda model, query: jnp.mean(model(query[0]))
    after, _, _ = outer_step(learner, start(learner), tasks, objective=objective)
    rows = np.asarray(tasks.context).reshape(-1, INPUTS)
    mean, variance = after.model.source.value
    np.testing.assert_allclose(mean, 0.25 * rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, 0.75 + 0.25 * rows.var(0), rtol=1e-12)


def test_a_whole_training_state_survives_a_file():
    learner = mutatis.Learner(
        smooth_net(INPUTS, 4, CLASSES, norm=True),
        mutatis.BatchMoments(mutatis.GradientSteps(mutatis.entropy, 0.1)),
    )
    state, sampler = start(learner, mutatis.GroupDRO(0.3), optax.adam(1e-2)), Sampler(jnp.array(1.0))
    learner, state, _ = mutatis.outer_scan(learner, state, sampler, steps=2, objective=mean_square)
    keep = lambda tree: eqx.tree_at(lambda t: t[1].key, tree, jax.random.key_data(tree[1].key))
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, keep((learner, state)))
    file.seek(0)
    blank = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_array(leaf) else leaf, keep((learner, state)))
    read, read_state = eqx.tree_deserialise_leaves(file, blank)
    read_state = eqx.tree_at(lambda s: s.key, read_state, jax.random.wrap_key_data(read_state.key))
    ahead = mutatis.outer_scan(learner, state, sampler, steps=2, objective=mean_square)
    again = mutatis.outer_scan(read, read_state, sampler, steps=2, objective=mean_square)
    assert_close(eqx.filter(again[0], eqx.is_array), eqx.filter(ahead[0], eqx.is_array), rtol=0)
    assert_close(again[2], ahead[2], rtol=0)


# Equal computations are done once.


def _step_with(context, query):
    learner = _moments_learner()

    def step(context, inputs, targets):
        after, _, losses = mutatis.outer_step(
            learner,
            start(learner),
            tasks_of(inputs if context is None else context, (inputs, targets)),
            objective=mean_square,
        )
        return eqx.filter(after, eqx.is_array), losses

    return jax.jit(step).lower(context, *query).compile()


def _products(compiled):
    return len(re.findall(r" dot\(|__cblas|\$dot|matmul", compiled.as_text()))


def test_a_context_that_is_the_query_is_run_through_the_network_once():
    inputs, targets = unlabelled_tasks().query
    same = _step_with(None, (inputs, targets))
    apart = _step_with(jnp.array(inputs), (inputs, targets))
    assert_close(same(None, inputs, targets), apart(inputs, inputs, targets), rtol=1e-9, atol=1e-12)
    layers = 3
    forward_and_backward = layers + layers + (layers - 1)  # products; by weights; by inputs, not of the first layer
    assert _products(same) == forward_and_backward
    assert _products(apart) > forward_and_backward


def test_sharing_changes_neither_values_nor_gradients():
    learner, tasks = _moments_learner(), unlabelled_tasks()
    params, static = eqx.partition(learner, mutatis.trainable(learner))
    task = jax.tree.map(lambda leaf: leaf[0], tasks)

    def loss(params):
        adapted = mutatis.adapt(eqx.combine(params, static), task.context, key=jax.random.key(0))
        return mean_square(adapted, task.query)

    plain, shared = (jax.jit(jax.value_and_grad(f))(params) for f in (loss, share_equal_computations(loss)))
    assert_close(shared, plain, rtol=1e-10, atol=1e-13)


def test_sharing_removes_what_is_equal_and_keeps_what_differs():
    def function(x, y):
        return jnp.sin(x) + jnp.sin(x) * jnp.sin(y), jnp.sin(x)

    sines = lambda f: str(jax.make_jaxpr(f)(1.0, 2.0)).count(" sin ")
    assert sines(function) == 4
    assert sines(share_equal_computations(function)) == 2
    assert_close(share_equal_computations(function)(1.0, 2.0), function(1.0, 2.0), rtol=0)


def test_random_draws_from_different_keys_are_not_shared():
    def function(first, second):
        return jax.random.normal(first, ()) - jax.random.normal(second, ())

    keys = jax.random.split(jax.random.key(0))
    assert share_equal_computations(function)(*keys) == function(*keys) != 0


def test_same_leaves_once_puts_every_leaf_back():
    a, b = jnp.zeros(2), jnp.ones(3)
    tree = {"context": a, "query": (a, b), "again": b}
    leaves, rebuild = same_leaves_once(tree)
    assert len(leaves) == 2
    assert jax.tree.all(jax.tree.map(lambda x, y: x is y, rebuild(leaves), tree))


def test_bad_arguments_are_named():
    learner = mutatis.Learner(smooth_net(INPUTS, CLASSES), mutatis.NoAdaptation())
    with pytest.raises(ValueError, match="num_groups"):
        start(learner, groups=0)
    with pytest.raises(ValueError, match="steps"):
        mutatis.GradientSteps(mean_square, 0.1, steps=0)
    with pytest.raises(ValueError, match="batch_size"):
        mutatis.GradientSteps(mean_square, 0.1, batch_size=0)
    with pytest.raises(ValueError, match="momentum"):
        mutatis.BatchMoments(momentum=0.0)
    with pytest.raises(ValueError, match="pseudo_count"):
        mutatis.BatchMoments(pseudo_count=-1.0)


def test_integer_settings_and_keys_are_not_trained():
    tree = {
        "key": jax.random.key(0),
        "count": jnp.arange(3),
        "weight": jnp.ones(2),
        "fixed": mutatis.Fixed(jnp.ones(2)),
    }
    spec = mutatis.trainable(tree)
    assert spec == {"key": False, "count": False, "weight": True, "fixed": False}
