"""Gradient surgery: what two tasks disagree about is cut out."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from mutatis._citation import cites
from mutatis._references import YU_2020
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting


@cites(YU_2020)
class PCGrad(AbstractWeighting):
    r"""Projects each task's gradient off the gradients it conflicts with (Yu et al. 2020, algorithm 1).

    For each task i, in an order of the others drawn for i alone: where <g_i, g_j> < 0,

    $$g_i \leftarrow g_i - \frac{\langle g_i, g_j \rangle}{\lVert g_j \rVert^2} g_j.$$

    Every g_i stays a combination of the rows, so its coefficients and the Gramian are all that is needed.

    There is no state; the orders are drawn from `key`.

    **Deviations:** the step is the mean of the projected gradients, not their sum, so that it is `Average` where
    nothing conflicts.
    """

    needs_gramian: ClassVar[bool] = True

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """Coefficients of the mean projected gradient."""
        del index, state
        assert gramian is not None
        tasks = losses.shape[0]
        every = jnp.arange(tasks)
        orders = jax.vmap(lambda k: jax.random.permutation(k, tasks))(jax.random.split(key, tasks))
        squares = jnp.diagonal(gramian)

        def project(coefficients, others):  # others[i]: whom task i meets now
            product = jnp.sum(gramian[others] * coefficients, axis=1)
            square = squares[others]
            conflict = (product < 0) & (others != every) & (square > 0)
            excess = jnp.where(conflict, product / jnp.where(square > 0, square, 1), 0)
            return coefficients.at[every, others].add(-excess), None

        coefficients, _ = jax.lax.scan(project, jnp.eye(tasks, dtype=gramian.dtype), orders.T)
        return jnp.mean(coefficients, axis=0).astype(losses.dtype), None
