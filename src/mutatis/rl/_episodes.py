"""Past trials, whole."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mutatis._types import Key, Tree


class TrialReplay(eqx.Module):
    """The last so many trials, each a tree of arrays of one structure."""

    storage: Tree
    """(capacity, ...)."""
    added: Int[Array, ""]
    """Trials that were given so far."""

    @classmethod
    def empty(cls, trial: Tree, capacity: int) -> "TrialReplay":
        """Room for trials like this one, whose leaves have shapes and types."""
        room = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), trial)
        return cls(room, jnp.zeros((), jnp.int32))

    @property
    def capacity(self) -> int:
        """Trials that there is room for."""
        return jax.tree.leaves(self.storage)[0].shape[0]

    def add(self, trials: Tree) -> "TrialReplay":
        """With some more, (trials, ...), at most `capacity`; the oldest make room."""
        count = jax.tree.leaves(trials)[0].shape[0]
        places = (self.added + jnp.arange(count)) % self.capacity
        storage = jax.tree.map(lambda old, new: old.at[places].set(new.astype(old.dtype)), self.storage, trials)
        return TrialReplay(storage, self.added + count)

    def sample(self, count: int, *, key: Key) -> Tree:
        """So many, with replacement, (count, ...); the key is consumed."""
        places = jax.random.randint(key, (count,), 0, jnp.minimum(self.added, self.capacity))
        return jax.tree.map(lambda x: x[places], self.storage)
