"""What there is to see of one world."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mutatis.worlds._task import Task


class Pose(NamedTuple):
    """A moment of one world, enough to draw it (`Renderer`); from every engine, in the precision of its physics."""

    task: Task
    qpos: np.ndarray
    """Joint coordinates, (nq,)."""
    mocap_pos: np.ndarray
    """Where the hand is sent, (1, 3), in metres."""
    body_pos: np.ndarray
    """Positions of all bodies in the model, (nbody, 3): where the scenery stands."""
    target: np.ndarray
    """The goal, (3,)."""
