"""Proximal policy optimisation, for one task or many."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._outer import OuterState, outer_init
from mutatis._references import SCHULMAN_2017
from mutatis._rule import Learner
from mutatis._types import Key, Scalar
from mutatis._weighting import AbstractWeighting
from mutatis.rl._baseline import ActorCritic
from mutatis.rl._batch import AbstractPolicyUpdate, Batch, Update, minibatch_rate, minibatch_steps
from mutatis.rules._none import NoAdaptation


@cites(SCHULMAN_2017)
class ProximalLoss(eqx.Module):
    r"""The clipped surrogate of one task, with value and entropy terms (Schulman et al. 2017, eq. 7 and 9).

    With the ratio $\rho = \pi(a | s) / \pi_{\text{old}}(a | s)$ and advantages A, the mean over rows of

    $$-\min(\rho A, \text{clip}(\rho, 1 - \epsilon, 1 + \epsilon) A) + c_1 (V(s) - V_\text{target})^2 - c_2 H(\pi(s))$$

    An objective: `loss(ActorCritic, Batch of one task) -> scalar`. The value term is left out if the baseline has
    nothing to train.

    - `clip`: epsilon.
    - `value`, `entropy`: c_1 and c_2.
    - `value_clip`: with it the square is the greater of itself and that of the value clipped to within so much of the
      old one, as in the authors' code and not in the paper; in units of the return. `None`, the default, does not clip.
    """

    clip: Float[Array, ""]
    value: Float[Array, ""]
    entropy: Float[Array, ""]
    value_clip: Float[Array, ""] | None

    def __init__(self, *, clip: float = 0.2, value: float = 0.5, entropy: float = 0.0, value_clip: float | None = None):
        self.clip, self.value, self.entropy = jnp.asarray(clip), jnp.asarray(value), jnp.asarray(entropy)
        self.value_clip = None if value_clip is None else jnp.asarray(value_clip)

    def __call__(self, model: ActorCritic, batch: Batch) -> Scalar:
        """The loss on one task's rows."""
        now = model.policy(batch.observation, batch.task)
        value = model.baseline(batch.observation, batch.time, batch.task) if model.trains_baseline else None
        return self.of(now, value, batch)

    def of(self, now: Any, value: Float[Array, "rows"] | None, rows: Any, real: Array | None = None) -> Scalar:
        """The loss of the distributions and values that a model now gives for some rows.

        - `rows`: has `action`, `log_prob`, `advantage`, `value` and `target`, as `Batch` has.
        - `real`: 0 for rows that do not count; the means still divide by all.
        """
        counted = (lambda x: x) if real is None else (lambda x: x * real)
        ratio = jnp.exp(now.log_prob(rows.action) - rows.log_prob)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        gain = jnp.mean(counted(jnp.minimum(ratio * rows.advantage, clipped * rows.advantage)))
        loss = -gain - self.entropy * jnp.mean(counted(now.entropy()))
        if value is not None:
            loss = loss + self.value * jnp.mean(counted(self._error(value, rows)))
        return loss.astype(gain.dtype)

    def _error(self, value: Float[Array, "rows"], rows: Any) -> Float[Array, "rows"]:
        """The squared error of the value."""
        error = jnp.square(value - rows.target)
        if self.value_clip is None:
            return error
        near = rows.value + jnp.clip(value - rows.value, -self.value_clip, self.value_clip)
        return jnp.maximum(error, jnp.square(near - rows.target))


class ProximalReport(NamedTuple):
    """What an update did."""

    losses: Float[Array, "updates tasks"]
    """Of the minibatches, before their step."""
    kl: Float[Array, "tasks"]
    """Approximate KL(old || new) of all rows after the update, in nats."""
    clip_fraction: Float[Array, "tasks"]
    """Share of all rows whose ratio is beyond the clip after the update."""


@eqx.filter_jit(donate="none")
def ppo_update(
    learner: Learner,
    state: OuterState,
    batch: Batch,
    *,
    objective: ProximalLoss,
    epochs: int = 10,
    minibatches: int = 4,
) -> tuple[Learner, OuterState, ProximalReport]:
    r"""Several passes over a roll-out in minibatches (Schulman et al. 2017, algorithm 1), see `minibatch_steps`.

    The weighting of the state shares each step among the tasks; its optimiser follows.

    - `learner`: `Learner(ActorCritic(policy, baseline), rule)`; the rule gets no context.
    - `state`: of `outer_init`, with the optimiser, `num_groups` the number of tasks.
    - `batch`: of `assess`.

    The KL reported is the mean of $\rho - 1 - \log \rho$, which is never negative and unbiased.

    **Raises:** `ValueError` if the minibatches do not divide a task's rows.
    """
    learner, state, losses = minibatch_steps(
        learner, state, batch, objective=objective, epochs=epochs, minibatches=minibatches
    )
    return learner, state, ProximalReport(losses, *_change(learner.model, batch, objective.clip))


def approximate_divergence(log_ratio: Float[Array, "*rows"]) -> Float[Array, "*rows"]:
    r"""$\rho - 1 - \log \rho$ at actions of the old policy: never negative, its mean the KL(old || new) in nats."""
    return jnp.expm1(log_ratio) - log_ratio


def _change(model: ActorCritic, batch: Batch, clip: Scalar) -> tuple[Array, Array]:
    """Approximate KL and clip fraction of each task."""

    def of_task(batch: Batch):
        log_ratio = model.policy(batch.observation, batch.task).log_prob(batch.action) - batch.log_prob
        beyond = jnp.abs(jnp.expm1(log_ratio)) > clip
        return jnp.mean(approximate_divergence(log_ratio)), jnp.mean(beyond.astype(log_ratio.dtype))

    return jax.vmap(of_task)(batch)


class Proximal(AbstractPolicyUpdate):
    """PPO as a method of `PolicyGradient`: Adam on minibatches, see `ppo_update`.

    - `objective`: clip, value and entropy terms.
    - `learning_rate`: of Adam.
    - `epochs`, `minibatches`: passes over a roll-out, and minibatches in each.
    - `clip_norm`: bound of the gradient's norm; `None` for no bound.
    - `decay`: number of roll-outs over which the learning rate falls linearly to zero; `None` keeps it.

    The loss that it reports is the mean over the minibatches, before their steps.

    **Raises:** `ValueError` if `epochs`, `minibatches` or `decay` is below 1; when it is traced, also if the
    minibatches do not divide a task's rows.
    """

    objective: ProximalLoss
    optim: optax.GradientTransformation = eqx.field(static=True)
    epochs: int = eqx.field(static=True)
    minibatches: int = eqx.field(static=True)

    def __init__(
        self,
        objective: ProximalLoss | None = None,
        *,
        learning_rate: float = 3e-4,
        epochs: int = 10,
        minibatches: int = 32,
        clip_norm: float | None = 0.5,
        decay: int | None = None,
    ):
        adam = optax.adam(minibatch_rate(learning_rate, epochs, minibatches, decay), eps=1e-5)
        self.optim = adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)
        self.objective = ProximalLoss() if objective is None else objective
        self.epochs, self.minibatches = epochs, minibatches

    def init(self, model: ActorCritic, weighting: AbstractWeighting, num_tasks: int, *, key: Key) -> OuterState:
        """The state of the outer loop."""
        return outer_init(Learner(model, NoAdaptation()), weighting, self.optim, num_groups=num_tasks, key=key)

    def update(self, model: ActorCritic, memory: OuterState, batch: Batch) -> tuple[ActorCritic, OuterState, Update]:
        """Policy and baseline after all passes."""
        learner, memory, report = ppo_update(
            Learner(model, NoAdaptation()),
            memory,
            batch,
            objective=self.objective,
            epochs=self.epochs,
            minibatches=self.minibatches,
        )
        return learner.model, memory, Update(report.losses.mean(axis=0), report.kl)
