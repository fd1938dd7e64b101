"""Random tabular decision processes, and what is best in one that is known or, in tiny cases, unknown."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mutatis._types import Key
from mutatis.rl._family import AbstractFamily, Discrete, Move


class Process(NamedTuple):
    """A decision process for each of some tasks."""

    transition: Float[Array, "tasks states actions states"]
    """Chances of the next state."""
    reward: Float[Array, "tasks states actions"]
    """Means."""


class TabularProcesses(AbstractFamily):
    """Random finite decision processes (Duan et al. 2016, "RL2", section 3.2).

    Each row of transitions is drawn from the flat Dirichlet distribution, each mean reward from N(1, 1); a reward has
    deviation 1. An episode starts in state 0. The observation is the state, one of `states` numbers being 1.

    - `known_reward`: the mean rewards of every task, where they are not drawn.
    - `noise`: a reward's deviation.
    """

    states: int = eqx.field(static=True, default=10)
    num_actions: int = eqx.field(static=True, default=5)
    horizon: int = eqx.field(static=True, default=10)
    known_reward: Float[Array, "states actions"] | None = None
    noise: float = 1.0

    def __check_init__(self) -> None:
        shape = (self.states, self.num_actions)
        if self.known_reward is not None and self.known_reward.shape != shape:
            raise ValueError(
                f"known_reward has shape {self.known_reward.shape}; states and num_actions ask for {shape}."
            )

    @property
    def observation_size(self) -> int:
        """One number a state."""
        return self.states

    @property
    def actions(self) -> Discrete:
        """As many in every state."""
        return Discrete(self.num_actions)

    def sample(self, key: Key, count: int) -> Process:
        """Independent processes."""
        transition_key, reward_key = jax.random.split(key)
        shape = (count, self.states, self.num_actions)
        transition = jax.random.dirichlet(transition_key, jnp.ones(self.states), shape)
        if self.known_reward is None:
            return Process(transition, 1 + jax.random.normal(reward_key, shape))
        return Process(transition, jnp.broadcast_to(self.known_reward[None], shape))

    def begin(self, task: Process, key: Key) -> tuple[Int[Array, ""], Float[Array, "states"]]:
        """In state 0."""
        del key
        state = jnp.zeros((), jnp.int32)
        return state, jax.nn.one_hot(state, self.states, dtype=task.reward.dtype)

    def move(self, task: Process, place: Int[Array, ""], action: Int[Array, ""], key: Key) -> Move:
        """Draws a reward and the next state."""
        state_key, reward_key = jax.random.split(key)
        after = jax.random.categorical(state_key, jnp.log(task.transition[place, action])).astype(place.dtype)
        mean = task.reward[place, action]
        reward = mean + self.noise * jax.random.normal(reward_key, (), mean.dtype)
        return Move(after, jax.nn.one_hot(after, self.states, dtype=mean.dtype), reward)

    def best_return(self, tasks: Process) -> Float[Array, "tasks"]:
        """The expected return of an episode for one who knows the task."""
        return jax.vmap(functools.partial(plan, horizon=self.horizon))(tasks)[0][:, 0]

    def random_return(self, tasks: Process) -> Float[Array, "tasks"]:
        """The expected return of an episode if all actions are equally likely, exactly."""

        def back(_: int, value: Array) -> Array:
            return (tasks.reward + jnp.einsum("nsaz,nz->nsa", tasks.transition, value)).mean(axis=2)

        return jax.lax.fori_loop(0, self.horizon, back, jnp.zeros_like(tasks.reward[:, :, 0]))[:, 0]


def plan(process: Process, *, horizon: int) -> tuple[Float[Array, "states"], Int[Array, "horizon states"]]:
    r"""Value iteration in one known process, without discount: the best returns, and the best action at each step.

    $$V_t(s) = \max_a r(s, a) + \sum_{s'} P(s' | s, a) V_{t + 1}(s'), \qquad V_H = 0$$

    `process` has no axis of tasks here.
    """

    def back(value: Array, _: None) -> tuple[Array, Array]:
        every = process.reward + jnp.einsum("saz,z->sa", process.transition, value)
        return every.max(axis=1), every.argmax(axis=1)

    return jax.lax.scan(back, jnp.zeros_like(process.reward[:, 0]), None, length=horizon, reverse=True)


def process_value(reward: Float[np.ndarray, "states actions"], horizon: int, episodes: int) -> float:
    """The expected return of all episodes together of the Bayes-optimal policy, by expansion of all that may happen.

    Mean rewards are known, transitions are not: their prior is the flat Dirichlet distribution, their posterior the
    counts (Duff 2002, "Optimal learning", section 1.4). Only for tiny cases: two states, two actions and eight steps
    take a second.

    >>> round(process_value(np.array([[0, 0], [1, 1]]), horizon=2, episodes=1), 3)
    0.5
    """
    states, actions = reward.shape
    total = horizon * episodes

    @functools.cache
    def value(counts: tuple[int, ...], state: int, time: int) -> float:
        if time == total:
            return 0.0
        returns = []
        for action in range(actions):
            row = (state * actions + action) * states
            seen = counts[row : row + states]
            best = float(reward[state, action])
            for after in range(states):
                chance = (seen[after] + 1) / (sum(seen) + states)
                more = list(counts)
                more[row + after] += 1
                start = 0 if (time + 1) % horizon == 0 else after
                best += chance * value(tuple(more), start, time + 1)
            returns.append(best)
        return max(returns)

    return value((0,) * (states * actions * states), 0, 0)
