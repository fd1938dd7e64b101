"""Sweep a block off the table or into its hole; kick a ball into a goal."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, clip, distance, norm
from mutatis.worlds._shaping import both, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Moves, Task
from mutatis.worlds.tasks._common import at_rest, pose, puck, raised, start_as_drawn
from mutatis.worlds.tasks._push import TARGET_RADIUS, progress, squeeze

_HOLE = (0.0, 0.84, 0.02)


def _swept(now: Situation, target: Array, *, slack: float, xz_threshold: float) -> Outcome:
    xp = now.xp
    gap, in_place = progress(now, target)
    near = distance(now.object, now.tcp) <= 0.03
    grasp = squeeze(now, 0.02, slack=slack, xz_threshold=xz_threshold)
    reward = xp.where(gap < TARGET_RADIUS, 10.0, 2 * grasp + 6 * both(grasp, in_place))
    return Outcome(reward, gap <= TARGET_RADIUS, near, now.touching & (now.opening > 0), grasp, in_place, gap)


def _start_beside_edge(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put_object(vector)
    return {"object_start": vector, "target": np.array([0.5, vector[1], 0.01])}


def _evaluate_off(now: Situation) -> Outcome:
    return _swept(now, now.target, slack=0.01, xz_threshold=0.005)


SWEEP = Task(
    name="sweep",
    model="sweep_v3",
    low=(-0.1, 0.6, 0.02),
    high=(0.1, 0.7, 0.02),
    start=_start_beside_edge,
    objects=pose("obj"),
    evaluate=_evaluate_off,
    touches="objGeom",
)


def _start_before_hole(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    start = at_rest(bench, vector)
    bench.put_object(start)
    return {"object_start": start, "target": np.array(_HOLE)}


def _evaluate_into(now: Situation) -> Outcome:
    # Over the hole is enough: the target is as high as the block is now.
    target = now.xp.concatenate([now.target[:, :2], now.object[:, 2:]], axis=1)
    return _swept(now, target, slack=0.005, xz_threshold=0.01)


SWEEP_INTO = Task(
    name="sweep-into",
    model="table_with_hole",
    low=(-0.1, 0.6, 0.02, -0.001, 0.8399, 0.0199),
    high=(0.1, 0.7, 0.02, 0.001, 0.8401, 0.0201),
    apart=0.15,
    apart_from=_HOLE[:2],
    start=_start_before_hole,
    objects=puck,
    evaluate=_evaluate_into,
    touches="objGeom",
)


def _ball(scene: Scene) -> list[Array]:
    return [scene.body("soccer_ball"), scene.geom_quat("objGeom")]


def _evaluate_kick(now: Situation) -> Outcome:
    xp = now.xp
    scale = xp.asarray([[3.0, 1.0, 1.0]])
    offset = now.object - now.target
    gap, wide_gap = norm(offset), norm(offset * scale)
    # The margin is how far the ball has come, not how far it had to go.
    in_place = long_tail(wide_gap, 0, 0.07, norm((now.object - now.object_start) * scale))
    line = now.target[:, 1] - 0.1
    past = now.object[:, 1] - line
    missed = (past > 0) & (xp.abs(offset[:, 0]) > 0.1)
    in_place = xp.where(missed, clip(in_place - 2 * (past / (1 - line)), 0.0, 1.0), in_place)
    grasp = squeeze(now, 0.013, slack=0.01, xz_threshold=0.005)
    reward = xp.where(wide_gap < 0.07, 10.0, 3 * grasp + 6.5 * in_place)
    near = distance(now.object, now.tcp) <= 0.03
    return Outcome(reward, gap <= 0.07, near, now.touching & raised(now, 0.02), grasp, in_place, gap)


SOCCER = Task(
    name="soccer",
    model="soccer",
    low=(-0.1, 0.6, 0.03, -0.1, 0.8, 0.0),
    high=(0.1, 0.7, 0.03, 0.1, 0.9, 0.0),
    apart=0.15,
    moves=Moves("goal_whole", lambda vector, usual: vector[3:]),
    start=start_as_drawn,
    objects=_ball,
    evaluate=_evaluate_kick,
    touches="objGeom",
)
