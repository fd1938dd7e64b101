"""What VariBAD believes of a task: an encoder of the trial, decoders of the task, and the bound that trains them."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mutatis._tree import repeated
from mutatis._types import Key, Scalar, Tree
from mutatis.nn import Linear, Sequential, mlp
from mutatis.nn._layers import beside
from mutatis.rl._family import Box, Discrete, Family
from mutatis.rl._gaussian import Gaussian
from mutatis.rl._memory import AbstractMemory, read_step
from mutatis.rl._play import Trials
from mutatis.rl._recurrent import Seen, read_rows
from mutatis.rl._rl2 import trial_rows
from mutatis.rl._settings import check_counts


class Lived(NamedTuple):
    """The rows of trials, one after the other over the episodes: what was seen, and what each action brought."""

    seen: Seen
    action: Shaped[Array, "..."]
    reward: Float[Array, "*trials rows"]
    outcome: Float[Array, "*trials rows features"]
    """The observation that the action led to."""


def lived(trials: Trials, actions: Discrete | Box) -> Lived:
    """The rows of N trials."""
    seen, action = jax.vmap(lambda trial: trial_rows(trial, actions))(trials)
    outcome = trials.last_observation.reshape(seen.observation.shape)
    return Lived(seen, action, trials.reward.reshape(seen.reward.shape), outcome)


class BeliefEncoder(eqx.Module):
    r"""A memory whose head says what is believed of the task: a Gaussian over m in every row.

    $$q(m | \tau_{:t}) = N(\mu(h_t), \sigma^2(h_t)), \qquad h_t = f(h_{t-1}, o_t, a_{t-1}, r_{t-1}, d_{t-1})$$

    - `memory`: f, which reads rows of `inputs(family)` numbers.
    - `latent`: length of m.
    - `reward_scale`: by which rewards are multiplied before they are read.
    """

    memory: AbstractMemory
    head: Linear
    actions: Discrete | Box = eqx.field(static=True)
    reward_scale: float = eqx.field(static=True)

    def __init__(self, family: Family, memory: AbstractMemory, latent: int, *, reward_scale: float = 1.0, key: Key):
        self.memory, self.actions, self.reward_scale = memory, family.actions, reward_scale
        self.head = Linear(memory.width, 2 * latent, key=key)

    def trial(self, seen: Seen) -> Gaussian:
        """The beliefs in all rows of one trial, (rows, latent); a row that is not real leaves the belief as it was."""
        _, said = self.memory.read(self.memory.start(), read_rows(seen, self.actions, self.reward_scale), seen.real)
        latest = jax.lax.cummax(jnp.where(seen.real, jnp.arange(seen.real.shape[0]), 0))
        return self._belief(said[latest])

    def step(self, state: Tree, seen: Seen) -> tuple[Tree, Gaussian]:
        """The memory, and the beliefs, in N worlds one row later."""
        state, said = read_step(self.memory, state, read_rows(seen, self.actions, self.reward_scale), seen.real)
        return state, self._belief(said)

    def _belief(self, said: Float[Array, "rows width"]) -> Gaussian:
        mean, log_variance = jnp.split(self.head(said), 2, axis=-1)
        return Gaussian(mean, 0.5 * log_variance)


class TaskDecoder(eqx.Module):
    """What a task with a given m pays, and, if asked to, where it leads.

    - `latent`: length of m.
    - `hidden`: units of the hidden layers.
    - `by_arrival`: whether rewards are told by the observation that an action led to alone, not also by the one it was
      taken at and the action.
    - `outcomes`: whether the observation that an action leads to is decoded too.
    """

    reward: Sequential
    outcome: Sequential | None
    actions: Discrete | Box = eqx.field(static=True)
    by_arrival: bool = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        latent: int,
        *,
        hidden: Sequence[int] = (64, 64),
        by_arrival: bool = False,
        outcomes: bool = False,
        key: Key,
    ):
        reward_key, outcome_key = jax.random.split(key)
        size = family.observation_size
        taken = size + family.actions.features
        self.actions, self.by_arrival = family.actions, by_arrival
        self.reward = mlp((latent + size + (0 if by_arrival else taken), *hidden, 1), key=reward_key)
        self.outcome = mlp((latent + taken, *hidden, size), key=outcome_key) if outcomes else None

    def rewards(
        self,
        m: Float[Array, "latent"],
        observation: Float[Array, "rows features"],
        action: Shaped[Array, "rows ..."],
        outcome: Float[Array, "rows features"],
    ) -> Float[Array, "rows"]:
        """The mean of the reward of every row."""
        rows = outcome if self.by_arrival else jnp.concatenate([self._taken(observation, action), outcome], axis=1)
        return self.reward(beside(rows, m))[:, 0]

    def surprise(self, m: Float[Array, "latent"], lived: Lived) -> Float[Array, "rows"]:
        """-log p of what every row of one trial brought, with deviations of 1 and without their constant; in nats."""
        observation = lived.seen.observation
        error = jnp.square(self.rewards(m, observation, lived.action, lived.outcome) - lived.reward)
        if self.outcome is not None:
            told = self.outcome(beside(self._taken(observation, lived.action), m))
            error = error + jnp.square(told - lived.outcome).sum(axis=1)
        return 0.5 * error

    def _taken(self, observation: Array, action: Array) -> Float[Array, "rows numbers"]:
        return jnp.concatenate([observation, self.actions.encode(action).astype(observation.dtype)], axis=1)


class TaskModel(eqx.Module):
    """What is believed of a task, and what that means."""

    encoder: BeliefEncoder
    decoder: TaskDecoder

    def expected_rewards(
        self,
        belief: Gaussian,
        outcome: Float[Array, "places features"],
        observation: Float[Array, "places features"] | None = None,
        action: Shaped[Array, "places ..."] | None = None,
        *,
        draws: int = 256,
        key: Key,
    ) -> Float[Array, "places"]:
        """The rewards that one belief, (latent,), makes expected for arriving at some observations.

        Decoders learn what all rows of a trial bring, past ones included: what was met in the trial counts for more
        here than in a posterior mean of what is to come.

        - `observation`, `action`: from where and by what; without them by staying, with no action.
        - `draws`: of m, over which the mean is taken.
        - `key`: consumed.

        **Raises:** `ValueError` if `draws` is below 1.
        """
        check_counts(draws=draws)
        observation = outcome if observation is None else observation
        action = self.decoder.actions.none(outcome.shape[0]) if action is None else action
        drawn = Gaussian(*(repeated(x, draws) for x in (belief.mean, belief.log_std))).sample(key=key)
        return jax.vmap(lambda m: self.decoder.rewards(m, observation, action, outcome))(drawn).mean(axis=0)


class TrialBound(eqx.Module):
    r"""The negative evidence lower bound of one trial (Zintgraf et al. 2020, eq. 8 and 9), the mean over its rows t of

    $$E_{m \sim q(\cdot | \tau_{:t})} \Big[ -\sum_i \log p(r_i | o_i, a_i, o'_i, m) \Big]
      + c\, KL(q(m | \tau_{:t}) \,\|\, q(m | \tau_{:t-1}))$$

    where i goes over the whole trial, past and future, and before the first row stands N(0, I).

    - `divergence`: c.
    - `decoded`: rows t, drawn anew each time, whose beliefs are decoded; all if there are no more. The mean stays the
      same.
    """

    divergence: Scalar
    decoded: int = eqx.field(static=True)

    def __call__(self, model: TaskModel, query: tuple[Lived, Key]) -> Scalar:
        """The loss."""
        surprise, divergence = self.terms(model, query)
        return (surprise + self.divergence * divergence).astype(surprise.dtype)

    def terms(self, model: TaskModel, query: tuple[Lived, Key]) -> tuple[Scalar, Scalar]:
        """Surprise and divergence, both in nats; rows that are not real count neither as t nor as i."""
        lived, key = query
        rows_key, draw_key = jax.random.split(key)
        real, belief = lived.seen.real, model.encoder.trial(lived.seen)
        share = real / real.sum()
        rows = real.shape[0]
        chosen = jax.random.permutation(rows_key, rows)[: self.decoded]
        drawn = belief.sample(key=draw_key)[chosen]
        surprise = jax.vmap(lambda m: jnp.sum(real * model.decoder.surprise(m, lived)))(drawn)
        before = Gaussian(*(jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]) for x in (belief.mean, belief.log_std)))
        scale = rows / chosen.shape[0]
        return scale * jnp.sum(share[chosen] * surprise), jnp.sum(share * belief.kl(before))
