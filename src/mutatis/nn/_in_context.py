"""Classifiers that read their context as a sequence (ICRM, Gupta et al. 2024)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._types import Key
from mutatis.nn._attention import Block, Cache, LayerNorm
from mutatis.nn._conv import Conv2d
from mutatis.nn._layers import Activation, Linear, Sequential, relu


class InContextClassifier(eqx.Module):
    r"""An encoder, a causal transformer over the rows, and a linear head (ICRM, Gupta et al. 2024, section 4).

    $$e_j = W \phi(x_j), \qquad h_j = \text{transformer}(e_1, \dots, e_j), \qquad \text{logits}_j = V h_j$$

    A row is never told a label: it sees only the inputs before it. With the rule `InContext`
    it becomes a model that adapts.

    - `encoder`: phi, rows `(rows, ...)` to embeddings `(rows, encoded)`; any batch-to-batch module.
    - `width`, `depth`, `heads`: of the transformer; the original has 128, 12 and 4.
    - `positions`: how many places of the sequence have a learned vector of their own, added to the embedding;
      later rows take the last one's. 0 (the default) for none at all.

    **Raises:** `ValueError` if `heads` does not divide `width`, or a size is not positive.

    **Deviations:** the original has learned positions; without them a context may be longer than any in training, and
    the rows' order matters only through the causal mask (with `depth=1` not at all). No dropout, as in the original.
    """

    encoder: Any
    embed: Linear
    positions: Float[Array, "places width"] | None
    blocks: tuple[Block, ...]
    norm: LayerNorm
    head: Linear

    def __init__(
        self,
        encoder: Any,
        encoded: int,
        num_classes: int,
        *,
        key: Key,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        positions: int = 0,
        dtype: Any = jnp.float32,
    ):
        if min(encoded, num_classes, width, depth, heads) < 1 or positions < 0:
            raise ValueError(
                f"encoded={encoded}, num_classes={num_classes}, width={width}, depth={depth} and heads={heads} must be "
                f"at least 1, and positions={positions} at least 0."
            )
        if width % heads:
            raise ValueError(f"heads is {heads}, which does not divide width={width}; pass a divisor of it.")
        embed_key, place_key, head_key, *block_keys = jax.random.split(key, 3 + depth)
        self.encoder = encoder
        self.embed = Linear(encoded, width, key=embed_key, dtype=dtype)
        self.positions = 0.02 * jax.random.normal(place_key, (positions, width), dtype) if positions else None
        self.blocks = tuple(Block(width, heads, depth, key=k, dtype=dtype) for k in block_keys)
        self.norm = LayerNorm(width, dtype=dtype)
        self.head = Linear(width, num_classes, key=head_key, dtype=dtype)

    def empty_cache(self, capacity: int) -> Cache:
        """A cache of `capacity` rows that has read nothing."""
        width = self.head.weight.shape[0]
        heads = self.blocks[0].attention.heads
        shape = (len(self.blocks), capacity, heads, width // heads)
        zeros = jnp.zeros(shape, self.head.weight.dtype)
        return Cache(zeros, zeros, jnp.zeros((), jnp.int32))

    def stream(self, x: Float[Array, "rows ..."], cache: Cache) -> tuple[Float[Array, "rows classes"], Cache]:
        """Logits of each row given the cache and the rows before it, and the cache after all of them."""
        return self._read(self._embedded(x), cache)

    def independently(self, x: Float[Array, "rows ..."], cache: Cache) -> Float[Array, "rows classes"]:
        """Logits of each row given the cache and itself alone, as if it were the next row of the stream."""
        return jax.vmap(lambda row: self._read(row[None], cache)[0][0])(self._embedded(x))

    def __call__(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows classes"]:
        """Logits of each row by itself, without any context."""
        return self.independently(x, self.empty_cache(1))

    def _embedded(self, x: Array) -> Array:
        return self.embed(self.encoder(x))

    def _read(self, x: Array, cache: Cache) -> tuple[Array, Cache]:
        rows = x.shape[0]
        visible = cache.visible(rows)
        if self.positions is not None:
            place = cache.seen + jnp.arange(rows, dtype=cache.seen.dtype)
            x = x + self.positions[jnp.minimum(place, self.positions.shape[0] - 1)]
        keys, values = [], []
        for number, block in enumerate(self.blocks):
            x, key, value = block(x, cache.keys[number], cache.values[number], visible)
            keys.append(key)
            values.append(value)
        return self.head(self.norm(x)), cache.append(jnp.stack(keys), jnp.stack(values))


def in_context_net(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    key: Key,
    encoder_width: int = 16,
    kernel_size: int = 5,
    norm: Callable[..., Any] = LayerNorm,
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    positions: int = 0,
    dtype: Any = jnp.float32,
) -> InContextClassifier:
    """An `InContextClassifier` of images `(rows, H, W, channels)`, encoded by three padded convolutions to one channel.

    - `image_shape`: (H, W, channels).
    - `encoder_width`: channels of the first two convolutions. The defaults here suit a CPU core; the original's sizes
      are `encoder_width=128, width=128, depth=12` and, for sequences of 100 rows, `positions=100`.
    - `norm`: `norm(channels, dtype=) -> layer` after the first two convolutions. With `BatchNorm`, as in the original,
      train under `BatchMoments(InContext(), pool_tasks=True)`.

    **Deviations:** layer norm instead of batch norm by default: no row can then see a later one, or another group,
    through the moments of the batch, and a context of no rows is nothing special.
    """
    first, second, third, rest = jax.random.split(key, 4)
    height, breadth, channels = image_shape
    padding = kernel_size // 2
    encoder = Sequential(
        [
            Conv2d(channels, encoder_width, kernel_size, padding=padding, key=first, dtype=dtype),
            norm(encoder_width, dtype=dtype),
            Activation(relu),
            Conv2d(encoder_width, encoder_width, kernel_size, padding=padding, key=second, dtype=dtype),
            norm(encoder_width, dtype=dtype),
            Activation(relu),
            Conv2d(encoder_width, 1, kernel_size, padding=padding, key=third, dtype=dtype),
            Activation(_flatten),
        ]
    )
    return InContextClassifier(
        encoder,
        height * breadth,
        num_classes,
        key=rest,
        width=width,
        depth=depth,
        heads=heads,
        positions=positions,
        dtype=dtype,
    )


def _flatten(x: Float[Array, "rows ..."]) -> Float[Array, "rows features"]:
    return x.reshape(x.shape[0], -1)
