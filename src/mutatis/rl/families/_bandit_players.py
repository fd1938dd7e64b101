"""What learned policies on Bernoulli bandits are compared with: Thompson sampling and three kinds of index."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mutatis._timestep import Timestep
from mutatis._types import Key


class Pulls(NamedTuple):
    """What the arms have paid so far."""

    successes: Int[Array, "worlds arms"]
    failures: Int[Array, "worlds arms"]


class AbstractIndexPlayer(eqx.Module):
    """Pulls the arm with the highest index, a number made of each arm's own successes and failures and of the time."""

    arms: eqx.AbstractVar[int]

    @abstractmethod
    def index(self, memory: Pulls, key: Key) -> Float[Array, "worlds arms"]:
        """Of every arm. `key` is for indices that are drawn."""

    def start(self, worlds: int) -> Pulls:
        """No pull."""
        none = jnp.zeros((worlds, self.arms), jnp.int32)
        return Pulls(none, none)

    def begin(self, memory: Pulls, key: Key) -> Pulls:
        """As it is."""
        del key
        return memory

    def act(
        self, memory: Pulls, observation: Float[Array, "worlds features"], key: Key
    ) -> tuple[Pulls, Int[Array, "worlds"]]:
        """The arm with the highest index, the first of equal ones."""
        del observation
        return memory, jnp.argmax(self.index(memory, key), axis=1)

    def learn(self, memory: Pulls, observation: Array, action: Int[Array, "worlds"], shown: Timestep) -> Pulls:
        """Counts the reward."""
        del observation
        pulled = jax.nn.one_hot(action, self.arms, dtype=jnp.int32)
        paid = (shown.reward > 0.5)[:, None]
        return Pulls(memory.successes + pulled * paid, memory.failures + pulled * ~paid)


class PosteriorMean(AbstractIndexPlayer):
    """Greedy: the arm whose mean is highest under the posterior Beta(1 + successes, 1 + failures)."""

    arms: int = eqx.field(static=True)

    def index(self, memory: Pulls, key: Key) -> Float[Array, "worlds arms"]:
        """(s + 1) / (s + f + 2)."""
        del key
        return (memory.successes + 1) / (memory.successes + memory.failures + 2)


class Thompson(AbstractIndexPlayer):
    """The arm that is best in a draw from the posterior (Thompson 1933)."""

    arms: int = eqx.field(static=True)

    def index(self, memory: Pulls, key: Key) -> Float[Array, "worlds arms"]:
        """A draw from Beta(1 + s, 1 + f)."""
        return jax.random.beta(key, 1.0 + memory.successes, 1.0 + memory.failures)


class UpperConfidence(AbstractIndexPlayer):
    r"""UCB1 (Auer, Cesa-Bianchi & Fischer 2002): mean $+ \sqrt{2 \ln t / n}$ after n of t pulls, each once first."""

    arms: int = eqx.field(static=True)

    def index(self, memory: Pulls, key: Key) -> Float[Array, "worlds arms"]:
        """Infinite where an arm was never pulled."""
        del key
        pulls = memory.successes + memory.failures
        tried = jnp.maximum(pulls, 1)
        time = jnp.maximum(pulls.sum(axis=1, keepdims=True), 1)
        bound = memory.successes / tried + jnp.sqrt(2 * jnp.log(time) / tried)
        return jnp.where(pulls == 0, jnp.inf, bound)


class FiniteGittins(AbstractIndexPlayer):
    """The arm with the highest Gittins index for the pulls that are left; near the Bayes optimum, though not it.

    (Kaufmann 2018, "On Bayesian index policies for sequential resource allocation", section 2.3.)
    """

    arms: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    table: Float[Array, "left successes failures"]

    def __init__(self, arms: int, horizon: int):
        self.arms, self.horizon, self.table = arms, horizon, jnp.asarray(gittins_indices(horizon))

    def index(self, memory: Pulls, key: Key) -> Float[Array, "worlds arms"]:
        """From the table."""
        del key
        left = self.horizon - (memory.successes + memory.failures).sum(axis=1, keepdims=True)
        return self.table[left - 1, memory.successes, memory.failures]


def gittins_indices(horizon: int, resolution: int = 200) -> Float[np.ndarray, "left successes failures"]:
    r"""What a known arm must pay to be as good as an arm with s successes and f failures, with T pulls left.

    With a known arm that pays $\lambda$, playing the unknown one first gains over never playing it

    $$A_T(s, f) = p - \lambda + p \max(A_{T-1}(s + 1, f), 0) + (1 - p) \max(A_{T-1}(s, f + 1), 0),
      \qquad p = \frac{s + 1}{s + f + 2};$$

    the index is the $\lambda$ at which A is zero. Found on a grid of `resolution` values of $\lambda$ and by a straight
    line between two of them. Row T - 1 of the answer is for T pulls left; entries with s + f + T > horizon are of no
    meaning.
    """
    payment = np.linspace(0, 1, resolution)[:, None, None]
    won, lost = np.meshgrid(np.arange(horizon + 1), np.arange(horizon + 1), indexing="ij")
    chance = ((won + 1) / (won + lost + 2))[None, :horizon, :horizon]
    after = np.zeros((resolution, horizon + 1, horizon + 1))
    indices = []
    for _ in range(horizon):
        gain = chance - payment + chance * after[:, 1:, :-1] + (1 - chance) * after[:, :-1, 1:]
        above = (gain > 0).sum(axis=0)[None] - 1
        low, high = (np.take_along_axis(gain, above + i, axis=0)[0] for i in (0, 1))
        indices.append((above[0] + low / (low - high)) / (resolution - 1))
        after[:, :-1, :-1] = np.maximum(gain, 0)
    return np.stack(indices)
