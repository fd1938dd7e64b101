"""Last layers that are zero until they adapt."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._references import KAO_2022
from mutatis._tree import Fixed
from mutatis.nn._layers import Linear, Start, zeros


@cites(KAO_2022)
class ZeroedHead(eqx.Module):
    """A network whose linear head is zero, and stays so in the outer loop: only adaptation gives it values.

    The zeroing trick of Kao et al. 2022, with the head alone moving, as in ANIL: give the rule
    `where=nn.zeroed_heads`. What the outer loop learns is features along which a step from nowhere goes far. A policy
    with such a head acts at random until it adapts: nothing that is wanted of it afterwards narrows what it sees
    before.

    - `body`: features, `(rows, ...) -> (rows, features)`.
    - `features`, `outputs`: sizes of the head.
    """

    body: Callable[[Array], Array]
    head: Fixed[Linear]

    def __init__(self, body: Callable[[Array], Array], features: int, outputs: int, *, dtype: Any = jnp.float32):
        nothing = Linear(features, outputs, start=Start(zeros, zeros), key=jax.random.key(0), dtype=dtype)
        self.body, self.head = body, Fixed(nothing)

    def __call__(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows outputs"]:
        """Zeros, until the head has adapted."""
        return self.head.value(self.body(x))


def zeroed_heads(model: Any) -> PyTree[bool]:
    """Filter specification of the heads of every `ZeroedHead` in a model, for the `where=` of a rule."""
    inside = lambda node: isinstance(node, ZeroedHead)

    def spec(node: Any) -> Any:
        nothing = jax.tree.map(lambda leaf: False, node)
        if not inside(node):
            return nothing
        return eqx.tree_at(lambda n: n.head, nothing, jax.tree.map(eqx.is_inexact_array, node.head))

    return jax.tree.map(spec, model, is_leaf=inside)
