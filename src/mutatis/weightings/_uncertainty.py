"""Weights by the noise that each task seems to have."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import KENDALL_2018
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._learned import Learned, begin, by_group, descend, present
from mutatis.weightings._number import known, number


@cites(KENDALL_2018)
class UncertaintyWeights(AbstractWeighting):
    r"""Weighting by homoscedastic uncertainty (Kendall et al. 2018, section 3.2).

    Losses count as squared errors of Gaussian noise with a learned variance for each group, $s = \log \sigma^2$:

    $$\min_{\theta, s} \; \frac{1}{T} \sum_t \left( e^{-s_t} L_t + s_t \right), \qquad w_t = e^{-s_t} / T.$$

    At every step s takes one step of Adam down its own gradient, $1 - e^{-s} L$. Where losses stay the same it comes
    to rest at $s = \log L$ and w = 1 / (T L): the gradient of the mean log loss.

    - `step_size`: of Adam. Its precision is that of the state.

    Losses must be positive; below 0 there is no rest. The state is s by group id, with Adam's memory; absent groups
    keep theirs.

    **Deviations:** s has an Adam of its own instead of sharing the model's optimiser. The objective is twice the
    paper's, divided by T, so that the first weights are those of `Average`. All tasks have the form for regression;
    that for classification, $e^{-s} L + s / 2$, comes to rest at half the weight.

    **Raises:** `ValueError` for a negative step size.
    """

    needs_gramian: ClassVar[bool] = False
    needs_positive_losses: ClassVar[bool] = True

    step_size: Float[Array, ""] = eqx.field(converter=number, default=0.025)  # type: ignore[assignment]

    def __check_init__(self):
        if known(self.step_size) and not self.step_size >= 0:
            raise ValueError(f"step_size is {self.step_size}; pass a number of at least 0.")

    def init(self, num_groups: int) -> Learned:
        """Variances of one."""
        return begin(jnp.zeros(num_groups, self.step_size.dtype))

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: Learned, *, key: Key
    ) -> tuple[Weights, Learned]:
        """Inverse variances before this step's own step."""
        del gramian, key
        inverse = jnp.exp(-state.at(index).astype(losses.dtype))
        gradient = by_group(1 - inverse * losses, index, state.values)
        after = descend(state, gradient, present(index, state.values), self.step_size)
        return inverse / losses.size, after
