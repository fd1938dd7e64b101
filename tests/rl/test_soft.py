"""Soft actor-critic: its numbers by hand, its learning on points whose best return is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points import points

import mutatis
from mutatis import nn, rl
from mutatis.rl import ActorLoss, critic_loss

GOALS = jnp.array([[0.5, 0.5], [-0.5, 0.3], [0.0, -0.7]])


def nets(tasks=3, width=32, *, key, dtype=jnp.float32):
    keys = jax.random.split(key, 3)
    made = [nn.multi_head_net(sizes, tasks, key=k) for sizes, k in zip(_sizes(width), keys, strict=True)]
    actor, first, second = jax.tree.map(lambda x: x.astype(dtype) if eqx.is_array(x) else x, made)
    return actor, rl.Twin(first, second)


def _sizes(width):
    return (2, width, width, 4), (4, width, width, 1), (4, width, width, 1)


def agent(**options):
    return rl.SoftActorCritic(points(GOALS, worlds_per_task=2), batch=32, discount=0.95, **options)


def begun(sac, steps=50, seed=0):
    net_key, key = jax.random.split(jax.random.key(seed))
    state = sac.init(*nets(key=net_key), capacity=2000, key=key)
    return sac.explore(state, steps)[0]


def forward(net, x, task):
    """A multi-head perceptron in NumPy."""
    for layer in net.trunk.layers:
        x = x @ layer.weight + layer.bias if hasattr(layer, "weight") else np.maximum(x, 0)
    return x @ net.weight[task] + net.bias[task]


def numbers(net):
    return jax.tree.map(lambda x: np.asarray(x) if eqx.is_array(x) else x, net)


def test_losses_are_those_of_the_formulas_in_float64():
    key = jax.random.key(0)
    actor, critics = nets(key=key, dtype=jnp.float64)
    rng = np.random.default_rng(0)
    observation, action, target = rng.normal(size=(7, 2)), rng.uniform(-1, 1, (7, 2)), rng.normal(size=7)
    task, temperature = 1, 0.3

    estimates = lambda a: [
        forward(numbers(each), np.concatenate([observation, a], axis=1), task)[:, 0]
        for each in (critics.first, critics.second)
    ]
    expected = sum(0.5 * np.mean((q - target) ** 2) for q in estimates(action))
    got = critic_loss(critics, (jnp.array(observation), jnp.array(action), jnp.array(target), jnp.array(task)))
    np.testing.assert_allclose(got, expected, rtol=1e-12)

    mean, log_std = np.split(forward(numbers(actor), observation, task), 2, axis=1)
    u = mean + np.exp(log_std) * np.asarray(jax.random.normal(key, mean.shape, jnp.float64))
    log_prob = (
        -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - np.tanh(u) ** 2)
    ).sum(axis=1)
    expected = np.mean(temperature * log_prob - np.minimum(*estimates(np.tanh(u))))
    got = ActorLoss(critics)(actor, (jnp.array(observation), jnp.array(temperature), jnp.array(task), key))
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_gradient_of_the_actor_is_that_of_finite_differences():
    key = jax.random.key(3)
    actor, critics = nets(width=8, key=key, dtype=jnp.float64)
    observation = jax.random.normal(key, (5, 2), jnp.float64)
    loss = lambda net: ActorLoss(critics)(net, (observation, jnp.array(0.2), jnp.array(2), key))
    params, static = eqx.partition(actor, eqx.is_array)
    along = jax.tree.map(lambda x: jax.random.normal(key, x.shape, x.dtype), params)
    at = lambda step: loss(eqx.combine(jax.tree.map(lambda x, d: x + step * d, params, along), static))
    gradient = jax.grad(lambda p: loss(eqx.combine(p, static)))(params)
    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True))
    np.testing.assert_allclose((at(1e-5) - at(-1e-5)) / 2e-5, slope, rtol=1e-6)


def test_targets_bootstrap_at_the_clock_and_not_at_the_end():
    sac = agent()
    state = begun(sac)
    batch = state.replay.sample(16, key=jax.random.key(0))
    temperature, key = jnp.exp(state.log_temperature), jax.random.key(1)
    ended = batch._replace(terminated=jnp.ones_like(batch.terminated))
    np.testing.assert_array_equal(sac._targets(state, ended, temperature, key), batch.reward)
    going = np.asarray(sac._targets(state, batch, temperature, key))
    assert (going != np.asarray(batch.reward)).all() and (np.asarray(batch.terminated) == 0).all()


def test_normalised_rewards_are_those_of_each_task():
    state = begun(agent())
    batch = state.replay.sample(16, key=jax.random.key(0))
    ended = batch._replace(terminated=jnp.ones_like(batch.terminated))
    seen = agent(normalise_rewards=True)._targets(state, ended, jnp.ones(3), jax.random.key(1))
    np.testing.assert_allclose(seen, batch.reward * state.replay.reward_scale[:, None], rtol=1e-6)


@pytest.mark.parametrize("weighting", [mutatis.Average(), mutatis.PCGrad()], ids=["mean", "PCGrad"])
def test_learns_to_go_to_goals_it_does_not_see(weighting):
    sac = agent(learning_rate=2e-3, actor_weighting=weighting, critic_weighting=weighting)
    state, _ = sac.train(begun(sac, 200), 3000)
    env = sac.environment
    world, observation = env.reset(jax.random.key(9))
    best, total = env.family.best_return(env.task_of_each, world.place.place), 0.0
    nothing = -jnp.linalg.norm(world.place.place - env.task_of_each, axis=1) * env.family.horizon
    for _ in range(env.family.horizon):
        world, shown = env.step(world, sac.act(state.actor.model, observation, key=None))
        observation, total = shown.observation, total + shown.reward
    # Within a fifth of the way from standing still to the best there is.
    assert float((total - best).mean()) > 0.2 * float((nothing - best).mean())


def test_training_in_pieces_is_training_in_one_go():
    sac = agent()
    whole, seen = sac.train(begun(sac), 6)
    first, one = sac.train(begun(sac), 3)
    second, two = sac.train(first, 3)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(second), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(seen.reward, jnp.concatenate([one.reward, two.reward]))


def test_temperature_rises_where_the_policy_is_too_sure():
    sac = agent(learning_rate=1e-2)
    state = begun(sac)
    sure = eqx.tree_at(lambda net: net.bias, state.actor.model, state.actor.model.bias.at[1, 2:].set(-8.0))
    state = state._replace(actor=mutatis.Learner(sure, state.actor.rule))
    _, seen = sac.train(state, 5)
    assert seen.temperature[-1, 1] > 1 and (seen.temperature[-1, np.array([0, 2])] < 1).all()


def test_bad_settings_are_named():
    for name in ("batch", "updates"):
        with pytest.raises(ValueError, match=name):
            rl.SoftActorCritic(points(GOALS), **{name: 0})
    with pytest.raises(ValueError, match="actor_weighting: FAMO needs losses above zero"):
        rl.SoftActorCritic(points(GOALS), actor_weighting=mutatis.FAMO())
    rl.SoftActorCritic(points(GOALS), critic_weighting=mutatis.FAMO())
