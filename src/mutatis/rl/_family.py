"""Families of tasks: N worlds, each with a task of its own that it does not tell."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._timestep import Timestep
from mutatis._tree import where_rows
from mutatis._types import Key, Tree
from mutatis.rl._categorical import Categorical
from mutatis.rl._gaussian import Gaussian


@dataclass(frozen=True)
class Discrete:
    """Actions are whole numbers from 0, (worlds,)."""

    count: int

    @property
    def features(self) -> int:
        """Numbers that tell an action."""
        return self.count

    @property
    def outputs(self) -> int:
        """Numbers from which a policy is made."""
        return self.count

    def encode(self, action: Int[Array, "*worlds"]) -> Float[Array, "*worlds features"]:
        """One out of `count`."""
        return jax.nn.one_hot(action, self.count)

    def distribution(self, outputs: Float[Array, "*worlds outputs"]) -> Categorical:
        """The outputs as logits."""
        return Categorical(outputs)

    def none(self, worlds: int) -> Int[Array, "worlds"]:
        """What stands for the action before the first: encoded, it is zero."""
        return jnp.full(worlds, -1, jnp.int32)


@dataclass(frozen=True)
class Box:
    """Actions are vectors with entries in [-1, 1], (worlds, size)."""

    size: int

    @property
    def features(self) -> int:
        """Numbers that tell an action."""
        return self.size

    @property
    def outputs(self) -> int:
        """Numbers from which a policy is made: means, and logarithms of standard deviations."""
        return 2 * self.size

    def encode(self, action: Float[Array, "*worlds size"]) -> Float[Array, "*worlds size"]:
        """The action itself, as a world clips it."""
        return jnp.clip(action, -1, 1)

    def distribution(self, outputs: Float[Array, "*worlds outputs"]) -> Gaussian:
        """Deviations from 0.05 to 3, at the start of about 1."""
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        return Gaussian(mean, jnp.clip(log_std, math.log(0.05), math.log(3)))

    def none(self, worlds: int) -> Float[Array, "worlds size"]:
        """What stands for the action before the first: zero."""
        return jnp.zeros((worlds, self.size))


class Family(Protocol):
    """A distribution of tasks, and one episode in N worlds with a task each; pure functions, no automatic reset.

    `tasks` is a PyTree whose leaves lead with the axis of the worlds. An episode has `horizon` steps unless it is
    terminated earlier; the last one tells `truncated` where it is not terminated. A world whose episode has ended
    stays as it is: same observation, reward 0, still `terminated` or `truncated`.
    """

    @property
    def observation_size(self) -> int:
        """F, features of an observation."""
        ...

    @property
    def actions(self) -> Discrete | Box:
        """What may be done."""
        ...

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        ...

    def sample(self, key: Key, count: int) -> Tree:
        """Tasks to train on, independent of each other."""
        ...

    def reset(self, tasks: Tree, key: Key) -> tuple[Any, Float[Array, "worlds features"]]:
        """Starts an episode in every world: the state and what is seen."""
        ...

    def step(self, tasks: Tree, state: Any, action: Array, key: Key) -> tuple[Any, Timestep]:
        """Acts in every world; `observation` and `last_observation` are the same array."""
        ...


class FamilyState(NamedTuple):
    """Of N worlds."""

    place: Tree
    """What the family itself keeps of every world."""
    observation: Float[Array, "worlds features"]
    steps: Int[Array, "worlds"]
    """Taken in the episode."""
    terminated: Bool[Array, "worlds"]


class Move(NamedTuple):
    """What an action does in one world."""

    place: Tree
    observation: Float[Array, "features"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""] | bool = False
    info: Mapping[str, Array] = {}


class AbstractFamily(eqx.Module):
    """A family written for one world: this class does the axis of the worlds, the horizon and the ends of episodes."""

    observation_size: eqx.AbstractVar[int]
    actions: eqx.AbstractVar[Discrete | Box]
    horizon: eqx.AbstractVar[int]

    @abstractmethod
    def sample(self, key: Key, count: int) -> Tree:
        """Tasks to train on, independent of each other."""

    @abstractmethod
    def begin(self, task: Tree, key: Key) -> tuple[Tree, Float[Array, "features"]]:
        """The place where an episode of one world starts, and what is seen there."""

    @abstractmethod
    def move(self, task: Tree, place: Tree, action: Array, key: Key) -> Move:
        """What an action does in one world whose episode goes on."""

    def reset(self, tasks: Tree, key: Key) -> tuple[FamilyState, Float[Array, "worlds features"]]:
        """Starts an episode in every world: the state and what is seen."""
        worlds = jax.tree.leaves(tasks)[0].shape[0]
        place, observation = jax.vmap(self.begin)(tasks, jax.random.split(key, worlds))
        state = FamilyState(place, observation, jnp.zeros(worlds, jnp.int32), jnp.zeros(worlds, bool))
        return state, observation

    def step(self, tasks: Tree, state: FamilyState, action: Array, key: Key) -> tuple[FamilyState, Timestep]:
        """Acts in every world; one whose episode has ended stays as it is and pays nothing."""
        keys = jax.random.split(key, state.steps.shape[0])
        moved = jax.vmap(self.move)(tasks, state.place, action, keys)
        ended = state.terminated | (state.steps >= self.horizon)
        terminated = jnp.where(ended, state.terminated, moved.terminated)
        steps = state.steps + ~ended
        new = FamilyState(
            where_rows(~ended, moved.place, state.place),
            where_rows(~ended, moved.observation, state.observation),
            steps,
            terminated,
        )
        nothing = lambda tree: where_rows(~ended, tree, jax.tree.map(jnp.zeros_like, tree))
        truncated = (steps >= self.horizon) & ~terminated
        reward, info = nothing(moved.reward), nothing(dict(moved.info))
        return new, Timestep(new.observation, new.observation, reward, terminated, truncated, info)
