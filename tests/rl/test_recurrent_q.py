"""Recurrent action values: an episode at once is the same as step by step; targets against a loop; trials kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis import rl
from mutatis._tree import repeated
from mutatis.rl._episodes import TrialReplay

KEY = jax.random.key(0)


def test_an_episode_at_once_is_the_same_as_step_by_step():
    net = rl.RecurrentQ(3, 4, width=8, key=KEY)
    rows = jax.random.normal(KEY, (5, 6, 3))
    real = jnp.arange(6)[None] < jnp.array([6, 6, 4, 1, 3])[:, None]
    whole = jax.vmap(net.episode)(rows, real)
    state = repeated(net.memory.start(), 5)
    for step in range(6):
        state, values = net.step(state, rows[:, step], real[:, step])
        np.testing.assert_allclose(values, whole[:, step], rtol=1e-5, atol=1e-6)
    moved = jax.vmap(net.episode)(rows.at[:, 3].add(1.0), real)
    assert jnp.abs(moved[0, 3:] - whole[0, 3:]).min() > 0, "later values do not depend on the row"
    np.testing.assert_array_equal(moved[:, :3], whole[:, :3])


def test_values_are_a_value_and_advantages_of_mean_zero():
    net = rl.RecurrentQ(3, 4, width=8, key=KEY)
    rows, real = jax.random.normal(KEY, (6, 3)), jnp.ones(6, bool)
    embedded = jnp.maximum(net.embed(rows), 0)
    _, said = net.memory.read(net.memory.start(), embedded, real)
    value = net.value(jnp.concatenate([embedded, said], axis=1))
    np.testing.assert_allclose(net.episode(rows, real).mean(axis=1), value[:, 0], rtol=1e-5, atol=1e-6)


def by_loops(values, later, action, reward, terminated, real, discount, trace):
    """The loss, each target by the recursion written out."""
    length = len(action)
    best = values.argmax(axis=1)

    def target(t):
        if terminated[t] or t + 1 == length:
            return reward[t]
        share = trace if real[t + 1] and action[t + 1] == best[t + 1] else 0.0
        after = (1 - share) * later[t + 1, best[t + 1]] + (share * target(t + 1) if share else 0.0)
        return reward[t] + discount * after

    errors = [target(t) - values[t, action[t]] if real[t] else 0.0 for t in range(length)]
    return 0.5 * np.mean(np.square(errors))


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("length", [7, 4])
def test_targets_are_the_recursion(trace, length):
    random = np.random.default_rng(length)
    values, later = random.normal(size=(2, 7, 3))
    action, reward = random.integers(3, size=7), random.normal(size=7)
    action[3] = values[3].argmax()
    real, terminated = np.arange(7) < length, np.arange(7) >= (length - 1 if length < 7 else 7)
    reward = np.where(real, reward, 0)
    args = (values, later, action, reward, terminated, real)
    found = rl.temporal_difference(*map(jnp.asarray, args), jnp.asarray(0.9), jnp.asarray(trace))
    np.testing.assert_allclose(found, by_loops(*args, 0.9, trace), rtol=1e-12)


def test_targets_get_no_gradient():
    values, later = jax.random.normal(KEY, (2, 5, 3))
    action, real = jnp.array([0, 1, 2, 0, 1]), jnp.ones(5, bool)
    loss = lambda values, later: rl.temporal_difference(
        values, later, action, jnp.ones(5), ~real, real, jnp.asarray(0.9), jnp.asarray(0.5)
    )
    by_values, by_later = jax.grad(loss, argnums=(0, 1))(values, later)
    assert not jnp.any(by_later)
    chosen = jax.nn.one_hot(action, 3) > 0
    assert jnp.all((by_values != 0) == chosen)


def test_replay_keeps_the_latest_trials_whole():
    one = {"reward": jax.ShapeDtypeStruct((2,), jnp.float32), "task": jax.ShapeDtypeStruct((), jnp.int32)}
    replay = TrialReplay.empty(one, 5)
    for start in (0, 3, 6):
        task = jnp.arange(start, start + 3)
        replay = replay.add({"reward": jnp.stack([task, -task], axis=1), "task": task})
    assert sorted(np.asarray(replay.storage["task"])) == [4, 5, 6, 7, 8]
    drawn = replay.sample(200, key=KEY)
    assert set(np.asarray(drawn["task"])) == {4, 5, 6, 7, 8}
    np.testing.assert_array_equal(drawn["reward"], np.stack([drawn["task"], -drawn["task"]], axis=1))
    early = TrialReplay.empty(one, 5).add({"reward": jnp.ones((2, 2)), "task": jnp.array([1, 2])})
    assert set(np.asarray(early.sample(100, key=KEY)["task"])) == {1, 2}
