"""Adaptation of batch-norm moments, around any other rule."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._outer import TASKS
from mutatis._references import NADO_2020, SCHNEIDER_2020, WU_2021, ZHANG_2021
from mutatis._rule import AbstractRule, Learner
from mutatis._tree import Fixed, add, unfix
from mutatis._types import Key, Tree
from mutatis.nn._norm import BatchNorm, Moments, batch_norms
from mutatis.rules._features import inputs_of
from mutatis.rules._logarithm import stored_log
from mutatis.rules._none import NoAdaptation
from mutatis.rules._shrinkage import context_share

State = tuple[Tree, list[Moments], list[Moments]]
Report = Callable[[int, Moments, Moments | None], None]


@cites(ZHANG_2021, NADO_2020, SCHNEIDER_2020, WU_2021)
class BatchMoments(AbstractRule):
    r"""Normalises by the context's own moments instead of the training data's, while another rule does its work.

    With N the pseudo-count, n the number of context rows and per channel (Schneider et al. 2020, eq. 1)

    $$\mu = \frac{N \mu_{source} + n \mu_{context}}{N + n}, \qquad
      \sigma^2 = \frac{N \sigma^2_{source} + n \sigma^2_{context}}{N + n}$$

    ARM-BN (Zhang et al. 2021) is `BatchMoments()` in training and at test; BN adaptation (Nado et al. 2020) is the same
    rule put at test on a model trained without; ARM-LL is `BatchMoments(GradientSteps(LearnedLoss(net), 0.1))`; Tent
    (Wang et al. 2021) is `BatchMoments(GradientSteps(entropy, rate, where=norm_affine))`.

    - `within`: the rule that adapts the rest. Its own networks are normalised in the same way.
    - `pseudo_count`: N, in rows; 0 forgets the source, infinity the context. A number is kept; an array, `()` or one
      for each batch norm (those of `within` first), is trained (as its logarithm). By default 0, and infinity with
      `pool_tasks`.
    - `pool_tasks`: for training; the source is not what is remembered but all tasks of the outer step together, and
      gradients flow through it. With N infinite this is ordinary batch normalisation (ERM, UW, group DRO and ARM-CML of
      the original), with N = 0 ARM-BN, and a trained N lies between. Needs tasks side by side (`map_tasks=False`); at
      test use `alone()`.
    - `momentum`: weight of an outer step's moments in the remembered source moments.

    The state is `(state of within, one Moments per batch norm, the same over all tasks if pooled)`. The moments of a
    layer depend on how the layers before it were normalised, so the rule runs the model in order: for a context given
    in pieces, the first layer's moments equal the whole's, and deeper layers are measured under the moments known at
    the time.

    A context may be inputs, or a pair whose first entry is the inputs.

    **Deviations:** the source variance is the biased one (PyTorch stores the unbiased); the moving average is updated
    once per outer step from the pooled sums of all tasks.
    """

    within: AbstractRule
    log_pseudo_count: Float[Array, "..."] | Fixed
    pool_tasks: bool = eqx.field(static=True)
    momentum: float = eqx.field(static=True)

    def __init__(
        self,
        within: AbstractRule | None = None,
        *,
        pseudo_count: float | Float[Array, "..."] | None = None,
        pool_tasks: bool = False,
        momentum: float = 0.1,
    ):
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum}; it is a weight in a moving average, above 0 and at most 1.")
        if pseudo_count is None:
            pseudo_count = float("inf") if pool_tasks else 0.0
        self.log_pseudo_count = stored_log("pseudo_count", pseudo_count)
        self.within = NoAdaptation() if within is None else within
        self.pool_tasks = pool_tasks
        self.momentum = momentum

    def init(self, model: Any) -> State:
        """No rows seen: with the source's moments the model is as it was trained."""
        none = [Moments.zeros(norm.weight.size, norm.weight.dtype) for norm in batch_norms((self.within, model))]
        return self.within.init(model), none, list(none) if self.pool_tasks else []

    def update(self, model: Any, state: State, context: Tree, *, key: Key) -> State:
        """Let `within` adapt under the context's moments, then measure the adapted model's."""
        inner, own, pooled = state
        after_own, after_pooled = list(own), list(pooled)

        def keep(place: int, seen: Moments, over_all: Moments | None) -> None:
            after_own[place] = seen
            if over_all is not None:
                after_pooled[place] = over_all

        def discard(place: int, seen: Moments, over_all: Moments | None) -> None:
            # The inner rule may run the model under its own differentiation, whose values must not leave it.
            del place, seen, over_all

        within, observed = self._measuring((self.within, model), own, keep)
        _, unobserved = self._measuring((self.within, model), own, discard)
        inner = within.update(unobserved, inner, context, key=key)
        within.bind(observed, inner)(inputs_of(context))
        return inner, after_own, after_pooled

    def bind(self, model: Any, state: State) -> Any:
        """The model under the measured moments, changed by `within`."""
        inner, own, pooled = state
        norms = batch_norms((self.within, model))
        sources = [
            Fixed(_shrunk(norm, seen, over_all, log_count))
            for norm, seen, over_all, log_count in zip(
                norms, own, pooled or [None] * len(norms), self._log_counts(len(norms)), strict=True
            )
        ]
        if norms:
            within, model = eqx.tree_at(
                lambda tree: [norm.source for norm in batch_norms(tree)], (self.within, model), sources
            )
        else:
            within = self.within
        return within.bind(model, inner)

    def alone(self) -> "BatchMoments":
        """The same rule for one task at a time, whose source is what is remembered."""
        rule = BatchMoments(self.within, momentum=self.momentum)
        return eqx.tree_at(lambda r: r.log_pseudo_count, rule, self.log_pseudo_count)

    @property
    def couples_tasks(self) -> bool:
        """Pooled moments depend on every task of the step."""
        return self.pool_tasks or self.within.couples_tasks

    def absorb(self, learner: Learner, states: State) -> Learner:
        """Moves the source moments towards those of this step's tasks together, by `momentum`."""
        return self._moved_towards(learner, states[1], self.momentum)

    def replace_source(self, learner: Learner, moments: list[Moments]) -> Learner:
        """Puts moments (of many steps or tasks, stacked), added up, in the place of the source moments.

        The moving average of `absorb` mixes moments under weights of the last ten steps or so. Measured anew, over
        many training tasks under the final weights, they fit those weights (Wu & Johnson 2021, section 3).
        """
        return self._moved_towards(learner, moments, 1.0)

    def _moved_towards(self, learner: Learner, moments: list[Moments], weight: float) -> Learner:
        norms = batch_norms((self, learner.model))
        if not norms:
            return learner
        together = jax.tree.map(lambda leaf: jnp.sum(leaf, 0), moments)
        sources = [_moved(norm, seen, weight) for norm, seen in zip(norms, together, strict=True)]
        rule, model = eqx.tree_at(
            lambda tree: [norm.source for norm in batch_norms(tree)], (self, learner.model), sources
        )
        return Learner(model, rule)

    def _log_counts(self, norms: int) -> list[Array]:
        logs = unfix(self.log_pseudo_count)
        if logs.ndim and logs.shape != (norms,):
            raise ValueError(
                f"pseudo_count has shape {logs.shape} but the rule and the model hold {norms} batch norms; "
                "pass one number, or one for each."
            )
        return list(jnp.broadcast_to(logs, (norms,)))

    def _measuring(self, tree: PyTree, before: list[Moments], report: Report) -> PyTree:
        norms = batch_norms(tree)
        if not norms:
            return tree
        pool = TASKS if self.pool_tasks else None
        layers = [
            _Measuring(norm, Fixed(seen), Fixed(log_count), place, report, pool)
            for place, (norm, seen, log_count) in enumerate(
                zip(norms, before, self._log_counts(len(norms)), strict=True)
            )
        ]
        return eqx.tree_at(batch_norms, tree, layers)


class _Measuring(eqx.Module):
    """A batch norm that adds its batch's moments to those seen before, reports the sum and normalises by it."""

    norm: BatchNorm
    before: Fixed[Moments]
    log_count: Fixed[Array]
    place: int = eqx.field(static=True)
    report: Report = eqx.field(static=True)
    pool: str | None = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        seen = add(self.before.value, Moments.of(x, self.norm.source.value[0]))
        over_all = None if self.pool is None else jax.lax.psum(seen, self.pool)
        self.report(self.place, seen, over_all)
        return self.norm.normalise(x, *_shrunk(self.norm, seen, over_all, self.log_count.value))


def _shrunk(norm: BatchNorm, seen: Moments, over_all: Moments | None, log_count: Array) -> tuple[Array, Array]:
    """Mean and variance between the source's and the context's, by the share of rows each stands for."""
    centre, source_variance = norm.source.value
    source_offset = jnp.zeros_like(centre)
    if over_all is not None:
        some = over_all.count > 0
        offset, variance = over_all.mean_and_variance()
        source_offset, source_variance = jnp.where(some, offset, 0), jnp.where(some, variance, source_variance)
    offset, variance = seen.mean_and_variance()
    share = context_share(seen.count, log_count)
    mean = centre + source_offset + share * (offset - source_offset)
    return mean, source_variance + share * (variance - source_variance)


def _moved(norm: BatchNorm, seen: Moments, weight: float) -> Fixed:
    mean, variance = norm.source.value
    offset, new_variance = jax.lax.stop_gradient(seen).mean_and_variance()
    share = jnp.where(seen.count > 0, jnp.asarray(weight, mean.dtype), 0)  # a step that saw no rows teaches nothing
    return Fixed((mean + share * offset, variance + share * (new_variance - variance)))
