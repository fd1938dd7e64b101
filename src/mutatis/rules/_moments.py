"""Adaptation of batch-norm moments, around any other rule."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._outer import TASKS
from mutatis._references import NADO_2020, SCHNEIDER_2020, ZHANG_2021
from mutatis._rule import AbstractRule, Learner
from mutatis._tree import Fixed, add, unfix
from mutatis._types import Key, Tree
from mutatis.nn._norm import BatchNorm, Moments, batch_norms
from mutatis.rules._none import NoAdaptation
from mutatis.rules._shrinkage import context_share, log_pseudo_count


@cites(ZHANG_2021, NADO_2020, SCHNEIDER_2020)
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
      for each batch norm (those of `within` first), is trained (as its logarithm).
    - `pool_tasks`: take the moments over all tasks of an outer step together, as ordinary batch normalisation does in
      training (ERM, UW, group DRO and ARM-CML of the original). Needs tasks side by side (`map_tasks=False`).
    - `momentum`: weight of an outer step's moments in the remembered source moments.

    The state is `(state of within, one Moments per batch norm)`. The moments of a layer depend on how the layers before
    it were normalised, so the rule runs the model in order: for a context given in pieces, the first layer's moments
    equal the whole's, and deeper layers are measured under the moments known at the time.

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
        pseudo_count: float | Float[Array, "..."] = 0.0,
        pool_tasks: bool = False,
        momentum: float = 0.1,
    ):
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum}; it is a weight in a moving average, above 0 and at most 1.")
        self.log_pseudo_count = log_pseudo_count(pseudo_count)
        self.within = NoAdaptation() if within is None else within
        self.pool_tasks = pool_tasks
        self.momentum = momentum

    def init(self, model: Any) -> tuple[Tree, list[Moments]]:
        """No rows seen: with the source's moments the model is as it was trained."""
        norms = batch_norms((self.within, model))
        return self.within.init(model), [Moments.zeros(norm.weight.size, norm.weight.dtype) for norm in norms]

    def update(self, model: Any, state: tuple[Tree, list[Moments]], context: Tree, *, key: Key):
        """Let `within` adapt under the context's moments, then measure the adapted model's."""
        inner, before = state
        after = list(before)

        def keep(place: int, moments: Moments) -> None:
            after[place] = moments

        def discard(place: int, moments: Moments) -> None:
            # The inner rule may run the model under its own differentiation, whose values must not leave it.
            del place, moments

        within, observed = self._measuring((self.within, model), before, keep)
        _, unobserved = self._measuring((self.within, model), before, discard)
        inner = within.update(unobserved, inner, context, key=key)
        inputs = context[0] if isinstance(context, tuple | list) else context
        within.bind(observed, inner)(inputs)
        return inner, after

    def bind(self, model: Any, state: tuple[Tree, list[Moments]]) -> Any:
        """The model under the measured moments, changed by `within`."""
        inner, moments = state
        norms = batch_norms((self.within, model))
        sources = [
            Fixed(_shrunk(norm, seen, log_count))
            for norm, seen, log_count in zip(norms, moments, self._log_counts(len(norms)), strict=True)
        ]
        if norms:
            within, model = eqx.tree_at(
                lambda tree: [norm.source for norm in batch_norms(tree)], (self.within, model), sources
            )
        else:
            within = self.within
        return within.bind(model, inner)

    @property
    def couples_tasks(self) -> bool:
        """Pooled moments depend on every task of the step."""
        return self.pool_tasks or self.within.couples_tasks

    def absorb(self, learner: Learner, states: tuple[Tree, list[Moments]]) -> Learner:
        """Moves the source moments towards those of this step's tasks together, by `momentum`."""
        norms = batch_norms((self, learner.model))
        if not norms:
            return learner
        together = [jax.tree.map(lambda leaf: jnp.sum(leaf, 0), moments) for moments in states[1]]
        sources = [_moved(norm, seen, self.momentum) for norm, seen in zip(norms, together, strict=True)]
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

    def _measuring(self, tree: PyTree, before: list[Moments], report: Callable[[int, Moments], None]) -> PyTree:
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
    report: Callable[[int, Moments], None] = eqx.field(static=True)
    pool: str | None = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        batch = Moments.of(x, self.norm.source.value[0])
        if self.pool is not None:
            batch = jax.lax.psum(batch, self.pool)
        seen = add(self.before.value, batch)
        self.report(self.place, seen)
        return self.norm.normalise(x, *_shrunk(self.norm, seen, self.log_count.value))


def _shrunk(norm: BatchNorm, seen: Moments, log_count: Array) -> tuple[Array, Array]:
    """Mean and variance between the source's and the context's, by the share of rows each stands for."""
    source_mean, source_variance = norm.source.value
    offset, variance = seen.mean_and_variance()
    share = context_share(seen.count, log_count)
    return source_mean + share * offset, source_variance + share * (variance - source_variance)


def _moved(norm: BatchNorm, seen: Moments, momentum: float) -> Fixed:
    mean, variance = norm.source.value
    offset, new_variance = jax.lax.stop_gradient(seen).mean_and_variance()
    weight = jnp.where(seen.count > 0, jnp.asarray(momentum, mean.dtype), 0)  # a step that saw no rows teaches nothing
    return Fixed((mean + weight * offset, variance + weight * (new_variance - variance)))
