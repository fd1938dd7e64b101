"""A point that shall go to the goal it is shown, twice: in the second task the controls are reversed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis import nn
from mutatis.rl._batch import Rollout

TASKS, HORIZON = 2, 20


class PerTask(eqx.Module):
    """A tanh network of its own for each task."""

    nets: list

    def __call__(self, x, task):
        outputs = jnp.stack([net(x) for net in self.nets])
        return outputs[task]


def tanh_net(*sizes, key, dtype=jnp.float32):
    net = nn.mlp(sizes, key=key, dtype=dtype)
    return nn.Sequential(
        [nn.Activation(jnp.tanh) if isinstance(layer, nn.Activation) else layer for layer in net.layers]
    )


def start(key, worlds):
    """Positions and goals, (worlds, 2) each."""
    return jax.random.uniform(key, (2, worlds, 2), jnp.float32, -1, 1)


def play(policy, key, worlds):
    """One whole episode in every world, half of them of each task; the roll-out and the return, (worlds,)."""
    start_key, act_key = jax.random.split(key)
    position, goal = start(start_key, worlds)
    sign = jnp.repeat(jnp.array([1.0, -1.0], jnp.float32), worlds // TASKS)[:, None]

    def move(position, step):
        number, step_key = step
        seen = jnp.concatenate([position, goal], axis=1)
        every = jax.vmap(policy)(seen.reshape(TASKS, worlds // TASKS, 4), jnp.arange(TASKS))
        action = every.sample(key=step_key)
        log_prob = every.log_prob(action).reshape(worlds)
        action = action.reshape(worlds, 2)
        position = position + 0.1 * sign * jnp.clip(action, -1, 1)
        reward = -jnp.linalg.norm(position - goal, axis=1)
        after = jnp.concatenate([position, goal], axis=1)
        end = jnp.full(worlds, number == HORIZON - 1)
        return position, Rollout(seen, after, action, log_prob, reward, jnp.zeros_like(end), end)

    _, rollout = jax.lax.scan(move, position, (jnp.arange(HORIZON), jax.random.split(act_key, HORIZON)))
    return rollout, rollout.reward.sum(axis=0)


def best_return(key, worlds):
    """Of the same episodes: each coordinate straight to the goal."""
    position, goal = np.asarray(start(jax.random.split(key)[0], worlds), float)
    left = [np.linalg.norm(np.maximum(np.abs(position - goal) - 0.1 * t, 0), axis=1) for t in range(1, HORIZON + 1)]
    return -np.sum(left, axis=0)
