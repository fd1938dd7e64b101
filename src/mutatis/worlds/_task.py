"""One manipulation task as data: a model, where things start, what is observed, what is rewarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mutatis.worlds._scene import Array, Scene
from mutatis.worlds._situation import Outcome, Situation

if TYPE_CHECKING:
    from mutatis.worlds._bench import Bench

Vector = tuple[float, ...]


def single(*values: float) -> Vector:
    """Numbers as the original stores some of its constants: rounded to 32 bits, which moves them by up to 1e-8."""
    return tuple(float(np.float32(value)) for value in values)


class Moves(NamedTuple):
    """A body of the scenery that the random vector puts somewhere else."""

    body: str
    place: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """From the random vector and the position in the model file to the position, (3,)."""


class Task(NamedTuple):
    """A task. Its functions hold for any number of worlds at once; lengths are in metres, angles in radians."""

    name: str
    model: str
    """File name without `sawyer_` and `.xml`."""
    low: Vector
    """Least random vector: 3 numbers, or 6 where the object's start and the goal are drawn."""
    high: Vector
    start: Callable[[Bench, np.ndarray], dict[str, np.ndarray]]
    """Puts the object of one world in place, by the random vector, and returns the task's memory (see `Situation`)."""
    objects: Callable[[Scene], list[Array]]
    """What is observed of the objects: position, quaternion, position, quaternion; in total at most 14 columns."""
    evaluate: Callable[[Situation], Outcome]
    moves: Moves | None = None
    apart: float = 0.0
    """Least planar distance of the object's start and the goal: v[:2] and v[-3:-1]."""
    apart_from: tuple[float, float] | None = None
    """A fixed goal, in the plane, to keep that distance from instead."""
    hand: Vector = (0.0, 0.6, 0.2)
    """Where the hand starts."""
    hand_low: Vector = (-0.5, 0.4, 0.05)
    """Least position that the hand can be sent to."""
    hand_high: Vector = (0.5, 1.0, 0.5)
    touches: str | None = None
    """The geom that the pads must press for `grasp_success`."""
    needs_touch: bool = False
    """Whether the success itself depends on the pads' forces."""
