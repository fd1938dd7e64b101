"""Use a tool: a hammer to drive a nail, a stick to push and to pull a thermos."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance, norm
from mutatis.worlds._shaping import both, grip, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task
from mutatis.worlds.tasks._common import raised


def at_hand(now: Situation, half_length: float) -> Array:
    """The part of a tool's handle to be grasped, (N, 3): under the hand, where the hand is over the handle.

    The handle lies along x and its middle is the object's position.
    """
    xp = now.xp
    middle, hand = now.object[:, :1], now.observation[:, :1]
    x = xp.where(xp.abs(middle - hand) < half_length, hand, middle)
    return xp.concatenate([x, now.object[:, 1:]], axis=1)


def lifted_to(position: Array, place: Array) -> Array:
    """A tenth for any lift off the table, the rest for being brought to a place."""
    return 0.1 * (position[:, 2] > 0.02) + 0.9 * long_tail(distance(place, position), 0, 0.02, 0.2)


def wielded(
    now: Situation,
    upright: tuple[float, ...],
    grasp: Array,
    in_place: Array,
    success: Array,
    beyond: float = -1.0,
) -> Outcome:
    """The common outcome of a tool that is grasped, brought and kept upright.

    **Arguments:**

    - `now`: the situation.
    - `upright`: the right orientation of the tool (w, x, y, z).
    - `grasp`: how well it is grasped, (N,).
    - `in_place`: how well it is placed, (N,).
    - `success`: whether the task is done, (N,).
    - `beyond`: the reward that a success must already have to become 10.
    """
    xp = now.xp
    error = norm(now.observation[:, 7:11] - xp.asarray([upright]))
    steady = xp.maximum(1 - error / 0.4, 0.0)
    reward = (2 * grasp + 6 * in_place) * steady
    reward = xp.where(success & (reward > beyond), 10.0, reward)
    return Outcome(reward, success, steady, grasp >= 0.5, grasp, in_place, xp.zeros_like(grasp))


def _start_hammer(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    target = bench.site("goal")
    bench.put_object(vector)
    return {"object_start": vector, "target": target}


def _hammer_and_nail(scene: Scene) -> list[Array]:
    return [
        scene.body("hammer"),
        scene.body_quat("hammer"),
        scene.body("nail_link"),
        scene.body_quat("nail_link"),
    ]


def _evaluate_hammer(now: Situation) -> Outcome:
    grasp = grip(now, at_hand(now, 0.07), radius=0.015, pad_success=0.02, xz_threshold=0.01).dense
    head = now.object + now.xp.asarray([[0.16, 0.06, 0.0]])
    driven = now.scene.joint("NailSlideJoint") > 0.09
    # The nail alone proves little: it can be driven without the hammer.
    return wielded(now, (1.0, 0.0, 0.0, 0.0), grasp, lifted_to(head, now.target), driven, beyond=5.0)


_STICK_HEIGHT = 0.02


def _put_stick(bench: Bench, vector: np.ndarray, thermos: tuple[float, float]) -> dict[str, np.ndarray]:
    stick = np.append(vector[:2], _STICK_HEIGHT)
    bench.put_object(stick)
    bench.put(16, np.array(thermos), still=(16, 18))
    return {"object_start": bench.body("object"), "stick_start": stick}


def _start_pull(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    return {**_put_stick(bench, vector, (0.0, 0.09)), "target": np.append(vector[3:5], _STICK_HEIGHT)}


def _start_push(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    target = np.append(vector[3:5], bench.site("insertion")[2])
    return {**_put_stick(bench, vector, (0.0, 0.0)), "target": target}


def _stick_and_handle(scene: Scene) -> list[Array]:
    return [scene.body("stick"), scene.geom_quat("objGeom"), scene.site("insertion")]


def _stick_and_thermos(scene: Scene) -> list[Array]:
    stick, orientation, handle = _stick_and_handle(scene)
    return [stick, orientation, handle + scene.xp.asarray([[0.0, 0.09, 0.0]])]


def _stick_raised(now: Situation) -> Array:
    return (now.object[:, 2] - 0.01 > now.memory["stick_start"][:, 2]) & (now.opening > 0)


def _evaluate_pull(now: Situation) -> Outcome:
    xp = now.xp
    stick, handle, target = now.object, now.observation[:, 11:14], now.target
    stick_start, thermos_start = now.memory["stick_start"], now.object_start
    middle, scale = xp.asarray([[0.05, 0.0, 0.0]]), xp.asarray([[1.0, 1.0, 2.0]])
    thermos = handle + middle
    radius = 0.05
    margin = norm((stick_start - (thermos_start + middle)) * scale)
    in_place = long_tail(norm((stick - thermos) * scale), 0, radius, margin)
    stick_brought = long_tail(distance(stick, target), 0, radius, distance(stick_start, target))
    thermos_brought = long_tail(distance(thermos, target), 0, radius, distance(thermos_start, target))

    reach, gap = distance(stick, now.tcp), distance(handle, target)
    held = (reach < 0.02) & _stick_raised(now)
    grasp = xp.where(held, 1.0, grip(now, stick, radius=0.014, pad_success=0.05, xz_threshold=0.01).dense)
    end = now.scene.site("stick_end") - handle
    inserted = (end[:, 0] >= 0) & (xp.abs(end[:, 1]) <= 0.04) & (xp.abs(end[:, 2]) <= 0.06)
    arrived = inserted & (gap <= 0.12)

    reward = both(grasp, in_place)
    bonus = xp.where(inserted, 6 + 2 * stick_brought + thermos_brought, 1 + 5 * in_place)
    reward = xp.where(held & arrived, 10.0, reward + xp.where(held, bonus, 0.0))
    return Outcome(reward, arrived, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


def _evaluate_push(now: Situation) -> Outcome:
    xp = now.xp
    stick = now.object + xp.asarray([[0.015, 0.0, 0.0]])
    thermos, target, stick_start = now.observation[:, 11:14], now.target, now.memory["stick_start"]
    radius = 0.12
    in_place = long_tail(distance(stick, target), 0, radius, distance(stick_start, target) - radius)
    gap = distance(thermos, target)
    thermos_brought = long_tail(gap, 0, radius, distance(now.object_start, target) - radius)

    reach, lifted = distance(stick, now.tcp), _stick_raised(now)
    held, arrived = (reach < 0.02) & lifted, gap <= radius
    grasp = grip(now, stick, radius=0.04, pad_success=0.05, xz_threshold=0.01, start=stick_start).dense
    bonus = xp.where(arrived, 10.0, 2 + 5 * in_place + 3 * thermos_brought)
    reward, grasp = xp.where(held, bonus, grasp), xp.where(held, 1.0, grasp)
    grasped = now.touching & lifted
    return Outcome(reward, grasped & arrived, reach <= 0.03, grasped, grasp, in_place, gap)


HAMMER = Task(
    name="hammer",
    model="hammer",
    low=(-0.1, 0.4, 0.0),
    high=(0.1, 0.5, 0.0),
    hand=(0.0, 0.4, 0.2),
    start=_start_hammer,
    objects=_hammer_and_nail,
    evaluate=_evaluate_hammer,
)

STICK_PULL = Task(
    name="stick-pull",
    model="stick_obj",
    low=(-0.1, 0.55, 0.0, 0.35, 0.45, 0.0199),
    high=(0.0, 0.65, 0.001, 0.45, 0.55, 0.0201),
    apart=0.1,
    hand_low=(-0.5, 0.35, 0.05),
    start=_start_pull,
    objects=_stick_and_handle,
    evaluate=_evaluate_pull,
    touches="objGeom",
)

STICK_PUSH = Task(
    name="stick-push",
    model="stick_obj",
    low=(-0.08, 0.58, 0.0, 0.399, 0.55, 0.1319),
    high=(-0.03, 0.62, 0.001, 0.401, 0.6, 0.1321),
    apart=0.1,
    start=_start_push,
    objects=_stick_and_thermos,
    evaluate=_evaluate_push,
    touches="objGeom",
    needs_touch=True,
)
