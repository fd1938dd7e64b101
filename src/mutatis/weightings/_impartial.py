"""A step that is equally long in the direction of every task's gradient."""

from typing import ClassVar

import jax.numpy as jnp

from mutatis._citation import cites
from mutatis._references import LIU_2021_IMTL
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting


@cites(LIU_2021_IMTL)
class IMTLG(AbstractWeighting):
    r"""Impartial multi-task learning, gradient balance (Liu et al. 2021, eq. 6).

    The combination whose projections onto all gradients are equal: G w proportional to the gradients' lengths d,

    $$w = \frac{G^{+} d}{\sum_t (G^{+} d)_t}, \qquad d_t = \lVert g_t \rVert.$$

    Weights may be negative. There is no state.

    **Deviations:** the pseudo-inverse extends the method to dependent gradients; where the sum vanishes (the gradients
    balance to nothing) all weights are zero.
    """

    needs_gramian: ClassVar[bool] = True

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """The balancing weights."""
        del index, state, key
        assert gramian is not None
        largest = jnp.max(jnp.diagonal(gramian))
        scaled = gramian / jnp.where(largest > 0, largest, 1)
        lengths = jnp.sqrt(jnp.diagonal(scaled))
        inverse = jnp.linalg.pinv(scaled, hermitian=True)
        weights = jnp.sum(inverse * lengths[None], axis=1)
        total = jnp.sum(weights)
        # Both terms of the comparison have the size of the weights, whatever the conditioning.
        vanishing = jnp.abs(total) <= losses.size * jnp.finfo(gramian.dtype).eps * jnp.sum(jnp.abs(weights))
        weights = jnp.where(vanishing, 0, weights / jnp.where(vanishing, 1, total))
        return weights.astype(losses.dtype), None
