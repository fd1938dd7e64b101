"""What the functional face asks of the physics, and how the C engine answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mutatis.worlds._physics import Physics
from mutatis.worlds._scene import Scene
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task
from mutatis.worlds._threads import Threads

State = dict[str, Any]
"""The physics of W worlds of one task: arrays whose rows are worlds."""


class Advance(NamedTuple):
    """One action later, in the worlds of one task."""

    state: State
    scene: Scene
    unstable: jax.Array
    """Whether the physics diverged, (W,)."""


class Simulator(Protocol):
    """W worlds for each of T tasks; `advance` can be traced by JAX."""

    def table(self, task: int, starts: Sequence[Start]) -> State:
        """The states at a task's starts, stacked: rows that `advance` takes."""
        ...

    def advance(self, states: Sequence[State], actions: Sequence[jax.Array]) -> list[Advance]:
        """Acts in all worlds of all tasks: T states and T arrays (W, 4)."""
        ...


class HostSimulator:
    """The C engine behind a callback from the compiled program, on the cores of this machine.

    Its states are of 64-bit numbers whatever JAX's precision, and travel as pairs of 32-bit integers.
    """

    def __init__(self, tasks: Sequence[Task], worlds: int, threads: Threads, *, measure_touch: bool):
        self._threads = threads
        self._parts = threads.parts(worlds, len(tasks))
        sizes = [(task, part.stop - part.start) for task in tasks for part in self._parts]
        cells = threads.run([partial(Physics, *each, measure_touch=measure_touch) for each in sizes])
        self._cells = [cells[k : k + len(self._parts)] for k in range(0, len(cells), len(self._parts))]
        self._worlds = worlds
        self._lock = Lock()

    def table(self, task: int, starts: Sequence[Start]) -> State:
        """The states at a task's starts, stacked."""
        del task
        physics = np.stack([start.physics for start in starts])
        body_pos = np.stack([start.body_pos.reshape(-1) for start in starts])
        return {"physics": jnp.asarray(physics.view(np.uint32)), "body_pos": jnp.asarray(body_pos.view(np.uint32))}

    def advance(self, states: Sequence[State], actions: Sequence[jax.Array]) -> list[Advance]:
        """Acts in all worlds of all tasks."""
        real = jnp.zeros(0).dtype  # 32 or 64 bits, as JAX is set
        like = [
            (state["physics"], _shapes(cells[0].scene, self._worlds, real), jax.ShapeDtypeStruct((self._worlds,), bool))
            for state, cells in zip(states, self._cells, strict=True)
        ]
        act = partial(self._act, real)
        results = jax.pure_callback(act, like, list(states), list(actions), vmap_method="sequential")
        return [
            Advance(state | {"physics": physics}, Scene(cells[0].layout, **arrays), unstable)
            for state, cells, (physics, arrays, unstable) in zip(states, self._cells, results, strict=True)
        ]

    def _act(self, real: np.dtype, states: Sequence[State], actions: Sequence[jax.Array]) -> list[tuple]:
        """On the host: the next physics, the fields of the scene, what diverged."""
        host = jax.tree.map(np.asarray, (states, actions))
        with self._lock:
            jobs = [
                partial(_act, real, cell, {key: rows[part] for key, rows in state.items()}, action[part])
                for state, action, cells in zip(*host, self._cells, strict=True)
                for cell, part in zip(cells, self._parts, strict=True)
            ]
            done = self._threads.run(jobs)
        whole = len(self._parts)
        join = lambda *parts: np.concatenate(parts)
        return [jax.tree.map(join, *done[k : k + whole]) for k in range(0, len(done), whole)]


def _act(
    real: np.dtype, cell: Physics, state: State, action: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    cell.state[:] = state["physics"].view(np.float64)
    cell.body_pos[:] = state["body_pos"].view(np.float64).reshape(cell.body_pos.shape)
    unstable = cell.act(action)
    arrays = {name: array.astype(real) for name, array in cell.scene.arrays.items()}
    return np.ascontiguousarray(cell.state).view(np.uint32), arrays, unstable


def _shapes(scene: Scene, worlds: int, real: np.dtype) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct((worlds, *array.shape[1:]), real) for name, array in scene.arrays.items()}
