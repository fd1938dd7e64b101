"""What the functional face asks of the physics, and how the C engine answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from mutatis.worlds._physics import Physics
from mutatis.worlds._scene import Scene
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task
from mutatis.worlds._threads import Threads

T = TypeVar("T")

State = dict[str, Any]
"""The physics of n worlds of one task: arrays whose rows are worlds."""


class Advance(NamedTuple):
    """One action later, in the worlds of one task."""

    state: State
    scene: Scene
    unstable: jax.Array
    """Whether the physics diverged, (W,)."""


class Underway(NamedTuple):
    """A step that the worlds are taking."""

    ticket: jax.Array
    zero: jax.Array
    """0, which no compiler knows: what it is added to cannot be computed before the worlds have set out."""


class Simulator(Protocol):
    """W simulations for each of T tasks; `advance` can be traced by JAX.

    A state is a value, so the simulations hold nothing between calls: they can act for fewer worlds than W, and where
    there are more worlds, these take turns.
    """

    def table(self, task: int, starts: Sequence[Start]) -> State:
        """The states at a task's starts, stacked: rows that `advance` takes."""
        ...

    def advance(self, states: Sequence[State], actions: Sequence[jax.Array]) -> list[Advance]:
        """Acts in all worlds of all tasks: T states and T arrays (n, 4), n worlds of each task, any number."""
        ...


class HostSimulator:
    """The C engine behind a callback from the compiled program, on the cores of this machine.

    Its states are of 64-bit numbers whatever JAX's precision, and travel as pairs of 32-bit integers.
    """

    def __init__(self, tasks: Sequence[Task], worlds: int, threads: Threads, *, measure_touch: bool):
        self._threads = threads
        parts = len(threads.parts(worlds, len(tasks)))
        self._size = -(-worlds // parts)
        jobs = [partial(Physics, task, self._size, measure_touch=measure_touch) for task in tasks for _ in range(parts)]
        cells = threads.run(jobs)
        self._cells = [cells[k : k + parts] for k in range(0, len(cells), parts)]
        self._lock = Lock()
        self._tickets = itertools.count()
        self._underway: dict[int, Future[list[tuple]]] = {}

    def table(self, task: int, starts: Sequence[Start]) -> State:
        """The states at a task's starts, stacked."""
        del task
        physics = np.stack([start.physics for start in starts])
        body_pos = np.stack([start.body_pos.reshape(-1) for start in starts])
        return {"physics": jnp.asarray(physics.view(np.uint32)), "body_pos": jnp.asarray(body_pos.view(np.uint32))}

    def advance(self, states: Sequence[State], actions: Sequence[jax.Array]) -> list[Advance]:
        """Acts in all worlds of all tasks."""
        real = _real()
        results = jax.pure_callback(
            partial(self._act, real),
            self._like(states, actions, real),
            list(states),
            list(actions),
            vmap_method="sequential",
        )
        return self._advances(states, results)

    def depart(self, states: Sequence[State], actions: Sequence[jax.Array]) -> Underway:
        """Begins what `advance` does, on other threads."""
        numbers = (jax.ShapeDtypeStruct((), jnp.int32),) * 2
        return Underway(*io_callback(partial(self._depart, _real()), numbers, list(states), list(actions)))

    def arrive(
        self, states: Sequence[State], actions: Sequence[jax.Array], underway: Underway, after: jax.Array
    ) -> tuple[list[Advance], jax.Array]:
        """Ends what `depart` began with the same arguments, once `after` is known; with a 0 as that of `Underway`."""
        like = self._like(states, actions, _real()), jax.ShapeDtypeStruct((), jnp.int32)
        results, zero = io_callback(self._arrive, like, underway.ticket, after)
        return self._advances(states, results), zero

    def _like(self, states: Sequence[State], actions: Sequence[jax.Array], real: np.dtype) -> list[tuple]:
        """Shapes of what `_act` gives."""
        worlds = len(actions[0])
        return [
            (state["physics"], _shapes(cells[0].scene, worlds, real), jax.ShapeDtypeStruct((worlds,), bool))
            for state, cells in zip(states, self._cells, strict=True)
        ]

    def _advances(self, states: Sequence[State], results: Sequence[tuple]) -> list[Advance]:
        return [
            Advance(state | {"physics": physics}, Scene(cells[0].layout, **arrays), unstable)
            for state, cells, (physics, arrays, unstable) in zip(states, self._cells, results, strict=True)
        ]

    def _depart(self, real: np.dtype, states: Sequence[State], actions: Sequence[jax.Array]) -> tuple:
        """On the host: what was asked for goes on in another thread, which needs a copy of what belongs to JAX."""
        mine = jax.tree.map(np.array, (list(states), list(actions)))
        ticket = next(self._tickets)
        self._underway[ticket] = self._threads.begin(partial(self._act, real, *mine))
        return np.int32(ticket), np.int32(0)

    def _arrive(self, ticket: jax.Array, after: jax.Array) -> tuple[list[tuple], np.int32]:
        del after
        return self._underway.pop(int(ticket)).result(), np.int32(0)

    def _act(self, real: np.dtype, states: Sequence[State], actions: Sequence[jax.Array]) -> list[tuple]:
        """On the host: the next physics, the fields of the scene, what diverged."""
        host = jax.tree.map(np.asarray, (states, actions))
        cells = len(self._cells[0])
        parts = _parts(len(actions[0]), cells, self._size)
        with self._lock:
            jobs = [
                partial(_act, real, cell, state, action, parts[k::cells])
                for state, action, each in zip(*host, self._cells, strict=True)
                for k, cell in enumerate(each)
            ]
            done = self._threads.run(jobs)
        turns = [done[k : k + cells] for k in range(0, len(done), cells)]
        join = lambda *rows: np.concatenate(rows)
        return [jax.tree.map(join, *_interleaved(each)) for each in turns]


def _real() -> np.dtype:
    """32 or 64 bits, as JAX is set."""
    return jnp.zeros(0).dtype


def _parts(worlds: int, cells: int, size: int) -> list[slice]:
    """Slices of a task's worlds, for the first cell, the second, ..., and again for the first; none above its size."""
    count = cells * -(-worlds // (cells * size))
    bounds = [worlds * k // count for k in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _interleaved(cells: Sequence[Sequence[T]]) -> list[T]:
    """What the cells did, in the order of the worlds."""
    return [part for turn in zip(*cells, strict=True) for part in turn]


def _act(
    real: np.dtype, cell: Physics, states: State, actions: np.ndarray, parts: Sequence[slice]
) -> list[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
    """What some worlds do in one cell, part after part."""
    return [_turn(real, cell, {key: rows[part] for key, rows in states.items()}, actions[part]) for part in parts]


def _turn(
    real: np.dtype, cell: Physics, state: State, action: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    n = len(action)
    cell.state[:n] = state["physics"].view(np.float64)
    cell.body_pos[:n] = state["body_pos"].view(np.float64).reshape(n, *cell.body_pos.shape[1:])
    unstable = cell.act(action)
    arrays = {name: array[:n].astype(real) for name, array in cell.scene.arrays.items()}
    return np.array(cell.state[:n]).view(np.uint32), arrays, unstable


def _shapes(scene: Scene, worlds: int, real: np.dtype) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct((worlds, *array.shape[1:]), real) for name, array in scene.arrays.items()}
