"""Draws tasks from groups, inside the compiled training loop."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from mutatis._task import Task
from mutatis._types import Key
from mutatis.shift._groups import Groups


def scaled(inputs: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Bytes become [0, 1]; then each channel is centred and divided by its scale: `(..., channels)` in float32."""
    x = inputs.astype(jnp.float32)
    if inputs.dtype == jnp.uint8:
        x = x / 255
    channelwise = (1,) * (x.ndim - 1) + (-1,)
    return (x - jnp.asarray(mean, jnp.float32).reshape(channelwise)) / jnp.asarray(std, jnp.float32).reshape(
        channelwise
    )


class GroupArrays(eqx.Module):
    """Groups as arrays on the device, rows sorted by group, with what turns bytes into inputs."""

    inputs: Array
    targets: Array
    order: Int[Array, "rows"]
    starts: Int[Array, "groups"]
    sizes: Int[Array, "groups"]
    mean: tuple[float, ...] = eqx.field(static=True)
    std: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, groups: Groups, *, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)):
        empty = [name for name, size in zip(groups.names, groups.sizes, strict=True) if size == 0]
        if empty:
            raise ValueError(f"groups without any row cannot be drawn: {', '.join(empty[:5])}; leave them out.")
        self.inputs, self.targets = jnp.asarray(groups.inputs), jnp.asarray(groups.targets)
        self.order = jnp.asarray(np.concatenate(groups.members), jnp.int32)
        self.sizes = jnp.asarray(groups.sizes, jnp.int32)
        self.starts = jnp.asarray(np.cumsum(groups.sizes) - groups.sizes, jnp.int32)
        self.mean, self.std = tuple(mean), tuple(std)


class GroupSampler(eqx.Module):
    """Draws the tasks of one outer step: `groups_per_step` groups with replacement, `support` rows of each.

    Each task's context is its inputs, unlabelled, and its query the same inputs with their targets (Zhang et al. 2021,
    algorithm 1).

    - `mix_groups`: rows come from all groups instead, so that a task is a random batch: empirical risk minimisation,
      and the context ablation of an adaptive method.
    - `balanced`: groups are drawn uniformly (and rows within them); otherwise in proportion to their sizes. With
      `mix_groups` this is upweighting: every row has weight 1 / size of its group.
    - `labelled_context`: the context is the pair of inputs and targets (federated clients).
    """

    arrays: GroupArrays
    groups_per_step: int = eqx.field(static=True)
    support: int = eqx.field(static=True)
    mix_groups: bool = eqx.field(static=True, default=False)
    balanced: bool = eqx.field(static=True, default=True)
    labelled_context: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        for name in ("groups_per_step", "support"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; draw at least one.")

    def __call__(self, key: Key) -> Task:
        """A stack of `groups_per_step` tasks; under `mix_groups` their indices are their slots."""
        arrays = self.arrays
        group_key, row_key = jax.random.split(key)
        shape = (self.groups_per_step, self.support)
        if self.mix_groups:
            groups, index = self._draw_groups(group_key, shape), jnp.arange(shape[0])
        else:
            index = self._draw_groups(group_key, shape[:1])
            groups = jnp.broadcast_to(index[:, None], shape)
        sizes = arrays.sizes[groups]
        offset = (jax.random.uniform(row_key, shape, jnp.float32) * sizes).astype(jnp.int32)
        rows = arrays.order[arrays.starts[groups] + jnp.minimum(offset, sizes - 1)]
        x = scaled(arrays.inputs[rows], arrays.mean, arrays.std)
        query = (x, arrays.targets[rows])
        context = query if self.labelled_context else x
        return Task(context, query, index.astype(jnp.int32))

    def _draw_groups(self, key: Key, shape: tuple[int, ...]) -> Int[Array, "..."]:
        if self.balanced:
            return jax.random.randint(key, shape, 0, self.arrays.sizes.shape[0])
        row = jax.random.randint(key, shape, 0, self.arrays.order.shape[0])
        return jnp.searchsorted(self.arrays.starts, row, side="right") - 1
