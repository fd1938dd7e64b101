"""Press a button on a box, from the side or from the top, with or without a wall in the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance
from mutatis.worlds._shaping import both, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task, single
from mutatis.worlds.tasks._common import scenery

_BOX = scenery("box")
_HAND = single(0, 0.4, 0.2)
_Y, _Z = 1, 2

Reward = Callable[[Situation, Array, Array, Array], Array]
"""From the situation, the hand's distance to the button, and how far it is near it and has pressed it, 0 to 1."""


def press(axis: int, radius: float, solved: float, reward: Reward) -> Callable[[Situation], Outcome]:
    """The evaluation of a button that is pressed along an axis.

    **Arguments:**

    - `axis`: number of the coordinate in which the button has to meet the target.
    - `radius`: distance at which the hand counts as at the button, in metres.
    - `solved`: distance of the button to the target that counts as success, in metres.
    - `reward`: what that is worth.
    """

    def evaluate(now: Situation) -> Outcome:
        button, target, opening = now.object, now.target, now.opening
        gap = now.xp.abs(target[:, axis] - button[:, axis])
        reach = distance(button, now.tcp)
        # The original takes the hand's distance at the start from the button's present place.
        near = long_tail(reach, 0, radius, distance(button, now.tcp_start))
        pressed = long_tail(gap, 0, 0.005, now.memory["start_gap"])
        worth = reward(now, reach, near, pressed)
        return Outcome(worth, gap <= solved, reach <= 0.05, opening > 0, near, pressed, gap)

    return evaluate


def approach(fingers: Callable[[Array], Array], weight: float, within: float) -> Reward:
    """Up to `weight` for fingers near the button, and the rest of 10 for pressing it, the hand `within` metres."""

    def reward(now: Situation, reach: Array, near: Array, pressed: Array) -> Array:
        pressing = now.xp.where(reach <= within, (10 - weight) * pressed, 0.0)
        return weight * both(fingers(now.opening), near) + pressing

    return reward


def opened(opening: Array) -> Array:
    """The gripper's opening: the original rewards it here under the name `tcp_closed`."""
    return opening


def closed(opening: Array) -> Array:
    """How far the gripper is closed."""
    return 1 - opening


def _behind_wall(now: Situation, reach: Array, near: Array, pressed: Array) -> Array:
    away = 2 * both(closed(now.opening) / 2, near)
    return now.xp.where(reach > 0.07, away, 2 + 2 * (1 + now.opening) + 4 * pressed**2)


def _memory(bench: Bench, vector: np.ndarray, axis: int) -> dict[str, np.ndarray]:
    target = bench.site("hole")
    gap = np.abs(target[axis] - bench.site("buttonStart")[axis])
    return {"object_start": vector, "target": target, "start_gap": gap}


def _start_side(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put(9, 0.0, still=(9, 10))
    return _memory(bench, vector, _Y)


def _start_top(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.forward()
    return _memory(bench, vector, _Z)


def _button_side(scene: Scene) -> list[Array]:
    return [scene.body("button") + scene.xp.asarray([[0.0, -0.193, 0.0]]), scene.body_quat("button")]


def _button_top(scene: Scene) -> list[Array]:
    return [scene.body("button") + scene.xp.asarray([[0.0, 0.0, 0.193]]), scene.body_quat("button")]


BUTTON_PRESS = Task(
    name="button-press",
    model="button_press",
    low=(-0.1, 0.85, 0.115),
    high=(0.1, 0.9, 0.115),
    hand=_HAND,
    moves=_BOX,
    start=_start_side,
    objects=_button_side,
    evaluate=press(_Y, 0.05, 0.02, approach(opened, 2, 0.05)),
)

BUTTON_PRESS_WALL = Task(
    name="button-press-wall",
    model="button_press_wall",
    low=(-0.05, 0.85, 0.1149),
    high=(0.05, 0.9, 0.1151),
    hand=_HAND,
    moves=_BOX,
    start=_start_side,
    objects=_button_side,
    evaluate=press(_Y, 0.01, 0.03, _behind_wall),
)

BUTTON_PRESS_TOPDOWN = Task(
    name="button-press-topdown",
    model="button_press_topdown",
    low=(-0.1, 0.8, 0.115),
    high=(0.1, 0.9, 0.115),
    hand=_HAND,
    moves=_BOX,
    start=_start_top,
    objects=_button_top,
    evaluate=press(_Z, 0.01, 0.024, approach(closed, 5, 0.03)),
)

# As in release 3.1.1 of the original; 3.0.0 rewards closed fingers here too.
BUTTON_PRESS_TOPDOWN_WALL = Task(
    name="button-press-topdown-wall",
    model="button_press_topdown_wall",
    low=(-0.1, 0.8, 0.115),
    high=(0.1, 0.9, 0.115),
    hand=_HAND,
    moves=_BOX,
    start=_start_top,
    objects=_button_top,
    evaluate=press(_Z, 0.01, 0.024, approach(opened, 5, 0.03)),
)
