"""Open and close a drawer."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, clip, distance, norm
from mutatis.worlds._shaping import both, gaussian, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task, single
from mutatis.worlds.tasks._common import scenery

_DRAWER = scenery("drawer")
_HAND = single(0, 0.6, 0.2)


def _start_open(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    del bench
    return {"object_start": vector, "target": vector + np.array([0.0, -0.16 - 0.2, 0.09])}


def _handle(scene: Scene) -> list[Array]:
    xp = scene.xp
    return [scene.body("drawer_link") + xp.asarray([[0.0, -0.16, 0.0]]), scene.body_quat("drawer_link")]


def _evaluate_open(now: Situation) -> Outcome:
    xp = now.xp
    hand, handle = now.observation[:, :3], now.object
    gap = distance(handle, now.target)
    opening = long_tail(gap, 0, 0.02, 0.2)
    handle_start = now.target + xp.asarray([[0.0, 0.2, 0.0]])
    scale = xp.asarray([[3.0, 3.0, 1.0]])
    margin = norm((handle_start - now.tcp_start) * scale)
    caging = long_tail(norm((handle - hand) * scale), 0, 0.01, margin)
    near = distance(handle, hand) <= 0.03
    return Outcome(5 * (caging + opening), gap <= 0.03, near, now.opening > 0, caging, opening, gap)


DRAWER_OPEN = Task(
    name="drawer-open",
    model="drawer",
    low=(-0.1, 0.9, 0.0),
    high=(0.1, 0.9, 0.0),
    hand=_HAND,
    moves=_DRAWER,
    start=_start_open,
    objects=_handle,
    evaluate=_evaluate_open,
)


def _start_close(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put(9, -0.15)
    return {"object_start": _handle_close(bench.scene)[0][0], "target": vector + np.array([0.0, -0.16, 0.09])}


def _handle_close(scene: Scene) -> list[Array]:
    return [scene.body("drawer_link") + scene.xp.asarray([[0.0, -0.16, 0.05]])]


def _evaluate_close(now: Situation) -> Outcome:
    xp = now.xp
    radius, handle_radius = 0.05, 0.005
    gap, hand_gap = distance(now.object, now.target), distance(now.object, now.tcp)
    in_place = long_tail(gap, 0, radius, xp.abs(distance(now.object_start, now.target) - radius))
    margin = xp.abs(distance(now.object_start, now.tcp_start) - handle_radius)
    closed = clip(now.action[:, 3], 0, 1)
    grasp = both(gaussian(hand_gap, 0, handle_radius, margin), closed)
    success = gap <= radius + 0.015
    reward = xp.where(success, 10.0, 10 * both(grasp, in_place))
    return Outcome(reward, success, hand_gap <= 0.01, xp.ones_like(gap), grasp, in_place, gap)


DRAWER_CLOSE = Task(
    name="drawer-close",
    model="drawer",
    low=(-0.1, 0.9, 0.0),
    high=(0.1, 0.9, 0.0),
    hand=_HAND,
    moves=_DRAWER,
    start=_start_close,
    objects=_handle_close,
    evaluate=_evaluate_close,
)
