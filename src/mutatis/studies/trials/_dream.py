"""DREAM on trials: exploring and exploiting learned apart, as studies train it."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mutatis._types import Key
from mutatis.rl import DREAM, Discrete, DREAMState, Player
from mutatis.rl.families import BusGrids, SparsePointGoals
from mutatis.studies.trials._study import TrialMethod


@dataclass(frozen=True)
class DREAMAgent:
    """DREAM as a study trains it; a step is an iteration of trials and updates."""

    learner: DREAM
    width: int

    @property
    def environment_steps_per_step(self) -> int:
        """The exploring and the exploiting episode of all trials of an iteration."""
        return self.learner.trials * 2 * self.learner.family.horizon

    def init(self, key: Key) -> DREAMState:
        """Untrained networks."""
        network_key, key = jax.random.split(key)
        return self.learner.init(self.learner.networks(width=self.width, key=network_key), key=key)

    def advance(self, state: DREAMState, steps: int) -> tuple[DREAMState, np.ndarray]:
        """Iterations."""
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.loss)

    def player(self, state: DREAMState) -> Player:
        """Explores in the first episode, then exploits."""
        return state.player()

    def steps_done(self, state: DREAMState) -> int:
        """Iterations."""
        return int(state.iterations)


@dataclass(frozen=True, kw_only=True)
class DREAMSettings:
    """The settings of DREAM; its networks are as wide as those of RL2."""

    explored: int = 128
    """Trials of DREAM in an iteration."""
    updates: int = 16
    """Updates of DREAM after them."""
    batch: int = 32
    """Trials in an update of DREAM."""
    latent: int = 64
    """Numbers that tell a task to who exploits."""
    step_cost: float = 0.02
    """Of a step of exploring."""
    anneal: int = 200
    """Iterations in which the share of random actions falls."""
    least_random: float = 0.02
    """Share of random actions after that, in the world that has the fewest."""
    most_random: float = 0.7
    """And in the world that has the most."""
    q_learning_rate: float = 1e-3
    """Of DREAM."""
    q_trace: float = 0.8
    """Lambda of the targets of DREAM's values."""
    capacity: int = 16_384
    """Trials that DREAM keeps."""


def _dream(decoupled: bool) -> Any:
    def build(study: Any, family: BusGrids | SparsePointGoals) -> DREAMAgent:
        if not isinstance(family.actions, Discrete):
            raise ValueError("compass is False, and DREAM takes one of a few actions; leave it True.")
        learner = DREAM(
            family,
            family.identify,
            instruction=family.instruction_size,
            trials=study.explored,
            updates=study.updates,
            batch=study.batch,
            latent=study.latent,
            step_cost=study.step_cost,
            learning_rate=study.q_learning_rate,
            discount=study.discount,
            trace=study.q_trace,
            anneal=study.anneal,
            random=(study.least_random, study.most_random),
            capacity=study.capacity,
            decoupled=decoupled,
        )
        return DREAMAgent(learner, study.width)

    return build


DREAM_METHODS = (
    TrialMethod("DREAM", _dream(decoupled=True), (DREAM,)),
    TrialMethod("DREAM, not decoupled", _dream(decoupled=False), (DREAM,)),
)
