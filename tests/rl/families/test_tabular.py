"""Tabular processes: planning by brute force, the Bayes optimum by hand, posterior sampling in between."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.rl import Memoryless, families, play


def small(count=3, seed=0, **options):
    made = families.TabularProcesses(states=3, num_actions=2, horizon=3, **options)
    return made, made.sample(jax.random.key(seed), count)


def test_plan_is_the_best_of_all_policies():
    made, tasks = small()
    for k in range(3):
        transition, reward = np.asarray(tasks.transition[k], float), np.asarray(tasks.reward[k], float)
        best = -np.inf
        for choice in itertools.product(range(2), repeat=9):
            policy = np.array(choice).reshape(3, 3)
            value = np.zeros(3)
            for step in (2, 1, 0):
                rows = np.arange(3), policy[step]
                value = reward[rows] + transition[rows] @ value
            best = max(best, value[0])
        assert float(made.best_return(tasks)[k]) == pytest.approx(best, rel=1e-5)


def test_moves_and_rewards_are_as_drawn():
    made, tasks = small(count=1)
    many = jax.tree.map(lambda x: jnp.repeat(x, 20_000, axis=0), tasks)
    state, observation = made.reset(many, jax.random.key(0))
    np.testing.assert_array_equal(observation[:, 0], 1)
    _, shown = made.step(many, state, jnp.ones(20_000, int), jax.random.key(1))
    np.testing.assert_allclose(shown.observation.mean(axis=0), tasks.transition[0, 0, 1], atol=0.015)
    assert float(shown.reward.mean()) == pytest.approx(float(tasks.reward[0, 0, 1]), abs=0.03)
    assert float(shown.reward.std()) == pytest.approx(1, abs=0.03)


def test_random_play_earns_its_expectation():
    made, tasks = small(count=2)
    many = jax.tree.map(lambda x: jnp.repeat(x, 20_000, axis=0), tasks)
    anything = Memoryless(lambda observation, key: jax.random.randint(key, observation.shape[:1], 0, 2))
    earned = play(made, many, anything, key=jax.random.key(0)).returns().reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(earned, made.random_return(tasks), atol=0.07)


def test_bayes_optimum_by_hand():
    """Two states, paid 1 in the second: the first action is a coin, and after it nothing can be changed in one step."""
    reward = np.array([[0, 0], [1, 1]])
    assert families.process_value(reward, 2, 1) == pytest.approx(0.5)
    # A second episode begins with one action tried: after success its chance is 2/3; after failure the other's is 1/2.
    assert families.process_value(reward, 2, 2) == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 1 / 2)


def test_posterior_sampling_earns_what_is_published():
    """Duan et al. 2016, table 2, ten states and five actions: 100.1 at random and 138.1 in 10 episodes, 408.8 in 25."""
    made = families.TabularProcesses()
    tasks = made.sample(jax.random.key(0), 200)
    earned = play(made, tasks, families.PosteriorSampling(), key=jax.random.key(1), episodes=25).returns()
    best, chance = float(made.best_return(tasks).mean()), float(made.random_return(tasks).mean())
    assert 10 * chance == pytest.approx(100.1, rel=0.03)
    assert float(earned[:, :10].sum(axis=1).mean()) == pytest.approx(138.1, rel=0.05)
    assert float(earned.sum(axis=1).mean()) == pytest.approx(408.8, rel=0.03)
    assert chance < float(earned[:, -1].mean()) < best


def test_known_rewards_need_their_shape():
    with pytest.raises(ValueError, match="known_reward"):
        families.TabularProcesses(known_reward=jnp.zeros((2, 2)))
