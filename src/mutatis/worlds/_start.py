"""The start of an episode: a function of the task and its random vector alone, so computed once and copied after."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import NamedTuple

import mujoco
import numpy as np

from mutatis.worlds import _models
from mutatis.worlds._bench import Bench
from mutatis.worlds._observation import frame
from mutatis.worlds._task import Task
from mutatis.worlds._threads import Threads

INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)
"""Everything the next physics step depends on, the solver's warm start included."""


class Start(NamedTuple):
    """Where an episode begins."""

    physics: np.ndarray
    """MuJoCo's integration state, (S,)."""
    body_pos: np.ndarray
    """Positions of all bodies in the model, (nbody, 3): the scenery stands where the random vector put it."""
    geom_xpos: np.ndarray
    """Positions of all geoms, (ngeom, 3)."""
    geom_xmat: np.ndarray
    """Orientations of all geoms, (ngeom, 9)."""
    frame: np.ndarray
    """What is seen, (18,). Kept, not computed from the physics: the original reads some positions before it moves
    the last joint."""
    memory: dict[str, np.ndarray]
    """The task's constants of the episode."""


class Starts:
    """The starts of one task, by random vector; each is computed when it is first asked for, and kept.

    The original's reset sets the scenery, lets the hand settle for 50 actions and puts the object down, all twice,
    because its first pass sees the scenery of the episode before. With the scenery set first, one pass gives the same
    bits; a copy of the result gives them without any physics.
    """

    def __init__(self, task: Task):
        self.task = task
        self._known: dict[bytes, Start] = {}
        self._lock = Lock()

    def __call__(self, vectors: np.ndarray) -> list[Start]:
        """The starts at some random vectors, (n, 3) or (n, 6)."""
        with self._lock:
            new = {vector.tobytes(): vector for vector in vectors if vector.tobytes() not in self._known}
            if new:
                model = copy.copy(_models.load(self.task.model))
                usual = model.body_pos.copy()
                self._known |= {key: _prepare(self.task, model, usual, vector) for key, vector in new.items()}
            return [self._known[vector.tobytes()] for vector in vectors]


class AllStarts:
    """The starts of several tasks, each task's on one of the threads."""

    def __init__(self, tasks: Sequence[Task], threads: Threads):
        self._starts = [Starts(task) for task in tasks]
        self._threads = threads

    def __call__(self, vectors: Sequence[np.ndarray]) -> list[list[Start]]:
        """For each task, the starts at some random vectors."""
        return self._threads.run([partial(*each) for each in zip(self._starts, vectors, strict=True)])


def _prepare(task: Task, model: mujoco.MjModel, usual: np.ndarray, vector: np.ndarray) -> Start:
    """Prepares one start.

    **Arguments:**

    - `task`: the task.
    - `model`: a copy of its model; the scenery is moved in it.
    - `usual`: positions of the bodies as the file has them, (nbody, 3).
    - `vector`: the random vector.
    """
    model.body_pos[:] = usual
    if task.moves is not None:
        body = model.body(task.moves.body).id
        model.body_pos[body] = task.moves.place(vector, usual[body])
    bench = Bench(model)
    bench.settle(task.hand)
    memory = {"tcp_start": bench.tcp_start} | task.start(bench, vector)
    physics = np.empty(mujoco.mj_stateSize(model, INTEGRATION))
    mujoco.mj_getState(model, bench.data, physics, INTEGRATION)
    return Start(
        physics,
        model.body_pos.copy(),
        bench.data.geom_xpos.copy(),
        bench.data.geom_xmat.copy(),
        frame(task, bench.scene)[0],
        {key: np.array(value, float) for key, value in memory.items()},
    )
