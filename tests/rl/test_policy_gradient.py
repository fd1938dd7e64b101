"""On-policy training: what it collects, that it learns, and that it goes on from where it stopped."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from points import points
from reach_toy import tanh_net

import mutatis
from mutatis import nn, rl
from mutatis.rl import families
from mutatis.rl._batch import minibatch_rate
from mutatis.rl._collect import discounted_so_far

GOALS = jnp.array([[0.5, 0.5], [-0.5, 0.3], [0.0, -0.7]])
TASKS = len(GOALS)


def networks(outputs, key):
    return nn.OneHotTask(tanh_net(2 + TASKS, 32, 32, outputs, key=key), TASKS)


def begun(agent, baseline=None, seed=0):
    policy_key, value_key, key = jax.random.split(jax.random.key(seed), 3)
    policy = rl.GaussianPolicy(networks(2, policy_key), 2, num_tasks=TASKS, std=0.5)
    value = rl.ValueBaseline(networks(1, value_key)) if baseline is None else baseline
    return agent.init(policy, value, key=key)


def proximal(worlds=2, steps=20, **options):
    method = rl.Proximal(epochs=2, minibatches=4, learning_rate=3e-3)
    return rl.PolicyGradient(points(GOALS, worlds_per_task=worlds), method, steps=steps, **options)


def numbers(tree):
    """All array leaves, as NumPy."""
    raw = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(raw(x)).copy() for x in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


def restored(saved, like):
    """A fresh state with the saved numbers in its place."""
    leaves, structure = jax.tree.flatten(eqx.filter(like, eqx.is_array))
    wrap = lambda old, new: (
        jax.random.wrap_key_data(new) if jnp.issubdtype(old.dtype, jax.dtypes.prng_key) else jnp.asarray(new)
    )
    arrays = jax.tree.unflatten(structure, [wrap(*pair) for pair in zip(leaves, saved, strict=True)])
    return eqx.combine(arrays, eqx.filter(like, eqx.is_array, inverse=True))


def assert_same(left, right):
    for a, b in zip(numbers(left), numbers(right), strict=True):
        np.testing.assert_array_equal(a, b)


def missed(agent, state):
    """By how much the policy without noise stays below the best, as a share of what standing still does."""
    env = agent.environment
    world, observation = env.reset(jax.random.key(9))
    best, total = env.family.best_return(env.task_of_each, world.place.place), 0.0
    nothing = -jnp.linalg.norm(world.place.place - env.task_of_each, axis=1) * env.family.horizon
    for _ in range(env.family.horizon):
        world, shown = env.step(world, agent.act(state.policy, observation))
        observation, total = shown.observation, total + shown.reward
    return float((best - total).mean() / (best - nothing).mean())


METHODS = {
    "PPO": (rl.Proximal(epochs=5, minibatches=4, learning_rate=3e-3, decay=200), None),
    "PPO, linear": (rl.Proximal(epochs=5, minibatches=4, learning_rate=3e-3), rl.LinearBaseline(TASKS, 2)),
    "TRPO": (rl.TrustRegion(0.02, value_epochs=5, value_minibatches=4, value_learning_rate=3e-3), None),
    "TRPO, linear": (rl.TrustRegion(0.02), rl.LinearBaseline(TASKS, 2)),
}


@pytest.mark.parametrize("name", METHODS)
def test_learns_to_go_to_goals_it_does_not_see(name):
    method, baseline = METHODS[name]
    options = {"discount": 0.9, "trace": 0.9}
    agent = rl.PolicyGradient(points(GOALS, worlds_per_task=8), method, steps=40, **options)
    state, progress = agent.train(begun(agent, baseline), 150)
    assert missed(agent, state) < 0.05  # 0.004 to 0.013 on the author's machine
    assert progress.episode_return[-10:].mean() > progress.episode_return[:10].mean() + 5
    assert (progress.kl >= 0).all() and np.isnan(progress.success).all()


def test_learns_behind_normalisation_and_with_gradient_surgery():
    method = rl.Proximal(epochs=5, minibatches=4, learning_rate=3e-3)
    agent = rl.PolicyGradient(
        points(GOALS, worlds_per_task=8),
        method,
        steps=40,
        discount=0.9,
        trace=0.9,
        weighting=mutatis.PCGrad(),
        normalise_observations=True,
        normalise_rewards=True,
    )
    state, _ = agent.train(begun(agent), 150)
    assert missed(agent, state) < 0.05


def test_collects_what_stepping_by_hand_shows():
    env = points(GOALS, worlds_per_task=2, horizon=3)
    policy = rl.GaussianPolicy(networks(2, jax.random.key(0)), 2)
    world, first = env.reset(jax.random.key(1))
    key = jax.random.key(2)
    after, last, rollout, seen = eqx.filter_jit(rl.collect)(env, world, first, policy, steps=7, key=key)
    state, observation, rewards = world, first, []
    for row in range(7):
        np.testing.assert_allclose(rollout.observation[row], observation)
        by_task = jax.vmap(policy)(observation.reshape(TASKS, 2, 2), jnp.arange(TASKS))
        log_prob = by_task.log_prob(rollout.action[row].reshape(TASKS, 2, 2)).reshape(-1)
        np.testing.assert_allclose(rollout.log_prob[row], log_prob, rtol=1e-5)
        state, shown = env.step(state, rollout.action[row])
        np.testing.assert_allclose(rollout.last_observation[row], shown.last_observation, rtol=1e-6)
        np.testing.assert_allclose(rollout.reward[row], shown.reward, rtol=1e-6)
        np.testing.assert_array_equal(rollout.truncated[row], shown.truncated)
        observation, rewards = shown.observation, [*rewards, np.asarray(shown.reward)]
    np.testing.assert_allclose(last, observation, rtol=1e-6)
    np.testing.assert_allclose(after.place.place, state.place.place, rtol=1e-6)
    of_task = np.reshape(rewards, (7, TASKS, 2))
    np.testing.assert_allclose(seen.reward, of_task.mean(axis=(0, 2)), rtol=1e-6)
    np.testing.assert_array_equal(seen.ended, np.full(TASKS, 4))
    np.testing.assert_allclose(seen.ended_return, of_task[:6].sum(axis=(0, 2)), rtol=1e-6)
    np.testing.assert_allclose(seen.so_far, rewards[6], rtol=1e-6)


def test_episodes_go_on_from_one_roll_out_to_the_next():
    # 8 steps a roll-out and 20 an episode: every fifth roll-out, two episodes have ended.
    agent = proximal(steps=8)
    state, progress = agent.train(begun(agent), 5)
    np.testing.assert_array_equal(progress.episodes, [[0] * 3, [0] * 3, [2] * 3, [0] * 3, [2] * 3])
    assert np.isnan(progress.episode_return[0]).all() and (progress.episode_return[2] < -2).all()
    assert (np.asarray(state.time) == 0).all() and (np.asarray(state.so_far) == 0).all()
    total = np.asarray(progress.reward).sum(axis=0) * 8
    np.testing.assert_allclose(progress.episode_return[2] + progress.episode_return[4], total, rtol=1e-5)
    state, _ = agent.train(state, 1)
    assert (np.asarray(state.time) == 8).all() and (np.asarray(state.so_far) < 0).all()


EVERYTHING = {"normalise_observations": True, "normalise_rewards": True, "weighting": mutatis.GroupDRO()}


@pytest.mark.parametrize(
    "method",
    [
        rl.Proximal(epochs=2, minibatches=4, decay=10),
        rl.TrustRegion(value_epochs=2, value_minibatches=4, decay=10),
    ],
    ids=["PPO", "TRPO"],
)
def test_goes_on_from_saved_numbers_as_if_it_had_not_stopped(method):
    agent = rl.PolicyGradient(points(GOALS, worlds_per_task=2), method, steps=24, **EVERYTHING)
    halfway, first = agent.train(begun(agent), 2)
    saved = numbers(halfway)
    end, second = agent.train(halfway, 2)
    again = rl.PolicyGradient(points(GOALS, worlds_per_task=2), method, steps=24, **EVERYTHING)
    resumed, same = again.train(restored(saved, begun(again, seed=5)), 2)
    assert_same(end, resumed)
    assert_same(second, same)
    assert int(end.rollouts) == 4 and np.isfinite(first.loss).all()


def test_a_second_call_is_not_traced_again():
    traces = []

    class Counted(rl.FamilyEnvironment):
        def step(self, state, action):
            traces.append(1)
            return super().step(state, action)

    agent = rl.PolicyGradient(Counted(families.PointGoals(), GOALS), rl.Proximal(epochs=1, minibatches=4), steps=20)
    state, _ = agent.train(begun(agent), 2)
    once = len(traces)
    state, _ = agent.train(state, 2)
    assert len(traces) == once > 0


def test_moments_are_those_of_all_rows_whatever_the_batches():
    rows = np.random.default_rng(0).normal(3, 2, (50, 4))
    moments = rl.Moments.of_nothing((4,), jnp.float64)
    for part in np.split(rows, [1, 7, 30]):
        moments = moments.add(jnp.asarray(part))
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-12)
    expected = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    np.testing.assert_allclose(moments.standardised(jnp.asarray(rows)), expected, rtol=1e-6)


def test_rewards_are_divided_by_the_deviation_of_discounted_returns():
    agent = proximal(steps=30, normalise_rewards=True, discount=0.9)
    state = begun(agent)
    _, _, rollout, _ = rl.collect(
        agent.environment, state.environment, state.observation, state.policy, steps=30, key=jax.random.key(4)
    )
    after, scaled = agent._normalised(state, rollout)
    ended, worlds = np.asarray(rollout.truncated), agent.environment.num_envs
    now, returns = np.zeros(worlds), []
    for reward, end in zip(np.asarray(rollout.reward), ended, strict=True):
        now = 0.9 * now + reward
        returns.append(now)
        now = np.where(end, 0, now)
    deviation = np.reshape(returns, (30, TASKS, 2)).std(axis=(0, 2))
    np.testing.assert_allclose(scaled.reward, rollout.reward / np.repeat(deviation, 2)[None], rtol=1e-5)
    np.testing.assert_allclose(after.discounted, now, rtol=1e-6)
    carried, _ = discounted_so_far(rollout.reward, ended, jnp.zeros(worlds), jnp.asarray(0.9))
    np.testing.assert_allclose(carried, now, rtol=1e-6)


def test_acts_with_and_without_noise():
    agent = proximal(normalise_observations=True)
    state, _ = agent.train(begun(agent), 1)
    quiet = agent.act(state.policy, state.observation)
    noisy = agent.act(state.policy, state.observation, key=jax.random.key(0))
    assert quiet.shape == noisy.shape == (6, 2) and (quiet != noisy).all()
    np.testing.assert_array_equal(quiet, agent.act(state.policy, state.observation))


def test_starts_new_episodes_on_demand():
    agent = proximal(steps=8)
    state, _ = agent.train(begun(agent), 1)
    state = agent.restarted(state, key=jax.random.key(3))
    assert (np.asarray(state.time) == 0).all() and (np.asarray(state.environment.place.steps) == 0).all()
    agent.train(state, 1)


def test_learning_rates_fall_to_zero():
    assert minibatch_rate(0.1, 2, 4, None) == 0.1
    rate = minibatch_rate(0.1, 2, 4, 5)
    np.testing.assert_allclose([rate(0), rate(20), rate(40), rate(99)], [0.1, 0.05, 0, 0], rtol=1e-6)
    assert isinstance(optax.adam(rate), optax.GradientTransformation)


def test_bad_settings_are_named():
    for options in ({"epochs": 0}, {"minibatches": 0}, {"decay": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            rl.Proximal(**options)
    with pytest.raises(ValueError, match="epochs"):
        rl.TrustRegion(value_epochs=0)
    with pytest.raises(ValueError, match="steps"):
        proximal(steps=0)
    with pytest.raises(ValueError, match="weighting: GradNorm needs losses above zero"):
        proximal(steps=1, weighting=mutatis.GradNorm())
    agent = proximal(steps=7)
    with pytest.raises(ValueError, match="minibatches is 4, which does not divide the 14 rows"):
        agent.train(begun(agent), 1)
