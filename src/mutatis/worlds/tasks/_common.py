"""What several families of tasks share: where things start, what is seen of them, shapes of rewards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, interface, norm
from mutatis.worlds._shaping import both, long_tail
from mutatis.worlds._situation import Situation
from mutatis.worlds._task import Moves


def scenery(body: str) -> Moves:
    """A body that stands where the random vector says."""
    return Moves(body, lambda vector, usual: vector)


def start_as_drawn(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    """The object and the target are where the random vector says."""
    bench.put_object(vector[:3])
    return {"object_start": vector[:3], "target": vector[3:]}


def at_rest(bench: Bench, place: np.ndarray) -> np.ndarray:
    """A place in the plane, at the height where the object lies while the hand settles."""
    return np.array([place[0], place[1], bench.body("obj")[2]])


def puck(scene: Scene) -> list[Array]:
    """The puck's position, and its orientation as SciPy gives it."""
    return [scene.body("obj"), scene.geom_quat("objGeom")]


def pose(body: str) -> Callable[[Scene], list[Array]]:
    """Observes the position and the orientation of a body."""
    return lambda scene: [scene.body(body), scene.body_quat(body)]


def raised(now: Situation, height: float) -> Array:
    """Whether the object is more than `height` metres above its start and the gripper is not shut, (N,)."""
    return (now.object[:, 2] - height > now.object_start[:, 2]) & (now.opening > 0)


def pad_gaps(now: Situation, beside: float) -> tuple[Array, Array]:
    """How far the left and the right pad are outside the object's middle, along y, and margins to judge that by.

    The margins are what a gap lacks to, or has over, the distance `beside`: (N, 2) each, in metres. The original means
    the pads' places at the start, but holds views of the simulation: their places now.
    """
    xp = now.xp
    middle = now.object[:, 1:2]
    gaps = (now.pads_y - middle) * xp.asarray([[1.0, -1.0]])
    return gaps, xp.abs(xp.abs(gaps) - beside)


def carried(grasp: Array, in_place: Array, held: Array, bonus: Array, arrived: Array) -> Array:
    """The common reward: grasp and bring, a bonus while the object is held, and 10 where it has arrived."""
    xp = interface(grasp)
    return xp.where(arrived, 10.0, both(grasp, in_place) + xp.where(held, bonus, 0.0))


def funnel(radius: Array, *, throat: float | Array, slope: float, rim: float) -> Array:
    """The height of a floor that falls like a logarithm towards an axis, and is 0 within `throat` metres of it."""
    xp = interface(radius)
    outside = radius > throat
    return xp.where(outside, slope * xp.log(xp.where(outside, radius - throat, 1.0)) + rim, 0.0)


def above(height: Array, floor: Array, margin: float | Array) -> Array:
    """1 above a floor and up to a centimetre below it."""
    xp = interface(height)
    return long_tail(xp.maximum(floor - height, 0.0), 0, 0.01, margin)


_SHOULDER = (0.0, 0.055, 0.07)


def shoulder(now: Situation, position: Array, start: Array, scale: tuple[float, ...]) -> tuple[Array, Array]:
    """How far the gripper's shoulder, not its fingers, is from an object.

    **Arguments:**

    - `now`: the situation.
    - `position`: of the object, (N, 3).
    - `start`: where the object was at the start of the episode, (N, 3).
    - `scale`: of the three axes.

    **Returns:** The scaled distance, and 1 where it is at most 0.02, 0.1 about where it was at the start; each (N,).
    """
    xp = now.xp
    offset, scale = xp.asarray([_SHOULDER]), xp.asarray([scale])
    gap = norm((now.observation[:, :3] + offset - position) * scale)
    return gap, long_tail(gap, 0, 0.02, norm((now.tcp_start + offset - start) * scale))
