"""What actions were worth: returns and advantages of a roll-out.

Arrays are `(steps, worlds)`; an episode may begin and end anywhere in them. `terminated` says that the world ended and
nothing follows; `truncated` that only the clock did, so that what would have followed is estimated by the value of the
last observation (Pardo et al. 2018).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._citation import cites
from mutatis._references import SCHULMAN_2016
from mutatis._types import Scalar

Steps = Float[Array, "steps worlds"]
Flags = Bool[Array, "steps worlds"]


@cites(SCHULMAN_2016)
def generalised_advantages(
    reward: Steps,
    value: Steps,
    next_value: Steps,
    terminated: Flags,
    truncated: Flags,
    *,
    discount: float | Scalar,
    trace: float | Scalar,
) -> Steps:
    r"""Generalised advantage estimation (Schulman et al. 2016, eq. 16), as one reverse scan.

    $$A_t = \delta_t + \gamma \lambda A_{t+1}, \qquad
      \delta_t = r_t + \gamma V(s'_t) - V(s_t)$$

    where an episode goes on; A_{t+1} = 0 at the end of an episode and of the arrays, and V(s'_t) = 0 where the world
    terminated.

    - `value`: V(s_t), of the observation that was acted on.
    - `next_value`: V(s'_t), of the action's own outcome (`Timestep.last_observation`), also where the next row begins
      another episode.
    - `discount`, `trace`: gamma and lambda.
    """
    delta = reward + discount * jnp.where(terminated, 0, next_value) - value

    def back(later, step):
        delta, ended = step
        advantage = delta + discount * trace * jnp.where(ended, 0, later)
        return advantage, advantage

    _, advantages = jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, terminated | truncated), reverse=True)
    return advantages


def discounted_returns(
    reward: Steps, next_value: Steps, terminated: Flags, truncated: Flags, *, discount: float | Scalar
) -> Steps:
    r"""The sum of discounted rewards to the end of the episode, and of the value of what would have followed.

    $$G_t = r_t + \gamma G_{t+1}$$

    where an episode goes on; G_{t+1} is zero where the world terminated, and `next_value` where it was truncated or the
    arrays end. With zeros as `next_value` it is the return as collected.
    """
    last_row = jnp.zeros_like(truncated).at[-1].set(True)
    what_followed = jnp.where(truncated | last_row, next_value, 0)
    zero = jnp.zeros_like(reward)
    return generalised_advantages(reward, zero, what_followed, terminated, truncated, discount=discount, trace=1.0)


def episode_time(
    terminated: Flags, truncated: Flags, start: Int[Array, "worlds"] | None = None
) -> Int[Array, "steps worlds"]:
    """How many actions of its episode came before each row.

    - `start`: the same before the first row; zero if every world was reset just before.
    """

    def count(time, ended):
        return jnp.where(ended, 0, time + 1), time

    first = jnp.zeros(terminated.shape[1], jnp.int32) if start is None else start
    return jax.lax.scan(count, first, terminated | truncated)[1]
