"""Past transitions, kept apart by task."""

import os
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._types import Key


class Transitions(NamedTuple):
    """Steps of environments; the leading axes are (worlds,), or (tasks, batch) when sampled."""

    observation: Float[Array, "... features"]
    action: Float[Array, "... actions"]
    reward: Float[Array, "..."]
    next_observation: Float[Array, "... features"]
    terminated: Float[Array, "..."]
    """1 where the episode ended for good: nothing is bootstrapped. An end by the clock is 0."""


class Replay(eqx.Module):
    """The last transitions of each task, and how large its rewards are."""

    storage: Transitions
    """(tasks, capacity, ...), float32."""
    added: Int[Array, ""]
    """Transitions that each task was given so far."""
    reward_square: Float[Array, "tasks"]
    """Mean of the squared rewards of each task, over all that were given."""

    @classmethod
    def empty(cls, num_tasks: int, capacity: int, observation_size: int, action_size: int) -> "Replay":
        """Room for `capacity` transitions of each task.

        **Raises:** `ValueError` if that is less than one transition, `MemoryError` if it cannot fit into memory.
        """
        if capacity < 1:
            raise ValueError(f"capacity: room for {capacity} transitions of each task; give at least 1.")
        needed, there = replay_bytes(num_tasks, capacity, observation_size, action_size), device_memory()
        if needed > there:
            raise MemoryError(
                f"capacity: {capacity:,} transitions of each of {num_tasks} tasks need {needed / 2**30:.1f} GiB; "
                f"there are {there / 2**30:.1f}. Give at most {capacity * there // (2 * needed):,}."
            )
        room = lambda *shape: jnp.zeros((num_tasks, capacity, *shape), jnp.float32)
        storage = Transitions(room(observation_size), room(action_size), room(), room(observation_size), room())
        return cls(storage, jnp.zeros((), jnp.int32), jnp.zeros(num_tasks, jnp.float32))

    @property
    def capacity(self) -> int:
        """Transitions of each task that there is room for."""
        return self.storage.reward.shape[1]

    def add(self, transitions: Transitions) -> "Replay":
        """With one step of M worlds, those of the first task first; the oldest make room."""
        tasks = self.storage.reward.shape[0]
        new = jax.tree.map(lambda x: x.reshape(tasks, -1, *x.shape[1:]).astype(jnp.float32), transitions)
        count = new.reward.shape[1]
        if count > self.capacity:
            raise ValueError(f"capacity: {self.capacity} is less than the {count} worlds of a task.")
        places = (self.added + jnp.arange(count)) % self.capacity
        storage = jax.tree.map(lambda old, x: old.at[:, places].set(x), self.storage, new)
        added = self.added + count
        share = count / added.astype(jnp.float32)
        square = self.reward_square + share * (jnp.mean(new.reward**2, axis=1) - self.reward_square)
        return Replay(storage, added, square)

    def sample(self, batch: int, *, key: Key) -> Transitions:
        """`batch` transitions of each task, with replacement, (tasks, batch, ...); the key is consumed."""
        tasks = self.storage.reward.shape[0]
        places = jax.random.randint(key, (tasks, batch), 0, jnp.minimum(self.added, self.capacity))
        read = lambda storage: jax.tree.map(lambda x: jax.vmap(lambda rows, at: rows[at])(x, places), storage)
        nothing = lambda storage: jax.tree.map(lambda x: jnp.zeros((tasks, batch, *x.shape[2:]), x.dtype), storage)
        # XLA merges what `add` writes into what is read here, so that it needs the rows of before and after at once and
        # copies them all at every step; into a condition it does not look.
        return jax.lax.cond(self.added > 0, read, nothing, self.storage)

    def sample_of(self, tasks: Int[Array, "chosen"], batch: int, *, key: Key) -> Transitions:
        """`batch` transitions of some tasks, with replacement, (chosen, batch, ...); the key is consumed."""
        places = jax.random.randint(key, (tasks.shape[0], batch), 0, jnp.minimum(self.added, self.capacity))
        return jax.tree.map(lambda x: x[tasks[:, None], places], self.storage)

    @property
    def reward_scale(self) -> Float[Array, "tasks"]:
        """What makes the rewards of each task 1 in root mean square; 1 before any reward was seen."""
        return jnp.where(self.reward_square > 0, jax.lax.rsqrt(jnp.maximum(self.reward_square, 1e-12)), 1.0)


def replay_bytes(num_tasks: int, capacity: int, observation_size: int, action_size: int) -> int:
    """Memory of a replay."""
    return 4 * num_tasks * capacity * (2 * observation_size + action_size + 2)


def device_memory() -> int:
    """Bytes of the device's memory, or of the machine's."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
