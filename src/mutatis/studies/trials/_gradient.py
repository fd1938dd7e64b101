"""MAML on trials: a start from which a gradient step goes far, as studies train it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mutatis._rule import Learner
from mutatis._tree import trainable
from mutatis._types import Key
from mutatis.nn import UntoldTask, ZeroedHead, mlp, zeroed_heads
from mutatis.rl import (
    MAML,
    AdaptingPlayer,
    Exploring,
    Family,
    GaussianPolicy,
    MAMLState,
    Player,
    Proximal,
    TrustRegion,
    surrogate_loss,
)
from mutatis.rules import GradientSteps
from mutatis.studies.trials._study import TrialMethod


@dataclass(frozen=True)
class GradientAgent:
    """MAML as a study trains it; a step is a step of the outer loop."""

    learner: MAML
    study: Any
    """With `GradientSettings`."""

    @property
    def environment_steps_per_step(self) -> int:
        """Episodes before adaptation and after, on all tasks."""
        return 2 * self.learner.tasks * self.learner.episodes * self.learner.family.horizon

    def init(self, key: Key) -> MAMLState:
        """An untrained policy."""
        policy_key, key = jax.random.split(key)
        family, study = self.learner.family, self.study
        features, actions = (family.observation_size, *(study.width,) * study.depth), family.actions.features
        if study.zeroed_head:
            body = mlp(features, activation=jnp.tanh, key=policy_key)
            network, where = ZeroedHead(body, features[-1], actions), zeroed_heads
        else:
            network, where = mlp((*features, actions), activation=jnp.tanh, key=policy_key), trainable
        policy = GaussianPolicy(UntoldTask(network), actions, std=study.std, min_std=study.least_std)
        rule = GradientSteps(surrogate_loss, learning_rate=study.inner_rate, where=where)
        return self.learner.init(Learner(policy, rule), key=key)

    def advance(self, state: MAMLState, steps: int) -> tuple[MAMLState, np.ndarray]:
        """Steps of the outer loop."""
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.loss)

    def player(self, state: MAMLState) -> Player:
        """As it is at first, in all episodes but the last; then adapted to them."""
        learner = self.learner
        return AdaptingPlayer(
            state.learner,
            learner.family,
            episodes=learner.episodes,
            noise=self.study.noise,
            discount=float(learner.discount),
            trace=float(learner.trace),
            normalise_advantages=learner.normalise_advantages,
        )

    def steps_done(self, state: MAMLState) -> int:
        """Of the outer loop."""
        return int(state.steps)


@dataclass(frozen=True, kw_only=True)
class GradientSettings:
    """The settings of MAML; it adapts to all episodes of a trial but the last."""

    tasks_per_step: int = 20
    """Tasks of a step of the outer loop."""
    inner_rate: float = 0.1
    """Length of the step of adaptation, in units of the gradient."""
    divergence: float = 0.01
    """Of a step of the outer loop, with TRPO: KL in nats."""
    epochs: int = 5
    """Steps on the same episodes, with PPO."""
    learning_rate: float = 1e-3
    """With PPO."""
    discount: float = 0.99
    trace: float = 1.0
    """Lambda of the advantages."""
    normalise_advantages: bool = True
    """Whether the advantages of a task are brought to mean zero and deviation one."""
    exploration: float = 0.0
    """Weight of the term by which episodes before adaptation answer for the return after it (E-MAML)."""
    zeroed_head: bool = False
    """Whether the last layer is zero before it adapts, and alone adapts."""
    std: float = 0.6
    """Deviation of the actions at the start."""
    least_std: float = 1e-6
    """Below which it does not fall."""
    width: int = 64
    """Units of each hidden layer."""
    depth: int = 2
    """Hidden layers."""


def gradient(method: Callable[[Any], TrustRegion | Proximal]) -> Callable[[Any, Family], GradientAgent]:
    """How a method is built with the settings of a study; `method(study)` is the outer step."""

    def build(study: Any, family: Family) -> GradientAgent:
        if study.trial_episodes < 2:
            raise ValueError(
                f"episodes is {study.trial_episodes}; MAML adapts to all but the last, so pass at least 2."
            )
        if not 0 < study.least_std <= study.std:
            raise ValueError(f"least_std is {study.least_std} and std {study.std}; choose 0 < least_std <= std.")
        learner = MAML(
            family,
            method(study),
            tasks=study.tasks_per_step,
            episodes=study.trial_episodes - 1,
            discount=study.discount,
            trace=study.trace,
            normalise_advantages=study.normalise_advantages,
            exploration=study.exploration,
        )
        return GradientAgent(learner, study)

    return build


def _options(study: Any) -> list[Any]:
    return [part for part, used in ((ZeroedHead, study.zeroed_head), (Exploring, study.exploration)) if used]


GRADIENT_METHODS = (
    TrialMethod("MAML", gradient(lambda study: TrustRegion(study.divergence)), (MAML, TrustRegion), _options),
    TrialMethod(
        "MAML, PPO",
        gradient(lambda study: Proximal(learning_rate=study.learning_rate, epochs=study.epochs)),
        (MAML, Proximal),
        _options,
    ),
)
