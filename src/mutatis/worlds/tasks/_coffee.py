"""A coffee machine: press its button, push the mug under its spout, pull the mug away."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance, norm
from mutatis.worlds._shaping import grip, long_tail, reach
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Moves, Task
from mutatis.worlds.tasks._buttons import approach, opened, press
from mutatis.worlds.tasks._common import carried, scenery

_HAND = (0.0, 0.4, 0.2)
_BUTTON_TRAVEL = 0.03
_SCALE = np.array([2.0, 2.0, 1.0])
"""Errors in the plane count double."""


def _put_mug(bench: Bench, position: np.ndarray) -> None:
    # The mug's joint comes first in this model, so the velocities that the original stops are the robot's.
    bench.put(0, position, still=(9, 15))


def _start_button(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    _put_mug(bench, vector + np.array([0.0, -0.22, 0.0]))
    button = vector + np.array([0.0, -0.22, 0.3])
    target = button + np.array([0.0, _BUTTON_TRAVEL, 0.0])
    return {"object_start": vector, "target": target, "start_gap": np.array(_BUTTON_TRAVEL)}


def _start_mug(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    mug, target = vector[:3], vector[3:]
    _put_mug(bench, mug)
    return {"object_start": mug, "target": target, "start_gap": norm((mug - target) * _SCALE)}


def _button(scene: Scene) -> list[Array]:
    position = scene.site("buttonStart")
    return [position, scene.xp.broadcast_to(scene.xp.asarray([[1.0, 0.0, 0.0, 0.0]]), (len(position), 4))]


def _mug(scene: Scene) -> list[Array]:
    return [scene.body("obj"), scene.geom_quat("mug")]


def _evaluate_mug(now: Situation) -> Outcome:
    xp = now.xp
    mug, opening = now.object, now.opening
    offset = mug - now.target
    gap, scaled_gap = norm(offset), norm(offset * xp.asarray(_SCALE)[None])
    in_place = long_tail(scaled_gap, 0, 0.05, now.memory["start_gap"])
    holding = grip(now, mug, radius=0.02, pad_success=0.05, xz_threshold=0.05, effort=0.7).grasp
    grasp = (holding + reach(now, mug, 0.04)) / 2
    hand_gap = distance(mug, now.tcp)
    reward = carried(grasp, in_place, (hand_gap < 0.04) & (opening > 0), 1 + 5 * in_place, scaled_gap < 0.05)
    return Outcome(reward, gap <= 0.07, hand_gap <= 0.03, now.touching & (opening > 0), grasp, in_place, gap)


COFFEE_BUTTON = Task(
    name="coffee-button",
    model="coffee",
    low=(-0.1, 0.8, -0.001),
    high=(0.1, 0.9, 0.001),
    hand=_HAND,
    moves=scenery("coffee_machine"),
    start=_start_button,
    objects=_button,
    evaluate=press(1, 0.05, 0.02, approach(opened, 2, 0.05)),
)

COFFEE_PULL = Task(
    name="coffee-pull",
    model="coffee",
    low=(-0.05, 0.7, -0.001, -0.1, 0.55, -0.001),
    high=(0.05, 0.75, 0.001, 0.1, 0.65, 0.001),
    apart=0.15,
    hand=_HAND,
    moves=Moves("coffee_machine", lambda vector, usual: vector[:3] + np.array([0.0, 0.22, 0.0])),
    start=_start_mug,
    objects=_mug,
    evaluate=_evaluate_mug,
    touches="mug",
)

COFFEE_PUSH = Task(
    name="coffee-push",
    model="coffee",
    low=(-0.1, 0.55, -0.001, -0.05, 0.7, -0.001),
    high=(0.1, 0.65, 0.001, 0.05, 0.75, 0.001),
    apart=0.15,
    hand=_HAND,
    moves=Moves("coffee_machine", lambda vector, usual: vector[3:] + np.array([0.0, 0.22, 0.0])),
    start=_start_mug,
    objects=_mug,
    evaluate=_evaluate_mug,
    touches="mug",
)
