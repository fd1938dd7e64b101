"""Weights of any module written as vec(W) = U v, and filter specifications that tell U from v.

The rule adapts the filters v, the outer loop learns the symmetry U that all tasks share (MSR, Zhou, Knowles & Finn
2021): `GradientSteps(loss, 0.1, where=is_filter)` moves the filters and nothing else,
`GradientSteps(loss, 0.1, where=not_(is_symmetry))` the other weights of the model as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._references import ZHOU_2021
from mutatis._tree import is_fixed, trainable
from mutatis._types import Key
from mutatis.nn._sharing import AbstractSharing, FullSharing


@cites(ZHOU_2021)
class SharedWeight(eqx.Module):
    """One weight, written as a symmetry and its filters."""

    sharing: AbstractSharing
    filters: Float[Array, "*filters"]

    def value(self) -> Float[Array, "*shape"]:
        """The weight, in the precision of the filters."""
        return self.sharing.weight(self.filters).astype(self.filters.dtype)


class Reparameterised(eqx.Module):
    """A module, some of whose weights are `SharedWeight`s; called like the module itself."""

    module: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the plain module returns."""
        return materialise(self)(*args, **kwargs)


def reparameterise(
    module: Any,
    where: Callable[[Any], Any],
    sharing: type[AbstractSharing] | AbstractSharing = FullSharing,
    *,
    key: Key,
    **settings: Any,
) -> Reparameterised:
    """The module with some of its weights written as vec(W) = U v, ready to be trained.

    - `module`: any Equinox module, or another tree with arrays that can be called.
    - `where`: `where(module)` names a weight, or a list or tuple of weights, as in `equinox.tree_at`.
    - `sharing`: the structure of U, made for each weight with `settings`, such as `num_filters=3`; or a finished one,
      such as a `KnownSharing`, for a single weight.
    - `key`: consumed.

    The filters start at `sharing.first_filters(weight)`. To give weights different structures, reparameterise again:
    `where` then sees the `Reparameterised`, whose `module` is the one given here.

    ```python
    >>> import equinox as eqx, jax
    >>> from mutatis import nn
    >>> first_key, second_key = jax.random.split(jax.random.key(0))
    >>> layer = eqx.nn.Linear(20, 10, key=first_key)
    >>> shared = nn.reparameterise(layer, lambda l: l.weight, num_filters=3, key=second_key)
    >>> [weight.filters.shape for weight in nn.shared_weights(shared)]
    [(3,)]
    >>> nn.materialise(shared).weight.shape
    (10, 20)

    ```

    **Raises:** `ValueError` if `where` names no weight, something that is no floating-point array, or a weight that is
    reparameterised already; or if a finished `sharing` comes with settings, several weights or another shape.
    """
    weights = _named(module, where)
    keys = jax.random.split(key, len(weights))
    if isinstance(sharing, AbstractSharing):
        _check_finished(sharing, weights, settings)
        shared = [SharedWeight(sharing, sharing.first_filters(weights[0], key=keys[0]))]
    else:
        shared = [_shared(weight, sharing, settings, key=one) for weight, one in zip(weights, keys, strict=True)]
    changed = eqx.tree_at(lambda tree: _listed(where(tree)), module, shared)
    if len(shared_weights(changed)) != len(shared_weights(module)) + len(weights):
        raise ValueError("where names a weight twice, or a part of a reparameterised one; name each weight once.")
    return Reparameterised(changed)


def materialise(module: Any) -> Any:
    """The plain module: every `SharedWeight` replaced by its array, every `Reparameterised` by what it holds.

    Wherever they are in the tree. Of a reparameterised module it has the structure of the original, and calling it
    makes no weights anew.
    """

    def plain(node):
        if isinstance(node, Reparameterised):
            return materialise(node.module)
        return node.value() if isinstance(node, SharedWeight) else node

    return jax.tree.map(plain, module, is_leaf=lambda node: isinstance(node, Reparameterised | SharedWeight))


def shared_weights(tree: PyTree) -> list[SharedWeight]:
    """Every `SharedWeight` of a tree, in the order of its leaves."""
    return [node for node in jax.tree.leaves(tree, is_leaf=_is_shared) if _is_shared(node)]


def is_symmetry(model: Any) -> PyTree[bool]:
    """Filter specification of every U: what may be trained of each `SharedWeight`'s sharing."""
    return _of_shared_weights(model, lambda shared: (trainable(shared.sharing), False))


def is_filter(model: Any) -> PyTree[bool]:
    """Filter specification of every v: the filters of each `SharedWeight`."""
    return _of_shared_weights(model, lambda shared: (False, True))


def not_(where: Callable[[Any], PyTree]) -> Callable[[Any], PyTree[bool]]:
    """Filter specification of the trainable leaves that another one leaves out.

    `not_(is_symmetry)` equals `not_(is_symmetry)` made elsewhere, so that compiled programs are found again.

    **Raises:** `ValueError` if `where` is no function of a model.
    """
    if not callable(where) or isinstance(where, eqx.Module):
        raise ValueError(f"not_ got a {type(where).__name__}; pass a function of the model, such as not_(is_symmetry).")
    return _LeftOut(where)


@dataclass(frozen=True)
class _LeftOut:
    where: Callable[[Any], PyTree]

    def __call__(self, model: Any) -> PyTree[bool]:
        named = eqx.filter(model, self.where(model))
        return jax.tree.map(lambda may_change, leaf: may_change and leaf is None, trainable(model), named)


def _is_shared(node: object) -> bool:
    return isinstance(node, SharedWeight)


def _of_shared_weights(model: Any, marks: Callable[[SharedWeight], tuple[Any, Any]]) -> PyTree[bool]:
    def mark(node):
        if not _is_shared(node):
            return False
        return eqx.tree_at(lambda shared: (shared.sharing, shared.filters), node, marks(node))

    return jax.tree.map(mark, model, is_leaf=lambda node: _is_shared(node) or is_fixed(node))


def _listed(named: Any) -> list[Any]:
    return list(named) if isinstance(named, list | tuple) else [named]


def _named(module: Any, where: Callable[[Any], Any]) -> list[Any]:
    weights = _listed(where(module))
    if not weights:
        raise ValueError("where names no weight; return one, or a list of them, such as lambda m: m.weight.")
    for weight in weights:
        if _is_shared(weight):
            raise ValueError("where names a weight that is reparameterised already; name each weight once.")
        if not eqx.is_inexact_array(weight):
            kind = f"an array of {weight.dtype}" if eqx.is_array(weight) else f"a {type(weight).__name__}"
            raise ValueError(f"where names {kind}; name a floating-point array, such as lambda m: m.weight.")
    return weights


def _shared(weight: Array, sharing: type[AbstractSharing], settings: dict[str, Any], *, key: Key) -> SharedWeight:
    symmetry_key, filter_key = jax.random.split(key)
    symmetry = sharing(weight.shape, **settings, key=symmetry_key, dtype=weight.dtype)  # pyright: ignore[reportCallIssue]
    return SharedWeight(symmetry, symmetry.first_filters(weight, key=filter_key))


def _check_finished(sharing: AbstractSharing, weights: list[Any], settings: dict[str, Any]) -> None:
    kind = type(sharing).__name__
    if settings:
        raise ValueError(f"sharing is a finished {kind}, which takes no {', '.join(settings)}; pass the class instead.")
    if len(weights) > 1:
        raise ValueError(f"sharing is one {kind}, but where names {len(weights)} weights; pass the class, or name one.")
    if sharing.shape != weights[0].shape:
        raise ValueError(
            f"sharing is for a weight of shape {sharing.shape}, but where names one of {weights[0].shape}."
        )
