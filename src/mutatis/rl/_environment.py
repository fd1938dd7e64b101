"""What agents ask of environments, and a family whose best return is known."""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._timestep import Timestep
from mutatis._types import Key


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


class PointState(NamedTuple):
    """Where the points are."""

    position: Float[Array, "worlds 2"]
    steps: Int[Array, "worlds"]
    key: Key


class PointRobot(eqx.Module):
    """A point that shall go to a goal in the plane; each goal is a task (Rakelly et al. 2019, dense).

    It starts anywhere in [-1, 1]^2, moves by at most 0.1 along each axis, and pays its distance to the goal after each
    of 20 moves. The goal is not observed unless `show_goal`.
    """

    goals: Float[Array, "tasks 2"]
    worlds_per_task: int = eqx.field(static=True, default=1)
    horizon: int = eqx.field(static=True, default=20)
    show_goal: bool = eqx.field(static=True, default=False)

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.goals.shape[0]

    @property
    def num_envs(self) -> int:
        """M."""
        return self.num_tasks * self.worlds_per_task

    @property
    def observation_size(self) -> int:
        """2, or 4 with the goal."""
        return 4 if self.show_goal else 2

    @property
    def action_size(self) -> int:
        """2."""
        return 2

    def reset(self, key: Key) -> tuple[PointState, Float[Array, "worlds features"]]:
        """Starts an episode in every world."""
        key, start_key = jax.random.split(key)
        state = PointState(self._starts(start_key), jnp.zeros(self.num_envs, jnp.int32), key)
        return state, self._seen(state.position)

    def step(self, state: PointState, action: Float[Array, "worlds 2"]) -> tuple[PointState, Timestep]:
        """Moves every point by a tenth of the action."""
        key, start_key = jax.random.split(state.key)
        position = state.position + 0.1 * jnp.clip(action, -1, 1)
        reward = -jnp.linalg.norm(position - self._goal_of_each(), axis=1)
        steps = state.steps + 1
        truncated = steps >= self.horizon
        new = jnp.where(truncated[:, None], self._starts(start_key), position)
        terminated = jnp.zeros_like(truncated)
        timestep = Timestep(self._seen(new), self._seen(position), reward, terminated, truncated, {})
        return PointState(new, jnp.where(truncated, 0, steps), key), timestep

    def best_return(self, start: Float[Array, "worlds 2"]) -> Float[Array, "worlds"]:
        """The return of the best policy from some starts: straight to the goal, axis by axis."""
        moves = 0.1 * jnp.arange(1, self.horizon + 1)
        left = jnp.abs(start - self._goal_of_each())[:, :, None] - moves[None, None]
        return -jnp.linalg.norm(jnp.maximum(left, 0), axis=1).sum(axis=1)

    def _starts(self, key: Key) -> Array:
        return jax.random.uniform(key, (self.num_envs, 2), minval=-1.0, maxval=1.0)

    def _goal_of_each(self) -> Array:
        return jnp.repeat(self.goals, self.worlds_per_task, axis=0)

    def _seen(self, position: Array) -> Array:
        return jnp.concatenate([position, self._goal_of_each()], axis=1) if self.show_goal else position
