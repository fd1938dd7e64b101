"""Reach a place in the air, with or without a wall in the way."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._scene import distance
from mutatis.worlds._shaping import long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task
from mutatis.worlds.tasks._common import puck, start_as_drawn

_HAND = np.array([0.0, 0.6, 0.2])
_RADIUS = 0.05


def _evaluate(now: Situation) -> Outcome:
    xp = now.xp
    gap = distance(now.tcp, now.target)
    margin = distance(xp.asarray(_HAND)[None], now.target)
    in_place = long_tail(gap, 0, _RADIUS, margin)
    return Outcome(10 * in_place, gap <= _RADIUS, gap, xp.ones_like(gap), gap, in_place, gap)


REACH = Task(
    name="reach",
    model="reach_v3",
    low=(-0.1, 0.6, 0.02, -0.1, 0.8, 0.05),
    high=(0.1, 0.7, 0.02, 0.1, 0.9, 0.3),
    apart=0.15,
    start=start_as_drawn,
    objects=puck,
    evaluate=_evaluate,
)


def _evaluate_wall(now: Situation) -> Outcome:
    outcome = _evaluate(now)
    nothing = now.xp.zeros_like(outcome.reward)
    return outcome._replace(near_object=nothing, grasp_success=nothing, grasp_reward=nothing)


REACH_WALL = Task(
    name="reach-wall",
    model="reach_wall_v3",
    low=(-0.05, 0.6, 0.015, -0.05, 0.85, 0.05),
    high=(0.05, 0.65, 0.015, 0.05, 0.9, 0.3),
    apart=0.15,
    start=start_as_drawn,
    objects=puck,
    evaluate=_evaluate_wall,
)
