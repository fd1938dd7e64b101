"""Slide a window open and closed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance
from mutatis.worlds._shaping import both, gaussian, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task, single
from mutatis.worlds.tasks._common import scenery

_WINDOW = scenery("window")
_HAND = single(0, 0.4, 0.2)
_WIDTH = 0.2
_RADIUS = 0.05
_HANDLE_RADIUS = 0.02


def _slide(bench: Bench, position: float) -> None:
    # No forward pass: the first observation shows the handle where it was before.
    bench.data.qpos[bench.layout.joint["window_slide"]] = position


def _start_open(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    _slide(bench, 0.0)
    target = vector + np.array([_WIDTH, 0.0, 0.0])
    start_gap = np.abs(vector[0] - target[0])
    return {"object_start": vector, "target": target} | _margins(bench, bench.site("handleOpenStart"), start_gap)


def _start_close(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    _slide(bench, _WIDTH)
    handle = bench.site("handleCloseStart") + np.array([_WIDTH, 0.0, 0.0])
    start_gap = np.abs(handle[0] - vector[0])
    return {"object_start": vector, "target": vector} | _margins(bench, handle, start_gap)


def _margins(bench: Bench, handle: np.ndarray, start_gap: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "gap_margin": np.abs(start_gap - _RADIUS),
        "reach_margin": np.abs(distance(handle, bench.tcp) - _HANDLE_RADIUS),
    }


def _handle_open(scene: Scene) -> list[Array]:
    return [scene.site("handleOpenStart")]


def _handle_close(scene: Scene) -> list[Array]:
    return [scene.site("handleCloseStart")]


def _evaluate(shape: Callable[..., Array]) -> Callable[[Situation], Outcome]:
    def evaluate(now: Situation) -> Outcome:
        xp = now.xp
        gap = xp.abs(now.object[:, 0] - now.target[:, 0])
        in_place = long_tail(gap, 0, _RADIUS, now.memory["gap_margin"])
        hand_gap = distance(now.object, now.tcp)
        reach = shape(hand_gap, 0, _HANDLE_RADIUS, now.memory["reach_margin"])
        reward = 10 * both(reach, in_place)
        return Outcome(reward, gap <= _RADIUS, hand_gap <= 0.05, xp.ones_like(gap), reach, in_place, gap)

    return evaluate


WINDOW_OPEN = Task(
    name="window-open",
    model="window_horizontal",
    low=(-0.1, 0.7, 0.16),
    high=(0.1, 0.9, 0.16),
    hand=_HAND,
    moves=_WINDOW,
    start=_start_open,
    objects=_handle_open,
    evaluate=_evaluate(long_tail),
)

WINDOW_CLOSE = Task(
    name="window-close",
    model="window_horizontal",
    low=(0.0, 0.75, 0.2),
    high=(0.0, 0.9, 0.2),
    hand=_HAND,
    moves=_WINDOW,
    start=_start_close,
    objects=_handle_close,
    evaluate=_evaluate(gaussian),
)
