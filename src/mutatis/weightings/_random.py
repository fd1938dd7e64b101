"""Weights by chance, against which others are measured."""

from typing import ClassVar

import jax

from mutatis._citation import cites
from mutatis._references import LIN_2022
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting


@cites(LIN_2022)
class RandomWeights(AbstractWeighting):
    r"""Random loss weighting, RLW (Lin et al. 2022, with normal draws).

    $$w = \mathrm{softmax}(\epsilon), \qquad \epsilon_t \sim N(0, 1) \text{ anew at every step.}$$

    On average that is `Average`. In the paper the noise alone did as well as many methods, which makes it a baseline to
    beat. There is no state; the draws are from `key`.
    """

    needs_gramian: ClassVar[bool] = False

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """A point of the simplex."""
        del gramian, index, state
        return jax.nn.softmax(jax.random.normal(key, losses.shape, losses.dtype)), None
