"""Proximal policy optimisation, for one task or many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._outer import OuterState, outer_step
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import scan, trainable
from mutatis._types import Key, Scalar
from mutatis.rl._baseline import AbstractBaseline
from mutatis.rl._batch import Batch
from mutatis.rl._gaussian import Gaussian


class ActorCritic(eqx.Module):
    """A policy and the baseline of its advantages: the model that PPO trains.

    - `policy`: `policy(observation (rows, features), task) -> Gaussian`, such as `GaussianPolicy`.
    - `baseline`: a network is trained with the policy, a linear one stays as it was fitted.
    """

    policy: Callable[[Array, Any], Gaussian]
    baseline: AbstractBaseline


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
        ratio = jnp.exp(now.log_prob(batch.action) - batch.log_prob)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        gain = jnp.mean(jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))
        loss = -gain - self.entropy * jnp.mean(now.entropy())
        if any(jax.tree.leaves(trainable(model.baseline))):
            loss = loss + self.value * jnp.mean(self._error(model, batch))
        return loss.astype(gain.dtype)

    def _error(self, model: ActorCritic, batch: Batch) -> Float[Array, "rows"]:
        """The squared error of the value."""
        value = model.baseline(batch.observation, batch.time, batch.task)
        error = jnp.square(value - batch.target)
        if self.value_clip is None:
            return error
        near = batch.value + jnp.clip(value - batch.value, -self.value_clip, self.value_clip)
        return jnp.maximum(error, jnp.square(near - batch.target))


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
    r"""Several passes over a roll-out in minibatches (Schulman et al. 2017, algorithm 1), as one scan of `outer_step`.

    Each step takes as many rows of every task, in an order drawn for each task and pass. The weighting of the state
    shares it among the tasks; its optimiser follows.

    - `learner`: `Learner(ActorCritic(policy, baseline), rule)`; the rule gets no context.
    - `state`: of `outer_init`, with the optimiser, `num_groups` the number of tasks.
    - `batch`: of `assess`.

    The KL reported is the mean of $\rho - 1 - \log \rho$, which is never negative and unbiased.

    **Raises:** `ValueError` if the minibatches do not divide a task's rows.
    """
    tasks, rows = batch.advantage.shape
    if minibatches < 1 or rows % minibatches:
        raise ValueError(f"minibatches is {minibatches}, which does not divide the {rows} rows of each task.")
    key, order_key = jax.random.split(state.key)
    state = eqx.tree_at(lambda s: s.key, state, key)

    def one(carry, order):
        learner, state = carry
        task = Task(context=None, query=_rows(batch, order), index=batch.task)
        learner, state, losses = outer_step(learner, state, task, objective=objective)
        return (learner, state), losses

    orders = _orders(order_key, epochs, tasks, rows, minibatches)
    (learner, state), losses = scan(one, (learner, state), orders)
    return learner, state, ProximalReport(losses, *_change(learner.model, batch, objective.clip))


def _orders(key: Key, epochs: int, tasks: int, rows: int, minibatches: int) -> Int[Array, "updates tasks size"]:
    """The rows of every minibatch: in each epoch every row of a task once."""
    orders = jax.vmap(lambda k: jax.random.permutation(k, rows))(jax.random.split(key, epochs * tasks))
    orders = orders.reshape(epochs, tasks, minibatches, rows // minibatches)
    return jnp.moveaxis(orders, 2, 1).reshape(epochs * minibatches, tasks, rows // minibatches)


def _rows(batch: Batch, order: Int[Array, "tasks size"]) -> Batch:
    """Some rows of each task."""
    chosen = jax.vmap(lambda of_task, which: jax.tree.map(lambda leaf: leaf[which], of_task))(batch[1:], order)
    return Batch(batch.task, *chosen)


def _change(model: ActorCritic, batch: Batch, clip: Scalar) -> tuple[Array, Array]:
    """Approximate KL and clip fraction of each task."""

    def of_task(batch: Batch):
        log_ratio = model.policy(batch.observation, batch.task).log_prob(batch.action) - batch.log_prob
        beyond = jnp.abs(jnp.expm1(log_ratio)) > clip
        return jnp.mean(jnp.expm1(log_ratio) - log_ratio), jnp.mean(beyond.astype(log_ratio.dtype))

    return jax.vmap(of_task)(batch)
