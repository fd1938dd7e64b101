"""PPO, against losses and gradients written out, and finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads
from reach_toy import PerTask, tanh_net

import mutatis
from core_problems import draw
from mutatis import nn
from mutatis._tree import trainable
from mutatis.rl._baseline import ActorCritic, LinearBaseline, ValueBaseline
from mutatis.rl._batch import Batch, minibatch_orders
from mutatis.rl._gaussian import GaussianPolicy
from mutatis.rl._proximal import ProximalLoss, ppo_update

TASKS, ROWS, FEATURES, ACTIONS = 2, 12, 4, 2


def model(baseline=None, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    policy_net = tanh_net(FEATURES + TASKS, 5, ACTIONS, key=keys[0], dtype=jnp.float64)
    value_net = tanh_net(FEATURES + TASKS, 5, 1, key=keys[1], dtype=jnp.float64)
    policy = GaussianPolicy(nn.OneHotTask(policy_net, TASKS), ACTIONS, num_tasks=TASKS, std=0.7, dtype=jnp.float64)
    return ActorCritic(policy, ValueBaseline(nn.OneHotTask(value_net, TASKS)) if baseline is None else baseline)


def batch(seed=0, tasks=TASKS):
    rows = lambda number, *shape: draw(tasks, ROWS, *shape, seed=10 * seed + number)
    return Batch(
        jnp.arange(tasks),
        rows(0, FEATURES),
        jnp.zeros((tasks, ROWS), jnp.int32),
        rows(1, ACTIONS),
        -2.5 + 0.8 * rows(2),
        rows(3),
        rows(4),
        rows(5),
        rows(6),
    )


def of_task(batch, task):
    return jax.tree.map(lambda leaf: leaf[task], batch)


def written_out(model, batch, task, *, clip, value, entropy, value_clip):
    """Equations 7 and 9, row by row."""
    total = 0.0
    x = np.asarray(batch.observation[task])
    mean = np.asarray(model.policy.network(x, jnp.asarray(task)))
    values = np.asarray(model.baseline.network(x, jnp.asarray(task)))[:, 0]
    std = np.exp(np.asarray(model.policy.log_std[task]))
    for row in range(ROWS):
        z = (np.asarray(batch.action[task, row]) - mean[row]) / std
        log_prob = -0.5 * np.sum(z**2) - np.sum(np.log(std)) - ACTIONS / 2 * np.log(2 * np.pi)
        ratio, advantage = np.exp(log_prob - batch.log_prob[task, row]), batch.advantage[task, row]
        total -= min(ratio * advantage, min(max(ratio, 1 - clip), 1 + clip) * advantage)
        error = (values[row] - batch.target[task, row]) ** 2
        if value_clip is not None:
            old = batch.value[task, row]
            near = old + min(max(values[row] - old, -value_clip), value_clip)
            error = max(error, (near - batch.target[task, row]) ** 2)
        total += value * error - entropy * np.sum(np.log(std) + 0.5 * np.log(2 * np.pi * np.e))
    return total / ROWS


@pytest.mark.parametrize("value_clip", [None, 0.3])
def test_the_loss_is_that_of_equations_7_and_9(value_clip):
    settings = {"clip": 0.25, "value": 0.4, "entropy": 0.03, "value_clip": value_clip}
    for task in range(TASKS):
        seen = ProximalLoss(**settings)(model(), of_task(batch(), task))
        np.testing.assert_allclose(seen, written_out(model(), batch(), task, **settings), rtol=1e-12)


@pytest.mark.parametrize("value_clip", [None, 0.3])
def test_the_gradient_agrees_with_finite_differences(value_clip):
    objective = ProximalLoss(entropy=0.03, value_clip=value_clip)
    flat, rebuild = ravel_pytree(eqx.filter(model(), trainable(model())))
    static = eqx.filter(model(), trainable(model()), inverse=True)
    loss = lambda x: objective(eqx.combine(rebuild(x), static), of_task(batch(), 1))
    check_grads(loss, (flat,), order=1, modes=["rev"], rtol=1e-6, atol=1e-8)


def test_the_gradient_is_the_score_of_the_rows_inside_the_clip():
    # d loss / d mean(row) = -ratio A (a - mean) / std^2 / rows, unless the ratio has already gone far enough.
    net, rows = model(), of_task(batch(), 0)
    std = np.exp(net.policy.log_std[0])
    loss = lambda shift: ProximalLoss(value=0.0)(
        eqx.tree_at(lambda m: m.policy.network, net, lambda x, task: net.policy.network(x, task) + shift), rows
    )
    seen = jax.grad(loss)(jnp.zeros((ROWS, ACTIONS)))
    now = net.policy(rows.observation, jnp.asarray(0))
    ratio = np.exp(now.log_prob(rows.action) - rows.log_prob)
    inside = np.where(rows.advantage > 0, ratio < 1.2, ratio > 0.8)
    assert 0 < inside.sum() < ROWS
    expected = -(inside * ratio * rows.advantage)[:, None] * (rows.action - now.mean) / std[None] ** 2 / ROWS
    np.testing.assert_allclose(seen, expected, rtol=1e-10, atol=1e-14)


def started(net, weighting=None, optim=None):
    learner = mutatis.Learner(net, mutatis.NoAdaptation())
    weighting, optim = weighting or mutatis.Average(), optim or optax.sgd(0.1)
    return learner, mutatis.outer_init(learner, weighting, optim, num_groups=TASKS, key=jax.random.key(3))


def parameters(learner):
    return ravel_pytree(eqx.filter(learner, trainable(learner)))


def test_an_update_is_steps_on_minibatches():
    objective, epochs, minibatches = ProximalLoss(entropy=0.01), 3, 4
    learner, state = started(model())
    seen, after, report = ppo_update(
        learner, state, batch(), objective=objective, epochs=epochs, minibatches=minibatches
    )
    orders = minibatch_orders(jax.random.split(state.key)[1], epochs, TASKS, ROWS, minibatches)
    flat, rebuild = parameters(learner)
    static = eqx.filter(learner, trainable(learner), inverse=True)

    def losses(x, order):
        net = eqx.combine(rebuild(x), static).model
        rows = [Batch(t, *(leaf[t][order[t]] for leaf in batch()[1:])) for t in batch().task]
        return jnp.stack([objective(net, each) for each in rows])

    for number, order in enumerate(orders):
        np.testing.assert_allclose(report.losses[number], losses(flat, order), rtol=1e-10)
        flat = flat - 0.1 * jnp.mean(jax.jacrev(losses)(flat, order), axis=0)
    np.testing.assert_allclose(parameters(seen)[0], flat, rtol=1e-10, atol=1e-12)
    assert after.step == epochs * minibatches


def test_every_row_is_used_once_in_an_epoch_in_an_order_of_its_own():
    orders = np.asarray(minibatch_orders(jax.random.key(0), 3, TASKS, ROWS, 4)).reshape(3, 4, TASKS, ROWS // 4)
    rows = np.moveaxis(orders, 2, 1).reshape(3 * TASKS, ROWS)
    np.testing.assert_array_equal(np.sort(rows), np.tile(np.arange(ROWS), (3 * TASKS, 1)))
    assert len({tuple(row) for row in rows}) == 3 * TASKS


def test_what_changed_is_reported():
    learner, state = started(model())
    learner, _, report = ppo_update(learner, state, batch(), objective=ProximalLoss(clip=0.3))
    for task in range(TASKS):
        rows = of_task(batch(), task)
        log_ratio = np.asarray(learner.model.policy(rows.observation, rows.task).log_prob(rows.action) - rows.log_prob)
        np.testing.assert_allclose(report.kl[task], np.mean(np.exp(log_ratio) - 1 - log_ratio), rtol=1e-12)
        np.testing.assert_allclose(report.clip_fraction[task], np.mean(np.abs(np.exp(log_ratio) - 1) > 0.3))


def test_a_linear_baseline_is_neither_trained_nor_judged():
    baseline = LinearBaseline(TASKS, FEATURES, dtype=jnp.float64)
    baseline = eqx.tree_at(lambda b: b.weights.value, baseline, draw(TASKS, 2 * FEATURES + 4))
    learner, state = started(model(baseline))
    rows = of_task(batch(), 0)
    assert ProximalLoss()(learner.model, rows) == ProximalLoss(value=0.0)(learner.model, rows)
    after, _, _ = ppo_update(learner, state, batch(), objective=ProximalLoss())
    np.testing.assert_array_equal(after.model.baseline.weights.value, baseline.weights.value)
    assert not np.array_equal(after.model.policy.log_std, learner.model.policy.log_std)


def test_conflicting_tasks_are_projected_by_the_weighting():
    # One epoch of one minibatch is one step on all rows, whose gradients are projected here by hand.
    objective = ProximalLoss(value=0.0)
    tasks = jax.tree.map(lambda leaf: jnp.stack([leaf[0], leaf[0]]), batch())._replace(task=jnp.arange(TASKS))
    tasks = tasks._replace(advantage=tasks.advantage * jnp.array([[1.0], [-0.5]]))
    learner, state = started(model(), mutatis.PCGrad(), optax.sgd(1.0))
    flat, rebuild = parameters(learner)
    static = eqx.filter(learner, trainable(learner), inverse=True)
    gradient = jax.grad(lambda x, rows: objective(eqx.combine(rebuild(x), static).model, rows))
    one, two = (np.asarray(gradient(flat, of_task(tasks, task))) for task in range(TASKS))
    assert one @ two < 0
    projected = (one - one @ two / (two @ two) * two + two - one @ two / (one @ one) * one) / 2
    after, _, _ = ppo_update(learner, state, tasks, objective=objective, epochs=1, minibatches=1)
    np.testing.assert_allclose(parameters(after)[0], flat - projected, rtol=1e-10, atol=1e-12)


def test_tasks_with_networks_of_their_own_do_not_touch_each_other():
    nets = [tanh_net(FEATURES, 3, ACTIONS, key=jax.random.key(n), dtype=jnp.float64) for n in range(TASKS)]
    policy = GaussianPolicy(PerTask(nets), ACTIONS, num_tasks=TASKS, dtype=jnp.float64)
    learner, state = started(ActorCritic(policy, LinearBaseline(TASKS, FEATURES, dtype=jnp.float64)))
    still = batch()._replace(advantage=batch().advantage.at[0].set(0))
    after, _, _ = ppo_update(learner, state, still, objective=ProximalLoss())
    moved = [
        not np.array_equal(*pair)
        for pair in zip(jax.tree.leaves(nets), jax.tree.leaves(after.model.policy.network), strict=True)
    ]
    assert moved == [False] * 4 + [True] * 4


def test_single_precision_stays_single():
    single = lambda tree: jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, tree)
    net = eqx.combine(single(eqx.filter(model(), eqx.is_array)), eqx.filter(model(), eqx.is_array, inverse=True))
    rows = single(batch())
    assert ProximalLoss(value_clip=0.1)(net, of_task(rows, 0)).dtype == jnp.float32
    learner, state = started(net)
    after, _, report = ppo_update(learner, state, rows, objective=ProximalLoss())
    assert {leaf.dtype for leaf in jax.tree.leaves((parameters(after)[0], report))} == {jnp.dtype(jnp.float32)}


def test_minibatches_that_do_not_divide_the_rows_are_refused():
    learner, state = started(model())
    with pytest.raises(ValueError, match="minibatches is 5"):
        ppo_update(learner, state, batch(), objective=ProximalLoss(), minibatches=5)
