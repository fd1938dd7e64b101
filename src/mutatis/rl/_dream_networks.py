"""The four networks of DREAM, and the rows of episodes that they read."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._types import Key, Tree
from mutatis.nn import Activation, Linear, Sequential, Start, mlp, relu, standard_normal, zeros
from mutatis.rl._family import Box, Discrete, Family
from mutatis.rl._memory import AbstractMemory, LargestSoFar, read_step
from mutatis.rl._play import Trials
from mutatis.rl._recurrent_q import RecurrentQ


class Episode(NamedTuple):
    """One episode of H steps, as it is kept."""

    observation: Float[Array, "*trials horizon+1 features"]
    """Before every step, and after the last."""
    action: Int[Array, "*trials horizon"]
    reward: Float[Array, "*trials horizon"]
    terminated: Bool[Array, "*trials horizon"]
    real: Bool[Array, "*trials horizon"]

    @classmethod
    def of(cls, trials: Trials, number: int) -> "Episode":
        """That episode of every trial."""
        pick = lambda x: x[:, number]
        last = pick(trials.last_observation)[:, -1:]
        observation = jnp.concatenate([pick(trials.observation), last], axis=1)
        return cls(observation, *map(pick, (trials.action, trials.reward, trials.terminated, trials.real)))


class TrajectoryEmbedding(eqx.Module):
    """Reads the steps of a trajectory, and says after each what it tells of the task.

    A step tells it, whenever it was taken, so that the memory is `LargestSoFar`. What two steps tell together then
    pays before it was ever learned, and is sought.

    - `features`: numbers that tell a step.
    - `latent`, `width`: length of what is said, and of the memory.
    """

    memory: AbstractMemory
    head: Sequential

    def __init__(self, features: int, latent: int, *, width: int = 64, key: Key):
        memory_key, head_key = jax.random.split(key)
        self.memory = LargestSoFar(features, width, key=memory_key)
        self.head = mlp((width, width, latent), key=head_key)

    def prefixes(
        self, rows: Float[Array, "horizon features"], real: Bool[Array, "horizon"]
    ) -> Float[Array, "horizon+1 latent"]:
        """What every beginning of one trajectory says, that without a step included."""
        start = self.memory.start()
        _, states = self.memory.read(start, rows, real)
        return self.head(jnp.concatenate([start[None], states]))

    def step(
        self, state: Tree, rows: Float[Array, "worlds features"], real: Bool[Array, "worlds"]
    ) -> tuple[Tree, Float[Array, "worlds latent"]]:
        """The memory in N worlds one step later, and what it says; steps that are not real leave no trace."""
        state, said = read_step(self.memory, state, rows, real)
        return state, self.head(said)


class DREAMNetworks(eqx.Module):
    """What explores, what exploits, f, which embeds tasks, and g, which embeds trajectories.

    - `identity`: numbers that tell f a task.
    - `instruction`: last features of the observation that exploring does not see.
    """

    explorer: RecurrentQ
    exploiter: RecurrentQ
    identity: Sequential
    trajectory: TrajectoryEmbedding
    actions: Discrete | Box = eqx.field(static=True)
    instruction: int = eqx.field(static=True)

    def __init__(self, family: Family, identity: int, instruction: int, latent: int, width: int, *, key: Key):
        explorer_key, exploiter_key, identity_key, trajectory_key = jax.random.split(key, 4)
        actions, seen = family.actions.features, family.observation_size - instruction
        make = lambda features, key: RecurrentQ(features, family.actions.outputs, width=width, key=key)
        self.explorer = make(seen + actions + 1, explorer_key)
        self.exploiter = make(family.observation_size + actions + latent, exploiter_key)
        self.identity = _embedding(identity, width, latent, key=identity_key)
        self.trajectory = TrajectoryEmbedding(2 * seen + actions + 1, latent, width=width, key=trajectory_key)
        self.actions, self.instruction = family.actions, instruction


def _embedding(numbers: int, width: int, latent: int, *, key: Key) -> Sequential:
    """A table of vectors and a layer on them.

    Tasks lie far apart from the beginning. If they did not, exploring would only cost, and would learn to stop at once.
    """
    table_key, key = jax.random.split(key)
    table = Linear(numbers, width, start=Start(standard_normal, zeros), key=table_key)
    return Sequential((table, Activation(relu), Linear(width, latent, key=key)))


def without_instruction(observation: Float[Array, "*rows features"], size: int) -> Float[Array, "*rows seen"]:
    """All but the last so many features."""
    return observation[..., : observation.shape[-1] - size]


def explorer_rows(episode: Episode, actions: Discrete | Box, instruction: int) -> Float[Array, "horizon numbers"]:
    """What exploring sees before every step: the observation, and what came of the action before."""
    return explorer_row(
        without_instruction(episode.observation[:-1], instruction),
        actions.encode(_before(episode, actions)),
        jnp.concatenate([jnp.zeros(1, episode.reward.dtype), episode.reward[:-1]]),
    )


def explorer_row(seen: Array, action: Array, reward: Array) -> Float[Array, "rows numbers"]:
    """Of one step in several rows: the action, encoded, and the reward are of the step before."""
    return jnp.concatenate([seen, action.astype(seen.dtype), reward[:, None].astype(seen.dtype)], axis=1)


def exploiter_rows(episode: Episode, actions: Discrete | Box) -> Float[Array, "horizon numbers"]:
    """What exploiting sees before every step beside z: the observation and the action before, but no reward."""
    return exploiter_row(episode.observation[:-1], actions.encode(_before(episode, actions)))


def exploiter_row(observation: Array, action: Array) -> Float[Array, "rows numbers"]:
    """Of one step in several rows."""
    return jnp.concatenate([observation, action.astype(observation.dtype)], axis=1)


def step_rows(episode: Episode, actions: Discrete | Box, instruction: int) -> Float[Array, "horizon numbers"]:
    """What tells every step: observation, action, reward, and the observation after it."""
    seen = without_instruction(episode.observation, instruction)
    return step_row(seen[:-1], actions.encode(episode.action), episode.reward, seen[1:])


def step_row(seen: Array, action: Array, reward: Array, after: Array) -> Float[Array, "rows numbers"]:
    """Of one step in several rows; the action is encoded."""
    return jnp.concatenate([explorer_row(seen, action, reward), after], axis=1)


def _before(episode: Episode, actions: Discrete | Box) -> Array:
    return jnp.concatenate([actions.none(1), episode.action[:-1]])
