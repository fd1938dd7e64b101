"""Trials: whole episodes, one after the other, played in the same worlds by a player that may remember."""

from collections.abc import Callable
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._timestep import Timestep
from mutatis._types import Key, Tree
from mutatis.rl._family import Family


class Player(Protocol):
    """Acts in N worlds and may remember, over the episodes of a trial, what it saw there."""

    def start(self, worlds: int) -> Tree:
        """The memory before the first episode."""
        ...

    def begin(self, memory: Tree, key: Key) -> Tree:
        """The memory as an episode begins."""
        ...

    def act(self, memory: Tree, observation: Float[Array, "worlds features"], key: Key) -> Array:
        """An action in every world."""
        ...

    def learn(self, memory: Tree, observation: Float[Array, "worlds features"], action: Array, shown: Timestep) -> Tree:
        """The memory after an action taken at an observation, and what it showed."""
        ...


class Memoryless(eqx.Module):
    """A player that knows only the observation: `policy(observation (worlds, features), key) -> action`."""

    policy: Callable[[Array, Key], Array]

    def start(self, worlds: int) -> None:
        """Nothing."""
        del worlds

    def begin(self, memory: None, key: Key) -> None:
        """Nothing."""
        del memory, key

    def act(self, memory: None, observation: Float[Array, "worlds features"], key: Key) -> Array:
        """The policy's."""
        del memory
        return self.policy(observation, key)

    def learn(self, memory: None, observation: Array, action: Array, shown: Timestep) -> None:
        """Nothing."""
        del memory, observation, action, shown


@eqx.filter_jit
def play(
    family: Family, tasks: Tree, player: Player, *, key: Key, episodes: int = 1
) -> Float[Array, "worlds episodes horizon"]:
    """The rewards of whole episodes in every world, one after the other with the player's memory kept; one program.

    A step after an episode's end counts 0. A policy that is a fresh function at every call is compiled anew each time.

    - `episodes`: of the trial, static.
    - `key`: consumed.
    """

    def act(carry: tuple, key: Key) -> tuple[tuple, Array]:
        memory, state, observation = carry
        act_key, step_key = jax.random.split(key)
        action = player.act(memory, observation, act_key)
        state, shown = family.step(tasks, state, action, step_key)
        memory = player.learn(memory, observation, action, shown)
        return (memory, state, shown.observation), shown.reward

    def episode(memory: Tree, key: Key) -> tuple[Tree, Array]:
        begin_key, reset_key, steps_key = jax.random.split(key, 3)
        state, observation = family.reset(tasks, reset_key)
        carry = (player.begin(memory, begin_key), state, observation)
        (memory, *_), rewards = jax.lax.scan(act, carry, jax.random.split(steps_key, family.horizon))
        return memory, rewards

    memory = player.start(jax.tree.leaves(tasks)[0].shape[0])
    _, rewards = jax.lax.scan(episode, memory, jax.random.split(key, episodes))
    return jnp.moveaxis(rewards, 2, 0)
