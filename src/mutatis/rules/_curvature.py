"""A learned change of direction for the steps of the inner loop."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._references import PARK_2019
from mutatis._tree import trainable

Groups = tuple[tuple[int, ...], ...]
"""Axes of a tensor, grouped: one matrix acts on each group."""


def channels_last(shape: tuple[int, ...]) -> Groups:
    """Groups of `(*space, inputs, outputs)`, as in `mutatis.nn`: all of space together, inputs, outputs."""
    count = len(shape)
    space = tuple(range(count - 2))
    return ((space,) if space else ()) + tuple((axis,) for axis in range(len(space), count))


def channels_first(shape: tuple[int, ...]) -> Groups:
    """Groups of `(outputs, inputs, *space)`, as in `equinox.nn`: outputs, inputs, all of space together."""
    count = len(shape)
    space = tuple(range(2, count))
    return tuple((axis,) for axis in range(min(count, 2))) + ((space,) if space else ())


@cites(PARK_2019)
class MetaCurvature(eqx.Module):
    r"""Multiplies the gradient of every tensor by a learned matrix along each of its axes (Park & Oliva 2019).

    For a kernel's gradient G with axes for outputs, inputs and space (its positions in one axis),

    $$\text{MC}(G) = G \times_1 M_o \times_2 M_i \times_3 M_s, \qquad
      (G \times_1 M)_{abc} = \sum_{a'} M_{aa'} G_{a'bc}$$

    A weight matrix has M_o and M_i. The matrices start as the identity, where the step is that of gradient descent, and
    are trained by the outer loop: `GradientSteps(..., transform=MetaCurvature(model, where), where=where)`.

    - `model`, `where`: those of the rule; one set of matrices for every leaf that moves.
    - `axes`: `axes(shape) -> groups of axes`, a matrix for each group; `channels_last` (the default) or
      `channels_first` for kernels, which agree on matrices and vectors. An axis in no group is left alone.

    A group of d entries costs d^2 numbers and d multiplications for each number of the gradient.

    **Raises:** `ValueError` if a group names an axis twice or one that is not there, or the gradients are not those of
    the leaves the matrices were made for.

    **Deviations:** a vector, such as a bias or the filters of a shared weight, has a matrix too; for one number for
    each entry leave its axis out and give it a rate of `per_element`. Scalars are left alone.
    """

    matrices: list[list[Float[Array, "entries entries"]]]
    groups: tuple[Groups, ...] = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(
        self,
        model: Any,
        where: Callable[[Any], PyTree] = trainable,
        *,
        axes: Callable[[tuple[int, ...]], Groups] = channels_last,
    ):
        leaves = jax.tree.leaves(eqx.filter(model, where(model)))
        self.shapes = tuple(leaf.shape for leaf in leaves)
        self.groups = tuple(_checked(axes(shape), shape) for shape in self.shapes)
        self.matrices = [
            [jnp.eye(math.prod(leaf.shape[axis] for axis in group), dtype=leaf.dtype) for group in groups]
            for leaf, groups in zip(leaves, self.groups, strict=True)
        ]

    def __call__(self, gradients: list[Array]) -> list[Array]:
        """The gradients, multiplied."""
        shapes = tuple(gradient.shape for gradient in gradients)
        if shapes != self.shapes:
            raise ValueError(
                f"transform has matrices for leaves of shapes {list(self.shapes)}, but those that move have "
                f"{list(shapes)}; build MetaCurvature(model, where) with the where= of the rule."
            )
        return [
            _multiplied(gradient, matrices, groups)
            for gradient, matrices, groups in zip(gradients, self.matrices, self.groups, strict=True)
        ]


def _multiplied(tensor: Array, matrices: list[Array], groups: Groups) -> Array:
    """The mode products of a tensor with one matrix for each group of its axes."""
    for matrix, group in zip(matrices, groups, strict=True):
        lengths = [tensor.shape[axis] for axis in group]
        first = tuple(range(len(group)))
        second = tuple(range(len(group), 2 * len(group)))
        product = jnp.tensordot(matrix.reshape(*lengths, *lengths), tensor, axes=(second, group))
        tensor = jnp.moveaxis(product, first, group)
    return tensor


def _checked(groups: Groups, shape: tuple[int, ...]) -> Groups:
    named = [axis for group in groups for axis in group]
    if len(set(named)) < len(named) or not set(named) <= set(range(len(shape))) or () in groups:
        raise ValueError(
            f"axes gives {groups} for a tensor of shape {shape}; "
            f"name each axis from 0 to {len(shape) - 1} at most once, in groups that are not empty."
        )
    return tuple(tuple(group) for group in groups)
