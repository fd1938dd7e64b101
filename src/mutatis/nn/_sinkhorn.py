"""Symmetry matrices that are stacks of soft permutations."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import SINKHORN_1967, VAN_DER_LINDEN_2024
from mutatis._types import Key
from mutatis.nn._sharing import AbstractSharing, at_least_one, checked_shape, in_shape, random_filters


@cites(VAN_DER_LINDEN_2024, SINKHORN_1967)
class DoublyStochasticSharing(AbstractSharing):
    r"""Every output of a field is a soft permutation of the field's filter (WSCNN, van der Linden et al. 2024, eq. 7).

    Along one axis the weight's outputs are pairs (field f, copy j), field by field, and with doubly stochastic S_j

    $$W_{(f,j)} = S_j \psi_f, \qquad S_1 = 1, \qquad S_j = \text{Sinkhorn}(\Theta_j)$$

    S_1 is the identity as in the original, so that psi_f is a filter and not a permutation of one.

    - `num_fields`: how many filters psi_f; the number of outputs divided by it is the number of copies.
    - `iterations`: of `sinkhorn`.
    - `axis`: the axis of the outputs: 0 in Equinox' layers, -1 in this library's.
    - `mixes`: the axes along which S_j permutes, n entries together; by default all others. An axis that is left out,
      such as the inputs of a convolution, is carried along: the original permutes the pixels of the first layer's
      filters and leaves their channels alone.

    The logits Theta start at N(0, 1), the filters are random, `(num_fields, n, carried)`; `carried` is 1 by default.

    **Memory:** (copies - 1) n^2 numbers, in float32 4 (copies - 1) n^2 bytes; for a weight of 1024 x 1024 with 64
    fields 63 MB.

    **Raises:** `ValueError` if `num_fields` or `iterations` is below 1, the outputs are not a multiple of `num_fields`
    of at least two copies, or `mixes` does not name other axes, each once.

    **Deviations:** an axis is permuted whole or carried whole, while later layers of the original permute pixels
    together with the copies of the layer before and carry its fields. No penalty on the entropy of S_j or on the sums
    of its rows: at the start 20 iterations bring those within 1e-5 of 1.
    """

    logits: Float[Array, "copies-1 n n"]
    shape: tuple[int, ...] = eqx.field(static=True)
    num_fields: int = eqx.field(static=True)
    iterations: int = eqx.field(static=True)
    order: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        num_fields: int = 1,
        iterations: int = 20,
        axis: int = 0,
        mixes: Sequence[int] | None = None,
        key: Key,
        dtype: Any = jnp.float32,
    ):
        self.shape = checked_shape(shape)
        at_least_one("num_fields", num_fields)
        at_least_one("iterations", iterations)
        axis, *mixed = _checked_axes(axis, mixes, len(self.shape))
        outputs = self.shape[axis]
        if outputs % num_fields or outputs == num_fields:
            raise ValueError(
                f"num_fields is {num_fields}, but axis {axis} of a weight of shape {self.shape} has {outputs} entries; "
                "pass a proper divisor of them, or another axis."
            )
        carried = [other for other in range(len(self.shape)) if other not in (axis, *mixed)]
        self.num_fields, self.iterations, self.order = num_fields, iterations, (axis, *mixed, *carried)
        n = math.prod(self.shape[other] for other in mixed)
        self.logits = jax.random.normal(key, (outputs // num_fields - 1, n, n), dtype)

    @property
    def filter_shape(self) -> tuple[int, ...]:
        """`(num_fields, n, carried)`."""
        copies, n = self.logits.shape[-3] + 1, self.logits.shape[-1]
        return self.num_fields, n, math.prod(self.shape) // (self.num_fields * copies * n)

    def weight(self, filters: Float[Array, "fields n carried"]) -> Float[Array, "*shape"]:
        """Each field's filter, then its soft permutations."""
        soft = sinkhorn(self.logits, self.iterations)
        permuted = jnp.einsum("jab,fbc->fjac", soft, filters, precision=jax.lax.Precision.HIGHEST)
        rows = jnp.concatenate([filters[:, None].astype(permuted.dtype), permuted], axis=1)
        return in_shape(rows, self.shape, self.order)

    def first_filters(self, weight: Float[Array, "*shape"], *, key: Key) -> Float[Array, "fields n carried"]:
        """Random."""
        return random_filters(self, weight, key=key)


@cites(SINKHORN_1967)
def sinkhorn(logits: Float[Array, "*stack n n"], iterations: int) -> Float[Array, "*stack n n"]:
    r"""Scales the rows and columns of exp(logits) in turns until both sum to 1 (Sinkhorn & Knopp 1967).

    $$S = \text{diag}(e^r) \, e^{\Theta} \, \text{diag}(e^c), \qquad
      r_a \leftarrow -\log \sum_b e^{\Theta_{ab} + c_b}, \qquad c_b \leftarrow -\log \sum_a e^{\Theta_{ab} + r_a}$$

    Columns come last, so their sums are exact; those of the rows converge, the slower the larger the logits.
    Differentiation keeps the 2 n numbers of each iteration and not its n^2.
    """

    @jax.checkpoint
    def scale(scales, _):
        rows = -jax.nn.logsumexp(logits + scales[1], axis=-1, keepdims=True)
        return (rows, -jax.nn.logsumexp(logits + rows, axis=-2, keepdims=True)), None

    ones = jnp.zeros_like(logits[..., :1]), jnp.zeros_like(logits[..., :1, :])
    (rows, columns), _ = jax.lax.scan(scale, ones, length=iterations)
    return jnp.exp(logits + rows + columns)


def _checked_axes(axis: int, mixes: Sequence[int] | None, number: int) -> list[int]:
    """The axis of the outputs and those that are permuted, counted from 0."""
    counted = {either: either % number for either in range(-number, number)}
    if axis not in counted:
        raise ValueError(f"axis is {axis}, but the weight has {number} axes; pass one of them.")
    axis = counted[axis]
    others = [other for other in range(number) if other != axis]
    mixed = others if mixes is None else [counted.get(other, axis) for other in mixes]
    if not mixed or len(set(mixed)) < len(mixed) or axis in mixed:
        raise ValueError(
            f"mixes is {mixes}; name axes of the weight other than axis={axis} of the outputs, each once: "
            f"some of {others}."
        )
    return [axis, *mixed]
