"""Adapting to rows and answering for rows, in pieces of few different sizes so that little is compiled."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import mutatis
from mutatis import Learner
from mutatis._types import Tree
from mutatis.estimators._blueprint import contains

_CHUNK = {1: 256, 3: 32}
"""Rows answered at once, by the number of axes of one input."""


def adapted_state(learner: Learner, state: Tree, inputs: Float[np.ndarray, "rows ..."], support: int) -> Tree:
    """The rule's state after these rows.

    Rules that take gradient steps take as many as in training, on rows spread evenly over those given; all
    others see every row, piece by piece.
    """
    count = len(inputs)
    if contains(learner.rule, mutatis.GradientSteps):
        size = _piece_sizes(min(count, support), support)[0] if count else 0
        pieces = [np.arange(size) * count // size] if size else []
    else:
        pieces = np.split(np.arange(count), np.cumsum(_piece_sizes(count, support))[:-1]) if count else []
    for rows in pieces:
        state = _update(learner, state, jnp.asarray(inputs[rows]))
    return state


def outputs(learner: Learner, state: Tree, inputs: Float[np.ndarray, "rows ..."]) -> Float[np.ndarray, "rows outputs"]:
    """The adapted model's outputs, float64; rows never meet, and the same row has the same outputs in any
    company."""
    size = _CHUNK[inputs.ndim - 1]
    answers = []
    for start in range(0, len(inputs), size):
        rows = inputs[start : start + size]
        padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        answers.append(np.asarray(_outputs(learner, state, jnp.asarray(padded)), np.float64)[: len(rows)])
    return np.concatenate(answers)


def _piece_sizes(rows: int, largest: int) -> list[int]:
    """Sizes that sum to `rows`: as many of the largest as fit, then falling powers of two.

    >>> _piece_sizes(77, 32)
    [32, 32, 8, 4, 1]
    """
    remainder = rows % largest
    powers = [1 << bit for bit in range(remainder.bit_length() - 1, -1, -1) if remainder >> bit & 1]
    return [largest] * (rows // largest) + powers


@eqx.filter_jit
def _update(learner: Learner, state: Tree, inputs: Array) -> Tree:
    # The rows of a user's table are given: adapting to them twice must give the same answer twice.
    return learner.rule.update(learner.model, state, inputs, key=jax.random.key(0))


@eqx.filter_jit
def _outputs(learner: Learner, state: Tree, inputs: Array) -> Array:
    return learner.rule.bind(learner.model, state)(inputs)
