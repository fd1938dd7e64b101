"""The plain mean of the tasks."""

from typing import ClassVar

import jax.numpy as jnp

from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting


class Average(AbstractWeighting):
    """Every task weighs 1 / tasks: empirical risk minimisation over tasks."""

    needs_gramian: ClassVar[bool] = False

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """1 / tasks for each."""
        del gramian, index, state, key
        return jnp.full_like(losses, 1 / losses.shape[0]), None
