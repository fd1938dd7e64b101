"""Trust region policy optimisation, for one task or many."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mutatis._direction import AbstractDirection, Unrolled
from mutatis._outer import TASKS, OuterState, outer_step
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import trainable
from mutatis._types import Losses, Objective, Scalar
from mutatis.rl._batch import Batch
from mutatis.rl._gaussian import Gaussian

Policy = Callable[[Array, Any], Gaussian]


def surrogate_loss(policy: Policy, query: tuple[Batch, Gaussian]) -> Scalar:
    r"""Minus the mean of $\pi(a|s) / \pi_\text{old}(a|s)\, A$ over one task's rows (Schulman et al. 2015, eq. 14)."""
    batch, _ = query
    log_ratio = policy(batch.observation, batch.task).log_prob(batch.action) - batch.log_prob
    return -jnp.mean(jnp.exp(log_ratio) * batch.advantage)


def mean_divergence(policy: Policy, query: tuple[Batch, Gaussian]) -> Scalar:
    """The mean of KL(old policy || policy) over one task's rows, in nats."""
    batch, old = query
    return jnp.mean(old.kl(policy(batch.observation, batch.task)))


def trust_region_step(
    learner: Learner,
    state: OuterState,
    tasks: Task,
    *,
    objective: Objective = surrogate_loss,
    divergence: Objective = mean_divergence,
    direction: AbstractDirection = Unrolled(),  # noqa: B008  (immutable)
) -> tuple[Learner, OuterState, Losses]:
    """`outer_step` for an optimiser that asks for `value_fn` and `constraint_fn`: means over tasks, after adaptation.

    The weighting gives the direction, whatever it is; the line search judges the plain means. With a rule that adapts
    policies by their gradient this is the outer step of MAML-TRPO: loss and divergence are differentiated through it.

    - `tasks`: the queries are pairs `(Batch, Gaussian)`, the latter what the sampling policy gave for the rows.
    - `objective`, `divergence`: of an adapted policy and one task's query.
    """
    static = eqx.filter(learner, trainable(learner), inverse=True)
    # The key that outer_step gives the rule, so that its noise is the same.
    _, rule_key, _ = jax.random.split(state.key, 3)
    keys = jax.random.split(rule_key, tasks.index.shape[0])

    def mean_of(judge: Objective):
        one = lambda params, task, key: direction.loss(eqx.combine(params, static), task, judge, key=key)[0]
        every = jax.vmap(one, in_axes=(None, 0, 0), axis_name=TASKS)
        return lambda params: jnp.mean(every(params, tasks, keys))

    inner = optax.with_extra_args_support(state.optim)
    functions = {"value_fn": mean_of(objective), "constraint_fn": mean_of(divergence)}

    def update(updates, state, params=None):
        return inner.update(updates, state, params, **functions)

    bound = optax.GradientTransformation(inner.init, update)
    learner, after, losses = outer_step(
        learner, dataclasses.replace(state, optim=bound), tasks, objective=objective, direction=direction
    )
    return learner, dataclasses.replace(after, optim=state.optim), losses


class TrustRegionReport(NamedTuple):
    """What an update did, by task."""

    losses: Float[Array, "tasks"]
    """Before the step."""
    losses_after: Float[Array, "tasks"]
    kl: Float[Array, "tasks"]
    """Mean KL(old || new), in nats."""


@eqx.filter_jit(donate="none")
def trpo_update(learner: Learner, state: OuterState, batch: Batch) -> tuple[Learner, OuterState, TrustRegionReport]:
    """One step on a roll-out (Schulman et al. 2015, section 6); `state.optim_state` says whether it was taken.

    - `learner`: `Learner(policy, rule)`; the rule gets no context.
    - `state`: of `outer_init` with `trust_region(...)` as the optimiser.
    - `batch`: of `assess`, drawn with this policy.
    """
    old = jax.vmap(learner.model)(batch.observation, batch.task)
    query = (batch, old)
    learner, state, losses = trust_region_step(learner, state, Task(None, query, batch.task))
    each = lambda judge: jax.vmap(lambda query: judge(learner.model, query))(query)
    return learner, state, TrustRegionReport(losses, each(surrogate_loss), each(mean_divergence))
