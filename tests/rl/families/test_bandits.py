"""Bandits: the exact optimum, and players against returns that others simulated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.rl import Memoryless, families, play


@pytest.mark.parametrize("arms, pulls, expected", [(2, 10, 6.022), (5, 10, 6.660), (10, 10, 6.714), (12, 10, 6.714)])
def test_optimum_of_short_bandits_is_the_known_one(arms, pulls, expected):
    assert families.bandit_value(arms, pulls) == pytest.approx(expected, abs=6e-4)


def test_optimum_of_two_arms_by_plain_recursion():
    def value(state, left):
        if left == 0:
            return 0.0
        found = []
        for arm in range(2):
            won, lost = state[2 * arm], state[2 * arm + 1]
            chance = (won + 1) / (won + lost + 2)
            more = lambda place: value(tuple(x + (i == place) for i, x in enumerate(state)), left - 1)
            found.append(chance * (1 + more(2 * arm)) + (1 - chance) * more(2 * arm + 1))
        return max(found)

    for pulls in (1, 2, 5):
        assert families.bandit_value(2, pulls) == pytest.approx(value((0, 0, 0, 0), pulls), abs=1e-12)


def total(player, arms, pulls, worlds=4000, seed=0):
    bandits = families.BernoulliBandits(arms, pulls)
    task_key, key = jax.random.split(jax.random.key(seed))
    rewards = play(bandits, bandits.sample(task_key, worlds), player, key=key).reward
    assert rewards.shape == (worlds, 1, pulls) and bool(jnp.isin(rewards, jnp.array([0.0, 1.0])).all())
    returns = np.asarray(rewards.sum(axis=(1, 2)))
    return returns.mean(), returns.std() / np.sqrt(worlds)


def anything(observation, key):
    return jax.random.randint(key, observation.shape[:1], 0, 5)


@pytest.mark.parametrize(
    "player, expected",
    [
        (Memoryless(anything), 49.8),
        (families.PosteriorMean(5), 75.8),
        (families.Thompson(5), 74.9),
        (families.UpperConfidence(5), 66.0),
        (families.FiniteGittins(5, 100), 78.6),
    ],
)
def test_players_earn_what_was_simulated_elsewhere(player, expected):
    mean, error = total(player, 5, 100)
    assert abs(mean - expected) < 4 * np.hypot(error, 0.1)


def test_gittins_is_hardly_below_the_optimum_and_never_above():
    mean, error = total(families.FiniteGittins(5, 10), 5, 10, worlds=40_000)
    best = families.bandit_value(5, 10)
    assert 0.98 * best < mean < best + 4 * error


def test_gittins_index_of_an_arm_with_one_pull_left_is_its_mean_and_grows_with_pulls_left():
    table = families.gittins_indices(20)
    means = np.array([[(won + 1) / (won + lost + 2) for lost in range(5)] for won in range(5)])
    np.testing.assert_allclose(table[0, :5, :5], means, atol=1e-12)
    assert (np.diff(table[:10, 2, 3]) > 0).all()


def test_two_pulls_left_by_hand():
    """Break-even: one pull of the unknown arm, then the better of it and the known one."""
    index = families.gittins_indices(2, resolution=4000)[1, 0, 0]
    # Known arm twice: 2 x. Unknown first: 1/2 (1 + max(2/3, x)) + 1/2 max(1/3, x); equal at x = 5/9.
    assert index == pytest.approx(5 / 9, abs=1e-3)


def test_pulls_are_paid_by_chance():
    bandits = families.BernoulliBandits(2, 50)
    tasks = jnp.tile(jnp.array([[0.2, 0.9]]), (2000, 1))
    for arm, chance in enumerate((0.2, 0.9)):
        always = Memoryless(lambda observation, key, arm=arm: jnp.full(observation.shape[0], arm))
        paid = float(play(bandits, tasks, always, key=jax.random.key(1)).reward.mean())
        assert paid == pytest.approx(chance, abs=0.01)
    np.testing.assert_allclose(bandits.best_return(tasks), 45, rtol=1e-6)


def test_bad_settings_are_named():
    for name, options in {"arms": {"arms": 0}, "horizon": {"horizon": 0}}.items():
        with pytest.raises(ValueError, match=name):
            families.BernoulliBandits(**options)
    for arms, pulls in itertools.product((0, 1), (0, 1)):
        if not arms * pulls:
            with pytest.raises(ValueError, match="at least 1"):
                families.bandit_value(arms, pulls)
