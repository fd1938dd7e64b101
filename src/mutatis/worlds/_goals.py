"""The random vectors that say where objects and goals are: the official ones, drawn without building a simulation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mutatis.worlds._task import Task

OFFICIAL_COUNT = 50
"""Goals of a task in the official benchmarks."""


def goal_vectors(tasks: Iterable[Task], seed: int, count: int = OFFICIAL_COUNT) -> list[np.ndarray]:
    """Random vectors of each task, (count, 3) or (count, 6) each, in metres.

    The official benchmarks draw from one generator for all tasks in order, twice for each goal (their reset runs
    twice), and keep the second; so do we, bit for bit (metaworld 3.1, `_make_tasks`).

    **Arguments:**

    - `tasks`: in the order of the benchmark.
    - `seed`: of NumPy's generator.
    - `count`: goals for each task.

    **Raises:** `ValueError` for a seed that NumPy's generator does not take, or no goals at all.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: must be from 0 to {2**32 - 1}, not {seed}")
    if count < 1:
        raise ValueError(f"count: must be at least 1, not {count}")
    generator = np.random.RandomState(seed)
    vectors = []
    for task in tasks:
        pairs = [(_draw(task, generator), _draw(task, generator)) for _ in range(count)]
        vectors.append(np.stack([second for _, second in pairs]))
    return vectors


def _draw(task: Task, generator: np.random.RandomState) -> np.ndarray:
    while True:
        vector = generator.uniform(task.low, task.high)
        if separation(task, vector) >= task.apart:
            return vector


def separation(task: Task, vector: np.ndarray) -> float:
    """Planar distance, in metres, between the object's start and the goal; infinite where none is demanded."""
    if not task.apart:
        return np.inf
    goal = vector[-3:-1] if task.apart_from is None else np.asarray(task.apart_from)
    return float(np.linalg.norm(vector[:2] - goal))


def checked(task: Task, vectors: np.ndarray) -> np.ndarray:
    """Vectors that a user made, or an error that says what is wrong with the first bad one."""
    vectors = np.array(vectors, dtype=float)
    size = len(task.low)
    if vectors.ndim != 2 or vectors.shape[1] != size:
        raise ValueError(
            f"goals of {task.name}: have shape {vectors.shape}; needed are rows of {size} numbers, "
            f"between {task.low} and {task.high}"
        )
    if not len(vectors):
        raise ValueError(f"goals of {task.name}: there are none; give at least one row")
    outside = np.flatnonzero(~((vectors >= task.low) & (vectors <= task.high)).all(axis=1))
    if len(outside):
        raise ValueError(
            f"goals of {task.name}: row {outside[0]} is {vectors[outside[0]].tolist()}; "
            f"each number must lie between {task.low} and {task.high}"
        )
    for row, vector in enumerate(vectors):
        if separation(task, vector) < task.apart:
            raise ValueError(
                f"goals of {task.name}: in row {row} the object starts {separation(task, vector):.3f} m from the goal; "
                f"it must be at least {task.apart} m away"
            )
    return vectors
