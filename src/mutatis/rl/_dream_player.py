"""How DREAM plays a trial: it explores in the first episode, and exploits what that told in all others."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._timestep import Timestep
from mutatis._tree import repeated
from mutatis._types import Key, Tree
from mutatis.rl._dream_networks import DREAMNetworks, exploiter_row, explorer_row, step_row, without_instruction


class ExploredSoFar(NamedTuple):
    """The memory of `DREAMPlayer`, in N worlds."""

    network: Tree
    """Of the one that acts in this episode."""
    trajectory: Tree
    said: Float[Array, "worlds latent"]
    """What the exploration so far tells of the task."""
    action: Int[Array, "worlds"]
    reward: Float[Array, "worlds"]
    over: Bool[Array, "worlds"]
    episode: Int[Array, ""]


class DREAMPlayer(eqx.Module):
    """Explores in the first episode of a trial; in all others exploits, with what the exploration said of the task.

    - `random_share`: of the actions, in all worlds or in each.
    - `told`, `is_told`: what is known of the task beforehand, (worlds, latent), and in which worlds exploiting reads
      that instead.
    """

    networks: DREAMNetworks
    random_share: Float[Array, "*worlds"] | float = 0.0
    told: Float[Array, "worlds latent"] | None = None
    is_told: Bool[Array, "worlds"] | None = None

    def start(self, worlds: int) -> ExploredSoFar:
        """Nothing explored."""
        nets = self.networks
        trajectory, network = (repeated(each.memory.start(), worlds) for each in (nets.trajectory, nets.explorer))
        said = nets.trajectory.head(trajectory)
        nothing = jnp.zeros(worlds, said.dtype)
        counter = jnp.full((), -1, jnp.int32)
        return ExploredSoFar(network, trajectory, said, nets.actions.none(worlds), nothing, nothing > 0, counter)

    def begin(self, memory: ExploredSoFar, key: Key) -> ExploredSoFar:
        """Another episode; only what the exploration said goes on."""
        del key
        fresh = jax.tree.map(jnp.zeros_like, memory.network)
        none, no = self.networks.actions.none(memory.over.shape[0]), jnp.zeros_like(memory.over)
        nothing = jnp.zeros_like(memory.reward)
        return ExploredSoFar(fresh, memory.trajectory, memory.said, none, nothing, no, memory.episode + 1)

    def act(
        self, memory: ExploredSoFar, observation: Float[Array, "worlds features"], key: Key
    ) -> tuple[ExploredSoFar, Int[Array, "worlds"]]:
        """The action of the greatest value, or now and then a random one."""
        nets, before = self.networks, self.networks.actions.encode(memory.action)
        real = ~memory.over

        def explore() -> tuple[Tree, Array]:
            seen = without_instruction(observation, nets.instruction)
            return nets.explorer.step(memory.network, explorer_row(seen, before, memory.reward), real)

        def exploit() -> tuple[Tree, Array]:
            rows = jnp.concatenate([exploiter_row(observation, before), self._known(memory)], axis=1)
            return nets.exploiter.step(memory.network, rows, real)

        state, values = jax.lax.cond(memory.episode == 0, explore, exploit)
        choose_key, any_key = jax.random.split(key)
        anything = jax.random.randint(any_key, memory.action.shape, 0, values.shape[1], memory.action.dtype)
        randomly = jax.random.uniform(choose_key, memory.action.shape) < self.random_share
        best = jnp.argmax(values, axis=1).astype(memory.action.dtype)
        return memory._replace(network=state), jnp.where(randomly, anything, best)

    def _known(self, memory: ExploredSoFar) -> Float[Array, "worlds latent"]:
        if self.told is None or self.is_told is None:
            return memory.said
        return jnp.where(self.is_told[:, None], self.told, memory.said)

    def learn(self, memory: ExploredSoFar, observation: Array, action: Array, shown: Timestep) -> ExploredSoFar:
        """Notes the step; while exploring, what the trajectory says now."""
        nets, real = self.networks, ~memory.over
        seen, after = (without_instruction(x, nets.instruction) for x in (observation, shown.last_observation))
        rows = step_row(seen, nets.actions.encode(action), shown.reward, after)
        trajectory, said = nets.trajectory.step(memory.trajectory, rows, real & (memory.episode == 0))
        over = memory.over | shown.terminated | shown.truncated
        reward = shown.reward.astype(memory.reward.dtype)
        return ExploredSoFar(memory.network, trajectory, said, action, reward, over, memory.episode)
