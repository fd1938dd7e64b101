"""How PEARL acts in a trial: as if a draw from its belief were true."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._timestep import Timestep
from mutatis._tree import repeated
from mutatis._types import Key
from mutatis.nn import UntoldTask
from mutatis.rl._tanh_gaussian import TanhGaussian
from mutatis.rules._belief import Belief


def context_rows(observation: Array, action: Array, reward: Array) -> Float[Array, "*lead features"]:
    """What a belief is made from: observation, action and reward of every row."""
    return jnp.concatenate([observation, action, reward[..., None]], axis=-1)


class BeliefSoFar(NamedTuple):
    """The memory of `BelievingPlayer`, in N worlds."""

    state: tuple[Array, Array]
    """Of the rule: all that was seen."""
    z: Float[Array, "worlds latent"]
    """What is held true in this episode."""
    over: Bool[Array, "worlds"]
    episode: Int[Array, ""]


class BelievingPlayer(eqx.Module):
    """Holds, in each episode, one draw from its belief for true: from the prior at first, later from what it has seen.

    - `prior_episodes`: episodes whose z is drawn from N(0, I).
    - `noise`: whether actions are drawn, or those without noise taken, once the prior episodes are over; in these they
      are always drawn.
    """

    actor: UntoldTask
    belief: Belief
    prior_episodes: int = eqx.field(static=True, default=1)
    noise: bool = eqx.field(static=True, default=True)

    def start(self, worlds: int) -> BeliefSoFar:
        """The prior."""
        state = repeated(self.belief.init(None), worlds)
        return BeliefSoFar(state, state[1], jnp.zeros(worlds, bool), jnp.full((), -1, jnp.int32))

    def begin(self, memory: BeliefSoFar, key: Key) -> BeliefSoFar:
        """Draws what to hold true."""
        episode = memory.episode + 1
        worlds = memory.over.shape[0]
        prior = repeated(self.belief.init(None), worlds)
        known = jax.tree.map(lambda a, b: jnp.where(episode < self.prior_episodes, a, b), prior, memory.state)
        draw = lambda state, key: self.belief.bind(None, state).draw(key)
        z = jax.vmap(draw)(known, jax.random.split(key, worlds))
        return BeliefSoFar(memory.state, z.astype(memory.z.dtype), jnp.zeros_like(memory.over), episode)

    def act(
        self, memory: BeliefSoFar, observation: Float[Array, "worlds features"], key: Key
    ) -> tuple[BeliefSoFar, Array]:
        """As if z were true."""
        joined = jnp.concatenate([observation, memory.z], axis=1)
        chances = TanhGaussian.of(self.actor(joined, jnp.zeros((), jnp.int32)))
        drawn, _ = chances.sample(key)
        quiet = (not self.noise) & (memory.episode >= self.prior_episodes)
        return memory, jnp.where(quiet, chances.mode, drawn)

    def learn(self, memory: BeliefSoFar, observation: Array, action: Array, shown: Timestep) -> BeliefSoFar:
        """Adds the row to what was seen; z stays until the next episode."""
        rows = context_rows(observation, action, shown.reward)
        measure = lambda row, real: self.belief.weigh(row[None], real[None])
        more = jax.vmap(measure)(rows, (~memory.over).astype(rows.dtype))
        state = jax.tree.map(lambda old, new: (old + new).astype(old.dtype), memory.state, more)
        return memory._replace(state=state, over=memory.over | shown.terminated | shown.truncated)
