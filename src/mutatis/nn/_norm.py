"""Batch normalisation with explicit moments: no training mode, no evaluation mode, nothing hidden."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mutatis._tree import Fixed


class Moments(eqx.Module):
    """First two moments of some rows, per channel, as a sum that can be added to another.

    Squares are taken about a `centre` (kept outside, see `BatchNorm`) close to the mean, so that the variance is not a
    difference of two large numbers.
    """

    count: Float[Array, ""]
    total: Float[Array, "channels"]
    squares: Float[Array, "channels"]

    @classmethod
    def zeros(cls, channels: int, dtype: Any = jnp.float32) -> "Moments":
        """The moments of no rows."""
        return cls(jnp.zeros((), dtype), jnp.zeros(channels, dtype), jnp.zeros(channels, dtype))

    @classmethod
    def of(cls, x: Float[Array, "rows *space channels"], centre: Float[Array, "channels"]) -> "Moments":
        """Moments of a batch; a row counts once however many positions it has (they are averaged)."""
        positions = x.size // (x.shape[0] * x.shape[-1])
        axes = tuple(range(x.ndim - 1))
        shifted = x - jnp.reshape(centre, (1,) * (x.ndim - 1) + (-1,))
        count = jnp.asarray(x.shape[0], x.dtype)
        return cls(count, jnp.sum(shifted, axes) / positions, jnp.sum(jnp.square(shifted), axes) / positions)

    def mean_and_variance(self) -> tuple[Float[Array, "channels"], Float[Array, "channels"]]:
        """Mean about the centre and (biased) variance; zero and zero for no rows."""
        count = jnp.maximum(self.count, 1)
        mean = self.total / count
        return mean, jnp.maximum(self.squares / count - jnp.square(mean), 0)


class BatchNorm(eqx.Module):
    """Normalises each channel by the moments it holds, then scales and shifts (Ioffe & Szegedy 2015).

    `(rows, ..., channels) -> (rows, ..., channels)`. The moments are values like any other: `source` are those of the
    training data, remembered by the rule `BatchMoments`, which also puts a batch's own moments in their place.

    - `weight`, `bias`: trained scale and shift, `(channels,)`.
    - `source`: remembered mean and variance; no gradient changes them.
    - `eps`: added to the variance.
    """

    weight: Float[Array, "channels"]
    bias: Float[Array, "channels"]
    source: Fixed[tuple[Float[Array, "channels"], Float[Array, "channels"]]]
    eps: float = eqx.field(static=True)

    def __init__(self, channels: int, *, eps: float = 1e-5, dtype: Any = jnp.float32):
        self.weight = jnp.ones(channels, dtype)
        self.bias = jnp.zeros(channels, dtype)
        self.source = Fixed((jnp.zeros(channels, dtype), jnp.ones(channels, dtype)))
        self.eps = eps

    def __call__(self, x: Float[Array, "rows *space channels"]) -> Float[Array, "rows *space channels"]:
        """Normalise by the moments held."""
        mean, variance = self.source.value
        return self.normalise(x, mean, variance)

    def normalise(self, x: Array, mean: Array, variance: Array) -> Array:
        """(x - mean) / sqrt(variance + eps) * weight + bias, as one multiplication and one addition per element."""
        factor = self.weight * jax.lax.rsqrt(variance + self.eps)
        offset = self.bias - mean * factor
        channelwise = (1,) * (x.ndim - 1) + (-1,)
        return x * jnp.reshape(factor, channelwise) + jnp.reshape(offset, channelwise)


def is_batch_norm(node: object) -> bool:
    """Whether this node of a tree is a `BatchNorm`."""
    return isinstance(node, BatchNorm)


def batch_norms(tree: PyTree) -> list[BatchNorm]:
    """Every `BatchNorm` of a tree, in the order of its leaves."""
    return [node for node in jax.tree.leaves(tree, is_leaf=is_batch_norm) if is_batch_norm(node)]


def norm_affine(model: Any) -> PyTree[bool]:
    """Filter specification of all batch-norm scales and shifts: what Tent (Wang et al. 2021) moves."""

    def mark(node):
        inside = is_batch_norm(node)
        spec = jax.tree.map(lambda _: False, node)
        return eqx.tree_at(lambda norm: (norm.weight, norm.bias), spec, (True, True)) if inside else spec

    return jax.tree.map(mark, model, is_leaf=is_batch_norm)
