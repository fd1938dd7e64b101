"""The first version of the rewards: unbounded, and steep near the target; tasks of MT10 and ML10 (Yu et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, distance
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Task

Memory = dict[str, np.ndarray]


class FirstReward(NamedTuple):
    """The first version of a task's reward."""

    start: Callable[[Bench, Memory], Memory]
    """Further memory of an episode: of the bench after the task's own start, and the task's memory."""
    reward: Callable[[Situation], Array]
    """The reward, (N,)."""


_X, _Y, _Z, _XY, _XYZ = slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 2), slice(0, 3)
_REACHED = 0.05
"""Distance from the hand at which it counts as at the object, in metres."""


def _progress(now: Situation, gap: Array) -> Array:
    """1 for each millimetre nearer to the target than `farthest`, and up to 2000 in the last ten centimetres."""
    xp = now.xp
    square = gap**2
    return 1000 * (now.memory["farthest"] - gap) + 1000 * (xp.exp(-square / 0.01) + xp.exp(-square / 0.001))


def _reach() -> FirstReward:
    """Bring the hand to the target."""

    def start(bench: Bench, memory: Memory) -> Memory:
        del bench
        return {"farthest": distance(memory["tcp_start"], memory["target"])}

    def reward(now: Situation) -> Array:
        return now.xp.maximum(_progress(now, distance(now.tcp, now.target)), 0)

    return FirstReward(start, reward)


def _move(
    axes: slice,
    farthest: Callable[[Bench, Memory], np.ndarray] | float,
    *,
    fallen: Callable[[Situation], Array] | None = None,
    floor: float = 0.0,
) -> FirstReward:
    """Bring the hand to the object; while it is there, progress of the object counts.

    **Arguments:**

    - `axes`: along which the distance to the target is measured.
    - `farthest`: that distance where progress is 0.
    - `fallen`: where the object counts as having arrived, wherever it lies.
    - `floor`: least reward of progress.
    """

    def start(bench: Bench, memory: Memory) -> Memory:
        return {"farthest": np.asarray(farthest(bench, memory) if callable(farthest) else farthest)}

    def reward(now: Situation) -> Array:
        xp = now.xp
        reach = distance(now.object, now.tcp)
        gap = distance(now.object[:, axes], now.target[:, axes])
        approach = -reach
        if fallen is not None:
            arrived = fallen(now)
            gap, approach = xp.where(arrived, 0.0, gap), xp.where(arrived, 0.0, approach)
        return approach + xp.where(reach < _REACHED, xp.maximum(_progress(now, gap), floor), 0.0)

    return FirstReward(start, reward)


def _from_object(axes: slice) -> Callable[[Bench, Memory], np.ndarray]:
    """The target's distance from the object's start."""
    return lambda bench, memory: distance(memory["object_start"][axes], memory["target"][axes])


def _from_handle(bench: Bench, memory: Memory) -> np.ndarray:
    """The target's distance from the door's handle, in the plane."""
    return distance(bench.geom("handle")[_XY], memory["target"][_XY])


def _from_button(bench: Bench, memory: Memory) -> np.ndarray:
    """The target's distance from the button's top, in height."""
    return distance(bench.site("buttonStart")[_Z], memory["target"][_Z])


def _below(now: Situation) -> Array:
    """The object has fallen from the table."""
    return now.object[:, 2] < now.object_start[:, 2] - 0.05


def _in_hole(now: Situation) -> Array:
    """The object has fallen, but not over the table's edge."""
    y = now.object[:, 1]
    return _below(now) & (y > 0.4) & (y < 1.0)


def _object_gap(now: Situation) -> Array:
    return distance(now.object, now.target)


def _peg_gap(now: Situation) -> Array:
    """The distance of the peg's head; near the target, that of the place to grasp, which ends outside the hole."""
    head_gap = distance(now.scene.site("pegHead"), now.target)
    return now.xp.where(head_gap <= 0.05, _object_gap(now), head_gap)


def _carry(
    lift: float,
    *,
    position: Callable[[Bench], np.ndarray] = lambda bench: bench.geom("objGeom"),
    descent: float = 2.0,
    gap: Callable[[Situation], Array] = _object_gap,
) -> FirstReward:
    """Bring the hand over the object, lower and close it; then the object's height counts, then its progress.

    **Arguments:**

    - `lift`: height above its start at which the object counts as lifted, in metres.
    - `position`: of the object at the start, for its height.
    - `descent`: cost of each metre between the hand's height and that at the start, while it is not over the object.
    - `gap`: the distance to the target.
    """

    def start(bench: Bench, memory: Memory) -> Memory:
        low = position(bench)[2]
        high = low + lift
        peak = np.array([*memory["object_start"][:2], high])
        return {"object_height": low, "lifted_height": high, "farthest": distance(peak, memory["target"]) + high}

    def reward(now: Situation) -> Array:
        xp = now.xp
        z, low, high = now.object[:, 2], now.memory["object_height"], now.memory["lifted_height"]
        reach, planar = (distance(now.object[:, axes], now.tcp[:, axes]) for axes in (_XYZ, _XY))
        above = planar + descent * xp.abs(now.tcp[:, 2] - now.tcp_start[:, 2])
        closed = xp.where(reach < _REACHED, xp.maximum(now.action[:, 3], 0) / 50, 0.0)
        approach = -xp.where(planar < _REACHED, reach, above) + closed
        # The original also asks that a lifted object is not dropped; but it calls dropped only what is not rising.
        lifted, rising, near = z >= high - 0.01, z > low + 0.005, reach < 0.1
        picking = 100 * xp.where(lifted, high, xp.where(rising & near, xp.minimum(z, high), 0.0))
        placing = xp.where(lifted & near, xp.maximum(_progress(now, gap(now)), 0), 0.0)
        return approach + picking + placing

    return FirstReward(start, reward)


_DOOR = _move(_XY, _from_handle)
_WINDOW = _move(_X, 0.2, floor=-np.inf)

FIRST_REWARDS: dict[str, FirstReward] = {
    "reach": _reach(),
    "push": _move(_XY, _from_object(_XY)),
    "pick-place": _carry(0.04),
    "door-open": _DOOR,
    "drawer-open": _move(_Y, 0.2),
    "drawer-close": _move(_Y, 0.15),
    "button-press-topdown": _move(_Z, _from_button),
    "peg-insert-side": _carry(0.11, position=lambda bench: bench.body("peg"), descent=1.0, gap=_peg_gap),
    "window-open": _WINDOW,
    "window-close": _WINDOW,
    "sweep": _move(_XY, _from_object(_XY), fallen=_below),
    "basketball": _carry(0.3),
    "door-close": _DOOR,
    "shelf-place": _carry(0.04),
    "sweep-into": _move(_XY, _from_object(_XY), fallen=_in_hole),
    "lever-pull": _move(_XYZ, _from_object(_XYZ)),
}


def with_first_reward(task: Task) -> Task:
    """The task with its first reward.

    **Deviations.** Success and the other terms stay those of the second version. In the original the first version
    changes them too, because it leaves out the numbers they are computed from.

    **Raises:** `ValueError` for a task whose first reward is not here.
    """
    if task.name not in FIRST_REWARDS:
        raise ValueError(
            f"reward: version 'v1' is there for the tasks of MT10 and ML10 ({', '.join(FIRST_REWARDS)}), "
            f"not for {task.name}"
        )
    first = FIRST_REWARDS[task.name]

    def start(bench: Bench, vector: np.ndarray) -> Memory:
        memory = task.start(bench, vector)
        return memory | first.start(bench, {"tcp_start": bench.tcp_start} | memory)

    def evaluate(now: Situation) -> Outcome:
        return task.evaluate(now)._replace(reward=first.reward(now))

    return task._replace(start=start, evaluate=evaluate)
