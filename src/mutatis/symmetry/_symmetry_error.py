r"""How far all weights that a symmetry matrix can make are from commuting with a pair of actions.

Let Q_1 ... Q_r be an orthonormal basis of U's column space, each as a weight (out, in). For a pair of actions

$$\text{error} = \frac{\sum_j \lVert \rho_{out} Q_j - Q_j \rho_{in} \rVert^2}
                      {\sum_j \lVert \rho_{out} Q_j \rVert^2 + \lVert Q_j \rho_{in} \rVert^2} \in [0, 2]$$

0 is exact, about 1 unrelated, 2 a symmetry but for the sign. It depends on the column space alone: U A has the same for
every invertible A, and so has c U. A U whose overlap with a truly symmetric space is q has an error of about 1 - q.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from mutatis.symmetry._candidates import Candidate, Maps, Sides, Together


def shared_directions(sharing: Any, shape: Sequence[int], dimension: int | None = None) -> Maps:
    """Orthonormal basis of the column space of U as weights `(out, in, dimension)`, largest first.

    Arguments and errors as for `discover`.
    """
    matrix = np.asarray(sharing if isinstance(sharing, np.ndarray | jax.Array) else sharing.matrix(), np.float64)
    if len(shape) < 2 or matrix.ndim != 2 or len(matrix) != math.prod(shape):
        raise ValueError(
            f"sharing has shape {matrix.shape} but shape is {tuple(shape)}; a weight of that shape needs at least two "
            f"axes and a symmetry matrix with {math.prod(shape)} rows."
        )
    if not np.isfinite(matrix).all() or not matrix.any():
        raise ValueError("sharing is zero or not finite; it spans no weights to judge.")
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    rank = int(np.sum(values > values[0] * max(matrix.shape) * np.finfo(np.float64).eps))
    if dimension is None:
        dimension = max(1, round(float(np.sum(values**2) ** 2 / np.sum(values**4))))
    if not 1 <= dimension <= rank:
        raise ValueError(f"dimension is {dimension}; the columns of sharing span {rank}, choose from 1 to {rank}.")
    return left[:, :dimension].reshape(shape[0], -1, dimension)


def symmetry_error(candidate: Candidate | Together, maps: Float[np.ndarray, "batch out in rank"]) -> np.ndarray:
    """The error of a candidate on each of a batch of bases, `(batch,)`: of its worst pair, 0 exact, 1 unrelated."""
    return np.max([_pair_error(part, maps) for part in candidate.parts], axis=0)


def symmetric_directions(sides: Sides, tolerance: float) -> tuple[int, int]:
    """How many independent weights W = sum_j w_j Q_j have an error of at most the tolerance, and of how many.

    Their error is w^T N w / w^T D w, with N and D the Gramians of the difference of the two sides and of both. Weights
    that have next to no energy in the compared entries, where noise alone would judge them, are left out.
    """
    left, right = sides
    energy, axes = np.linalg.eigh(left.T @ left + right.T @ right)
    moved = energy > max(tolerance * energy[-1], np.finfo(np.float64).tiny)
    apart = (left - right) @ (axes[:, moved] / np.sqrt(energy[moved]))
    return int(np.sum(np.linalg.eigvalsh(apart.T @ apart) <= tolerance)), int(np.sum(moved))


def _pair_error(pair: Candidate, maps: Float[np.ndarray, "batch out in rank"]) -> Float[np.ndarray, "batch"]:
    if callable(pair.rho_out):
        return np.concatenate([_pair_error(pair.solved(basis), basis[None]) for basis in maps])
    left, right = pair.sides(maps)
    apart, whole = np.sum((left - right) ** 2, axis=(1, 2)), np.sum(left**2 + right**2, axis=(1, 2))
    return np.divide(apart, whole, out=np.zeros_like(whole), where=whole > 0)  # nothing there contradicts
