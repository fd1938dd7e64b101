"""Turn a faucet, a dial or a lever."""

from __future__ import annotations

import math

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, clip, distance, interface
from mutatis.worlds._shaping import both, gaussian, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task, single
from mutatis.worlds.tasks._common import scenery, shoulder

_FAUCET, _DIAL, _LEVER = (scenery(body) for body in ("faucetBase", "dial", "lever"))
_RADIUS = 0.07
_PUSH = np.array([[0.05, 0.02, 0.09]])
"""From the dial's mark to where the hand should push."""


def _start_faucet_open(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    del bench
    return {"object_start": vector, "target": vector + np.array([0.175, 0.0, 0.125])}


def _start_faucet_close(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.forward()
    return {"object_start": vector, "target": vector + np.array([-0.175, 0.0, 0.125])}


def _start_dial(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    push = _dial(bench.scene)[0] + _PUSH
    return {"object_start": vector, "target": vector + np.array([0.0, 0.03, 0.03]), "push_start": push[0]}


def _start_lever(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    del bench
    tip = vector + np.array([0.12, -0.2, 0.25])
    return {"object_start": vector, "target": vector + np.array([0.12, 0.0, 0.45]), "tip_start": tip}


def _faucet_open(scene: Scene) -> list[Array]:
    return _faucet(scene, "handleStartOpen")


def _faucet_close(scene: Scene) -> list[Array]:
    return _faucet(scene, "handleStartClose")


def _faucet(scene: Scene, handle: str) -> list[Array]:
    return [scene.site(handle) + scene.xp.asarray([[0.0, 0.0, -0.01]]), scene.body_quat("faucetBase")]


def _dial(scene: Scene) -> list[Array]:
    xp = scene.xp
    angle = scene.joint("knob_Joint_1")
    mark = xp.stack([xp.sin(angle), -xp.cos(angle), xp.zeros_like(angle)], axis=1) * 0.05
    return [scene.body("dial") + mark, scene.body_quat("dial")]


def _lever(scene: Scene) -> list[Array]:
    return [scene.site("leverStart"), scene.geom_quat("objGeom")]


def _progress(now: Situation, position: Array, start: Array) -> tuple[Array, Array]:
    """The distance of the object from the target, and what it is worth, each (N,)."""
    gap = distance(position, now.target)
    return gap, long_tail(gap, 0, _RADIUS, now.xp.abs(distance(start, now.target) - _RADIUS))


def _approach(now: Situation, position: Array, start: Array, radius: float) -> tuple[Array, Array]:
    """The distance of the hand from a place, and what it is worth, each (N,)."""
    gap = distance(position, now.tcp)
    return gap, gaussian(gap, 0, radius, now.xp.abs(distance(start, now.tcp_start) - radius))


def _outcome(reward: Array, near: Array, grasp: Array, gap: Array, in_place: Array) -> Outcome:
    one = interface(gap).ones_like(gap)
    return Outcome(reward, gap <= _RADIUS, near <= 0.01, one, grasp, in_place, gap)


def _evaluate_faucet(now: Situation, handle: Array) -> Outcome:
    gap, in_place = _progress(now, handle, now.object_start)
    near, reach = _approach(now, handle, now.object_start, 0.01)
    reward = now.xp.where(gap <= _RADIUS, 10.0, 4 * reach + 6 * in_place)
    return _outcome(reward, near, reach, gap, in_place)


def _evaluate_faucet_open(now: Situation) -> Outcome:
    return _evaluate_faucet(now, now.object + now.xp.asarray([[-0.04, 0.0, 0.03]]))


def _evaluate_faucet_close(now: Situation) -> Outcome:
    return _evaluate_faucet(now, now.object)


def _evaluate_dial(now: Situation) -> Outcome:
    xp = now.xp
    push_start = now.memory["push_start"]
    gap, in_place = _progress(now, now.object, push_start)
    near, reach = _approach(now, now.object + xp.asarray(_PUSH), push_start, 0.005)
    grasp = both(reach, clip(now.action[:, 3], 0, 1))
    return _outcome(10 * both(grasp, in_place), near, grasp, gap, in_place)


def _evaluate_lever(now: Situation) -> Outcome:
    xp = now.xp
    tip_start = now.memory["tip_start"]
    near, ready = shoulder(now, now.object, tip_start, (4.0, 1.0, 4.0))
    error = xp.abs(-now.scene.joint("LeverAxis") - math.pi / 2)
    lifted = long_tail(error, 0, math.pi / 48, math.pi * 5 / 12)
    in_place = long_tail(distance(now.object, now.target), 0, 0.04, distance(tip_start, now.target))
    return Outcome(10 * both(ready, in_place), error <= math.pi / 24, near < 0.03, ready > 0.9, ready, lifted, near)


FAUCET_OPEN = Task(
    name="faucet-open",
    model="faucet",
    low=(-0.05, 0.8, 0.0),
    high=(0.05, 0.85, 0.0),
    hand=(0.0, 0.4, 0.2),
    hand_low=(-0.5, 0.4, -0.15),
    moves=_FAUCET,
    start=_start_faucet_open,
    objects=_faucet_open,
    evaluate=_evaluate_faucet_open,
)

FAUCET_CLOSE = Task(
    name="faucet-close",
    model="faucet",
    low=(-0.1, 0.8, 0.0),
    high=(0.1, 0.85, 0.0),
    hand=(0.0, 0.4, 0.2),
    hand_low=(-0.5, 0.4, -0.15),
    moves=_FAUCET,
    start=_start_faucet_close,
    objects=_faucet_close,
    evaluate=_evaluate_faucet_close,
)

DIAL_TURN = Task(
    name="dial-turn",
    model="dial",
    low=(-0.1, 0.7, 0.0),
    high=(0.1, 0.8, 0.0),
    hand=single(0, 0.6, 0.2),
    moves=_DIAL,
    start=_start_dial,
    objects=_dial,
    evaluate=_evaluate_dial,
)

LEVER_PULL = Task(
    name="lever-pull",
    model="lever_pull",
    low=(-0.1, 0.7, 0.0),
    high=(0.1, 0.8, 0.0),
    hand=single(0, 0.4, 0.2),
    hand_low=(-0.5, 0.4, -0.15),
    moves=_LEVER,
    start=_start_lever,
    objects=_lever,
    evaluate=_evaluate_lever,
)
