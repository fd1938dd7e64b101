"""Symmetry matrices that are Kronecker products, or sums of them."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import ZHOU_2021
from mutatis._types import Key
from mutatis.nn._sharing import AbstractSharing, at_least_one, checked_shape, in_shape, random_filters


@cites(ZHOU_2021)
class KroneckerSharing(AbstractSharing):
    r"""A sum of Kronecker products, one factor for each group of the weight's axes.

    $$U = \sum_t A_t \otimes B_t \otimes \cdots, \qquad
      W_{ab\ldots} = \sum_t \sum_{ij\ldots} A_{t,ai} B_{t,bj} \cdots v_{ij\ldots}$$

    One term is MSR-Conv (Zhou, Knowles & Finn 2021, section 4.1 and their code), which writes a filter of shape
    (outputs, inputs, height, width) with `axes=((0,), (1,), (2, 3))`. The convolution of a group of m elements that act
    by pi is sum_j e_j (x) pi(g_j): one term cannot be it, m terms with `filter_shape=(1, n)` are.

    - `axes`: the groups of axes, every axis in one of them; by default each axis is a group of its own.
    - `terms`: how many products are added.
    - `filter_shape`: the length of the filters along each group; by default the weight's. Shorter ones share more.

    A square factor of the first term starts as the identity, another at N(0, 1/length). Of the further terms the last
    factor starts at zero and the others at N(0, 1/length). So with the default `filter_shape` the filters start as the
    weight itself and give exactly it; with another they are random.

    **Memory:** with n_g entries of the weight and k_g of the filters along group g, terms x sum_g n_g k_g numbers, in
    float32 4 bytes each; for a weight of 1024 x 1024 8.4 MB a term, with 8 x 8 filters 66 kB. U is never built: making
    a weight takes terms x size numbers more.

    **Raises:** `ValueError` if `axes` does not name every axis once, `filter_shape` has not one length for each group,
    or `terms` or a length is below 1.
    """

    factors: tuple[Float[Array, "terms length filters"], ...]
    shape: tuple[int, ...] = eqx.field(static=True)
    axes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        axes: Sequence[Sequence[int]] | None = None,
        terms: int = 1,
        filter_shape: Sequence[int] | None = None,
        key: Key,
        dtype: Any = jnp.float32,
    ):
        self.shape = checked_shape(shape)
        self.axes = _checked_axes(axes, len(self.shape))
        at_least_one("terms", terms)
        lengths = [math.prod(self.shape[axis] for axis in group) for group in self.axes]
        filters = lengths if filter_shape is None else list(filter_shape)
        if len(filters) != len(lengths) or min(filters) < 1:
            raise ValueError(
                f"filter_shape is {tuple(filters)}; pass one length, at least 1, "
                f"for each of the {len(lengths)} groups of axes {self.axes}."
            )
        keys = jax.random.split(key, len(lengths))
        factors = [
            _first_factor(terms, length, width, key=one, dtype=dtype)
            for length, width, one in zip(lengths, filters, keys, strict=True)
        ]
        factors[-1] = factors[-1].at[1:].set(0)
        self.factors = tuple(factors)

    @property
    def filter_shape(self) -> tuple[int, ...]:
        """One length for each group of axes."""
        return tuple(factor.shape[-1] for factor in self.factors)

    def weight(self, filters: Float[Array, "*filters"]) -> Float[Array, "*shape"]:
        """The filters multiplied by one factor after the other along its own axis, summed over the terms."""
        grouped = jnp.sum(jax.vmap(_along_each_axis, in_axes=(0, None))(self.factors, filters), axis=0)
        return in_shape(grouped, self.shape, [axis for group in self.axes for axis in group])

    def first_filters(self, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "*filters"]:
        """The weight itself if all factors are square, which a new symmetry leaves as it is; else random."""
        if any(factor.shape[-2] != factor.shape[-1] for factor in self.factors):
            return random_filters(self, weight, key=key)
        order = [axis for group in self.axes for axis in group]
        return jnp.transpose(weight, order).reshape(self.filter_shape)


def _along_each_axis(factors: tuple[Array, ...], tensor: Array) -> Array:
    # Each product takes the first axis away and puts its result last; after all of them the order is the old one.
    for factor in factors:
        tensor = jnp.tensordot(tensor, factor, axes=((0,), (1,)), precision=jax.lax.Precision.HIGHEST)
    return tensor


def _first_factor(terms: int, length: int, filters: int, *, key: Key, dtype: Any) -> Array:
    factor = length**-0.5 * jax.random.normal(key, (terms, length, filters), dtype)
    return factor.at[0].set(jnp.eye(length, dtype=dtype)) if length == filters else factor


def _checked_axes(axes: Sequence[Sequence[int]] | None, number: int) -> tuple[tuple[int, ...], ...]:
    if axes is None:
        return tuple((axis,) for axis in range(number))
    groups = tuple(tuple(group) for group in axes)
    if sorted(axis for group in groups for axis in group) != list(range(number)) or not all(groups):
        raise ValueError(
            f"axes is {groups}; name each of the weight's axes 0 to {number - 1} in one group, "
            f"such as {tuple((axis,) for axis in range(number))}."
        )
    return groups
