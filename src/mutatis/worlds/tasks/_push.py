"""Push a puck over the table: away, back, around a wall."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, distance, norm
from mutatis.worlds._shaping import at_object, both, grip, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task, single
from mutatis.worlds.tasks._common import at_rest, carried, pad_gaps, puck, raised

TARGET_RADIUS = 0.05
"""Distance from the target within which the reward is full, in metres."""
_BESIDE = 0.05
"""Distance along y at which a pad counts as beside the object, in metres."""


def progress(now: Situation, target: Array) -> tuple[Array, Array]:
    """The object's distance to a target, and how near that is compared with the start, each (N,)."""
    gap = distance(now.object, target)
    return gap, long_tail(gap, 0, TARGET_RADIUS, distance(now.object_start, target))


def squeeze(now: Situation, radius: float, *, slack: float, xz_threshold: float) -> Array:
    """A measure of a grasp from the pads' places alone, whatever the gripper is told, (N,).

    **Arguments:**

    - `now`: the situation.
    - `radius`: of the object, in metres.
    - `slack`: a pad that is no farther than this from the object's surface presses it, in metres.
    - `xz_threshold`: distance in the xz plane at which the hand counts as at the object, in metres.
    """
    xp = now.xp
    gaps, margins = pad_gaps(now, _BESIDE)
    upper = xp.asarray([[[_BESIDE], [radius + slack]]])
    sides = long_tail(gaps[:, None], radius, upper, margins[:, None])
    around = both(sides[..., 0], sides[..., 1])
    caging = both(around[:, 0], at_object(now, now.object, xz_threshold))
    return (caging + xp.where(caging > 0.95, around[:, 1], 0.0)) / 2


def _start(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    start, target = at_rest(bench, vector[:3]), at_rest(bench, vector[3:])
    bench.put_object(start)
    return {"object_start": start, "target": target}


def _puck_grip(now: Situation) -> Array:
    return grip(now, now.object, radius=0.015, pad_success=_BESIDE, xz_threshold=0.005).dense


def _evaluate(now: Situation) -> Outcome:
    xp = now.xp
    gap, in_place = progress(now, now.target)
    reach = distance(now.object, now.tcp)
    grasp = _puck_grip(now)
    pushing = (reach < 0.02) & (now.opening > 0)
    reward = 2 * grasp
    reward = xp.where(pushing, 1 + 2 * reward + 5 * in_place, reward)
    reward = xp.where(gap < TARGET_RADIUS, 10.0, reward)
    return Outcome(reward, gap <= TARGET_RADIUS, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


PUSH = Task(
    name="push",
    model="push_v3",
    low=(-0.1, 0.6, 0.02, -0.1, 0.8, 0.01),
    high=(0.1, 0.7, 0.02, 0.1, 0.9, 0.02),
    apart=0.15,
    start=_start,
    objects=puck,
    evaluate=_evaluate,
    touches="objGeom",
)


def _evaluate_back(now: Situation) -> Outcome:
    gap, in_place = progress(now, now.target)
    reach = distance(now.object, now.tcp)
    grasp = squeeze(now, 0.007, slack=0.003, xz_threshold=0.01)
    moved = distance(now.object_start, now.target) - gap > 0.01
    pushing = (reach < 0.01) & (now.opening > 0) & (now.opening < 0.55) & moved
    reward = carried(grasp, in_place, pushing, 1 + 5 * in_place, gap < TARGET_RADIUS)
    return Outcome(reward, gap <= 0.07, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


PUSH_BACK = Task(
    name="push-back",
    model="push_back_v3",
    low=(-0.1, 0.8, 0.02, -0.1, 0.6, 0.0199),
    high=(0.1, 0.85, 0.02, 0.1, 0.7, 0.0201),
    apart=0.15,
    hand=single(0, 0.6, 0.2),
    start=_start,
    objects=puck,
    evaluate=_evaluate_back,
    touches="objGeom",
)


def _evaluate_wall(now: Situation) -> Outcome:
    xp = now.xp
    gap, in_place = progress(now, now.target)
    reach = distance(now.object, now.tcp)
    grasp = _puck_grip(now)
    # A place beside the wall, as high as the puck is now.
    corner = now.object * xp.asarray([[0.0, 0.0, 1.0]]) + xp.asarray([[-0.05, 0.77, 0.0]])
    scale = xp.asarray([[3.0, 1.0, 1.0]])
    margin = norm((now.object_start - corner) * scale)
    at_corner = long_tail(norm((now.object - corner) * scale), 0, TARGET_RADIUS, margin)
    bonus = xp.where(now.object[:, 1] > 0.75, 5 + 3 * in_place, 1 + 4 * at_corner)
    reward = 2 * grasp + xp.where((reach < 0.02) & (now.opening > 0), bonus, 0.0)
    reward = xp.where(gap < TARGET_RADIUS, 10.0, reward)
    return Outcome(reward, gap <= 0.07, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


PUSH_WALL = Task(
    name="push-wall",
    model="push_wall_v3",
    low=(-0.05, 0.6, 0.015, -0.05, 0.85, 0.01),
    high=(0.05, 0.65, 0.015, 0.05, 0.9, 0.02),
    apart=0.15,
    start=_start,
    objects=puck,
    evaluate=_evaluate_wall,
    touches="objGeom",
)
