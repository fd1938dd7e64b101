"""The benchmarks: which tasks, in which order, with which goals, and whether the goal is seen."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mutatis.worlds._goals import goal_vectors
from mutatis.worlds._task import Task
from mutatis.worlds.tasks import TASKS

Split = Literal["train", "test"]


class Benchmark(NamedTuple):
    """Names of tasks, as published and in the official order."""

    train: tuple[str, ...]
    test: tuple[str, ...] = ()
    goal_observed: bool = True
    """Multi-task benchmarks show the goal; meta-learning ones hide it, so that it has to be found by acting."""


_MT10 = (
    *("reach", "push", "pick-place", "door-open", "drawer-open", "drawer-close", "button-press-topdown"),
    *("peg-insert-side", "window-open", "window-close"),
)
_MT25 = (
    *_MT10,
    *("coffee-pull", "pick-out-of-hole", "disassemble", "pick-place-wall", "basketball", "stick-pull"),
    *("button-press-wall", "faucet-open", "door-lock", "lever-pull", "sweep-into", "faucet-close", "coffee-button"),
    *("button-press-topdown-wall", "dial-turn"),
)
_ML10_TRAIN = tuple(name for name in _MT10 if name not in ("drawer-open", "window-close"))
_ML45_TEST = ("bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock")
_ML45_TRAIN = (
    *("assembly", "basketball", "button-press-topdown", "button-press-topdown-wall", "button-press"),
    *("button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn", "disassemble", "door-close"),
    *("door-open", "drawer-close", "drawer-open", "faucet-open", "faucet-close", "hammer", "handle-press-side"),
    *("handle-press", "handle-pull-side", "handle-pull", "lever-pull", "pick-place-wall", "pick-out-of-hole"),
    *("push-back", "pick-place", "plate-slide", "plate-slide-side", "plate-slide-back", "plate-slide-back-side"),
    *("peg-insert-side", "peg-unplug-side", "soccer", "stick-push", "stick-pull", "push-wall", "push", "reach-wall"),
    *("reach", "shelf-place", "sweep-into", "sweep", "window-open", "window-close"),
)

BENCHMARKS = {
    "MT10": Benchmark(_MT10),
    "MT25": Benchmark(_MT25),
    "MT50": Benchmark(tuple(TASKS)),
    "ML10": Benchmark(
        (*_ML10_TRAIN, "sweep", "basketball"),
        ("drawer-open", "door-close", "shelf-place", "sweep-into", "lever-pull"),
        goal_observed=False,
    ),
    "ML25": Benchmark(_MT25, ("basketball", "door-close", "shelf-place", "sweep", "button-press"), goal_observed=False),
    "ML45": Benchmark(_ML45_TRAIN, _ML45_TEST, goal_observed=False),
}

ML1 = "ML1-"
"""Before a task's name: the benchmark that meta-learns the goals of this one task."""


class Selection(NamedTuple):
    """The tasks and goals that a name stands for."""

    tasks: tuple[Task, ...]
    vectors: list[np.ndarray]
    """Random vectors of each task, (goals, 3) or (goals, 6)."""
    goal_observed: bool


def select(name: str | Sequence[str], split: Split, seed: int, *, argument: str = "benchmark") -> Selection:
    """The tasks of a benchmark, of one task by its name, or of a list of names, with their official goals.

    Test goals of a benchmark are drawn afresh from the same seed, for other tasks; those of single tasks from the next
    seed, as in the official ML1 (`"ML1-reach"`: the task with its goals hidden). A test task that is a training task
    too (basketball in ML25) is left out: the others keep their goals.

    **Raises:** `ValueError` for a name that is not known, or a split that the benchmark does not have. The
    message calls the names `argument`, as the caller does.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split: must be 'train' or 'test', not {split!r}")
    benchmark = BENCHMARKS.get(name) if isinstance(name, str) else None
    if benchmark is None:
        names = (name.removeprefix(ML1),) if isinstance(name, str) else tuple(name)
        if not names:
            raise ValueError(f"{argument}: an empty list of tasks; name at least one")
        tasks = tuple(_task(each, argument, BENCHMARKS if isinstance(name, str) else ()) for each in names)
        hidden = isinstance(name, str) and name.startswith(ML1)
        return Selection(tasks, goal_vectors(tasks, seed + (split == "test")), goal_observed=not hidden)
    names = benchmark.train if split == "train" else benchmark.test
    if not names:
        raise ValueError(
            f"split: {name} has no test tasks; multi-task methods are tested on the training tasks and goals "
            "(split='train', mutatis.worlds.evaluate)"
        )
    tasks = tuple(_task(each) for each in names)
    new = [k for k, each in enumerate(names) if split == "train" or each not in benchmark.train]
    vectors = goal_vectors(tasks, seed)
    return Selection(tuple(tasks[k] for k in new), [vectors[k] for k in new], benchmark.goal_observed)


def _task(name: str, argument: str = "benchmark", benchmarks: Collection[str] = ()) -> Task:
    plain = name.removesuffix("-v3")
    if plain in TASKS:
        return TASKS[plain]
    known = [*benchmarks, *TASKS]
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.4) or difflib.get_close_matches(
        plain.lower(), known, n=3, cutoff=0.4
    )
    others = f"benchmarks are {', '.join(benchmarks)}" if benchmarks else "name tasks"
    hint = f"did you mean {' or '.join(near)}?" if near else others
    raise ValueError(f"{argument}: there is no {name!r}; {hint} (all 50 tasks: mutatis.worlds.TASKS)")
