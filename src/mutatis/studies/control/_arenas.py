"""The worlds of a control study: the same tasks and goals to train in and to be judged in."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mutatis import worlds
from mutatis.worlds import FunctionalWorlds
from mutatis.worlds._benchmarks import select


def task_names(benchmark: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks that are named, or if none is, those of the benchmark; in their order."""
    selection = select(tasks, "train", 0, argument="tasks") if tasks else select(benchmark, "train", 0)
    return tuple(task.name for task in selection.tasks)


@dataclass(frozen=True)
class Arena:
    """Some tasks with the goals that they have in a benchmark, at a seed."""

    benchmark: str
    tasks: tuple[str, ...]
    seed: int
    reward: Literal["v1", "v2"]
    horizon: int

    def environment(self, worlds_per_task: int, backend: Literal["cpu", "gpu"]) -> FunctionalWorlds:
        """Worlds to train in; the same object in all of a process, as compiled programs are looked up by it."""
        return _environment(self, worlds_per_task, backend)

    def judge(self, goals: int, policy: Callable[[np.ndarray], np.ndarray]) -> worlds.Evaluation:
        """An episode of each of the first goals of each task."""
        return worlds.evaluate(policy, _judges(self, goals))

    def goals(self) -> list[np.ndarray]:
        """The goals of each task: the benchmark's, or the task's own where it is not in the benchmark."""
        whole, own = (select(each, "train", self.seed) for each in (self.benchmark, self.tasks))
        known = {task.name: vectors for task, vectors in zip(whole.tasks, whole.vectors, strict=True)}
        return [known.get(task.name, vectors) for task, vectors in zip(own.tasks, own.vectors, strict=True)]

    def options(self) -> dict[str, Any]:
        """Of `make`; there are as many threads as this process may keep busy."""
        threads = int(os.environ.get("NPROC", 0)) or None
        return {"seed": self.seed, "reward": self.reward, "horizon": self.horizon, "threads": threads}


@functools.lru_cache(maxsize=2)
def _environment(arena: Arena, worlds_per_task: int, backend: Literal["cpu", "gpu"]) -> FunctionalWorlds:
    made = worlds.make(list(arena.tasks), worlds_per_task=worlds_per_task, backend=backend, **arena.options())
    made.set_goals(arena.goals())
    return made.functional()


@functools.lru_cache(maxsize=2)
def _judges(arena: Arena, goals: int) -> worlds.Worlds:
    made = worlds.evaluation_worlds(list(arena.tasks), goals=goals, **arena.options())
    made.set_goals([vectors[:goals] for vectors in arena.goals()])
    return made
