"""Posterior sampling in tabular decision processes."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._timestep import Timestep
from mutatis._types import Key
from mutatis.rl.families._tabular import Process, plan


class Visits(NamedTuple):
    """What was seen of each process, and what to do in this episode."""

    counts: Float[Array, "worlds states actions states"]
    """Of transitions."""
    earned: Float[Array, "worlds states actions"]
    """Sum of rewards."""
    todo: Int[Array, "worlds horizon states"]
    """The best action of the process drawn for this episode."""
    step: Int[Array, ""]


class PosteriorSampling(eqx.Module):
    """Acts, an episode long, as is best in a process drawn from the posterior.

    (Strens 2000; Osband, Russo, Van Roy 2013.) It knows the prior and the noise of `TabularProcesses` with drawn
    rewards: means N(1, 1), deviation 1, so that after n visits that paid m in all a mean is N((1 + m) / (1 + n),
    1 / (1 + n)).
    """

    states: int = eqx.field(static=True, default=10)
    num_actions: int = eqx.field(static=True, default=5)
    horizon: int = eqx.field(static=True, default=10)

    def start(self, worlds: int) -> Visits:
        """Nothing seen."""
        counts = jnp.zeros((worlds, self.states, self.num_actions, self.states))
        todo = jnp.zeros((worlds, self.horizon, self.states), jnp.int32)
        return Visits(counts, counts[..., 0], todo, jnp.zeros((), jnp.int32))

    def begin(self, memory: Visits, key: Key) -> Visits:
        """Draws a process and plans in it."""
        transition_key, reward_key = jax.random.split(key)
        transition = jax.random.dirichlet(transition_key, 1 + memory.counts)
        visits = memory.counts.sum(axis=3)
        noise = jax.random.normal(reward_key, visits.shape)
        reward = (1 + memory.earned) / (1 + visits) + noise / jnp.sqrt(1 + visits)
        todo = jax.vmap(lambda process: plan(process, horizon=self.horizon)[1])(Process(transition, reward))
        return memory._replace(todo=todo.astype(jnp.int32), step=jnp.zeros((), jnp.int32))

    def act(
        self, memory: Visits, observation: Float[Array, "worlds states"], key: Key
    ) -> tuple[Visits, Int[Array, "worlds"]]:
        """As planned."""
        del key
        at = jnp.argmax(observation, axis=1)
        return memory, jnp.take_along_axis(memory.todo[:, memory.step], at[:, None], axis=1)[:, 0]

    def learn(
        self, memory: Visits, observation: Float[Array, "worlds states"], action: Int[Array, "worlds"], shown: Timestep
    ) -> Visits:
        """Counts the transition and the reward."""
        taken = observation[:, :, None] * jax.nn.one_hot(action, self.num_actions, dtype=observation.dtype)[:, None]
        counts = memory.counts + taken[..., None] * shown.last_observation[:, None, None]
        earned = memory.earned + taken * shown.reward[:, None, None]
        return Visits(counts, earned, memory.todo, memory.step + 1)
