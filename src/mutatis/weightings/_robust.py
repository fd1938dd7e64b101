"""Distributionally robust weights: the groups that lose most count most."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mutatis._citation import cites
from mutatis._references import SAGAWA_2020
from mutatis._types import Gramian, GroupIndex, Key, Losses, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._number import known, number


@cites(SAGAWA_2020)
class GroupDRO(AbstractWeighting):
    r"""Online group distributionally robust optimisation (Sagawa et al. 2020, algorithm 1 and section 3.3).

    With q on the simplex over all groups, starting uniform, and n_g training examples in group g,

    $$A_g = L_g + C / \sqrt{n_g}, \qquad q_g \leftarrow q_g \exp(\eta A_g) / Z, \qquad
      \text{descend } \sum_g q_g L_g \text{ with } q \text{ constant.}$$

    A group drawn twice in a step has its losses averaged, and its weight shared among its slots.

    - `step_size`: eta. Its precision is that of the state.
    - `adjustment`: C, the generalisation adjustment: small groups overfit more, so they are asked to lose less.
    - `group_sizes`: n_g, `(groups,)`; needed with an adjustment.
    - `normalise_losses`: divide A by its sum over the groups, so that eta does not depend on the scale of the losses.
    - `renormalise`: let the step's weights sum to one. Without it they sum to the share of q that the present groups
      hold, which is a vanishing step where many groups take turns (5 of 262 groups hold 2 %).
    - `absent_count_as_zero`: as in the published code, treat a group that was not drawn as one that lost nothing, so
      that being absent costs weight.

    The state is log q, by group id.

    **Deviations:** by default absent groups keep the weight they have and the present ones exchange theirs (the same
    where all are present), and the weights of a step sum to one; both options of the published code remain.

    **Raises:** `ValueError` for a negative step size or adjustment, an adjustment without `group_sizes`, or
    `group_sizes` that are not one positive number per group.
    """

    needs_gramian: ClassVar[bool] = False

    step_size: Float[Array, ""] = eqx.field(converter=number, default=0.01)  # type: ignore[assignment]
    adjustment: Float[Array, ""] = eqx.field(converter=number, default=0.0)  # type: ignore[assignment]
    group_sizes: Float[Array, "groups"] | None = eqx.field(
        converter=lambda sizes: None if sizes is None else jnp.asarray(sizes), default=None
    )
    normalise_losses: bool = eqx.field(static=True, default=False)
    renormalise: bool = eqx.field(static=True, default=True)
    absent_count_as_zero: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        for name in ("step_size", "adjustment"):
            value = getattr(self, name)
            if known(value) and not value >= 0:
                raise ValueError(f"{name} is {value}; pass a number of at least 0.")
        if self.group_sizes is None:
            if known(self.adjustment) and self.adjustment > 0:
                raise ValueError(
                    f"adjustment is {self.adjustment} but group_sizes is missing; "
                    "pass the number of training examples of each group."
                )
        elif known(self.group_sizes) and not jnp.all(jnp.asarray(self.group_sizes) > 0):
            raise ValueError("group_sizes has a group without examples; leave such groups out of training.")

    def init(self, num_groups: int) -> Float[Array, "groups"]:
        """Uniform."""
        if self.group_sizes is not None and self.group_sizes.shape != (num_groups,):
            raise ValueError(
                f"group_sizes has shape {self.group_sizes.shape} but there are {num_groups} groups; pass one size each."
            )
        return jnp.full(num_groups, -jnp.log(jnp.asarray(num_groups, self.step_size.dtype)))

    def weigh(
        self,
        losses: Losses,
        gramian: Gramian | None,
        index: GroupIndex,
        state: Float[Array, "groups"],
        *,
        key: Key,
    ) -> tuple[Weights, Float[Array, "groups"]]:
        """q after this step's losses, one share for each slot; NaN for an id that is not a group's."""
        del gramian, key
        count = jnp.zeros_like(state).at[index].add(1)
        total = jnp.zeros_like(state).at[index].add(losses.astype(state.dtype))
        log_q = self._after(state, total / jnp.maximum(count, 1), count > 0)
        slots = (log_q - jnp.log(jnp.maximum(count, 1))).at[index].get(mode="fill", fill_value=jnp.nan)
        slots = slots.astype(losses.dtype)
        return jax.nn.softmax(slots) if self.renormalise else jnp.exp(slots), log_q

    def _after(
        self, log_q: Float[Array, "groups"], losses: Float[Array, "groups"], present: Bool[Array, "groups"]
    ) -> Float[Array, "groups"]:
        adjusted = losses
        if self.group_sizes is not None:
            sizes = jnp.asarray(self.group_sizes, log_q.dtype)
            adjusted = losses + self.adjustment.astype(log_q.dtype) / jnp.sqrt(sizes)
        counted = jnp.ones_like(present) if self.absent_count_as_zero else present
        adjusted = jnp.where(counted, adjusted, 0)
        if self.normalise_losses:
            everything = jnp.sum(adjusted)
            adjusted = adjusted / jnp.where(everything == 0, 1, everything)
        moved = log_q + self.step_size * adjusted
        mass = jax.nn.logsumexp(log_q, where=counted) - jax.nn.logsumexp(moved, where=counted)
        return jax.nn.log_softmax(jnp.where(counted, moved + mass, log_q))
