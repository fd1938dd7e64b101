"""Worlds of several tasks on the cores of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Protocol

import numpy as np

from mutatis.worlds._cell import Cell
from mutatis.worlds._episode import Step
from mutatis.worlds._pose import Pose
from mutatis.worlds._simulator import HostSimulator, Simulator
from mutatis.worlds._start import AllStarts, Start
from mutatis.worlds._task import Task
from mutatis.worlds._threads import Threads


class AbstractEngine(Protocol):
    """W worlds for each of some tasks, those of the first task first."""

    starts: AllStarts

    def place(self, worlds: np.ndarray, starts: Sequence[Start]) -> None:
        """Puts some worlds, by index, at the start of an episode; the first time, all of them."""
        ...

    def step(self, action: np.ndarray, goal: np.ndarray) -> list[Step]:
        """Acts in every world, (M, 4), seeing goals (M, 3); steps of groups of worlds, in order."""
        ...

    def pose(self, world: int) -> Pose:
        """What there is to see of a world now."""
        ...

    def simulator(self) -> Simulator:
        """The physics of the same worlds, for a program that JAX compiles."""
        ...

    def close(self) -> None:
        """Frees what the engine holds."""
        ...


class Engine:
    """W worlds of each task, those of the first task first, in cells that the threads take in turn.

    Results do not depend on the number of threads.
    """

    def __init__(self, tasks: Sequence[Task], worlds: int, threads: Threads, *, measure_touch: bool):
        self.starts = AllStarts(tasks, threads)
        self._tasks = tasks
        self._threads = threads
        self._worlds = worlds
        self._measure_touch = measure_touch
        parts = threads.parts(worlds, len(tasks))
        self._slices = [slice(k * worlds + p.start, k * worlds + p.stop) for k in range(len(tasks)) for p in parts]
        self._sizes = [(task, part.stop - part.start) for task in tasks for part in parts]

    @cached_property
    def _cells(self) -> list[Cell]:
        """Built when the first episode begins: who only wants the functional face does not pay for them."""
        return self._threads.run([partial(Cell, *each, measure_touch=self._measure_touch) for each in self._sizes])

    def place(self, worlds: np.ndarray, starts: Sequence[Start]) -> None:
        """Puts some worlds, by index, at the start of an episode."""
        for cell, part in zip(self._cells, self._slices, strict=True):
            here = np.flatnonzero((part.start <= worlds) & (worlds < part.stop))
            cell.place(worlds[here] - part.start, [starts[k] for k in here.tolist()])

    def step(self, action: np.ndarray, goal: np.ndarray) -> list[Step]:
        """Acts in every world, (M, 4), seeing goals (M, 3); the steps of the cells, whose worlds are in order."""
        cells = list(zip(self._cells, self._slices, strict=True))
        # First all the physics, then all the rewards: threads that wait for Python's lock in between cost more than
        # they save.
        unstable = self._threads.run([partial(cell.physics.act, action[part]) for cell, part in cells])
        return [
            cell.judge(diverged, action[part], goal[part])
            for (cell, part), diverged in zip(cells, unstable, strict=True)
        ]

    def pose(self, world: int) -> Pose:
        """What there is to see of a world now."""
        k = next(k for k, part in enumerate(self._slices) if world < part.stop)
        return self._cells[k].pose(world - self._slices[k].start)

    def simulator(self) -> Simulator:
        """The physics of the same worlds, for a program that JAX compiles."""
        return HostSimulator(self._tasks, self._worlds, self._threads, measure_touch=self._measure_touch)

    def physics_alone(self) -> None:
        """The physics of one action in every world, and nothing else: what a benchmark compares a step with."""
        self._threads.run([cell.physics.substeps for cell in self._cells])

    def close(self) -> None:
        """Ends the threads."""
        self._threads.close()
