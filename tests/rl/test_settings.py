"""Learners refuse shares that are none, by name, before anything is trained."""

import jax.numpy as jnp
import pytest
from points import points

from mutatis import rl
from mutatis.rl import families

GOALS = jnp.array([[0.5, 0.5], [-0.5, 0.3]])
POINTS, BUSES = families.PointGoals(), families.BusGrids()

LEARNERS = {
    "SAC": (lambda **options: rl.SoftActorCritic(points(GOALS), **options), ("discount", "polyak")),
    "PPO": (
        lambda **options: rl.PolicyGradient(points(GOALS), rl.Proximal(), steps=5, **options),
        ("discount", "trace"),
    ),
    "MAML": (lambda **options: rl.MAML(POINTS, **options), ("discount", "trace")),
    "MAML's player": (
        lambda **options: rl.AdaptingPlayer(None, POINTS, episodes=1, **options),
        ("discount", "trace"),
    ),
    "RL2": (lambda **options: rl.RL2(POINTS, **options), ("discount", "trace")),
    "VariBAD": (lambda **options: rl.VariBAD(POINTS, **options), ("discount", "trace")),
    "PEARL": (lambda **options: rl.PEARL(POINTS, **options), ("discount", "polyak")),
    "DREAM": (
        lambda **options: rl.DREAM(BUSES, lambda task: jnp.eye(24)[task], **options),
        ("discount", "polyak", "trace"),
    ),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_share_is_from_0_to_1(learner):
    make, names = LEARNERS[learner]
    for name in names:
        for wrong in (2.0, -0.1, float("nan")):
            with pytest.raises(ValueError, match=f"{name}: must be from 0 to 1"):
                make(**{name: wrong})
        for right in (0.0, 1.0):
            make(**{name: right})


def test_a_player_that_adapts_to_no_episode_is_refused():
    for name in ("episodes", "adaptations"):
        with pytest.raises(ValueError, match=f"{name}: must be at least 1"):
            rl.AdaptingPlayer(None, POINTS, **({"episodes": 1} | {name: 0}))
