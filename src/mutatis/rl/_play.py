"""Trials: whole episodes, one after the other, played in the same worlds by a player that may remember."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

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

    def act(self, memory: Tree, observation: Float[Array, "worlds features"], key: Key) -> tuple[Tree, Array]:
        """The memory and an action in every world."""
        ...

    def learn(self, memory: Tree, observation: Float[Array, "worlds features"], action: Array, shown: Timestep) -> Tree:
        """The memory after an action taken at an observation, and what it showed.

        Where the episode was over before, the world has not moved.
        """
        ...


class Trials(NamedTuple):
    """What was seen, done and earned; N worlds, E episodes of H steps."""

    observation: Float[Array, "worlds episodes horizon features"]
    """What was acted on."""
    action: Shaped[Array, "worlds episodes horizon ..."]
    reward: Float[Array, "worlds episodes horizon"]
    """0 after the end of an episode."""
    last_observation: Float[Array, "worlds episodes horizon features"]
    """What the action led to."""
    terminated: Bool[Array, "worlds episodes horizon"]
    """From the step on that ended the episode for good."""
    real: Bool[Array, "worlds episodes horizon"]
    """Whether the episode was not over before the step."""
    info: Mapping[str, Array]
    """What else the family tells of a step."""

    def returns(self) -> Float[Array, "worlds episodes"]:
        """The sum of rewards of each episode, not discounted."""
        return self.reward.sum(axis=-1)


class Memoryless(eqx.Module):
    """A player that knows only the observation: `policy(observation (worlds, features), key) -> action`."""

    policy: Callable[[Array, Key], Array]

    def start(self, worlds: int) -> None:
        """Nothing."""
        del worlds

    def begin(self, memory: None, key: Key) -> None:
        """Nothing."""
        del memory, key

    def act(self, memory: None, observation: Float[Array, "worlds features"], key: Key) -> tuple[None, Array]:
        """The policy's."""
        del memory
        return None, self.policy(observation, key)

    def learn(self, memory: None, observation: Array, action: Array, shown: Timestep) -> None:
        """Nothing."""
        del memory, observation, action, shown


@eqx.filter_jit
def play(family: Family, tasks: Tree, player: Player, *, key: Key, episodes: int = 1) -> Trials:
    """Whole episodes in every world, one after the other with the player's memory kept; one program.

    - `tasks`: one for each world, as `family.sample` gives them.
    - `episodes`: of the trial, static.
    - `key`: consumed.

    A player that holds a fresh function at every call is compiled anew each time.
    """

    def act(carry: tuple, key: Key) -> tuple[tuple, Trials]:
        memory, state, observation, over = carry
        act_key, step_key = jax.random.split(key)
        memory, action = player.act(memory, observation, act_key)
        state, shown = family.step(tasks, state, action, step_key)
        memory = player.learn(memory, observation, action, shown)
        row = Trials(
            observation, action, shown.reward, shown.last_observation, shown.terminated, ~over, dict(shown.info)
        )
        return (memory, state, shown.observation, shown.terminated | shown.truncated), row

    def episode(memory: Tree, key: Key) -> tuple[Tree, Trials]:
        begin_key, reset_key, steps_key = jax.random.split(key, 3)
        state, observation = family.reset(tasks, reset_key)
        over = jnp.zeros(observation.shape[0], bool)
        carry = (player.begin(memory, begin_key), state, observation, over)
        (memory, *_), rows = jax.lax.scan(act, carry, jax.random.split(steps_key, family.horizon))
        return memory, rows

    memory = player.start(jax.tree.leaves(tasks)[0].shape[0])
    _, rows = jax.lax.scan(episode, memory, jax.random.split(key, episodes))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), rows)
