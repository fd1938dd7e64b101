"""The tasks and goals of Meta-World for learners of trials: known by name at once, simulated when they are played."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
from jaxtyping import Array, Float

from mutatis import rl, worlds
from mutatis._timestep import Timestep
from mutatis._types import Key
from mutatis.studies.control._arenas import Arena
from mutatis.worlds._benchmarks import select
from mutatis.worlds._goals import OFFICIAL_COUNT as OFFICIAL_COUNT
from mutatis.worlds._observation import SIZE


def shows_goals(benchmark: str) -> bool:
    """Whether its observations tell the goal.

    **Raises:** `ValueError` for a name that is not known.
    """
    return select(benchmark, "train", 0).goal_observed


@dataclass(frozen=True)
class WorldTasks:
    """A `Family` of the tasks of one split; equal ones share their simulations in all of a process.

    - `benchmark`, `split`: as in `mutatis.worlds.make`; the goal is hidden.
    - `seed`: of the goals, which are the official ones of that seed.
    - `horizon`: actions of an episode.
    - `worlds_per_task`: simulations of each task; more worlds than that take turns.
    """

    benchmark: str
    split: Literal["train", "test"]
    seed: int
    reward: Literal["v1", "v2"]
    horizon: int
    worlds_per_task: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tasks, in the order of the benchmark."""
        return tuple(task.name for task in select(self.benchmark, self.split, self.seed).tasks)

    @property
    def observation_size(self) -> int:
        """39."""
        return SIZE

    @property
    def actions(self) -> rl.Box:
        """Three directions of the hand, and the gripper."""
        return rl.Box(4)

    def every(self, goals: int) -> rl.WorldTask:
        """The first so many goals of every task, those of the first task first."""
        return rl.WorldTask.every(len(self.names), goals)

    def sample(self, key: Key, count: int) -> rl.WorldTask:
        """The tasks in equal shares, each with goals of its own."""
        return _simulated(self).sample(key, count)

    def reset(self, tasks: rl.WorldTask, key: Key) -> tuple[rl.WorldState, Float[Array, "worlds features"]]:
        """Starts an episode in every world."""
        return _simulated(self).reset(tasks, key)

    def step(
        self, tasks: rl.WorldTask, state: rl.WorldState, action: Array, key: Key
    ) -> tuple[rl.WorldState, Timestep]:
        """Acts in every world."""
        return _simulated(self).step(tasks, state, action, key)

    def officially(self, player: rl.Player, *, key: Key, episodes: int) -> worlds.OfficialEvaluation:
        """The official evaluation, which counts episodes after so many of adaptation; the key is consumed."""
        once = rl.Stepwise(player, key=key, episodes=episodes)
        hooks: dict[str, Any] = {"adapt": once.adapt, "begin": once.begin, "learn": once.learn}
        return worlds.evaluate_officially(once.act, self.benchmark, self.split, **hooks, **self.options())

    def options(self) -> dict[str, Any]:
        """Of `make`."""
        return Arena(self.benchmark, (), self.seed, self.reward, self.horizon).options()


@functools.lru_cache(maxsize=2)
def _simulated(tasks: WorldTasks) -> rl.WorldFamily:
    # Programs ask for it while they are traced, and what is kept must be arrays.
    with jax.ensure_compile_time_eval():
        made = worlds.make(tasks.benchmark, tasks.split, worlds_per_task=tasks.worlds_per_task, **tasks.options())
        return rl.WorldFamily(made)
