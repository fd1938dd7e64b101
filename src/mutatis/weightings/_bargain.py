"""The step on which the tasks would agree as bargainers."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._citation import cites
from mutatis._references import NAVON_2022
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._number import known, number
from mutatis.weightings._simplex import product, rounding

STEPS = 100
"""Newton steps at most; about ten are usual, and fifty where the tasks cannot all be improved."""


@cites(NAVON_2022)
class NashMTL(AbstractWeighting):
    r"""Multi-task learning as a bargaining game (Navon et al. 2022, algorithm 1).

    The direction of bounded length that maximises the product of the tasks' gains $\langle g_t, d \rangle$ is
    $d = \sum_t w_t g_t$ with

    $$w > 0, \qquad G w = 1 / w.$$

    It conflicts with no task, and rescaling one task's loss changes no task's part $w_t g_t$ of it. Since
    $w^T G w = T$, its length is $\sqrt T$ however short the gradients are; then it is cut to `max_norm`.

    - `max_norm`: of the step, as in the published code. `jnp.inf` leaves it at $\sqrt T$.

    There is no state.

    **Deviations:** solved to rounding by damped Newton steps on a convex function and not by a sequence of convex
    programmes, every step anew; G is not divided by its norm, which in the published code makes the step shrink with
    short gradients. A task without gradient takes no part. Where no step improves all tasks there is no solution:
    rounding errors are added to the diagonal, and d vanishes along the tasks that block each other.

    **Raises:** `ValueError` for a `max_norm` that is not positive.
    """

    needs_gramian: ClassVar[bool] = True

    max_norm: Float[Array, ""] = eqx.field(converter=number, default=1.0)  # type: ignore[assignment]

    def __check_init__(self):
        if known(self.max_norm) and not self.max_norm > 0:
            raise ValueError(f"max_norm is {self.max_norm}; pass a positive number, or jnp.inf for none.")

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """The bargained weights, cut to `max_norm`."""
        del index, state, key
        assert gramian is not None
        # In units of the rows' lengths, so that no task's scale matters to the solver.
        squares = jnp.diagonal(gramian)
        lengths = jnp.sqrt(jnp.where(squares > 0, squares, 1))
        cosines = gramian / lengths[:, None] / lengths[None, :]
        shares = bargained_shares(cosines, squares > 0)
        norm = jnp.sqrt(jnp.maximum(jnp.sum(shares * product(cosines, shares)), 0))
        limit = self.max_norm.astype(norm.dtype)
        weights = shares / lengths * jnp.where(norm > limit, limit / jnp.where(norm > limit, norm, 1), 1)
        return weights.astype(losses.dtype), None


def bargained_shares(cosines: Gramian, present: Bool[Array, "tasks"]) -> Weights:
    r"""The x > 0 at which C x = 1 / x, for rows of length one; zero for those that are not present.

    It minimises the convex $x^T C x / 2 - \sum_t \log x_t$, which is self-concordant: Newton steps divided by one plus
    the decrement never leave x > 0 and converge from anywhere, in the end quadratically (Nesterov & Nemirovskii 1994).
    """
    both = present[:, None] & present[None, :]
    unit = jnp.eye(present.size, dtype=cosines.dtype)
    matrix = jnp.where(both, cosines, 0) + rounding(cosines) * unit
    # What is left after a step is at most twice the square of its decrement; rounding of x C x grows with x.
    precision = jnp.sqrt(jnp.finfo(cosines.dtype).eps)

    def unfinished(search: _Search) -> Bool[Array, ""]:
        return (search.steps < STEPS) & (search.decrement > precision * jnp.maximum(1, jnp.max(search.point)))

    def step(search: _Search) -> _Search:
        x = search.point
        # The steps relative to x: there the Hessian is at least one.
        excess = jnp.where(present, 1 - x * product(matrix, x), 0)
        hessian = jnp.where(both, x[:, None] * matrix * x[None, :], 0) + unit
        towards = jax.scipy.linalg.solve(hessian, excess, assume_a="pos")
        decrement = jnp.sqrt(jnp.maximum(jnp.sum(towards * excess), 0))
        return _Search(x * (1 + towards / (1 + decrement)), decrement, search.steps + 1)

    start = _Search(present.astype(cosines.dtype), jnp.full_like(cosines[0, 0], jnp.inf), jnp.array(0))
    return jax.lax.while_loop(unfinished, step, start).point


class _Search(NamedTuple):
    point: Weights
    decrement: Float[Array, ""]
    steps: Int[Array, ""]
