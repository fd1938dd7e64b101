"""Weights that even out the losses of the tasks."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import LI_2020
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._number import known, number


@cites(LI_2020)
class QFair(AbstractWeighting):
    r"""q-fair federated learning (Li et al. 2020, algorithm 2, q-FedAvg).

    For rows that are displacements, delta_k = w - w_k (direction `Displacement`), F_k the loss of client k before its
    local steps and L = 1 / `local_rate`, the server's update w - sum_k weight_k delta_k has

    $$\text{weight}_k = \frac{F_k^q}{\sum_j q F_j^{q-1} L \lVert \delta_j \rVert^2 + F_j^q}.$$

    With q = 0 this is `Average`, hence federated averaging (McMahan et al. 2017). Take an outer SGD rate of 1.

    - `q`: how much unfairness costs; the objective is the sum of F_k^(q+1) / (q+1).
    - `local_rate`: learning rate of the clients' own steps.

    Losses must not be negative; 1e-10 is added, as in the published code. There is no state.

    **Raises:** `ValueError` for a negative `q` or a `local_rate` that is not positive.
    """

    needs_gramian: ClassVar[bool] = True

    q: Float[Array, ""] = eqx.field(converter=number)
    local_rate: Float[Array, ""] = eqx.field(converter=number)

    def __check_init__(self):
        if known(self.q) and not self.q >= 0:
            raise ValueError(f"q is {self.q}; pass 0 (the average) or a positive number.")
        if known(self.local_rate) and not self.local_rate > 0:
            raise ValueError(f"local_rate is {self.local_rate}; pass the clients' learning rate, above 0.")

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """The published quotient, with every loss measured in units of the largest so that no power overflows."""
        del index, state, key
        assert gramian is not None
        q, rate = self.q.astype(losses.dtype), self.local_rate.astype(losses.dtype)
        safe = losses + 1e-10
        powers = (safe / jnp.max(safe)) ** q
        curvature = q * powers / rate * jnp.diagonal(gramian) / safe
        return powers / jnp.sum(curvature + powers), None
