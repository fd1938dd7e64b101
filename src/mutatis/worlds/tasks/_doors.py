"""Open and close a door, turn its lock."""

from __future__ import annotations

import math

import numpy as np

from mutatis.worlds._bench import SUBSTEPS, Bench
from mutatis.worlds._scene import Array, Scene, clip, distance, norm
from mutatis.worlds._shaping import both, gaussian, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task, single
from mutatis.worlds.tasks._common import above, funnel, scenery, shoulder

_DOOR = scenery("door")
_JOINT, _VELOCITY = 9, (9, 10)
_CLOSING_HAND = single(-0.5, 0.6, 0.2)


def _start_open(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put(_JOINT, 0.0, still=_VELOCITY)
    return {"object_start": vector, "target": vector + np.array([-0.3, -0.45, 0.0])}


def _start_close(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put(_JOINT, -1.5708, still=_VELOCITY)
    return {"object_start": vector, "target": vector + np.array([0.2, -0.2, 0.0])}


def _start_lock(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    del vector
    bench.step(SUBSTEPS)
    lock = bench.body("lock_link")
    return {"object_start": lock, "target": lock + np.array([0.0, -0.04, -0.1])}


def _start_unlock(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    del vector
    bench.put(_JOINT, 1.5708, still=_VELOCITY)
    lock = bench.body("lock_link")
    return {"object_start": lock, "target": lock + np.array([0.1, -0.04, 0.0])}


def _handle(scene: Scene) -> list[Array]:
    return [scene.geom("handle"), scene.geom_quat("handle")]


def _bolt(scene: Scene) -> list[Array]:
    return [scene.site("lockStartLock"), scene.body_quat("door_link")]


def _turned_bolt(scene: Scene) -> list[Array]:
    return [scene.site("lockStartUnlock"), scene.body_quat("door_link")]


def _ready_to_open(now: Situation) -> Array:
    """1 where the hand is between the handle and the door and came there from above, out of a funnel, (N,)."""
    xp = now.xp
    hand = now.observation[:, :3]
    from_handle = hand - (now.object + xp.asarray([[-0.05, 0.0, 0.0]]))
    floor = funnel(norm(from_handle[:, :2]), throat=0.12, slope=0.04, rim=0.4)
    between = long_tail(norm(from_handle - xp.asarray([[0.05, 0.03, -0.01]])), 0, 0.06, 0.5)
    return both(above(hand[:, 2], floor, floor / 2), between)


def _evaluate_open(now: Situation) -> Outcome:
    xp = now.xp
    angle = -now.scene.joint("doorjoint")
    effort = (clip(now.action[:, 3], -1, 1) + 1) / 2
    ready = _ready_to_open(now)
    tried = xp.where(angle > math.pi / 90, 0.2, 0.0)
    opened = tried + 0.8 * long_tail(math.pi * 2 / 3 - angle, 0, 0.5, math.pi / 3)
    success = xp.abs(now.object[:, 0] - now.target[:, 0]) <= 0.08
    reward = xp.where(success, 10.0, 2 * both(ready, effort) + 8 * opened)
    return Outcome(reward, success, ready, effort >= 0.5, effort, opened, xp.zeros_like(angle))


def _evaluate_close(now: Situation) -> Outcome:
    xp = now.xp
    gap = distance(now.object, now.target)
    in_place = gaussian(gap, 0, 0.05, distance(now.object_start, now.target))
    margin = distance(xp.asarray([_CLOSING_HAND]), now.object) + 0.1
    hand_in_place = gaussian(distance(now.tcp, now.target), 0, 0.0125, margin)
    reward = xp.where(gap < 0.05, 10.0, 3 * hand_in_place + 6 * in_place)
    one = xp.ones_like(gap)
    return Outcome(reward, gap <= 0.08, xp.zeros_like(gap), one, one, hand_in_place, gap)


def _evaluate_bolt(now: Situation, axis: int, near: Array, at_bolt: Array, used: Array) -> Outcome:
    """Of both ways to turn the lock: how far along an axis the bolt has come counts four times as much as `used`."""
    gap = now.xp.abs(now.target[:, axis] - now.object[:, axis])
    turned = long_tail(gap, 0, 0.005, 0.1)
    return Outcome(2 * used + 8 * turned, gap <= 0.02, near <= 0.05, now.opening > 0, at_bolt, turned, gap)


def _evaluate_lock(now: Situation) -> Outcome:
    near = norm((now.object - now.left_pad) * now.xp.asarray([[0.25, 1.0, 0.5]]))
    # The original means the distance at the start, but holds a view of the simulation: the pad's place now.
    at_bolt = long_tail(near, 0, 0.01, near)
    return _evaluate_bolt(now, 2, near, at_bolt, both(now.opening, at_bolt))


def _evaluate_unlock(now: Situation) -> Outcome:
    near, at_bolt = shoulder(now, now.object, now.object_start, (0.25, 1.0, 0.5))
    return _evaluate_bolt(now, 0, near, at_bolt, at_bolt)


DOOR_OPEN = Task(
    name="door-open",
    model="door_pull",
    low=(0.0, 0.85, 0.15),
    high=(0.1, 0.95, 0.15),
    moves=_DOOR,
    start=_start_open,
    objects=_handle,
    evaluate=_evaluate_open,
)

DOOR_CLOSE = Task(
    name="door-close",
    model="door_pull",
    low=(0.0, 0.85, 0.15),
    high=(0.1, 0.95, 0.15),
    hand=_CLOSING_HAND,
    moves=_DOOR,
    start=_start_close,
    objects=_handle,
    evaluate=_evaluate_close,
)

DOOR_LOCK = Task(
    name="door-lock",
    model="door_lock",
    low=(-0.1, 0.8, 0.15),
    high=(0.1, 0.85, 0.15),
    hand=single(0, 0.6, 0.2),
    hand_low=(-0.5, 0.4, -0.15),
    moves=_DOOR,
    start=_start_lock,
    objects=_bolt,
    evaluate=_evaluate_lock,
)

DOOR_UNLOCK = Task(
    name="door-unlock",
    model="door_lock",
    low=(-0.1, 0.8, 0.15),
    high=(0.1, 0.85, 0.15),
    hand=single(0, 0.6, 0.2),
    hand_low=(-0.5, 0.4, -0.15),
    moves=_DOOR,
    start=_start_unlock,
    objects=_turned_bolt,
    evaluate=_evaluate_unlock,
)
