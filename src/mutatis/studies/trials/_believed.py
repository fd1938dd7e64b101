"""Where learners with a belief take the goal to be: places in the plane, one for each draw."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mutatis._types import Key, Tree
from mutatis.nn import UntoldTask
from mutatis.rl import Family, Memoryless, PEARLState, TanhGaussian, Trials, VariBADState, play

DRAWS = 24
"""Of a belief that are shown."""
SPACING = 0.05
"""Between the places that are asked for their reward."""


class Holding(eqx.Module):
    """PEARL's actor, which holds a z of its own for true in each world, and takes its likeliest actions."""

    actor: UntoldTask
    z: Float[Array, "worlds latent"]

    def __call__(self, observation: Float[Array, "worlds features"], key: Key) -> Array:
        """Actions in all worlds."""
        del key
        joined = jnp.concatenate([observation, self.z], axis=1)
        return TanhGaussian.of(self.actor(joined, jnp.zeros((), jnp.int32))).mode


def where_draws_end(
    family: Family, tasks: Tree, state: PEARLState, trials: Trials, shown: np.ndarray, key: Key
) -> Float[np.ndarray, "trials shown draws 2"]:
    """Where PEARL's actor ends an episode, if what it draws from its belief before some episodes is true.

    - `shown`: these episodes; the belief before the first is the prior. The key is consumed.
    """
    z_key, play_key = jax.random.split(key)
    belief = jax.tree.map(lambda x: jnp.repeat(x[:, shown, None], DRAWS, axis=2), state.beliefs(trials))
    z = belief.sample(key=z_key)
    each = int(np.prod(z.shape[1:-1]))
    worlds = jax.tree.map(lambda x: jnp.repeat(x, each, axis=0), tasks)
    player = Memoryless(Holding(state.actor.model, z.reshape(-1, z.shape[-1])))
    ends = play(family, worlds, player, key=play_key).last_observation[:, 0, -1, :2]
    return np.asarray(ends.reshape(*z.shape[:-1], 2), np.float32)


def where_rewards_are(
    state: VariBADState, trials: Trials, shown: np.ndarray, key: Key
) -> Float[np.ndarray, "trials shown draws 2"]:
    """Where VariBAD's decoder expects most, for draws from its belief at the start of some episodes; among places of a
    lattice on [-1.2, 1.2]^2.

    - `shown`: these episodes. The key is consumed.
    """
    line = jnp.arange(-1.2, 1.2 + SPACING / 2, SPACING)
    places = jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)
    belief = jax.tree.map(lambda x: jnp.repeat(x[:, shown, :1], DRAWS, axis=2), state.beliefs(trials))
    m = belief.sample(key=key)
    decoder = state.model.decoder
    none = decoder.actions.none(places.shape[0])
    richest = lambda m: places[decoder.rewards(m, places, none, places).argmax()]
    return np.asarray(jax.lax.map(richest, m.reshape(-1, m.shape[-1])).reshape(*m.shape[:-1], 2), np.float32)
