"""Gradients made orthogonal and equally long before they are averaged."""

from typing import ClassVar

import jax.numpy as jnp

from mutatis._citation import cites
from mutatis._references import SENUSHKIN_2023
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting


@cites(SENUSHKIN_2023)
class AlignedMTL(AbstractWeighting):
    r"""Independent component alignment (Senushkin et al. 2023, algorithm 1).

    With G = V diag(lambda) V^T restricted to its non-zero eigenvalues, the nearest system of gradients whose principal
    components all have the least length is averaged:

    $$w = \sqrt{\lambda_{min}} \; V \, \mathrm{diag}(\lambda^{-1/2}) \, V^T \tfrac{1}{T}\mathbf 1.$$

    Weights may be negative. There is no state. Eigenvalues below T eps times the largest count as zero; if all are, the
    weights are those of `Average`.
    """

    needs_gramian: ClassVar[bool] = True

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """Weights of the aligned average."""
        del index, state, key
        assert gramian is not None
        mean = jnp.full_like(losses, 1 / losses.size)
        largest = jnp.max(jnp.diagonal(gramian))
        values, vectors = jnp.linalg.eigh(gramian / jnp.where(largest > 0, largest, 1))
        kept = values > jnp.max(values) * losses.size * jnp.finfo(gramian.dtype).eps
        least = jnp.min(jnp.where(kept, values, jnp.inf))
        gains = jnp.where(kept, jnp.sqrt(least / jnp.where(kept, values, 1)), 0)
        components = jnp.sum(vectors * mean[:, None].astype(values.dtype), axis=0)
        weights = jnp.sum(vectors * (gains * components)[None], axis=1)
        return jnp.where(jnp.any(kept), weights.astype(losses.dtype), mean), None
