"""Weights that let all losses fall at one rate, from the losses alone."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import LIU_2023
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._learned import Learned, begin, descend, present
from mutatis.weightings._number import known, number


@cites(LIU_2023)
class FAMO(AbstractWeighting):
    r"""Fast adaptive multitask optimisation (Liu et al. 2023, algorithm 2).

    With $z = \mathrm{softmax}(\xi)$ over the tasks of the step and $D_t = L_t - b_t + 10^{-8}$, the step descends
    $\sum_t z_t \log D_t$ up to scale; when it is taken, the same tasks are judged again:

    $$w_t = \frac{z_t / D_t}{\sum_s z_s / D_s}, \qquad \xi \leftarrow \xi - \mathrm{Adam}\Bigl( \sum_t
      \frac{\partial z_t}{\partial \xi} \log \frac{D_t}{D_t^{after}} + \gamma \xi \Bigr).$$

    Tasks whose losses fell least gain weight. No Gramian: one gradient and one more evaluation a step.

    - `step_size`: of Adam. Its precision is that of the state.
    - `decay`: gamma, which pulls towards equal z.
    - `lower_bound`: b, the least that losses can be; one number, or one for each group.

    Losses must stay above `lower_bound`: weights are NaN where one does not. The state is xi by group id, with Adam's
    memory. A group drawn twice in a step counts as two tasks with one xi; absent groups keep theirs.

    **Deviations:** the step is not clipped to length 1; put `optax.clip_by_global_norm` into the optimiser.

    **Raises:** `ValueError` for a negative step size or decay, or bounds that are not one for each group.
    """

    needs_gramian: ClassVar[bool] = False
    needs_losses_after: ClassVar[bool] = True
    needs_positive_losses: ClassVar[bool] = True

    step_size: Float[Array, ""] = eqx.field(converter=number, default=0.025)  # type: ignore[assignment]
    decay: Float[Array, ""] = eqx.field(converter=number, default=0.001)  # type: ignore[assignment]
    lower_bound: Float[Array, "..."] = eqx.field(converter=number, default=0.0)  # type: ignore[assignment]

    def __check_init__(self):
        for name in ("step_size", "decay"):
            value = getattr(self, name)
            if known(value) and not value >= 0:
                raise ValueError(f"{name} is {value}; pass a number of at least 0.")

    def init(self, num_groups: int) -> Learned:
        """Equal logits."""
        if self.lower_bound.shape not in ((), (num_groups,)):
            raise ValueError(
                f"lower_bound has shape {self.lower_bound.shape} but there are {num_groups} groups; pass one for each."
            )
        return begin(jnp.zeros(num_groups, self.step_size.dtype))

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: Learned, *, key: Key
    ) -> tuple[Weights, Learned]:
        """z / D, divided by its sum."""
        del gramian, key
        quotients = jax.nn.softmax(state.at(index).astype(losses.dtype)) / self._above(losses, index, state)
        return quotients / jnp.sum(quotients), state

    def observe(self, before: Losses, after: Losses, index: GroupIndex, state: Learned) -> Learned:
        """One step of xi against the losses that fell most."""
        fallen = jnp.log(self._above(before, index, state) / self._above(after, index, state))
        softmax = lambda values: jax.nn.softmax(Learned(values, None).at(index))
        (gradient,) = jax.vjp(softmax, state.values)[1](fallen.astype(state.values.dtype))
        gradient = gradient + self.decay.astype(gradient.dtype) * state.values
        return descend(state, gradient, present(index, state.values), self.step_size)

    def _above(self, losses: Losses, index: GroupIndex, state: Learned) -> Losses:
        bounds = jnp.broadcast_to(self.lower_bound.astype(losses.dtype), state.values.shape)
        above = losses - bounds[index] + 1e-8
        return jnp.where(above > 0, above, jnp.nan)
