"""What reads a trial step by step, or all at once to the same numbers: a recurrent network and causal attention."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mutatis._types import Key, Tree
from mutatis.nn._attention import Block, Cache, LayerNorm
from mutatis.nn._layers import Linear
from mutatis.nn._ring import append_rows


class AbstractMemory(eqx.Module):
    """Reads rows one after the other; what it says of a row depends on the rows before."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers that it says of a row."""

    @abstractmethod
    def start(self) -> Tree:
        """The state before the first row."""

    @abstractmethod
    def read(
        self, state: Tree, rows: Float[Array, "rows features"], real: Bool[Array, "rows"]
    ) -> tuple[Tree, Float[Array, "rows width"]]:
        """The state after some more rows, and what it says of each; rows that are not real leave no trace."""


class GRU(AbstractMemory):
    """A gated recurrent unit (Cho et al. 2014) with orthogonal weights, on a linear map of the rows.

    - `features`, `width`: of the rows, of the state.
    """

    cell: eqx.nn.GRUCell

    def __init__(self, features: int, width: int = 64, *, key: Key):
        cell_key, *keys = jax.random.split(key, 4)
        cell = eqx.nn.GRUCell(features, width, key=cell_key)
        orthogonal = jax.nn.initializers.orthogonal()
        hidden = jnp.concatenate([orthogonal(each, (width, width)) for each in keys])
        biases = jnp.zeros(3 * width), jnp.zeros(width)
        self.cell = eqx.tree_at(lambda c: (c.weight_hh, c.bias, c.bias_n), cell, (hidden, *biases))

    @property
    def width(self) -> int:
        """Of the state, which is what it says."""
        return self.cell.hidden_size

    def start(self) -> Float[Array, "width"]:
        """Zeros."""
        return jnp.zeros(self.width, self.cell.weight_hh.dtype)

    def read(
        self, state: Float[Array, "width"], rows: Float[Array, "rows features"], real: Bool[Array, "rows"]
    ) -> tuple[Float[Array, "width"], Float[Array, "rows width"]]:
        """One step after the other."""

        def step(state: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
            state = jnp.where(row[1], self.cell(row[0], state), state)
            return state, state

        return jax.lax.scan(step, state, (rows, real))


class CausalAttention(AbstractMemory):
    """Blocks of a transformer over the trial so far (as in Melo 2022), with a learned vector for each place.

    - `features`: of the rows.
    - `length`: rows of a trial, those that are not real included; of a longer one the last so many are seen.
    - `width`, `depth`, `heads`: of the blocks.

    **Raises:** `ValueError` if `heads` does not divide `width`.
    """

    embed: Linear
    places: Float[Array, "length width"]
    blocks: tuple[Block, ...]
    norm: LayerNorm
    heads: int = eqx.field(static=True)

    def __init__(self, features: int, length: int, *, width: int = 64, depth: int = 2, heads: int = 4, key: Key):
        if width % heads:
            raise ValueError(f"heads is {heads}, which does not divide the width of {width}.")
        embed_key, place_key, *keys = jax.random.split(key, 2 + depth)
        self.embed = Linear(features, width, key=embed_key)
        self.places = 0.02 * jax.random.normal(place_key, (length, width))
        self.blocks = tuple(Block(width, heads, depth, key=each) for each in keys)
        self.norm = LayerNorm(width)
        self.heads = heads

    @property
    def width(self) -> int:
        """Of the blocks."""
        return self.places.shape[1]

    def start(self) -> "Read":
        """Room for every row."""
        length, width = self.places.shape
        room = jnp.zeros((len(self.blocks), length, self.heads, width // self.heads), self.places.dtype)
        return Read(Cache(room, room, jnp.zeros((), jnp.int32)), jnp.zeros(length, bool))

    def read(
        self, state: "Read", rows: Float[Array, "rows features"], real: Bool[Array, "rows"]
    ) -> tuple["Read", Float[Array, "rows width"]]:
        """All at once."""
        cache = state.cache
        visible = cache.visible(rows.shape[0]) & jnp.concatenate([state.real, real])[None]
        # A row that is not real looks at itself alone: a softmax over nothing is not a number.
        visible = visible | (jnp.arange(visible.shape[1])[None] == cache.capacity + jnp.arange(rows.shape[0])[:, None])
        place = jnp.sum(state.real) + jnp.cumsum(real) - 1
        x = self.embed(rows) + self.places[jnp.maximum(place, 0)]
        kept = []
        for block, keys, values in zip(self.blocks, cache.keys, cache.values, strict=True):
            x, key, value = block(x, keys, values, visible)
            kept.append((key, value))
        keys, values = (jnp.stack(each) for each in zip(*kept, strict=True))
        return Read(cache.append(keys, values), append_rows(state.real, real, cache.seen)), self.norm(x)


class Read(NamedTuple):
    """What was read: keys and values of the rows, and which of them are real."""

    cache: Cache
    real: Bool[Array, "length"]


def read_step(memory: AbstractMemory, state: Tree, rows: Any, real: Bool[Array, "worlds"]) -> tuple[Tree, Array]:
    """One row in each of N worlds: `(worlds, features)` to `(worlds, width)`."""

    def one(state: Tree, row: Array, real: Array) -> tuple[Tree, Array]:
        state, said = memory.read(state, row[None], real[None])
        return state, said[0]

    return jax.vmap(one)(state, rows, real)
