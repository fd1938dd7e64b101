"""A roll-out, what it was worth by task, and how one learns from it."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Shaped

from mutatis._outer import OuterState, outer_step
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import scan
from mutatis._types import Key, Objective, Scalar
from mutatis._weighting import AbstractWeighting
from mutatis.rl._baseline import AbstractBaseline, ActorCritic
from mutatis.rl._returns import discounted_returns, episode_time, generalised_advantages
from mutatis.rl._settings import check_counts


class Rollout(NamedTuple):
    """What was seen and done in a number of steps of each world, the worlds of the first task first."""

    observation: Float[Array, "steps worlds features"]
    """What was acted on."""
    last_observation: Float[Array, "steps worlds features"]
    """The action's own outcome, as in `Timestep`."""
    action: Float[Array, "steps worlds actions"]
    log_prob: Float[Array, "steps worlds"]
    """Of the action, under the policy that drew it."""
    reward: Float[Array, "steps worlds"]
    terminated: Bool[Array, "steps worlds"]
    truncated: Bool[Array, "steps worlds"]


class Batch(NamedTuple):
    """The rows of a roll-out by task, with what they were worth: what policies are updated with."""

    task: Int[Array, "tasks"]
    observation: Float[Array, "tasks rows features"]
    time: Int[Array, "tasks rows"]
    """Actions since the episode began."""
    action: Float[Array, "tasks rows actions"]
    log_prob: Float[Array, "tasks rows"]
    advantage: Float[Array, "tasks rows"]
    value: Float[Array, "tasks rows"]
    """What the baseline expected."""
    target: Float[Array, "tasks rows"]
    """Advantage before normalisation plus value: what a value network should have expected."""
    returns: Float[Array, "tasks rows"]
    """Discounted rewards to the end of the episode: what a linear baseline is fitted to."""


def assess(
    baseline: AbstractBaseline,
    rollout: Rollout,
    *,
    num_tasks: int,
    discount: float | Scalar = 0.99,
    trace: float | Scalar = 0.95,
    normalise: bool = True,
    start: Int[Array, "worlds"] | None = None,
) -> Batch:
    """The roll-out by task, with generalised advantages over the baseline.

    A linear baseline may be fitted before, `assess(baseline.fit(batch.observation, batch.time, batch.returns),
    rollout, ...)` as in MAML, or after for the next roll-out, as in rllab.

    - `discount`, `trace`: gamma and lambda, see `generalised_advantages`.
    - `normalise`: advantages to mean zero and deviation one within each task.
    - `start`: see `episode_time`.

    The `returns` of an episode that was truncated count nothing after its end, so that the time of the linear baseline
    has a meaning; those of an episode that the roll-out cuts go on with the baseline's value.
    """
    steps, worlds = rollout.reward.shape
    terminated, truncated = rollout.terminated, rollout.truncated
    task, time = jnp.arange(num_tasks), episode_time(terminated, truncated, start)

    def values(observation, time):
        rows = jax.vmap(baseline)(by_task(observation, num_tasks), by_task(time, num_tasks), task)
        rows = jax.lax.stop_gradient(rows).reshape(num_tasks, steps, worlds // num_tasks)
        return jnp.moveaxis(rows, 1, 0).reshape(steps, worlds)

    value, next_value = values(rollout.observation, time), values(rollout.last_observation, time + 1)
    advantage = generalised_advantages(
        rollout.reward, value, next_value, terminated, truncated, discount=discount, trace=trace
    )
    ended = terminated | truncated
    returns = discounted_returns(rollout.reward, next_value, ended, jnp.zeros_like(ended), discount=discount)
    parts = (rollout.observation, time, rollout.action, rollout.log_prob, advantage, value, advantage + value, returns)
    batch = Batch(task, *(by_task(part, num_tasks) for part in parts))
    return batch._replace(advantage=normalised(batch.advantage)) if normalise else batch


def by_task(rows: Shaped[Array, "steps worlds ..."], num_tasks: int) -> Shaped[Array, "tasks rows ..."]:
    """The rows of each task together: steps x worlds / tasks of them.

    **Raises:** `ValueError` if the worlds cannot be divided evenly among the tasks.
    """
    steps, worlds, *rest = rows.shape
    if num_tasks < 1 or worlds % num_tasks:
        raise ValueError(f"num_tasks is {num_tasks}, which does not divide {worlds} worlds; each task has as many.")
    split = rows.reshape(steps, num_tasks, worlds // num_tasks, *rest)
    return jnp.moveaxis(split, 1, 0).reshape(num_tasks, -1, *rest)


def normalised(advantages: Float[Array, "tasks rows"]) -> Float[Array, "tasks rows"]:
    """Mean zero and standard deviation one within each task; zero where they were all equal."""
    centred = advantages - jnp.mean(advantages, axis=1, keepdims=True)
    scale = jnp.std(advantages, axis=1, keepdims=True)
    return centred / (scale + 1e-8)


class Update(NamedTuple):
    """What an update did, by task."""

    loss: Float[Array, "tasks"]
    kl: Float[Array, "tasks"]
    """KL(policy of the roll-out || new policy), in nats."""


class AbstractPolicyUpdate(eqx.Module):
    """How a policy and its baseline learn from a roll-out: `Proximal`, `TrustRegion`."""

    @abstractmethod
    def init(self, model: ActorCritic, weighting: AbstractWeighting, num_tasks: int, *, key: Key) -> Any:
        """What is remembered from update to update, a PyTree; the key is consumed."""

    @abstractmethod
    def update(self, model: ActorCritic, memory: Any, batch: Batch) -> tuple[ActorCritic, Any, Update]:
        """The model and memory after a roll-out that was drawn with this model's policy."""


def minibatch_steps(
    learner: Learner, state: OuterState, batch: Batch, *, objective: Objective, epochs: int, minibatches: int
) -> tuple[Learner, OuterState, Float[Array, "updates tasks"]]:
    """Passes over the rows in minibatches, as one scan of `outer_step`; the losses before each step.

    Each step takes as many rows of every task, in an order drawn for each task and pass.

    - `objective`: `objective(adapted model, Batch of one task) -> scalar`; the rule gets no context.

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

    (learner, state), losses = scan(
        one, (learner, state), minibatch_orders(order_key, epochs, tasks, rows, minibatches)
    )
    return learner, state, losses


def minibatch_rate(learning_rate: float, epochs: int, minibatches: int, decay: int | None) -> float | optax.Schedule:
    """The learning rate of `minibatch_steps`: constant, or falling linearly to zero over so many roll-outs.

    **Raises:** `ValueError` if a number of passes, minibatches or roll-outs is below 1.
    """
    check_counts(epochs=epochs, minibatches=minibatches, decay=1 if decay is None else decay)
    return learning_rate if decay is None else optax.linear_schedule(learning_rate, 0.0, decay * epochs * minibatches)


def minibatch_orders(
    key: Key, epochs: int, tasks: int, rows: int, minibatches: int
) -> Int[Array, "updates tasks size"]:
    """The rows of every minibatch: in each epoch every row of a task once."""
    orders = jax.vmap(lambda k: jax.random.permutation(k, rows))(jax.random.split(key, epochs * tasks))
    orders = orders.reshape(epochs, tasks, minibatches, rows // minibatches)
    return jnp.moveaxis(orders, 2, 1).reshape(epochs * minibatches, tasks, rows // minibatches)


def _rows(batch: Batch, order: Int[Array, "tasks size"]) -> Batch:
    """Some rows of each task."""
    chosen = jax.vmap(lambda of_task, which: jax.tree.map(lambda leaf: leaf[which], of_task))(batch[1:], order)
    return Batch(batch.task, *chosen)
