"""Bernoulli bandits: the smallest family in which exploring pays, with its exact Bayes-optimal value."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._types import Key
from mutatis.rl._family import AbstractFamily, Discrete, Move


class BernoulliBandits(AbstractFamily):
    """k arms that pay 1 with probabilities drawn from U(0, 1), else 0; an episode is n pulls (Duan et al. 2016, 3.1).

    A task is the arms' probabilities, (arms,). The observation is the constant 1: all there is to know are the
    actions and rewards so far.
    """

    arms: int = eqx.field(static=True, default=5)
    horizon: int = eqx.field(static=True, default=10)

    def __check_init__(self) -> None:
        for name, value in (("arms", self.arms), ("horizon", self.horizon)):
            if value < 1:
                raise ValueError(f"{name} is {value}; a bandit needs at least 1.")

    @property
    def observation_size(self) -> int:
        """1."""
        return 1

    @property
    def actions(self) -> Discrete:
        """Which arm to pull."""
        return Discrete(self.arms)

    def sample(self, key: Key, count: int) -> Float[Array, "tasks arms"]:
        """Probabilities from U(0, 1)."""
        return jax.random.uniform(key, (count, self.arms))

    def begin(self, task: Float[Array, "arms"], key: Key) -> tuple[tuple[()], Float[Array, "1"]]:
        """Always the same."""
        del key
        return (), jnp.ones(1, task.dtype)

    def move(self, task: Float[Array, "arms"], place: tuple[()], action: Int[Array, ""], key: Key) -> Move:
        """Pulls an arm."""
        return Move(place, jnp.ones(1, task.dtype), jax.random.bernoulli(key, task[action]).astype(task.dtype))

    def best_return(self, tasks: Float[Array, "tasks arms"]) -> Float[Array, "tasks"]:
        """The expected return of one who knows the task; n k / (k + 1) on average over tasks."""
        return self.horizon * tasks.max(axis=1)


def bandit_value(arms: int, pulls: int) -> float:
    r"""The expected number of successes of the Bayes-optimal policy on a Bernoulli bandit with priors U(0, 1), exactly.

    $$V_t(m) = \max_{(s, f) \in m} p\,(1 + V_{t-1}(m + success)) + (1 - p)\,V_{t-1}(m + failure),
      \qquad p = \frac{s + 1}{s + f + 2}$$

    over the multiset m of (successes, failures) of the arms: their order tells nothing (Gittins, Glazebrook & Weber
    2011, chapter 1). Time and memory grow fast with `pulls`: 10 take milliseconds, 20 seconds.

    >>> round(bandit_value(2, 10), 3), round(bandit_value(5, 10), 3)
    (6.022, 6.66)

    **Raises:** `ValueError` if `arms` or `pulls` is below 1.
    """
    if min(arms, pulls) < 1:
        raise ValueError(f"arms is {arms} and pulls is {pulls}; a bandit needs at least 1 of each.")

    @functools.cache
    def value(tried: tuple[tuple[int, int], ...], left: int) -> float:
        if left == 0:
            return 0.0
        fresh = ((0, 0),) if len(tried) < arms else ()
        best = 0.0
        for arm in (*set(tried), *fresh):
            others = list(tried)
            if arm != (0, 0):
                others.remove(arm)
            won, lost = arm
            chance = (won + 1) / (won + lost + 2)
            after = lambda new, others=others: value(tuple(sorted([*others, new])), left - 1)
            best = max(best, chance * (1 + after((won + 1, lost))) + (1 - chance) * after((won, lost + 1)))
        return best

    return value((), pulls)
