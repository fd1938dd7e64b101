"""VariBAD on trials: a policy that sees its belief, as studies train it."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mutatis._types import Key, Tree
from mutatis.rl import Family, Player, Trials, VariBAD, VariBADState
from mutatis.studies.trials._believed import where_rewards_are
from mutatis.studies.trials._recurrent import RecurrentSettings, control_settings
from mutatis.studies.trials._study import TrialMethod


@dataclass(frozen=True)
class VariBADAgent:
    """VariBAD as a study trains it; a step is an update."""

    learner: VariBAD
    width: int
    by_arrival: bool
    noise: bool

    @property
    def environment_steps_per_step(self) -> int:
        """All trials of an update."""
        control = self.learner.control
        return control.trials * control.episodes * control.family.horizon

    def init(self, key: Key) -> VariBADState:
        """Untrained networks."""
        network_key, key = jax.random.split(key)
        hidden = (self.width, self.width)
        networks = self.learner.networks(width=self.width, hidden=hidden, by_arrival=self.by_arrival, key=network_key)
        return self.learner.init(*networks, key=key)

    def advance(self, state: VariBADState, steps: int) -> tuple[VariBADState, np.ndarray]:
        """Updates."""
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.loss)

    def player(self, state: VariBADState) -> Player:
        """The policy; whatever it does to explore, it has learned."""
        return state.player(noise=self.noise)

    def believed(self, state: VariBADState, tasks: Tree, trials: Trials, shown: np.ndarray, key: Key) -> np.ndarray:
        """Where most is expected, see `where_rewards_are`."""
        del tasks
        return where_rewards_are(state, trials, shown, key)

    def steps_done(self, state: VariBADState) -> int:
        """Updates."""
        return int(state.updates)


@dataclass(frozen=True, kw_only=True)
class VariBADSettings(RecurrentSettings):
    """The settings of VariBAD, whose policy is trained as that of RL2."""

    latent: int = 5
    """Length of m, what is believed to be the task."""
    model_epochs: int = 1
    """Passes of encoder and decoders over the trials of an update."""
    model_rate: float = 1e-3
    """Learning rate of encoder and decoders."""
    decoded: int = 8
    """Beliefs of a trial that are decoded."""
    divergence: float = 0.1
    """Weight of what a row changes a belief by."""
    by_arrival: bool = True
    """Whether rewards are decoded from where an action led alone, as in the paper's gridworld."""


def _varibad(study: Any, family: Family) -> VariBADAgent:
    learner = VariBAD(
        family,
        latent=study.latent,
        model_epochs=study.model_epochs,
        decoded=study.decoded,
        divergence=study.divergence,
        model_rate=study.model_rate,
        **control_settings(study),
    )
    return VariBADAgent(learner, study.width, study.by_arrival, study.noise)


VARIBAD_METHODS = (TrialMethod("VariBAD", _varibad, (VariBAD,)),)
