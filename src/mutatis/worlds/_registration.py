"""Gymnasium's registry: `gymnasium.make_vec("mutatis/MT10")`, once `mutatis.worlds` is imported."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium

from mutatis.worlds._benchmarks import BENCHMARKS, ML1, select
from mutatis.worlds._make import make
from mutatis.worlds._vector import Worlds
from mutatis.worlds.tasks import TASKS


def register() -> None:
    """Registers every benchmark and task as `mutatis/NAME`; the split and everything else are arguments."""
    for name in (*BENCHMARKS, *TASKS, *(ML1 + task for task in TASKS)):
        identity = f"mutatis/{name}"
        if identity not in gymnasium.registry:
            gymnasium.register(identity, vector_entry_point=partial(_make_vec, name))


def _make_vec(name: str, num_envs: int = 1, **options: Any) -> Worlds:
    """Worlds for Gymnasium, which counts all of them; its usual 1 stands for one of each task."""
    tasks = len(select(name, options.get("split", "train"), 0).tasks)
    if num_envs < 1:
        raise ValueError(f"num_envs: must be at least 1, not {num_envs}")
    if num_envs != 1 and num_envs % tasks:
        below = max(tasks, num_envs // tasks * tasks)
        raise ValueError(
            f"num_envs: {num_envs} worlds cannot be shared evenly by the {tasks} tasks of {name}; "
            f"give {below} or {below + tasks}, or leave it out for one of each"
        )
    return make(name, worlds_per_task=max(1, num_envs // tasks), **options)
