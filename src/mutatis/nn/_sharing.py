"""Symmetry matrices: which entries of a weight are tied to which, vec(W) = U v."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from mutatis._citation import cites
from mutatis._references import ZHOU_2021
from mutatis._tree import Fixed
from mutatis._types import Key


class AbstractSharing(eqx.Module):
    r"""A symmetry matrix U in some structure: which entries of a weight are tied to which.

    $$\text{vec}(W) = U v, \qquad U \in \mathbb{R}^{size \times filters}$$

    vec reads the weight row by row (`weight.reshape(-1)`). U is what many tasks have in common, the filters v are one
    task's own (Zhou, Knowles & Finn 2021, section 4.1). Only the span of U's columns counts: U A with A^-1 v is the
    same weight for every invertible A.

    - `shape`: the weight's shape; size is the product of its lengths.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]

    @property
    @abstractmethod
    def filter_shape(self) -> tuple[int, ...]:
        """The shape of the filters; v is them row by row."""

    @abstractmethod
    def weight(self, filters: Float[Array, "*filters"]) -> Float[Array, "*shape"]:
        """The weight W that the filters stand for, linear in them; U itself is built only where it is stored."""

    @abstractmethod
    def first_filters(self, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "*filters"]:
        """Filters to start from: those that reproduce the weight where the structure has them.

        Elsewhere they are random, and their weight has the Frobenius norm of the given one.
        """

    def matrix(self) -> Float[Array, "size filters"]:
        """U itself, made column by column; to look at, for it may be large."""
        dtype = jnp.result_type(*jax.tree.leaves(eqx.filter(self, eqx.is_inexact_array)))
        units = jnp.eye(math.prod(self.filter_shape), dtype=dtype)
        columns = jax.vmap(self.weight)(units.reshape(-1, *self.filter_shape))
        return columns.reshape(units.shape[0], -1).T


@cites(ZHOU_2021)
class FullSharing(AbstractSharing):
    """Every entry of U is free (Zhou, Knowles & Finn 2021, section 4.1).

    It holds every group convolution of a finite group (their proposition 1) and starts with none:
    U ~ N(0, scale^2), and the filters are random.

    - `num_filters`: k, the length of v.
    - `scale`: size^(-1/2) by default, so that a column has length about 1; the original takes 0.01.

    **Memory:** size x k numbers, in float32 4 size k bytes; for a weight of 1024 x 1024 with 64 filters 268 MB.

    **Raises:** `ValueError` if `num_filters` or a length in `shape` is below 1, or `scale` is not positive.
    """

    columns: Float[Array, "size filters"]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        num_filters: int,
        scale: float | None = None,
        key: Key,
        dtype: Any = jnp.float32,
    ):
        self.shape = checked_shape(shape)
        at_least_one("num_filters", num_filters)
        if scale is not None and not scale > 0:
            raise ValueError(f"scale is {scale}; pass a positive standard deviation, or None for size^(-1/2).")
        size = math.prod(self.shape)
        scale = size**-0.5 if scale is None else scale
        self.columns = jnp.asarray(scale, dtype) * jax.random.normal(key, (size, num_filters), dtype)

    @property
    def filter_shape(self) -> tuple[int, ...]:
        """`(num_filters,)`."""
        return (self.columns.shape[-1],)

    def weight(self, filters: Float[Array, "filters"]) -> Float[Array, "*shape"]:
        """U v."""
        return product(self.columns, filters).reshape(self.shape)

    def first_filters(self, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "filters"]:
        """Random."""
        return random_filters(self, weight, key=key)


class LowRankSharing(AbstractSharing):
    """U = P Q with P (size, rank) and Q (rank, filters).

    The weights it reaches are those of P alone, so a `FullSharing` of `rank` filters reaches as many; the further
    filters shape the steps of the inner loop, which moves Q v by Q Q^T times its gradient.

    - `num_filters`: k, the length of v.
    - `rank`: the number of columns of P. P ~ N(0, 1/size) and Q ~ N(0, 1/rank): a column of U has length about 1.

    **Memory:** rank x (size + k) numbers, in float32 4 rank (size + k) bytes; for a weight of 1024 x 1024 with 64
    filters 34 MB at rank 8.

    **Raises:** `ValueError` if `num_filters`, `rank` or a length in `shape` is below 1.
    """

    basis: Float[Array, "size rank"]
    mixing: Float[Array, "rank filters"]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: Sequence[int], *, num_filters: int, rank: int, key: Key, dtype: Any = jnp.float32):
        self.shape = checked_shape(shape)
        at_least_one("num_filters", num_filters)
        at_least_one("rank", rank)
        basis_key, mixing_key = jax.random.split(key)
        size = math.prod(self.shape)
        self.basis = size**-0.5 * jax.random.normal(basis_key, (size, rank), dtype)
        self.mixing = rank**-0.5 * jax.random.normal(mixing_key, (rank, num_filters), dtype)

    @property
    def filter_shape(self) -> tuple[int, ...]:
        """`(num_filters,)`."""
        return (self.mixing.shape[-1],)

    def weight(self, filters: Float[Array, "filters"]) -> Float[Array, "*shape"]:
        """P (Q v)."""
        return product(self.basis, product(self.mixing, filters)).reshape(self.shape)

    def first_filters(self, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "filters"]:
        """Random."""
        return random_filters(self, weight, key=key)


@cites(ZHOU_2021)
class KnownSharing(AbstractSharing):
    r"""A given U, which nothing moves: the answer, to compare what is learned with.

    For the convolution of a finite group that acts on the inputs by pi (Zhou, Knowles & Finn 2021, proposition 1),

    $$U = \begin{pmatrix} \pi(g_1) \\ \vdots \\ \pi(g_m) \end{pmatrix}, \qquad
      W = \begin{pmatrix} (\pi(g_1) v)^T \\ \vdots \\ (\pi(g_m) v)^T \end{pmatrix}$$

    - `matrix`: U, `(size, filters)`.
    - `shape`: the weight's shape.

    The filters start as the least-squares solution of U v = vec(W): the weight itself if U can give it.

    **Memory:** size x filters numbers, in float32 4 size filters bytes; no gradient or optimiser's moments beside them.

    **Raises:** `ValueError` if `matrix` is not a matrix with a row for each entry of the weight.
    """

    known: Fixed[Float[Array, "size filters"]]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, matrix: ArrayLike, shape: Sequence[int]):
        self.shape = checked_shape(shape)
        known = jnp.asarray(matrix)
        size = math.prod(self.shape)
        if known.ndim != 2 or known.shape[0] != size or known.shape[1] < 1:
            raise ValueError(
                f"matrix has shape {known.shape}, but a weight of shape {self.shape} has {size} entries; "
                f"pass a ({size}, filters) matrix."
            )
        self.known = Fixed(known if jnp.issubdtype(known.dtype, jnp.floating) else known.astype(float))

    @property
    def filter_shape(self) -> tuple[int, ...]:
        """`(filters,)`."""
        return (self.known.value.shape[-1],)

    def weight(self, filters: Float[Array, "filters"]) -> Float[Array, "*shape"]:
        """U v."""
        return product(self.known.value, filters).reshape(self.shape)

    def first_filters(self, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "filters"]:
        """The least-squares solution."""
        del key
        return jnp.linalg.lstsq(self.known.value, weight.reshape(-1))[0].astype(weight.dtype)


def product(matrix: Float[Array, "rows columns"], vector: Float[Array, "columns"]) -> Float[Array, "rows"]:
    """Matrix times vector, without the rounding to fewer digits that accelerators allow themselves."""
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


def random_filters(sharing: AbstractSharing, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "*filters"]:
    """Normal filters, scaled so that their weight has the Frobenius norm of the given one."""
    filters = jax.random.normal(key, sharing.filter_shape, weight.dtype)
    norm = lambda tensor: jnp.linalg.norm(tensor.reshape(-1))
    return (filters * (norm(weight) / norm(sharing.weight(filters)))).astype(weight.dtype)


def in_shape(tensor: Array, shape: Sequence[int], order: Sequence[int]) -> Float[Array, "*shape"]:
    """The tensor of that shape, from one whose axes follow each other in that order and may have been joined."""
    parted = tensor.reshape([shape[axis] for axis in order])
    return jnp.transpose(parted, [order.index(axis) for axis in range(len(order))])


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple; raises `ValueError` if it is empty or has a length below 1."""
    if not shape or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}; pass the shape of a weight, with at least one axis and one entry.")
    return tuple(shape)


def at_least_one(name: str, value: int) -> None:
    """Raises `ValueError` if the setting of that name is below 1."""
    if value < 1:
        raise ValueError(f"{name} is {value}; it must be at least 1.")
