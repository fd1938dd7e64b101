"""Ridge regression from sums over rows, solved in any units and in single precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._tree import Fixed, unfix
from mutatis._types import Scalar


class NormalEquations(eqx.Module):
    """Least squares as sums over rows: A^T A of the design A, its products A^T r with the targets, how many rows."""

    gram: Float[Array, "k k"]
    products: Float[Array, "k ..."]
    rows: Scalar


def no_rows(products: Float[Array, "k ..."]) -> NormalEquations:
    """The sums over no rows, with products of this shape and precision."""
    size = products.shape[0]
    return NormalEquations(
        jnp.zeros((size, size), products.dtype), jnp.zeros_like(products), jnp.zeros((), products.dtype)
    )


def normal_equations(
    design: Float[Array, "outputs k"], targets: Float[Array, "outputs ..."], rows: int
) -> NormalEquations:
    """The sums of one context, in the design's precision also where the hardware would multiply in less."""
    product = lambda right: jnp.matmul(design.T, right, precision=jax.lax.Precision.HIGHEST)
    return NormalEquations(product(design), product(targets), jnp.asarray(rows, design.dtype))


def solve_ridge(
    sums: NormalEquations, log_penalty: Float[Array, ""] | Fixed, prior: Float[Array, "k ..."] | None = None
) -> Float[Array, "k ..."]:
    r"""The d that minimises |A d - r|^2 + mu |d - prior|^2; zero where A is zero or there are no rows.

    $$\mu = \lambda \frac{\text{tr}(A^\top A)}{k \cdot \text{rows}}$$

    is the penalty, in rows, times one row's mean share in a diagonal entry of A^T A. The prior is zero by default.

    Both sides are divided by the mean diagonal, so that the entries are about 1 in any units. The diagonal is raised by
    the rounding error of the Gramian, so that a singular one has a Cholesky factor.
    """
    gram = (sums.gram + sums.gram.T) / 2
    unit = jnp.eye(gram.shape[0], dtype=gram.dtype)
    level = jnp.trace(gram) / gram.shape[0]
    informed = level > 0
    level = jnp.where(informed, level, 1)
    gram = jnp.where(informed, gram / level, unit)
    penalty = jnp.exp(unfix(log_penalty).astype(gram.dtype)) / jnp.maximum(sums.rows, 1)
    rounding = 2 * jnp.finfo(gram.dtype).eps * jnp.linalg.norm(jax.lax.stop_gradient(gram))
    right = sums.products / level if prior is None else sums.products / level + penalty * prior
    return jax.scipy.linalg.solve(gram + (penalty + rounding) * unit, jnp.where(informed, right, 0), assume_a="pos")
