"""Episodes of one task as rows to learn from, each with its advantage."""

from typing import Any

import jax
import jax.numpy as jnp

from mutatis.rl._baseline import LinearBaseline
from mutatis.rl._batch import Batch, Rollout, assess
from mutatis.rl._collect import Policy
from mutatis.rl._play import Trials


def judged(
    policy: Policy, trials: Trials, *, discount: Any, trace: Any, normalise_advantages: bool = True
) -> tuple[Batch, Any]:
    """The rows of one task's episodes with their advantages, and the distributions that played them.

    Trials lead with worlds and episodes, which count alike, or with episodes alone. Rows after the end of an episode
    have advantage 0.
    """
    lead = trials.reward.ndim - 1
    steps = lambda x: jnp.moveaxis(x.reshape(-1, *x.shape[lead:]), 1, 0)
    seen = jax.tree.map(steps, trials._replace(info={}))
    task, (length, worlds) = jnp.zeros((), jnp.int32), seen.reward.shape
    chances = policy(seen.observation.reshape(length * worlds, -1), task)
    action = seen.action.reshape(length * worlds, *seen.action.shape[2:])
    log_prob = chances.log_prob(action).reshape(length, worlds)
    truncated = jnp.zeros_like(seen.terminated).at[-1].set(True) & ~seen.terminated
    rollout = Rollout(
        seen.observation, seen.last_observation, seen.action, log_prob, seen.reward, seen.terminated, truncated
    )
    baseline = LinearBaseline(1, seen.observation.shape[-1], dtype=seen.observation.dtype)
    assessed = lambda baseline, normalise: assess(
        baseline, rollout, num_tasks=1, discount=discount, trace=trace, normalise=normalise
    )
    unfitted = assessed(baseline, False)
    fitted = assessed(baseline.fit(unfitted.observation, unfitted.time, unfitted.returns), normalise_advantages)
    batch: Batch = jax.tree.map(lambda x: x[0], fitted)
    real = seen.real.reshape(-1)
    return jax.lax.stop_gradient((batch._replace(advantage=batch.advantage * real), chances))
