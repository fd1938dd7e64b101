"""The shortest combination of the tasks' gradients."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mutatis._citation import cites
from mutatis._references import DESIDERI_2012, SENER_2018
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting


@cites(DESIDERI_2012, SENER_2018)
class MGDA(AbstractWeighting):
    r"""The point of least norm in the convex hull of the tasks' gradients (Désidéri 2012; Sener & Koltun 2018).

    $$\min_{w \ge 0, \; \sum_t w_t = 1} \; \Bigl\lVert \sum_t w_t g_t \Bigr\rVert^2$$

    Its negative is a descent direction for every task, or zero where the tasks cannot all be improved. There is no
    state.

    **Deviations:** solved exactly by an active-set method instead of approximately by Frank-Wolfe steps; gradients are
    not normalised by their losses or lengths.
    """

    needs_gramian: ClassVar[bool] = True

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """The minimising weights."""
        del index, state, key
        assert gramian is not None
        return minimum_norm_weights(gramian).astype(losses.dtype), None


def minimum_norm_weights(gramian: Gramian) -> Weights:
    r"""Minimises w^T G w over the simplex.

    The minimiser is the normalised solution of the non-negative least-squares problem min |A^T x|^2 + (sum x - 1)^2
    with G = A A^T: for x = s w the best s leaves v / (1 + v), which grows with v = w^T G w. That problem is solved
    by the active-set method of Lawson & Hanson (1974, chapter 23) on H = G + 1 1^T, from the shortest row. It ends
    after finitely many steps; 3 T of them, their own limit, are allowed.
    """
    tasks, eps = gramian.shape[0], jnp.finfo(gramian.dtype).eps
    largest = jnp.max(jnp.diagonal(gramian))
    matrix = gramian / jnp.where(largest > 0, largest, 1) + 1
    tolerance = 4 * tasks * eps
    first = jnp.arange(tasks) == jnp.argmin(jnp.diagonal(gramian))

    def slack(search: _Search) -> Float[Array, "tasks"]:
        """How much each row outside the support would help."""
        return jnp.where(search.support, -jnp.inf, 1 - jnp.sum(matrix * search.point[None], axis=1))

    def unfinished(search: _Search) -> Bool[Array, ""]:
        return (search.steps < 3 * tasks) & (~search.feasible | (jnp.max(slack(search)) > tolerance))

    def step(search: _Search) -> _Search:
        """From a feasible point admit the most helpful row; then go to the least squares, or as far as signs allow."""
        entering = jnp.arange(tasks) == jnp.argmax(slack(search))
        support = search.support | (entering & search.feasible)
        target = _least_squares(matrix, support)
        blocked = support & (target <= 0)
        # A blocked row that just entered has point 0 and target at most 0: no way to go, and perhaps 0 / 0.
        way = search.point - target
        ratios = jnp.where(blocked, jnp.where(way > 0, search.point / jnp.where(way > 0, way, 1), 0), 1)
        reach = jnp.min(ratios)
        point = jnp.where(support, search.point + reach * (target - search.point), 0)
        leaving = blocked & (ratios <= reach)
        feasible = ~jnp.any(blocked)
        return _Search(
            jnp.where(leaving, 0, jnp.where(feasible, target, point)),
            support & ~leaving,
            feasible,
            search.steps + 1,
        )

    start = _Search(_least_squares(matrix, first), first, jnp.array(True), jnp.array(0))
    point = jnp.maximum(jax.lax.while_loop(unfinished, step, start).point, 0)
    return point / jnp.sum(point)


class _Search(NamedTuple):
    point: Float[Array, "tasks"]
    support: Bool[Array, "tasks"]
    feasible: Bool[Array, ""]
    steps: Array


def _least_squares(matrix: Gramian, support: Bool[Array, "tasks"]) -> Float[Array, "tasks"]:
    """Solves matrix x = 1 on the support, zero elsewhere."""
    inside = support[:, None] & support[None, :]
    restricted = jnp.where(inside, matrix, jnp.eye(support.size, dtype=matrix.dtype))
    return jnp.linalg.solve(restricted, support.astype(matrix.dtype))
