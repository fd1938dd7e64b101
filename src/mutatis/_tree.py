"""Arithmetic on PyTrees: what may be trained, and rows of a Jacobian as stacks of trees."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from mutatis._types import Gramian, Scalar, Weights

T = TypeVar("T")


class Fixed(eqx.Module, Generic[T]):
    """Wraps a value inside a module that gradients must never change (a constant rate, remembered moments)."""

    value: T


def is_fixed(node: object) -> bool:
    """Whether this node of a tree is wrapped in `Fixed`."""
    return isinstance(node, Fixed)


def trainable(tree: PyTree) -> PyTree[bool]:
    """Filter specification of what gradients may change: floating-point arrays outside `Fixed`.

    Use it with `equinox.partition` or as the `where=` of a rule.
    """
    return jax.tree.map(lambda leaf: not is_fixed(leaf) and eqx.is_inexact_array(leaf), tree, is_leaf=is_fixed)


def unfix(value: Any) -> Any:
    """The value itself, whether or not it was wrapped in `Fixed`."""
    return value.value if isinstance(value, Fixed) else value


def constant(tree: PyTree) -> PyTree:
    """The same tree, through which no gradient flows; leaves that are no arrays stay as they are."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree)


def ravel(tree: PyTree) -> Float[Array, "size"]:
    """All leaves of a tree as one vector, in the order of `jax.tree.leaves`."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def add(left: PyTree, right: PyTree) -> PyTree:
    """Leaf by leaf sum of two trees of one structure."""
    return jax.tree.map(jnp.add, left, right)


def subtract(left: PyTree, right: PyTree) -> PyTree:
    """Leaf by leaf difference of two trees of one structure."""
    return jax.tree.map(jnp.subtract, left, right)


def scale(factor: Scalar, tree: PyTree) -> PyTree:
    """Every leaf times one number, in the leaf's own precision."""
    return jax.tree.map(lambda leaf: (factor * leaf).astype(leaf.dtype), tree)


def inner_product(left: PyTree, right: PyTree) -> Scalar:
    """Euclidean inner product of two trees of one structure."""
    products = jax.tree.map(jnp.vdot, left, right)
    return jax.tree.reduce(jnp.add, products)


def gramian(rows: PyTree) -> Gramian:
    """Inner products G[s, t] = <row s, row t> of a stack of trees (tasks along the leading axis).

    Computed leaf by leaf, so that the tasks x parameters matrix is never copied into one array.
    """

    def of_leaf(leaf):
        row = leaf.reshape(leaf.shape[0], -1)
        return jnp.matmul(row, row.T, precision=jax.lax.Precision.HIGHEST)

    return jax.tree.reduce(jnp.add, jax.tree.map(of_leaf, rows))


def scan(
    step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], carry: PyTree, xs: PyTree = None, length: int | None = None
) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan` whose carry may hold, beside arrays, what no step changes: functions, settings."""
    arrays, static = eqx.partition(carry, eqx.is_array)

    def one(arrays, x):
        carry, y = step(eqx.combine(arrays, static), x)
        return eqx.filter(carry, eqx.is_array), y

    arrays, ys = jax.lax.scan(one, arrays, xs, length=length)
    return eqx.combine(arrays, static), ys


def repeated(tree: PyTree, count: int) -> PyTree:
    """A stack of so many equal trees."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (count, *leaf.shape)), tree)


def where_rows(mask: Bool[Array, "rows"], new: PyTree, old: PyTree) -> PyTree:
    """Some rows of one stack of trees, the others of another, in whose precision they stay."""

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(mask.reshape(-1, *(1,) * (old.ndim - 1)), new, old).astype(old.dtype)

    return jax.tree.map(choose, new, old)


def weighted_sum(weights: Weights, rows: PyTree) -> PyTree:
    """The combination sum_t weights[t] * row t of a stack of trees."""
    return jax.tree.map(lambda leaf: jnp.tensordot(weights.astype(leaf.dtype), leaf, axes=1), rows)
