"""Slide a plate into a cabinet or out of it, forwards, backwards or sideways."""

from __future__ import annotations

from functools import partial

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance, interface
from mutatis.worlds._shaping import both, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Moves, Task, single

_HAND = single(0, 0.6, 0.2)
_RADIUS = 0.05


def _start(bench: Bench, vector: np.ndarray, x: float = 0.0, y: float = 0.0) -> dict[str, np.ndarray]:
    """Puts the plate at the coordinates x and y of its slides."""
    bench.put(9, np.array([x, y]))
    return {"object_start": vector[:3], "target": vector[3:]}


def _plate(scene: Scene) -> list[Array]:
    return [scene.geom("puck"), scene.geom_quat("puck")]


def _measure(now: Situation, slack: float) -> tuple[Array, Array, Array, Array]:
    """The plate's distance from the target and the hand's from the plate, and what each is worth, each (N,)."""
    gap, near = distance(now.object, now.target), distance(now.tcp, now.object)
    in_place = long_tail(gap, 0, _RADIUS, distance(now.object_start, now.target) - slack)
    grasp = long_tail(near, 0, _RADIUS, distance(now.tcp_start, now.object_start) - slack)
    return gap, near, in_place, grasp


def _outcome(reward: Array, gap: Array, near: Array, in_place: Array, grasp: Array) -> Outcome:
    xp = interface(gap)
    reward = xp.where(gap < _RADIUS, 10.0, reward)
    return Outcome(reward, gap <= 0.07, near <= 0.03, xp.zeros_like(gap), grasp, in_place, gap)


def _evaluate_forwards(now: Situation) -> Outcome:
    gap, near, in_place, grasp = _measure(now, 0.0)
    return _outcome(8 * both(grasp, in_place), gap, near, in_place, grasp)


def _evaluate(now: Situation) -> Outcome:
    gap, near, in_place, grasp = _measure(now, _RADIUS)
    pressed = (now.tcp[:, 2] <= 0.03) & (near < 0.07)
    return _outcome(now.xp.where(pressed, 2 + 7 * in_place, 1.5 * grasp), gap, near, in_place, grasp)


PLATE_SLIDE = Task(
    name="plate-slide",
    model="plate_slide",
    low=(0.0, 0.6, 0.0, -0.1, 0.85, 0.0),
    high=(0.0, 0.6, 0.0, 0.1, 0.9, 0.0),
    hand=_HAND,
    moves=Moves("puck_goal", lambda vector, usual: vector[3:]),
    start=_start,
    objects=_plate,
    evaluate=_evaluate_forwards,
)

# In two tasks the original writes the cabinet's position where the next forward pass undoes it: the cabinet stays.
PLATE_SLIDE_BACK = Task(
    name="plate-slide-back",
    model="plate_slide",
    low=(0.0, 0.85, 0.0, -0.1, 0.6, 0.015),
    high=(0.0, 0.85, 0.0, 0.1, 0.6, 0.015),
    hand=_HAND,
    start=partial(_start, y=0.15),
    objects=_plate,
    evaluate=_evaluate,
)

PLATE_SLIDE_SIDE = Task(
    name="plate-slide-side",
    model="plate_slide_sideway",
    low=(0.0, 0.6, 0.0, -0.3, 0.54, 0.0),
    high=(0.0, 0.6, 0.0, -0.25, 0.66, 0.0),
    hand=_HAND,
    start=_start,
    objects=_plate,
    evaluate=_evaluate,
)

PLATE_SLIDE_BACK_SIDE = Task(
    name="plate-slide-back-side",
    model="plate_slide_sideway",
    low=(-0.25, 0.6, 0.0, -0.05, 0.6, 0.015),
    high=(-0.25, 0.6, 0.0, 0.15, 0.6, 0.015),
    hand=_HAND,
    moves=Moves("puck_goal", lambda vector, usual: vector[:3]),
    start=partial(_start, x=-0.15),
    objects=_plate,
    evaluate=_evaluate,
)
