"""What agents ask of environments, and how tasks of a family become one."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._timestep import Timestep
from mutatis._tree import where_rows
from mutatis._types import Key, Tree
from mutatis.rl._family import Box, Family


class Environment(Protocol):
    """M worlds, the same number of each of T tasks, those of the first task first; pure functions that JAX can trace.

    `mutatis.worlds` has such environments (`Worlds.functional`). Actions are from -1 to 1.
    """

    num_envs: int
    num_tasks: int
    observation_size: int
    action_size: int

    def reset(self, key: Key) -> tuple[Any, Float[Array, "worlds features"]]:
        """Starts an episode in every world."""
        ...

    def step(self, state: Any, action: Float[Array, "worlds actions"], /) -> tuple[Any, Timestep]:
        """Acts in every world. Where an episode ends, the next begins."""
        ...


@runtime_checkable
class Overlapping(Protocol):
    """An environment that acts outside the compiled program, which can compute something else meanwhile."""

    def depart(self, state: Any, action: Float[Array, "worlds actions"], /) -> Any:
        """Begins a step, or gives `None` if nothing is gained by that.

        It has a `zero` that no compiler knows: what it is added to cannot be computed before.
        """
        ...

    def arrive(
        self, state: Any, action: Float[Array, "worlds actions"], underway: Any, after: Array, /
    ) -> tuple[tuple[Any, Timestep], Int[Array, ""]]:
        """Ends the step that was begun with the same arguments, once `after` is known; with another `zero`."""
        ...


class FamilyWorlds(NamedTuple):
    """The worlds of a `FamilyEnvironment`."""

    place: Any
    """What the family keeps of them."""
    key: Key


class FamilyEnvironment(eqx.Module):
    """Some tasks of a family, one episode after the other.

    - `family`: with actions in a box.
    - `tasks`: (tasks, ...), as `family.sample` gives them.
    - `worlds_per_task`: worlds of each.

    **Raises:** `ValueError` if the family's actions are no box.
    """

    family: Family
    tasks: Tree
    worlds_per_task: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if not isinstance(self.family.actions, Box):
            raise ValueError("family: its actions are no Box, and those of an Environment are from -1 to 1.")

    @property
    def num_tasks(self) -> int:
        """T."""
        return jax.tree.leaves(self.tasks)[0].shape[0]

    @property
    def num_envs(self) -> int:
        """M."""
        return self.num_tasks * self.worlds_per_task

    @property
    def observation_size(self) -> int:
        """Of the family."""
        return self.family.observation_size

    @property
    def action_size(self) -> int:
        """Of the family."""
        return self.family.actions.features

    @property
    def task_of_each(self) -> Tree:
        """The task of every world, (worlds, ...)."""
        return jax.tree.map(lambda x: jnp.repeat(x, self.worlds_per_task, axis=0), self.tasks)

    def reset(self, key: Key) -> tuple[FamilyWorlds, Float[Array, "worlds features"]]:
        """Starts an episode in every world."""
        key, start_key = jax.random.split(key)
        place, observation = self.family.reset(self.task_of_each, start_key)
        return FamilyWorlds(place, key), observation

    def step(self, state: FamilyWorlds, action: Float[Array, "worlds actions"]) -> tuple[FamilyWorlds, Timestep]:
        """Acts in every world; where an episode ends, the next begins."""
        key, step_key, start_key = jax.random.split(state.key, 3)
        tasks = self.task_of_each
        place, shown = self.family.step(tasks, state.place, action, step_key)
        over = shown.terminated | shown.truncated
        start, first = self.family.reset(tasks, start_key)
        place, observation = where_rows(over, (start, first), (place, shown.observation))
        return FamilyWorlds(place, key), shown._replace(observation=observation)
