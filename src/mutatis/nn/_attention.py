r"""A causal transformer that reads a stream in pieces: blocks of GPT-2, and the cache of what they have read.

With row p of the stream as a query, and keys and values of the rows before it kept in a cache,

    z_p = sum_r softmax_r( q_p . k_r / sqrt(size) ) v_r        over the rows p - capacity <= r <= p.

The window is the capacity of the cache, also within one piece. So the answers do not depend on how a stream is cut.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._types import Key
from mutatis.nn._layers import Linear
from mutatis.nn._ring import append_rows, row_numbers


class LayerNorm(eqx.Module):
    """Normalises each row over all its other axes, then scales and shifts each channel (Ba et al. 2016).

    `(rows, ..., channels) -> (rows, ..., channels)`. For images this is group normalisation with one group (Wu & He
    2018). Unlike `BatchNorm`, no row changes another.
    """

    weight: Float[Array, "channels"]
    bias: Float[Array, "channels"]
    eps: float = eqx.field(static=True)

    def __init__(self, channels: int, *, eps: float = 1e-5, dtype: Any = jnp.float32):
        self.weight = jnp.ones(channels, dtype)
        self.bias = jnp.zeros(channels, dtype)
        self.eps = eps

    def __call__(self, x: Float[Array, "rows *space channels"]) -> Float[Array, "rows *space channels"]:
        """(x - mean) / sqrt(variance + eps) * weight + bias."""
        axes = tuple(range(1, x.ndim))
        centred = x - jnp.mean(x, axes, keepdims=True)
        scaled = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + self.eps)
        channelwise = (1,) * (x.ndim - 1) + (-1,)
        return scaled * jnp.reshape(self.weight, channelwise) + jnp.reshape(self.bias, channelwise)


class Cache(eqx.Module):
    """Keys and values of the latest rows of a stream, of every block, and how many rows there were in all."""

    keys: Float[Array, "depth capacity heads size"]
    values: Float[Array, "depth capacity heads size"]
    seen: Int[Array, ""]

    @property
    def capacity(self) -> int:
        """How many rows are kept."""
        return self.keys.shape[1]

    def visible(self, rows: int) -> Bool[Array, "rows capacity+rows"]:
        """What each of the next rows may look at: the places of the cache, then the next rows themselves."""
        new = self.seen + jnp.arange(rows, dtype=self.seen.dtype)
        number = jnp.concatenate([row_numbers(self.capacity, self.seen), new])
        age = new[:, None] - number[None]
        return (number[None] >= 0) & (age >= 0) & (age <= self.capacity)

    def append(
        self, keys: Float[Array, "depth rows heads size"], values: Float[Array, "depth rows heads size"]
    ) -> "Cache":
        """The cache after these rows."""
        extend = jax.vmap(append_rows, in_axes=(0, 0, None))
        return Cache(
            extend(self.keys, keys, self.seen),
            extend(self.values, values, self.seen),
            self.seen + keys.shape[1],
        )


class Attention(eqx.Module):
    """Multi-head attention of some rows to cached rows and to each other (Vaswani et al. 2017, section 3.2)."""

    project: Linear
    merge: Linear
    heads: int = eqx.field(static=True)

    def __call__(
        self,
        x: Float[Array, "rows width"],
        keys: Float[Array, "capacity heads size"],
        values: Float[Array, "capacity heads size"],
        visible: Bool[Array, "rows capacity+rows"],
    ) -> tuple[Array, Array, Array]:
        """The rows' answers `(rows, width)`, and their own keys and values `(rows, heads, size)`."""
        rows, width = x.shape
        mixed = self.project(x).reshape(rows, 3, self.heads, width // self.heads)
        query, key, value = mixed[:, 0], mixed[:, 1], mixed[:, 2]
        # Cached and new rows are scored apart: joined, the cache would be copied for every row of a vmapped query.
        scores = jnp.concatenate(
            [jnp.einsum("qhs,khs->hqk", query, keys), jnp.einsum("qhs,khs->hqk", query, key)], axis=-1
        )
        scores = jnp.where(visible[None], scores / (width // self.heads) ** 0.5, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1)
        cached, new = weights[..., : keys.shape[0]], weights[..., keys.shape[0] :]
        answers = jnp.einsum("hqk,khs->qhs", cached, values) + jnp.einsum("hqk,khs->qhs", new, value)
        return self.merge(answers.reshape(rows, width)), key, value


class Block(eqx.Module):
    """One pre-norm block of GPT-2 (Radford et al. 2019): attention, then two linear layers with GELU, both added."""

    attention_norm: LayerNorm
    attention: Attention
    mlp_norm: LayerNorm
    expand: Linear
    contract: Linear

    def __init__(self, width: int, heads: int, depth: int, *, key: Key, dtype: Any = jnp.float32):
        first, second, third, fourth = jax.random.split(key, 4)
        # What is added to the residual stream starts smaller in deeper networks, as in GPT-2.
        added = _DEVIATION / (2 * depth) ** 0.5
        self.attention_norm = LayerNorm(width, dtype=dtype)
        self.attention = Attention(
            _normal_linear(width, 3 * width, _DEVIATION, first, dtype),
            _normal_linear(width, width, added, second, dtype),
            heads,
        )
        self.mlp_norm = LayerNorm(width, dtype=dtype)
        self.expand = _normal_linear(width, 4 * width, _DEVIATION, third, dtype)
        self.contract = _normal_linear(4 * width, width, added, fourth, dtype)

    def __call__(self, x: Array, keys: Array, values: Array, visible: Array) -> tuple[Array, Array, Array]:
        """The rows after the block, and their keys and values."""
        answer, key, value = self.attention(self.attention_norm(x), keys, values, visible)
        x = x + answer
        hidden = jax.nn.gelu(self.expand(self.mlp_norm(x)), approximate=True)
        return x + self.contract(hidden), key, value


_DEVIATION = 0.02


def _normal_linear(inputs: int, outputs: int, deviation: float, key: Key, dtype: Any) -> Linear:
    layer = Linear(inputs, outputs, key=key, dtype=dtype)
    weight = deviation * jax.random.normal(key, (inputs, outputs), dtype)
    return eqx.tree_at(lambda linear: (linear.weight, linear.bias), layer, (weight, jnp.zeros(outputs, dtype)))
