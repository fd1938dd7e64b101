"""Baselines and the batch they assess, against numpy's least squares."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reach_toy import tanh_net

from core_problems import draw
from mutatis import nn
from mutatis.rl._baseline import LinearBaseline, ValueBaseline
from mutatis.rl._batch import Rollout, assess, by_task, normalised
from mutatis.rl._returns import generalised_advantages

TASKS, ROWS, FEATURES = 3, 200, 5


def features(observation, time):
    o, t = np.clip(observation, -10, 10), np.asarray(time)[:, None] / 100
    return np.concatenate([o, o**2, t, t**2, t**3, np.ones_like(t)], axis=1)


def data(scale=3.0):
    observation = scale * draw(TASKS, ROWS, FEATURES)
    time = np.random.default_rng(0).integers(0, 500, (TASKS, ROWS))
    return observation, jnp.asarray(time), 50 * draw(TASKS, ROWS, seed=1)


@pytest.mark.parametrize("penalty", [1e-5, 10.0])
def test_the_fit_is_ridge_regression(penalty):
    observation, time, returns = data(scale=8.0)
    assert np.abs(observation).max() > 10
    baseline = LinearBaseline(TASKS, FEATURES, penalty=penalty, dtype=jnp.float64)
    fitted = eqx.filter_jit(lambda *args: baseline.fit(*args))(observation, time, returns)
    for task in range(TASKS):
        design = features(observation[task], time[task])
        more = np.concatenate([design, np.sqrt(penalty) * np.eye(design.shape[1])])
        expected = np.linalg.lstsq(more, np.concatenate([returns[task], np.zeros(design.shape[1])]))[0]
        np.testing.assert_allclose(fitted.weights.value[task], expected, rtol=1e-9)
        seen = fitted(observation[task], time[task], jnp.asarray(task))
        np.testing.assert_allclose(seen, design @ expected, rtol=1e-9)


def test_single_precision_survives_features_given_twice():
    observation, time, _ = data(scale=0.3)
    twice = np.concatenate([observation, observation, np.zeros_like(observation)], axis=2)
    truth = np.random.default_rng(2).standard_normal(2 * 3 * FEATURES + 4)
    returns = np.stack([features(twice[task], time[task]) @ truth for task in range(TASKS)])
    f32 = lambda x: jnp.asarray(x, jnp.float32)
    fitted = LinearBaseline(TASKS, 3 * FEATURES).fit(f32(twice), time, f32(returns))
    seen = np.stack([fitted(f32(twice[task]), time[task], jnp.asarray(task)) for task in range(TASKS)])
    assert seen.dtype == np.float32
    assert np.abs(seen - returns).max() < 1e-4 * np.abs(returns).max()


def test_it_is_zero_before_the_first_fit_and_forgets_the_last():
    observation, time, returns = data()
    baseline = LinearBaseline(TASKS, FEATURES, dtype=jnp.float64)
    np.testing.assert_array_equal(baseline(observation[0], time[0], jnp.asarray(0)), 0)
    again = baseline.fit(observation, time, -returns).fit(observation, time, returns)
    np.testing.assert_array_equal(again.weights.value, baseline.fit(observation, time, returns).weights.value)


def test_a_penalty_of_zero_is_refused():
    with pytest.raises(ValueError, match="penalty"):
        LinearBaseline(1, 1, penalty=0.0)


def rollout(steps=6, worlds=4):
    numbers = np.random.default_rng(0).random((2, steps, worlds)) < 0.2
    return Rollout(
        draw(steps, worlds, 4),
        draw(steps, worlds, 4, seed=1),
        draw(steps, worlds, 2, seed=2),
        draw(steps, worlds, seed=3),
        draw(steps, worlds, seed=4),
        jnp.asarray(numbers[0]),
        jnp.asarray(numbers[1] & ~numbers[0]),
    )


def test_rows_go_to_the_task_of_their_world():
    rows = by_task(jnp.arange(12).reshape(3, 4), 2)
    np.testing.assert_array_equal(rows, [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]])
    with pytest.raises(ValueError, match="num_tasks is 3"):
        by_task(jnp.zeros((3, 4)), 3)


def test_a_batch_holds_each_task_with_its_own_values():
    seen, net = rollout(), nn.OneHotTask(tanh_net(6, 5, 1, key=jax.random.key(0), dtype=jnp.float64), 2)
    batch = assess(ValueBaseline(net), seen, num_tasks=2, discount=0.9, trace=0.8, normalise=False)
    for task, worlds in ((0, slice(0, 2)), (1, slice(2, 4))):
        value, next_value = (
            net(each[:, worlds].reshape(-1, 4), jnp.asarray(task)).reshape(-1, 2)
            for each in (seen.observation, seen.last_observation)
        )
        ends = seen.terminated[:, worlds], seen.truncated[:, worlds]
        expected = generalised_advantages(seen.reward[:, worlds], value, next_value, *ends, discount=0.9, trace=0.8)
        np.testing.assert_allclose(batch.advantage[task], np.ravel(expected), rtol=1e-12)
        np.testing.assert_allclose(batch.target[task], np.ravel(expected + value), rtol=1e-12)
        np.testing.assert_array_equal(batch.action[task], seen.action[:, worlds].reshape(-1, 2))
        np.testing.assert_array_equal(batch.log_prob[task], np.ravel(seen.log_prob[:, worlds]))


def test_a_linear_baseline_meets_the_time_after_the_action_and_returns_that_end_with_the_episode():
    seen, baseline = rollout(), LinearBaseline(1, 4, dtype=jnp.float64)
    baseline = eqx.tree_at(lambda b: b.weights.value, baseline, draw(1, 12))
    batch = assess(baseline, seen, num_tasks=1, discount=0.9, trace=0.0, normalise=False, start=jnp.full(4, 3))
    ended = np.asarray(seen.terminated | seen.truncated)
    reward, weights = np.asarray(seen.reward), baseline.weights.value[0]
    for world in range(4):
        time, returns, tail = 3, [], 0.0
        times = []
        for step in range(6):
            times.append(time)
            time = 0 if ended[step, world] else time + 1
        at, to = (np.asarray(each[:, world]) for each in (seen.observation, seen.last_observation))
        value, follows = features(at, times) @ weights, features(to, np.array(times) + 1) @ weights
        delta = reward[:, world] + 0.9 * np.where(seen.terminated[:, world], 0, follows) - value
        np.testing.assert_allclose(batch.advantage.reshape(6, 4)[:, world], delta, rtol=1e-10)
        tail = follows[-1]
        for step in reversed(range(6)):
            tail = reward[step, world] + 0.9 * (0 if ended[step, world] else tail)
            returns.insert(0, tail)
        np.testing.assert_allclose(batch.returns.reshape(6, 4)[:, world], returns, rtol=1e-10)


def test_advantages_are_normalised_within_each_task():
    rows = jnp.stack([1000 * draw(50) + 7, draw(50, seed=1), jnp.full(50, 3.0)])
    seen = normalised(rows)
    np.testing.assert_allclose(seen.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(seen.std(axis=1), [1, 1, 0], rtol=1e-7)
