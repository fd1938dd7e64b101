"""Press and pull the handle of a box that faces the robot, or stands beside it."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance
from mutatis.worlds._shaping import both, grip, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task
from mutatis.worlds.tasks._common import carried, raised, scenery

_BOX = scenery("box")
_LOW, _HIGH = (-0.1, 0.8, -0.001), (0.1, 0.9, 0.001)
_FACING, _SIDEWAYS = "handle_press", "handle_press_sideways"


def _start_up(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    del vector
    bench.put(9, -0.001, still=(9, 10))
    return {"object_start": bench.site("handleStart"), "target": bench.site("goalPress")}


def _start_down(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put(9, -0.1, still=(9, 10))
    # The original takes the place of the box for that of the handle.
    return {"object_start": vector, "target": bench.site("goalPull")}


def _start_down_sideways(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    return {**_start_down(bench, vector), "object_start": bench.site("handleCenter")}


def _end(scene: Scene) -> list[Array]:
    return [scene.site("handleStart")]


def _height_to_target(now: Situation, position: Array) -> Array:
    return now.xp.abs(position[:, 2] - now.target[:, 2])


def _evaluate_press(now: Situation) -> Outcome:
    xp = now.xp
    radius = 0.02
    gap, gap_start = _height_to_target(now, now.object), _height_to_target(now, now.object_start)
    in_place = long_tail(gap, 0, radius, xp.abs(gap_start - radius))
    reach, reach_start = distance(now.object, now.tcp), distance(now.object_start, now.tcp_start)
    grasp = long_tail(reach, 0, radius, xp.abs(reach_start - radius))
    success = gap <= radius
    reward = 10 * xp.where(success, 1.0, both(grasp, in_place))
    return Outcome(reward, success, reach <= 0.05, xp.ones_like(gap), grasp, in_place, gap)


def _pulled(now: Situation, grasp: Array, gap: Array, gap_start: Array, lifted: Array, enough: float) -> Outcome:
    """The common outcome of pulling.

    **Arguments:**

    - `now`: the situation.
    - `grasp`: how well the handle is grasped, (N,).
    - `gap`: the handle's distance to the target, (N,), in metres.
    - `gap_start`: the same at the start.
    - `lifted`: whether the handle counts as lifted, (N,).
    - `enough`: the distance that is a success, in metres.
    """
    reach = distance(now.object, now.tcp)
    in_place = long_tail(gap, 0, 0.05, gap_start)
    held = (reach < 0.035) & (now.opening > 0) & lifted
    reward = carried(grasp, in_place, held, 1 + 5 * in_place, gap < 0.05)
    return Outcome(reward, gap <= enough, reach <= 0.05, raised(now, 0.03), grasp, in_place, gap)


def _evaluate_pull(now: Situation) -> Outcome:
    grasp = grip(now, now.object, radius=0.022, pad_success=0.05, xz_threshold=0.01).dense
    gap, gap_start = _height_to_target(now, now.object), _height_to_target(now, now.object_start)
    # The original compares the handle's y with the height of the box: always true.
    lifted = now.object[:, 1] - 0.01 > now.object_start[:, 2]
    return _pulled(now, grasp, gap, gap_start, lifted, 0.05)


def _evaluate_pull_side(now: Situation) -> Outcome:
    grasp = grip(now, now.object, radius=0.032, pad_success=0.06, xz_threshold=0.01).dense
    gap, gap_start = distance(now.object, now.target), distance(now.object_start, now.target)
    lifted = now.object[:, 2] - 0.01 > now.object_start[:, 2]
    return _pulled(now, grasp, gap, gap_start, lifted, 0.08)


HANDLE_PRESS = Task(
    name="handle-press",
    model=_FACING,
    low=_LOW,
    high=_HIGH,
    moves=_BOX,
    start=_start_up,
    objects=_end,
    evaluate=_evaluate_press,
)

HANDLE_PRESS_SIDE = HANDLE_PRESS._replace(
    name="handle-press-side",
    model=_SIDEWAYS,
    low=(-0.35, 0.65, -0.001),
    high=(-0.25, 0.75, 0.001),
)

HANDLE_PULL = Task(
    name="handle-pull",
    model=_FACING,
    low=_LOW,
    high=_HIGH,
    moves=_BOX,
    start=_start_down,
    objects=lambda scene: [scene.site("handleRight")],
    evaluate=_evaluate_pull,
)

HANDLE_PULL_SIDE = Task(
    name="handle-pull-side",
    model=_SIDEWAYS,
    low=(-0.35, 0.65, 0.0),
    high=(-0.25, 0.75, 0.0),
    moves=_BOX,
    start=_start_down_sideways,
    objects=lambda scene: [scene.site("handleCenter")],
    evaluate=_evaluate_pull_side,
)
