r"""How near a learned symmetry matrix, or a weight made by it, comes to a known symmetry.

A symmetry matrix U `(size, filters)` gives the weights vec(W) = U v, row-major. Since (U, v) and (U A, A^-1 v) are the
same model, U is known only up to its column space: nothing here looks at single entries of U. All functions are
`jax.numpy`, so they may be logged from inside a compiled training step.

An *action* of a finite group is either `(elements, d)` integers, (rho(g) x)[action[g, i]] = x[i], or matrices
`(elements, d, d)`. Weights are `(..., out, in)`; ratios are averaged over the leading axes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mutatis._types import Key, Scalar

Matrix = Float[Array, "size filters"]
Weight = Float[Array, "*tasks out in"]
GroupAction = Int[Array, "elements d"] | Float[Array, "elements d d"]


def subspace_overlap(matrix: Matrix, truth: Float[Array, "size rank"]) -> Scalar:
    """Share ||Q_truth^T Q_U||^2_F / rank of the true column space that lies in U's: 0 to 1, by chance filters / size.

    A verdict only where U has as many columns as the truth: a wider U may contain the truth and much else. Compare
    `top_directions(matrix, rank)` then, and `effective_dimension`.
    """
    return jnp.mean(jnp.sum(jnp.square(_inner(_basis(truth), _basis(matrix))), axis=1))


def smallest_cosine(matrix: Matrix, truth: Float[Array, "size rank"]) -> Scalar:
    """Cosine of the largest principal angle between the true column space and U's: 0 if any true direction is missing.

    The smallest singular value of Q_truth^T Q_U (Björck & Golub 1973).
    """
    if matrix.shape[1] < truth.shape[1]:
        return jnp.zeros((), jnp.result_type(matrix, truth))
    return jnp.linalg.svd(_inner(_basis(truth), _basis(matrix)), compute_uv=False)[-1]


def effective_dimension(matrix: Matrix) -> Scalar:
    """How many directions U really uses: (sum s^2)^2 / sum s^4 over its singular values s; 1 to the number of filters.

    The participation ratio; it equals the number of columns where all s are equal, and falls short of the rank where
    they are not.
    """
    gram = _inner(matrix, matrix)
    return jnp.square(jnp.trace(gram)) / jnp.sum(jnp.square(gram))


def top_directions(matrix: Matrix, count: int) -> Float[Array, "size count"]:
    """Orthonormal columns: the directions in which U is largest (its first left singular vectors)."""
    if not 0 < count <= matrix.shape[1]:
        raise ValueError(f"count is {count}; matrix has {matrix.shape[1]} columns, ask for 1 to {matrix.shape[1]}.")
    return jnp.linalg.svd(matrix, full_matrices=False)[0][:, :count]


def weight_capture(matrix: Matrix, weights: Weight) -> Scalar:
    """Share of the energy of held-out true weights that some filters could express: ||Q^T vec(W)||^2 / ||W||^2.

    Energies are summed over all weights before the ratio is taken.
    """
    flat = weights.reshape(-1, matrix.shape[0])
    return jnp.sum(jnp.square(_inner(_basis(matrix), flat.T))) / jnp.sum(jnp.square(flat))


def query_risk(adapted: Weight, truth: Weight) -> Scalar:
    """Expected squared error per output of an adapted linear layer: ||W1 - W||^2_F / out, for inputs of N(0, I).

    Exact, where the error on drawn query examples is only an estimate.
    """
    return jnp.mean(jnp.sum(jnp.square(adapted - truth), axis=(-2, -1))) / truth.shape[-2]


def floor_excess(risk: Scalar, floor: Scalar, signal: Scalar) -> Scalar:
    """How far a risk lies above the least that the rule can reach, in units of the signal: (risk - floor) / signal.

    `signal` is the risk of a model that always answers 0.
    """
    return (risk - floor) / signal


def draw_weights(matrix: Matrix, shape: Sequence[int], count: int, *, key: Key) -> Float[Array, "count out in"]:
    """The weights unvec(U v) of random filters v ~ N(0, I); the first axis of `shape` is out, the rest together in."""
    filters = jax.random.normal(key, (count, matrix.shape[1]), matrix.dtype)
    return _inner(filters.T, matrix.T).reshape(count, shape[0], -1)


def equivariance_error(weights: Weight, rho_in: GroupAction, rho_out: GroupAction) -> Scalar:
    """Mean over weights and group elements of ||rho_out(g) W - W rho_in(g)|| / ||W||, in the Frobenius norm.

    For orthogonal actions 0 is exact, sqrt(2) unrelated, 2 the opposite. By Frobenius this is also the root of the mean
    squared error over inputs of N(0, I). Pass adapted weights, or `draw_weights` for random filters; leave the identity
    out of the actions, on which the error is 0.
    """
    size = _norm(weights)

    def one(pair):
        return jnp.mean(_norm(_left(pair[1], weights) - _right(weights, pair[0])) / size)

    return jnp.mean(jax.lax.map(one, _pair(rho_in, rho_out)))


def reynolds(weights: Weight, rho_in: GroupAction, rho_out: GroupAction) -> Weight:
    """The nearest equivariant weights, P(W) = mean of rho_out(g)^-1 W rho_in(g) over all elements of the group.

    The orthogonal projection onto {W: rho_out(g) W = W rho_in(g) for all g} where the actions are orthogonal.
    """

    def one(pair):
        return _left(_inverse(pair[1]), _right(weights, pair[0]))

    return jnp.mean(jax.lax.map(one, _pair(rho_in, rho_out)), axis=0)


def projection_residual(weights: Weight, rho_in: GroupAction, rho_out: GroupAction) -> Scalar:
    """Share of a weight's energy that no equivariant weight explains: ||W - P(W)||^2 / ||W||^2, P as in `reynolds`."""
    return _share(weights - reynolds(weights, rho_in, rho_out), weights)


def shift_error(weights: Weight) -> Scalar:
    """Error under a shift by one without wrapping, ||W[1:, 1:] - W[:-1, :-1]|| / ||W||: 0 for every convolution.

    Independent entries have sqrt(2 (out - 1)(in - 1) / (out in)).
    """
    return jnp.mean(_norm(weights[..., 1:, 1:] - weights[..., :-1, :-1]) / _norm(weights))


def toeplitz_residual(weights: Weight) -> Scalar:
    """Share of a weight's energy off the Toeplitz matrices (constant along diagonals, as every convolution is)."""
    out, inputs = weights.shape[-2:]
    diagonal = (np.arange(inputs)[None] - np.arange(out)[:, None] + out - 1).ravel()
    flat = weights.reshape(-1, out * inputs)
    counts = jnp.asarray(np.bincount(diagonal)[:, None], weights.dtype)
    means = jax.ops.segment_sum(flat.T, diagonal, num_segments=out + inputs - 1) / counts
    return _share(weights - means[diagonal].T.reshape(weights.shape), weights)


def band_energy(weights: Weight, width: int, lowest: int = 0) -> Scalar:
    """Share of a weight's energy on its diagonals `lowest <= column - row < lowest + width`."""
    out, inputs = weights.shape[-2:]
    offset = np.arange(inputs)[None] - np.arange(out)[:, None]
    return _share(
        jnp.where((offset >= lowest) & (offset < lowest + width), weights.reshape(-1, out, inputs), 0), weights
    )


def _basis(matrix: Array) -> Array:
    """Orthonormal columns of the same span; where columns depend on each other the surplus ones are zero."""
    left, values, _ = jnp.linalg.svd(matrix, full_matrices=False)
    cutoff = values[0] * max(matrix.shape) * jnp.finfo(values.dtype).eps
    return jnp.where(values > cutoff, left, 0)


def _inner(left: Array, right: Array) -> Array:
    return jnp.matmul(left.T, right, precision=jax.lax.Precision.HIGHEST)


def _norm(weights: Array) -> Array:
    return jnp.linalg.norm(weights, axis=(-2, -1))


def _share(part: Array, whole: Array) -> Scalar:
    part, whole = part.reshape(-1, *part.shape[-2:]), whole.reshape(-1, *whole.shape[-2:])
    return jnp.mean(jnp.sum(jnp.square(part), axis=(-2, -1)) / jnp.sum(jnp.square(whole), axis=(-2, -1)))


def _pair(rho_in: GroupAction, rho_out: GroupAction) -> tuple[Array, Array]:
    rho_in, rho_out = jnp.asarray(rho_in), jnp.asarray(rho_out)
    if rho_in.shape[0] != rho_out.shape[0]:
        raise ValueError(
            f"rho_in has {rho_in.shape[0]} elements, rho_out {rho_out.shape[0]}; give the same elements of one group."
        )
    return rho_in, rho_out


def _left(rho: Array, weights: Array) -> Array:
    """The product rho W."""
    if rho.ndim == 1:
        return jnp.take(weights, _inverse(rho), axis=-2)
    return jnp.matmul(rho.astype(weights.dtype), weights, precision=jax.lax.Precision.HIGHEST)


def _right(weights: Array, rho: Array) -> Array:
    """The product W rho."""
    if rho.ndim == 1:
        return jnp.take(weights, rho, axis=-1)
    return jnp.matmul(weights, rho.astype(weights.dtype), precision=jax.lax.Precision.HIGHEST)


def _inverse(rho: Array) -> Array:
    return jnp.argsort(rho) if rho.ndim == 1 else jnp.linalg.inv(rho)
