"""What PEARL's critics, belief and actor are trained by."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mutatis._types import Key, Scalar
from mutatis.nn import UntoldTask
from mutatis.nn._layers import beside
from mutatis.rl._replay import Transitions
from mutatis.rl._soft import Twin
from mutatis.rl._tanh_gaussian import TanhGaussian
from mutatis.rules._belief import Believing


class BelievingCriticLoss(eqx.Module):
    """Half the squared error of both critics at a z that is drawn from the belief, and the belief's divergence.

    Its gradient reaches the critics and, through z, the belief. In the target z is a number.
    """

    targets: Twin
    actor: UntoldTask
    temperature: Scalar
    discount: Scalar
    reward_scale: Scalar
    divergence: Scalar

    def __call__(self, critics: Believing, query: tuple[Transitions, Key]) -> Scalar:
        """The loss on one task's batch."""
        batch, key = query
        draw_key, next_key = jax.random.split(key)
        z = critics.draw(draw_key)
        told, task = jax.lax.stop_gradient(z), jnp.zeros((), jnp.int32)
        action, log_prob = drawn(self.actor, batch.next_observation, told, next_key)
        after = self.targets(beside(batch.next_observation, told), action, task).min(axis=0)
        value = after - self.temperature * log_prob
        target = self.reward_scale * batch.reward + self.discount * (1 - batch.terminated) * value
        estimates = critics.model(beside(batch.observation, z), batch.action, task)
        error = 0.5 * jnp.mean(jnp.square(estimates - jax.lax.stop_gradient(target)[None]), axis=1).sum()
        return (error + self.divergence * critics.divergence()).astype(error.dtype)


class BelievingActorLoss(eqx.Module):
    """The mean of temperature times log-density minus the smaller critic, at a given z; trains the actor alone."""

    critics: Twin
    temperature: Scalar

    def __call__(self, actor: UntoldTask, query: tuple[Array, Array, Key]) -> Scalar:
        """The loss on one task's batch."""
        observation, z, key = query
        action, log_prob = drawn(actor, observation, z, key)
        value = self.critics(beside(observation, z), action, jnp.zeros((), jnp.int32)).min(axis=0)
        return jnp.mean(self.temperature * log_prob - value)


def drawn(actor: UntoldTask, observation: Array, z: Array, key: Key) -> tuple[Array, Array]:
    """Actions of the rows of one task, and their log-densities."""
    return TanhGaussian.of(actor(beside(observation, z), jnp.zeros((), jnp.int32))).sample(key)
