"""Recurrent action values: a network that reads an episode, and how wrong its values are."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._types import Key, Scalar, Tree
from mutatis.nn import Linear, Sequential, mlp, relu
from mutatis.rl._memory import GRU, AbstractMemory, read_step


class RecurrentQ(eqx.Module):
    """Values of discrete actions after the rows of an episode so far, as value and advantages (Wang et al. 2016).

    - `features`, `actions`: numbers in a row, actions there are.
    - `width`: of the row's embedding and of the memory, a `GRU`.
    """

    embed: Sequential
    memory: AbstractMemory
    value: Linear
    advantage: Linear

    def __init__(self, features: int, actions: int, *, width: int = 64, key: Key):
        embed_key, memory_key, value_key, advantage_key = jax.random.split(key, 4)
        self.embed = mlp((features, width, width), key=embed_key)
        self.memory = GRU(width, width, key=memory_key)
        self.value = Linear(2 * width, 1, key=value_key)
        self.advantage = Linear(2 * width, actions, key=advantage_key)

    def episode(self, rows: Float[Array, "rows features"], real: Bool[Array, "rows"]) -> Float[Array, "rows actions"]:
        """The values in all rows of one episode, from its beginning."""
        embedded = relu(self.embed(rows))
        _, said = self.memory.read(self.memory.start(), embedded, real)
        return self._values(embedded, said)

    def step(
        self, state: Tree, rows: Float[Array, "worlds features"], real: Bool[Array, "worlds"]
    ) -> tuple[Tree, Float[Array, "worlds actions"]]:
        """The memory and the values in N worlds, one row later."""
        embedded = relu(self.embed(rows))
        state, said = read_step(self.memory, state, embedded, real)
        return state, self._values(embedded, said)

    def _values(self, embedded: Array, said: Array) -> Array:
        x = jnp.concatenate([embedded, said], axis=1)
        advantage = self.advantage(x)
        return self.value(x) + advantage - advantage.mean(axis=1, keepdims=True)


def temporal_difference(
    values: Float[Array, "rows actions"],
    later: Float[Array, "rows actions"],
    action: Int[Array, "rows"],
    reward: Float[Array, "rows"],
    terminated: Bool[Array, "rows"],
    real: Bool[Array, "rows"],
    discount: Scalar,
    trace: Scalar,
) -> Scalar:
    r"""Half the squared errors of double Q-learning in one episode, the mean over all rows; those not real have none.

    $$G_t = r_t + \gamma \left((1 - \lambda_{t+1}) \, Q'_{t+1}(a^*_{t+1}) + \lambda_{t+1} G_{t+1}\right), \qquad
    a^*_t = \arg\max_a Q_t(a)$$

    with the trace where the next action was a*, else 0 (Watkins 1989). A trace of 0 is the target of van Hasselt et al.
    2016, eq. 4. Nothing comes after a row that is terminated, nor after the last.

    - `values`, `later`: Q, and Q' of the target network; no gradient flows through G.
    """
    best = jnp.argmax(values, axis=1)
    action = jnp.maximum(action, 0)
    of = lambda table, choice: jnp.take_along_axis(table, choice[:, None], axis=1)[:, 0]

    def back(after: tuple[Array, Array, Array], row: tuple[Array, ...]) -> tuple[tuple[Array, Array, Array], Array]:
        value, target, greedy = after
        reward, terminated, own_value, own_greedy = row
        share = jnp.where(greedy, trace, 0)
        target = reward + discount * jnp.where(terminated, 0, (1 - share) * value + share * target)
        target = target.astype(own_value.dtype)
        return (own_value, target, own_greedy), target

    nothing = jnp.zeros((), later.dtype)
    rows = (reward, terminated, of(later, best), (best == action) & real)
    _, target = jax.lax.scan(back, (nothing, nothing, jnp.zeros((), bool)), rows, reverse=True)
    error = jax.lax.stop_gradient(target) - of(values, action)
    return 0.5 * jnp.mean(jnp.where(real, jnp.square(error), 0))
