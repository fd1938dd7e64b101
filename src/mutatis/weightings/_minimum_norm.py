"""The shortest combination of the tasks' gradients."""

from typing import ClassVar

import jax.numpy as jnp

from mutatis._citation import cites
from mutatis._references import DESIDERI_2012, SENER_2018
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._simplex import least_on_simplex, relative, shortest


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
        scaled = relative(gramian)
        nothing = jnp.zeros_like(scaled[0])
        return least_on_simplex(scaled, nothing, jnp.sum(nothing), shortest(scaled)).point.astype(losses.dtype), None
