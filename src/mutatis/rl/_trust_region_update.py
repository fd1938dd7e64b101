"""Trust region policy optimisation, for one task or many."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._direction import AbstractDirection, Unrolled
from mutatis._outer import TASKS, OuterState, outer_init, outer_step
from mutatis._references import SCHULMAN_2015
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import trainable
from mutatis._types import Key, Losses, Objective, Scalar
from mutatis._weighting import AbstractWeighting
from mutatis.rl._baseline import AbstractBaseline, ActorCritic
from mutatis.rl._batch import AbstractPolicyUpdate, Batch, Update, minibatch_rate, minibatch_steps
from mutatis.rl._collect import Policy
from mutatis.rl._gaussian import Gaussian
from mutatis.rl._trust_region import trust_region
from mutatis.rules._none import NoAdaptation


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
    divergence_direction: AbstractDirection | None = None,
) -> tuple[Learner, OuterState, Losses]:
    """`outer_step` for an optimiser that asks for `value_fn` and `constraint_fn`: means over tasks, after adaptation.

    The weighting gives the direction, whatever it is; the line search judges the plain means. With a rule that adapts
    policies by their gradient this is the outer step of MAML-TRPO: loss and divergence are differentiated through it.

    - `tasks`: the queries are pairs `(Batch, Gaussian)`, the latter what the sampling policy gave for the rows.
    - `objective`, `divergence`: of an adapted policy and one task's query.
    - `direction`, `divergence_direction`: how either goes through the adaptation; by default both the same way.
    """
    static = eqx.filter(learner, trainable(learner), inverse=True)
    # The key that outer_step gives the rule, so that its noise is the same.
    _, rule_key, _ = jax.random.split(state.key, 3)
    keys = jax.random.split(rule_key, tasks.index.shape[0])

    def mean_of(judge: Objective, through: AbstractDirection):
        one = lambda params, task, key: through.loss(eqx.combine(params, static), task, judge, key=key)[0]
        every = jax.vmap(one, in_axes=(None, 0, 0), axis_name=TASKS)
        return lambda params: jnp.mean(every(params, tasks, keys))

    inner = optax.with_extra_args_support(state.optim)
    value, constraint = mean_of(objective, direction), mean_of(divergence, divergence_direction or direction)
    functions = {"value_fn": value, "constraint_fn": constraint}

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


def value_loss(baseline: AbstractBaseline, batch: Batch) -> Scalar:
    """The mean squared error of the values of one task's rows."""
    return jnp.mean(jnp.square(baseline(batch.observation, batch.time, batch.task) - batch.target))


@cites(SCHULMAN_2015)
class TrustRegion(AbstractPolicyUpdate):
    """TRPO as a method of `PolicyGradient`: one step of the policy, see `trpo_update`, and passes of the value network.

    - `radius`, `damping`, `iterations`, `shrink`, `tries`: see `trust_region`.
    - `value_learning_rate`, `value_epochs`, `value_minibatches`: of Adam on the squared error of the value, after the
      step of the policy; without effect on a linear baseline.
    - `decay`: number of roll-outs over which that learning rate falls linearly to zero; `None` keeps it.

    The loss that it reports is the surrogate after the step.

    **Raises:** `ValueError` if a number of passes, minibatches or roll-outs is below 1; when it is traced, also if the
    minibatches do not divide a task's rows.
    """

    optim: optax.GradientTransformationExtraArgs = eqx.field(static=True)
    value_optim: optax.GradientTransformation = eqx.field(static=True)
    value_epochs: int = eqx.field(static=True)
    value_minibatches: int = eqx.field(static=True)

    def __init__(
        self,
        radius: float = 0.01,
        *,
        damping: float = 1e-5,
        iterations: int = 10,
        shrink: float = 0.8,
        tries: int = 15,
        value_learning_rate: float = 1e-3,
        value_epochs: int = 10,
        value_minibatches: int = 16,
        decay: int | None = None,
    ):
        self.optim = trust_region(radius, damping=damping, iterations=iterations, shrink=shrink, tries=tries)
        rate = minibatch_rate(value_learning_rate, value_epochs, value_minibatches, decay)
        self.value_optim = optax.adam(rate, eps=1e-5)
        self.value_epochs, self.value_minibatches = value_epochs, value_minibatches

    def init(
        self, model: ActorCritic, weighting: AbstractWeighting, num_tasks: int, *, key: Key
    ) -> tuple[OuterState, OuterState | None]:
        """The states of the outer loops of policy and value network; None for a baseline that is solved for."""
        begin = lambda part, optim, key: outer_init(
            Learner(part, NoAdaptation()), weighting, optim, num_groups=num_tasks, key=key
        )
        policy_key, value_key = jax.random.split(key)
        value = begin(model.baseline, self.value_optim, value_key) if model.trains_baseline else None
        return begin(model.policy, self.optim, policy_key), value

    def update(
        self, model: ActorCritic, memory: tuple[OuterState, OuterState | None], batch: Batch
    ) -> tuple[ActorCritic, tuple[OuterState, OuterState | None], Update]:
        """The policy after its step, and the value network after all passes."""
        of_policy, of_value = memory
        policy, of_policy, report = trpo_update(Learner(model.policy, NoAdaptation()), of_policy, batch)
        baseline = Learner(model.baseline, NoAdaptation())
        if of_value is not None:
            baseline, of_value, _ = minibatch_steps(
                baseline,
                of_value,
                batch,
                objective=value_loss,
                epochs=self.value_epochs,
                minibatches=self.value_minibatches,
            )
        model = ActorCritic(policy.model, baseline.model)
        return model, (of_policy, of_value), Update(report.losses_after, report.kl)
