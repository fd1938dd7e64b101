"""PEARL on trials: acting as if a draw from a belief were true, as studies train it."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mutatis._types import Key, Tree
from mutatis.rl import PEARL, Box, Family, PEARLState, Player, Trials
from mutatis.studies.trials._believed import where_draws_end
from mutatis.studies.trials._study import TrialMethod


@dataclass(frozen=True)
class BeliefAgent:
    """PEARL as a study trains it; a step is an iteration."""

    learner: PEARL
    tasks: Tree
    """Those that are trained on."""
    hidden: tuple[int, ...]
    noise: bool

    @property
    def environment_steps_per_step(self) -> int:
        """A trial on every training task."""
        worlds = jax.tree.leaves(self.tasks)[0].shape[0]
        return worlds * self.learner.episodes * self.learner.family.horizon

    def init(self, key: Key) -> PEARLState:
        """Untrained networks, an empty replay."""
        return self.learner.init(self.tasks, hidden=self.hidden, key=key)

    def advance(self, state: PEARLState, steps: int) -> tuple[PEARLState, np.ndarray]:
        """Iterations."""
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.critic_loss)

    def player(self, state: PEARLState) -> Player:
        """Episodes from the prior, then from the belief so far."""
        return state.player(self.learner.prior_episodes, noise=self.noise)

    def believed(self, state: PEARLState, tasks: Tree, trials: Trials, shown: np.ndarray, key: Key) -> np.ndarray:
        """Where the actor would end, see `where_draws_end`."""
        return where_draws_end(self.learner.family, tasks, state, trials, shown, key)

    def steps_done(self, state: PEARLState) -> int:
        """Iterations."""
        return int(state.iterations)


@dataclass(frozen=True, kw_only=True)
class BeliefSettings:
    """The settings of PEARL."""

    noise: bool = False
    """Whether policies draw their actions in the test episodes that follow the exploring ones, which always do."""
    prior_episodes: int = 1
    """Exploring episodes, each held true to a draw from the prior."""
    updates: int = 200
    """Of the networks, after the trials of an iteration."""
    meta_batch: int = 16
    """Tasks of an update."""
    batch: int = 64
    """Transitions of each of them."""
    context: int = 64
    """Rows that a belief is made from, in an update."""
    latent: int = 5
    """Length of z."""
    divergence: float = 0.1
    """Weight of the KL of beliefs from N(0, I)."""
    learning_rate: float = 3e-4
    discount: float = 0.99
    reward_scale: float = 5.0
    """By which rewards are multiplied for the critics: what they are worth beside entropy."""
    temperature: float | None = None
    """Of the entropy; learned where there is none."""
    learned_from: str | None = None
    """What critics learn from in place of the reward, such as the dense reward of sparse points."""
    replay_capacity: int = 20_000
    """Transitions of each training task that are kept."""
    width: int = 128
    """Units of each hidden layer."""
    depth: int = 2
    """Hidden layers."""


def _belief(study: Any, family: Family) -> BeliefAgent:
    if study.episodes <= study.prior_episodes:
        raise ValueError(
            f"episodes is {study.episodes}, of which {study.prior_episodes} are prior_episodes; pass more, or there is "
            "none to use what was found out."
        )
    if not isinstance(family.actions, Box):
        raise ValueError("compass is True, and PEARL acts by numbers along both axes; leave it False.")
    learner = PEARL(
        family,
        latent=study.latent,
        prior_episodes=study.prior_episodes,
        episodes=study.episodes,
        updates=study.updates,
        meta_batch=study.meta_batch,
        batch=study.batch,
        context=study.context,
        divergence=study.divergence,
        learning_rate=study.learning_rate,
        discount=study.discount,
        reward_scale=study.reward_scale,
        temperature=study.temperature,
        learned_from=study.learned_from,
        replay_capacity=study.replay_capacity,
    )
    return BeliefAgent(learner, study.training_tasks(), (study.width,) * study.depth, study.noise)


BELIEF_METHODS = (TrialMethod("PEARL", _belief, (PEARL,)),)
