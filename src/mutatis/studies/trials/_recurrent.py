"""RL2 on trials: a recurrent policy, as studies train it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mutatis._types import Key
from mutatis.rl import (
    GRU,
    RL2,
    AbstractMemory,
    CausalAttention,
    Family,
    Player,
    ProximalLoss,
    RecurrentPlayer,
    RecurrentPolicy,
    RL2State,
)
from mutatis.rl._recurrent import inputs
from mutatis.studies.trials._study import TrialMethod


@dataclass(frozen=True)
class RecurrentAgent:
    """RL2 as a study trains it; a step is an update."""

    learner: RL2
    memory: Callable[[Key], AbstractMemory]
    noise: bool

    @property
    def environment_steps_per_step(self) -> int:
        """All trials of an update."""
        return self.learner.trials * self.learner.episodes * self.learner.family.horizon

    def init(self, key: Key) -> RL2State:
        """An untrained policy."""
        memory_key, policy_key, key = jax.random.split(key, 3)
        policy = RecurrentPolicy(self.learner.family, self.memory(memory_key), key=policy_key)
        return self.learner.init(policy, key=key)

    def advance(self, state: RL2State, steps: int) -> tuple[RL2State, np.ndarray]:
        """Updates."""
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.loss)

    def player(self, state: RL2State) -> Player:
        """The policy; whatever it does to explore, it has learned."""
        return RecurrentPlayer(state.policy, self.noise)

    def steps_done(self, state: RL2State) -> int:
        """Updates."""
        return int(state.updates)


@dataclass(frozen=True, kw_only=True)
class RecurrentSettings:
    """The settings of RL2."""

    trials: int = 1_024
    """Trials of an update, each with a task of its own."""
    epochs: int = 8
    """Passes over them."""
    minibatches: int = 8
    """Minibatches of whole trials in each pass."""
    learning_rate: float = 1e-3
    discount: float = 1.0
    trace: float = 0.3
    """Lambda of the advantages, which go on from episode to episode."""
    entropy: float = 0.01
    """Weight of the entropy of the policy."""
    reward_scale: float = 1.0
    """By which rewards are multiplied before anything is learned from them."""
    width: int = 64
    """Numbers that the memory says of a row."""
    depth: int = 2
    """Blocks of the memory of attention."""
    heads: int = 4
    """Of attention."""


def control_settings(study: Any) -> dict[str, Any]:
    """How policies are trained on whole trials, as `RL2` and those built on it take it."""
    names = ("trials", "epochs", "minibatches", "learning_rate", "discount", "trace", "reward_scale")
    settings = {name: getattr(study, name) for name in names}
    return settings | {"episodes": study.trial_episodes, "objective": ProximalLoss(entropy=study.entropy)}


def recurrent(memory: Callable[[Any, Family, Key], AbstractMemory]) -> Callable[[Any, Family], RecurrentAgent]:
    """How a method is built with the settings of a study."""

    def build(study: Any, family: Family) -> RecurrentAgent:
        learner = RL2(family, **control_settings(study))
        return RecurrentAgent(learner, lambda key: memory(study, family, key), study.noise)

    return build


def _gru(study: Any, family: Family, key: Key) -> GRU:
    return GRU(inputs(family), study.width, key=key)


def _attention(study: Any, family: Family, key: Key) -> CausalAttention:
    length = study.trial_episodes * family.horizon
    return CausalAttention(inputs(family), length, width=study.width, depth=study.depth, heads=study.heads, key=key)


RECURRENT_METHODS = (
    TrialMethod("RL2", recurrent(_gru), (RL2,)),
    TrialMethod("RL2, attention", recurrent(_attention), (RL2,)),
)
