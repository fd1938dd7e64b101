"""Returns and advantages, against sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core_problems import draw
from mutatis.rl._returns import discounted_returns, episode_time, generalised_advantages

STEPS, WORLDS, DISCOUNT, TRACE = 13, 4, 0.9, 0.8


def flags(seed=0):
    terminated, truncated = np.random.default_rng(seed).random((2, STEPS, WORLDS)) < 0.15
    return terminated, truncated & ~terminated


def values():
    return draw(STEPS, WORLDS, seed=1), draw(STEPS, WORLDS, seed=2), draw(STEPS, WORLDS, seed=3)


@pytest.mark.parametrize("seed", range(4))
def test_advantages_are_the_sum_of_equation_16(seed):
    terminated, truncated = flags(seed)
    assert terminated.any() and truncated.any()
    reward, value, next_value = values()
    expected = np.zeros((STEPS, WORLDS))
    for world in range(WORLDS):
        for first in range(STEPS):
            weight = 1.0
            for t in range(first, STEPS):
                follows = 0.0 if terminated[t, world] else next_value[t, world]
                expected[first, world] += weight * (reward[t, world] + DISCOUNT * follows - value[t, world])
                if terminated[t, world] or truncated[t, world]:
                    break
                weight *= DISCOUNT * TRACE
    seen = jax.jit(generalised_advantages)(
        reward, value, next_value, terminated, truncated, discount=jnp.array(DISCOUNT), trace=jnp.array(TRACE)
    )
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_returns_are_sums_of_discounted_rewards(seed):
    terminated, truncated = flags(seed)
    reward, _, next_value = values()
    expected = np.zeros((STEPS, WORLDS))
    for world in range(WORLDS):
        for first in range(STEPS):
            for t in range(first, STEPS):
                expected[first, world] += DISCOUNT ** (t - first) * reward[t, world]
                if terminated[t, world]:
                    break
                if truncated[t, world] or t == STEPS - 1:
                    expected[first, world] += DISCOUNT ** (t - first + 1) * next_value[t, world]
                    break
    seen = discounted_returns(reward, next_value, terminated, truncated, discount=DISCOUNT)
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


def test_what_was_expected_is_no_advantage():
    # A reward of 1 for ever is worth 1 / (1 - discount), wherever the clock stops the world.
    _, truncated = flags()
    worth = np.full((STEPS, WORLDS), 1 / (1 - DISCOUNT))
    never = np.zeros_like(truncated)
    seen = generalised_advantages(np.ones((STEPS, WORLDS)), worth, worth, never, truncated, discount=0.9, trace=0.5)
    np.testing.assert_allclose(seen, 0, atol=1e-12)


def test_time_counts_from_the_start_of_each_episode():
    terminated = np.array([[0, 0], [1, 0], [0, 0], [0, 0]], bool)
    truncated = np.array([[0, 0], [0, 0], [0, 1], [0, 0]], bool)
    np.testing.assert_array_equal(episode_time(terminated, truncated), [[0, 0], [1, 1], [0, 2], [1, 0]])
    later = episode_time(terminated, truncated, jnp.array([5, 7]))
    np.testing.assert_array_equal(later, [[5, 7], [6, 8], [0, 9], [1, 0]])
