"""Acting in many worlds at once, and the running moments of what was seen there."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._types import Key
from mutatis.rl._batch import Rollout
from mutatis.rl._environment import Environment
from mutatis.rl._gaussian import Gaussian

Policy = Callable[[Array, Any], Gaussian]
"""`policy(observation (rows, features), task) -> Gaussian (rows, actions)`."""


class Collected(NamedTuple):
    """What a roll-out shows of each task; returns are sums of rewards, not discounted."""

    reward: Float[Array, "tasks"]
    """Mean of all steps."""
    success: Float[Array, "tasks"]
    """Share of all steps with success; NaN where the environment does not know."""
    ended: Int[Array, "tasks"]
    """Episodes that ended."""
    ended_return: Float[Array, "tasks"]
    """The sum of their returns, counted from their beginning."""
    so_far: Float[Array, "worlds"]
    """The return of the episode under way in each world: `so_far` of the next roll-out."""


def collect(
    environment: Environment,
    env_state: Any,
    observation: Float[Array, "worlds features"],
    policy: Policy,
    *,
    steps: int,
    key: Key,
    so_far: Float[Array, "worlds"] | None = None,
) -> tuple[Any, Float[Array, "worlds features"], Rollout, Collected]:
    """Acts in every world for a number of steps, as one `jax.lax.scan`; no world is reset at its start.

    Pure and not compiled: call it inside your own `equinox.filter_jit`.

    - `env_state`, `observation`: of `environment.reset`, or of the last call.
    - `policy`: rows are the worlds of one task. Its actions are passed on as they were drawn.
    - `steps`: in each world.
    - `key`: consumed.
    - `so_far`: what the episodes under way have earned before; zero if every world was reset just before.

    **Raises:** `ValueError` if `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; a roll-out needs at least one step in each world, pass 1 or more.")
    worlds, tasks = environment.num_envs, environment.num_tasks
    earned = jnp.zeros(worlds, observation.dtype) if so_far is None else so_far
    split = lambda x: x.reshape(tasks, worlds // tasks, *x.shape[1:])

    def act(carry: tuple, key: Key) -> tuple[tuple, tuple]:
        env_state, observation, earned = carry
        every = jax.vmap(policy)(split(observation), jnp.arange(tasks))
        action = every.sample(key=key)
        log_prob = every.log_prob(action).reshape(worlds)
        action = action.reshape(worlds, -1)
        env_state, shown = environment.step(env_state, action)
        row = (shown.last_observation, action, log_prob, shown.reward, shown.terminated, shown.truncated)
        earned, ended = (earned + shown.reward).astype(earned.dtype), shown.terminated | shown.truncated
        success = shown.info.get("success", jnp.full(worlds, jnp.nan)).astype(earned.dtype)
        carry = (env_state, shown.observation.astype(observation.dtype), jnp.where(ended, 0, earned))
        return carry, (Rollout(observation, *row), success, jnp.where(ended, earned, 0))

    carry, (rollout, success, returns) = jax.lax.scan(
        act, (env_state, observation, earned), jax.random.split(key, steps)
    )
    env_state, observation, earned = carry
    rows = lambda x: jnp.moveaxis(x.reshape(steps, tasks, -1), 1, 0).reshape(tasks, -1)
    ended = rows(rollout.terminated | rollout.truncated).sum(axis=1, dtype=jnp.int32)
    seen = Collected(
        rows(rollout.reward).mean(axis=1), rows(success).mean(axis=1), ended, rows(returns).sum(axis=1), earned
    )
    return env_state, observation, rollout, seen


class Moments(eqx.Module):
    r"""Mean and variance of all rows seen so far, merged batch by batch (Chan, Golub, LeVeque 1979).

    $$\mu' = \mu + \delta \frac{m}{n + m}, \qquad
      \sigma'^2 = \frac{n \sigma^2 + m s^2}{n + m} + \delta^2 \frac{n m}{(n + m)^2}$$

    with m new rows of mean $\mu + \delta$ and variance $s^2$. Before the first rows: mean 0, variance 1, of no weight.
    """

    mean: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]
    count: Float[Array, ""]

    @classmethod
    def of_nothing(cls, shape: tuple[int, ...], dtype: Any = jnp.float32) -> "Moments":
        """Those before the first rows."""
        return cls(jnp.zeros(shape, dtype), jnp.ones(shape, dtype), jnp.zeros((), dtype))

    def add(self, rows: Float[Array, "rows *shape"]) -> "Moments":
        """Those with more rows."""
        rows = rows.astype(self.mean.dtype)
        total = self.count + rows.shape[0]
        share = rows.shape[0] / total
        delta = rows.mean(axis=0) - self.mean
        variance = (1 - share) * self.variance + share * rows.var(axis=0) + delta**2 * share * (1 - share)
        return Moments(self.mean + share * delta, variance, total)

    def standardised(self, rows: Float[Array, "*rows"]) -> Float[Array, "*rows"]:
        """Rows, on any leading axes, with mean zero and deviation one, clipped to [-10, 10] as in Stable-Baselines3."""
        lead = (None,) * (rows.ndim - self.mean.ndim)
        scale = jax.lax.rsqrt(self.variance + 1e-8)
        return jnp.clip((rows - self.mean[lead]) * scale[lead], -10, 10).astype(rows.dtype)


class Standardised(eqx.Module):
    """A policy that is shown standardised observations."""

    policy: Policy
    moments: Moments

    def __call__(self, observation: Float[Array, "rows features"], task: Int[Array, ""]) -> Gaussian:
        """The distribution of the action for every row as the world shows it, all of one task."""
        return self.policy(self.moments.standardised(observation), task)


def discounted_so_far(
    reward: Float[Array, "steps worlds"],
    ended: Bool[Array, "steps worlds"],
    start: Float[Array, "worlds"],
    discount: Float[Array, ""],
) -> tuple[Float[Array, "worlds"], Float[Array, "steps worlds"]]:
    r"""$C_t = \gamma C_{t-1} + r_t$ from the beginning of each episode: what is carried on, and every C_t.

    Its deviation is the scale by which Gymnasium's `NormalizeReward` divides.
    """

    def add(before: Array, step: tuple) -> tuple[Array, Array]:
        reward, ended = step
        now = (discount * before + reward).astype(before.dtype)
        return jnp.where(ended, 0, now), now

    return jax.lax.scan(add, start, (reward, ended))
