"""A roll-out, and what it was worth by task: the data of policy gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from mutatis._types import Scalar
from mutatis.rl._baseline import AbstractBaseline
from mutatis.rl._returns import discounted_returns, episode_time, generalised_advantages


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
