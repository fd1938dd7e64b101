"""One number per group, learned beside the model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from mutatis._types import GroupIndex, Scalar, Tree

_ADAM = optax.scale_by_adam()


class Learned(eqx.Module):
    """Numbers by group id, and Adam's memory of each, so that a group's steps are counted from its own first."""

    values: Float[Array, "groups"]
    memory: Tree

    def at(self, index: GroupIndex) -> Float[Array, "tasks"]:
        """The number of each task's group; NaN for an id that is not a group's."""
        return self.values.at[index].get(mode="fill", fill_value=jnp.nan)


def begin(values: Float[Array, "groups"]) -> Learned:
    """These numbers, of which no step was taken yet."""
    return Learned(values, jax.vmap(_ADAM.init)(values))


def descend(
    learned: Learned, gradient: Float[Array, "groups"], present: Bool[Array, "groups"], step_size: Scalar
) -> Learned:
    """One step of Adam (Kingma & Ba 2015, its usual constants) for the groups that are present."""
    moves, memory = jax.vmap(_ADAM.update)(gradient, learned.memory)
    after = Learned(learned.values - step_size * jnp.asarray(moves), memory)
    return jax.tree.map(lambda new, old: jnp.where(present, new, old), after, learned)


def by_group(slots: Float[Array, "tasks"], index: GroupIndex, groups: Float[Array, "groups"]) -> Float[Array, "groups"]:
    """The sum over each group's slots, in the shape and precision of `groups`."""
    return jnp.zeros_like(groups).at[index].add(slots.astype(groups.dtype))


def present(index: GroupIndex, groups: Float[Array, "groups"]) -> Bool[Array, "groups"]:
    """Which groups have a slot."""
    return jnp.zeros(groups.shape, bool).at[index].set(True)
