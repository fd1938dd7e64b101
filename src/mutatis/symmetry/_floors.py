r"""The least error that an inner loop can reach, computed from the family of tasks.

A family is a factor F `(out * in, filters)` with vec(W) = F z, z of N(0, I): every second moment C = E[vec(W) vec(W)^T]
is such an F F^T (`factor_of`). Inputs are N(0, I), there is no noise, adaptation starts from W = 0, and K support
examples are given. All floors are the expected squared error of one output, E ||W1 - W||^2_F / out. NumPy, float64.

One gradient step moves to W1 = P g with g = vec(mean over s of W x_s x_s^T), where P = U U^T for the symmetry matrix U,
up to a factor. By Isserlis' theorem E[vec(W) g^T] = C and

$$E[g g^T] = S = C + (T + G) / K, \qquad T_{ia,jb} = \delta_{ab} \textstyle\sum_c C_{ic,jc}, \qquad
  G_{ia,jb} = C_{ib,ja}$$

In terms of the columns F_f, unvec'd to (out, in), and of V = unvec(v):
T v = (sum_f F_f F_f^T) V and G v = sum_f F_f V^T F_f, so that C need never be formed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from mutatis._types import Key
from mutatis.symmetry._host import numpy_generator

Factor = Float[np.ndarray, "size filters"] | Float[Array, "size filters"]
Basis = Float[np.ndarray, "size rank"]

_ZERO = 1e-5
"""Share of the largest singular value below which one counts as zero: factors may come in float32."""


def factor_of(second_moment: Float[np.ndarray, "size size"]) -> Float[np.ndarray, "size filters"]:
    """A factor F with C = F F^T of any second moment C = E[vec(W) vec(W)^T].

    Raises ValueError if C is not symmetric or has a negative eigenvalue.
    """
    moment = np.asarray(second_moment, np.float64)
    values, vectors = np.linalg.eigh(moment)
    if not np.allclose(moment, moment.T, atol=1e-6 * np.abs(moment).max()) or values[0] < -1e-6 * values[-1]:
        raise ValueError("second_moment is no second moment: it must be symmetric, without negative eigenvalues.")
    kept = values > 1e-12 * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])[None]


def gradient_floor(factor: Factor, shape: tuple[int, int], *, examples: int, basis: Basis | None = None) -> float:
    r"""Least risk of one gradient step whose updates stay in a subspace: best over all P = Q B Q^T.

    $$\left(\operatorname{tr} C - \operatorname{tr}(C_q S_q^{-1} C_q)\right) / out, \qquad
      C_q = Q^T C Q, \quad S_q = Q^T S Q$$

    - `basis`: Q, orthonormal. The true basis gives the oracle's floor; an U that is slightly tilted goes slightly
      below it. None, all directions: no preconditioner whatever, linear in the gradient, does better.
    - `examples`: K, of the support.

    ```python
    >>> import jax
    >>> from mutatis.symmetry import LinearProblem, gradient_floor
    >>> convolution = LinearProblem(1, key=jax.random.key(0))
    >>> floor = gradient_floor(convolution.factor, convolution.shape, examples=1, basis=convolution.truth)
    >>> round(floor, 4), round(convolution.signal, 4)
    (0.1663, 3.0)

    ```
    """
    maps = _maps(factor, shape)
    if basis is None:
        flat = maps.reshape(len(maps), -1)
        solved = _solve(lambda v: _second_moment(maps, v, examples), maps).reshape(flat.shape)
        captured = np.vdot(flat @ solved.T, flat @ flat.T)
    else:
        of_c, of_s = _projected(maps, np.asarray(basis, np.float64), examples)
        captured = np.trace(of_c @ np.linalg.solve(of_s, of_c))
    return (float(np.vdot(maps, maps)) - float(captured)) / shape[0]


def scalar_rate_floor(factor: Factor, shape: tuple[int, int], *, examples: int, basis: Basis) -> float:
    """Least risk of one gradient step with one learning rate and orthonormal U: (tr C - (tr Cq)^2 / tr Sq) / out.

    For the convolution along a line of 3 taps and 68 outputs: 12 / (68 K + 4).
    """
    maps = _maps(factor, shape)
    of_c, of_s = _projected(maps, np.asarray(basis, np.float64), examples)
    return float(np.vdot(maps, maps) - np.trace(of_c) ** 2 / np.trace(of_s)) / shape[0]


def steps_floor(
    factor: Factor, shape: tuple[int, int], *, examples: int, steps: int, basis: Basis, key: Key, draws: int = 10_000
) -> float:
    r"""Least risk of several gradient steps with one learning rate and orthonormal U = Q that spans all W.

    $$\min_\alpha E \operatorname{tr}\left[(I - \alpha H)^{2 s} C_q\right] / out, \qquad
      H = A^T A, \quad A v = (X \operatorname{unvec}(Q v)^T)$$

    The mean is over `draws` supports X, drawn from `key`: with 10,000 known to 1 % for one
    step and to 20 % for five, which a few unlucky supports decide.
    """
    maps = _maps(factor, shape)
    columns = _maps(basis, shape)
    loadings = columns.reshape(len(columns), -1) @ maps.reshape(len(maps), -1).T
    curvature, share = [], []
    for x in _supports(key, draws, examples, shape):
        values, vectors = np.linalg.eigh(_gram(columns, x))
        curvature.append(values)
        share.append(np.sum(np.square(vectors.T @ loadings), axis=1))
    curvature, share = np.stack(curvature), np.stack(share)
    positive = curvature[curvature > _ZERO * curvature.max()]
    risk = lambda rate: np.sum(share * (1 - rate * curvature) ** (2 * steps), axis=1).mean() / shape[0]
    return float(_smallest(risk, 0.0, 1 / positive.min()))


def data_floor(factor: Factor, shape: tuple[int, int], *, examples: int, key: Key, draws: int = 8) -> float:
    r"""Least risk of any method: what K examples leave unknown of Gaussian weights.

    Given y = A z with z of N(0, I), A = [X unvec(F_f)^T]_f, the posterior mean (the minimum-norm z) is best and misses

    $$\operatorname{tr}\left(F (I - A^+ A) F^T\right) / out$$

    For F = a Q with orthonormal Q this is signal (rank Q - rank A) / rank Q, the same for almost all X: one draw is
    exact. For a filter psi of k dimensions seen by a whole group, rank by rank over the irreducible representations
    (dimension d, multiplicity m in psi's space), that is (1/k) sum of d max(0, m - K d) of the signal.
    Otherwise it is a mean over `draws` supports. Where K out equations fix all filters it is 0.
    """
    maps = _maps(factor, shape)
    left = []
    for x in _supports(key, draws, examples, shape):
        values, vectors = np.linalg.eigh(_gram(maps, x))
        unseen = vectors[:, values <= _ZERO**2 * values[-1]]
        left.append(np.sum(np.square(unseen.T @ maps.reshape(len(maps), -1))))
    return float(np.mean(left)) / shape[0]


def _maps(factor: Any, shape: tuple[int, int]) -> Float[np.ndarray, "filters out in"]:
    """The columns as maps."""
    factor = np.asarray(factor, np.float64)
    if factor.ndim != 2 or factor.shape[0] != shape[0] * shape[1]:
        raise ValueError(
            f"factor or basis has shape {factor.shape}; W {shape[0]} x {shape[1]} needs one row per entry."
        )
    return factor.T.reshape(-1, *shape)


def _second_moment(maps: np.ndarray, v: np.ndarray, examples: int) -> np.ndarray:
    """S v for a stack of v, each `(out, in)`."""
    of_c = np.einsum("foa,nf->noa", maps, np.einsum("foa,noa->nf", maps, v))
    mixed = np.einsum("foa,fpa->op", maps, maps) @ v
    swapped = sum((m @ v.swapaxes(1, 2) @ m for m in maps), start=np.zeros_like(v))
    return of_c + (mixed + swapped) / examples


def _projected(maps: np.ndarray, basis: np.ndarray, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Q^T C Q and Q^T S Q."""
    columns = _maps(basis, maps.shape[1:])
    flat = columns.reshape(len(columns), -1)
    loadings = flat @ maps.reshape(len(maps), -1).T
    return loadings @ loadings.T, flat @ _second_moment(maps, columns, examples).reshape(flat.shape).T


def _solve(matvec: Callable[[np.ndarray], np.ndarray], right: np.ndarray, tolerance: float = 1e-10) -> np.ndarray:
    """Solves S u = b for a stack of b by conjugate gradients (Hestenes & Stiefel 1952); S may be singular beyond b."""
    inner = lambda a, b: np.einsum("foa,foa->f", a, b)[:, None, None]
    solution, residual = np.zeros_like(right), right.copy()
    direction, size = residual.copy(), inner(residual, residual)
    enough = tolerance**2 * size
    while (size > enough).any():
        image = matvec(direction)
        step = size / np.maximum(inner(direction, image), np.finfo(float).tiny)
        solution, residual = solution + step * direction, residual - step * image
        before, size = size, inner(residual, residual)
        direction = residual + size / np.maximum(before, np.finfo(float).tiny) * direction
    return solution


def _supports(key: Key, draws: int, examples: int, shape: tuple[int, int]) -> Float[np.ndarray, "draws examples in"]:
    return numpy_generator(key).standard_normal((draws, examples, shape[1]))


def _gram(maps: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A^T A of the observations A v = X (sum_f v_f F_f)^T."""
    seen = (x @ maps.swapaxes(1, 2)).reshape(len(maps), -1)
    return seen @ seen.T


def _smallest(convex: Callable[[float], float], low: float, high: float) -> float:
    """The least value of a convex function on an interval, by golden sections."""
    golden = (5**0.5 - 1) / 2
    while high - low > 1e-9 * high:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if convex(left) < convex(right) else (left, high)
    return convex((low + high) / 2)
