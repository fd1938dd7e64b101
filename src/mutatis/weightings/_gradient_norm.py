"""Weights under which all tasks train at similar rates."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mutatis._citation import cites
from mutatis._references import CHEN_2018
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._learned import Learned, begin, by_group, descend, present
from mutatis.weightings._number import known, number
from mutatis.weightings._simplex import relative


class GradNormState(NamedTuple):
    """By group id: its weight, its first loss, and whether it had one."""

    weights: Learned
    first: Float[Array, "groups"]
    seen: Bool[Array, "groups"]


@cites(CHEN_2018)
class GradNorm(AbstractWeighting):
    r"""Gradient normalisation (Chen et al. 2018, algorithm 1 and eq. 2).

    With $d_t = \lVert g_t \rVert$ and $L_t^0$ the first loss of the task's group, the weights take a step of Adam down

    $$\sum_t \Bigl\lvert w_t d_t - \overline{w d} \; r_t^\alpha \Bigr\rvert, \qquad
      r_t = \frac{L_t / L_t^0}{\mathrm{mean}_s \, L_s / L_s^0},$$

    where the second term is held constant, and are rescaled to the sum they had. The model's step uses the weights
    before that.

    - `asymmetry`: alpha. 0 makes weighted gradients equally long; more lets tasks that lag behind have longer ones.
    - `step_size`: of Adam. Its precision is that of the state.

    Losses must not be negative; 1e-10 is added. The state holds weights and first losses by group id. Absent groups
    keep what they have, and the present ones exchange theirs; a group drawn twice counts twice.

    **Deviations:** the weights of a step sum to 1, not T, so that the first is that of `Average`. Lengths are of the
    gradients of all trained parameters, not of the last shared layer's, in units of the longest. Weights below 0 are
    set to 0.

    **Raises:** `ValueError` for a negative asymmetry or step size.
    """

    needs_gramian: ClassVar[bool] = True
    needs_positive_losses: ClassVar[bool] = True

    asymmetry: Float[Array, ""] = eqx.field(converter=number, default=0.12)  # type: ignore[assignment]
    step_size: Float[Array, ""] = eqx.field(converter=number, default=0.025)  # type: ignore[assignment]

    def __check_init__(self):
        for name in ("asymmetry", "step_size"):
            value = getattr(self, name)
            if known(value) and not value >= 0:
                raise ValueError(f"{name} is {value}; pass a number of at least 0.")

    def init(self, num_groups: int) -> GradNormState:
        """Weights of one, no losses seen."""
        ones = jnp.ones(num_groups, self.step_size.dtype)
        return GradNormState(begin(ones), jnp.zeros_like(ones), jnp.zeros(num_groups, bool))

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: GradNormState, *, key: Key
    ) -> tuple[Weights, GradNormState]:
        """The weights so far, and those after a step towards equal rates."""
        del key
        assert gramian is not None
        here, safe = present(index, state.first), losses + 1e-10
        count = by_group(jnp.ones_like(losses), index, state.first)
        met = by_group(safe, index, state.first) / jnp.maximum(count, 1)
        first = jnp.where(here & ~state.seen, met, state.first)

        weights = state.weights.at(index).astype(losses.dtype)
        lengths = jnp.sqrt(jnp.diagonal(relative(gramian))).astype(losses.dtype)
        ratios = safe / first[index].astype(losses.dtype)
        rates = (ratios / jnp.mean(ratios)) ** self.asymmetry.astype(losses.dtype)
        excess = weights * lengths - jnp.mean(weights * lengths) * rates
        gradient = by_group(jnp.sign(excess) * lengths, index, state.first)

        moved = descend(state.weights, gradient, here, self.step_size)
        total, values = jnp.sum(state.weights.values, where=here), jnp.maximum(moved.values, 0)
        sum_after = jnp.sum(values, where=here)
        values = jnp.where(here, values * total / jnp.where(sum_after > 0, sum_after, 1), values)
        values = jnp.where(sum_after > 0, values, state.weights.values)
        after = GradNormState(Learned(values, moved.memory), first, state.seen | here)
        return weights / jnp.sum(weights), after
