"""What reads a trial step by step or all at once, to the same numbers: recurrent, attention, the largest so far."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mutatis._types import Key, Tree
from mutatis.nn._attention import Block, Cache, LayerNorm
from mutatis.nn._layers import Linear, Sequential, SmallUniform, Start, mlp, relu, zeros
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
    r"""A gated recurrent unit (Cho et al. 2014) with orthogonal weights of the state.

    $$h_t = (1 - z) \, n + z \, h_{t-1}, \qquad n = \tanh(W_n x_t + b_n + r \, (U_n h_{t-1} + c))$$

    with r and z the logistic function of W x + U h + b, each of its own.

    - `features`, `width`: of the rows, of the state.
    """

    rows: Linear
    """W and b, of r, z and n."""
    state: Float[Array, "width 3*width"]
    """U."""
    bias: Float[Array, "width"]
    """c."""

    def __init__(self, features: int, width: int = 64, *, key: Key):
        rows_key, *keys = jax.random.split(key, 4)
        self.rows = Linear(features, 3 * width, start=Start(SmallUniform(width**-0.5), zeros), key=rows_key)
        orthogonal = jax.nn.initializers.orthogonal()
        self.state = jnp.concatenate([orthogonal(each, (width, width)) for each in keys], axis=1)
        self.bias = jnp.zeros(width)

    @property
    def width(self) -> int:
        """Of the state, which is what it says."""
        return self.bias.shape[0]

    def start(self) -> Float[Array, "width"]:
        """Zeros."""
        return jnp.zeros_like(self.bias)

    def read(
        self, state: Float[Array, "width"], rows: Float[Array, "rows features"], real: Bool[Array, "rows"]
    ) -> tuple[Float[Array, "width"], Float[Array, "rows width"]]:
        """One step after the other."""

        # What is made of the rows alone could be made of all at once; cutting that into steps takes longer.
        def step(state: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
            reset, keep, new = jnp.split(self.rows(row[0][None])[0], 3)
            own_reset, own_keep, own_new = jnp.split(state @ self.state, 3)
            share = jax.nn.sigmoid(keep + own_keep)
            new = jnp.tanh(new + jax.nn.sigmoid(reset + own_reset) * (own_new + self.bias))
            state = jnp.where(row[1], new + share * (state - new), state)
            return state, state

        return jax.lax.scan(step, state, (rows, real))


class LargestSoFar(AbstractMemory):
    """The greatest value so far of each of some features of a row (max pooling, Qi et al. 2017).

    It does not know in which order rows came, nor how often: what a row shows, once or a hundred times, it shows. What
    is learned of single rows therefore holds for any number of them together.

    - `features`, `width`: of the rows, of what is said, which is never negative.
    """

    embed: Sequential
    size: int = eqx.field(static=True)

    def __init__(self, features: int, width: int = 64, *, key: Key):
        self.embed, self.size = mlp((features, width, width), key=key), width

    @property
    def width(self) -> int:
        """Of the state, which is what it says."""
        return self.size

    def start(self) -> Float[Array, "width"]:
        """Zeros."""
        return jnp.zeros(self.size)

    def read(
        self, state: Float[Array, "width"], rows: Float[Array, "rows features"], real: Bool[Array, "rows"]
    ) -> tuple[Float[Array, "width"], Float[Array, "rows width"]]:
        """All at once."""
        shown = jnp.where(real[:, None], relu(self.embed(rows)), 0).astype(state.dtype)
        said = jnp.maximum(jax.lax.cummax(shown, axis=0), state[None])
        return said[-1], said


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
