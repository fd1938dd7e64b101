"""PPO and TRPO on many tasks: the methods, and how a study trains them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis._references import DUAN_2016, SCHULMAN_2015, SCHULMAN_2016, SCHULMAN_2017, YU_2019
from mutatis.nn import multi_head_net, one_hot_net
from mutatis.rl import (
    Environment,
    GaussianPolicy,
    LinearBaseline,
    PolicyGradient,
    PolicyState,
    Proximal,
    ProximalLoss,
    TrustRegion,
)
from mutatis.rl._policy_gradient import AbstractPolicyUpdate
from mutatis.rl._settings import check_shares
from mutatis.studies._study import Schedule
from mutatis.studies.control._published import published_table
from mutatis.studies.control._study import Build, ControlMethod, ControlStudy, Policy


@dataclass(frozen=True)
class PolicyAgent:
    """On-policy training as a study does it; a step of the schedule is a roll-out and its update."""

    learner: PolicyGradient
    network: Build
    hidden: tuple[int, ...]
    std: tuple[float, float, float]
    """At the start, at least, at most."""

    @property
    def actions_per_step(self) -> int:
        """In each world, of a roll-out."""
        return self.learner.steps

    def init(self, key: jax.Array) -> PolicyState:
        """An untrained policy, a baseline that expects nothing, fresh worlds."""
        env, (std, least, most) = self.learner.environment, self.std
        net_key, key = jax.random.split(key)
        sizes = (env.observation_size, *self.hidden, env.action_size)
        network = self.network(sizes, env.num_tasks, activation=jnp.tanh, key=net_key)
        policy = GaussianPolicy(network, env.action_size, std=std, min_std=least, max_std=most)
        return self.learner.init(policy, LinearBaseline(env.num_tasks, env.observation_size), key=key)

    def advance(self, state: PolicyState, steps: int) -> tuple[PolicyState, np.ndarray]:
        """Roll-outs, each followed by an update."""
        # The training loop keeps its state, and a step of the learner writes over its own.
        state = jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, state)
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.loss)

    def policy(self, state: PolicyState) -> Policy:
        """The means of the actions, clipped to what a world does with them."""
        policy = state.policy

        def act(observation: np.ndarray) -> np.ndarray:
            action = _act(self.learner, policy, jnp.asarray(observation, jnp.float32))
            return np.clip(np.asarray(action), -1, 1)

        return act

    def steps_done(self, state: PolicyState) -> int:
        """Roll-outs."""
        return int(state.rollouts)

    def measures(self, state: PolicyState) -> Mapping[str, Any]:
        """The policy's standard deviation, the mean over actions."""
        assert isinstance(state.model.policy, GaussianPolicy)
        _, least, most = self.std
        log_std = np.clip(state.model.policy.log_std, math.log(least), math.log(most))
        return {"standard deviation": np.exp(log_std).mean()}


@eqx.filter_jit
def _act(learner: PolicyGradient, policy: Any, observation: jax.Array) -> jax.Array:
    return learner.act(policy, observation)


def _proximal(study: "PolicyStudy") -> AbstractPolicyUpdate:
    return Proximal(
        ProximalLoss(clip=study.ratio_clip, entropy=study.entropy),
        learning_rate=study.learning_rate,
        epochs=study.epochs,
        minibatches=study.minibatches,
        clip_norm=study.clip or None,
    )


def _trust_region(study: "PolicyStudy") -> AbstractPolicyUpdate:
    return TrustRegion(study.radius)


def _policy(
    network: Build, method: Callable[["PolicyStudy"], AbstractPolicyUpdate]
) -> Callable[[Any, Environment], PolicyAgent]:
    """How a method is built with the settings of a study."""

    def build(study: "PolicyStudy", environment: Environment) -> PolicyAgent:
        learner = PolicyGradient(
            environment,
            method(study),
            steps=study.rollout,
            discount=study.discount,
            trace=study.trace,
            normalise_advantages=study.normalise_advantages,
            normalise_rewards=study.normalise_rewards,
        )
        return PolicyAgent(learner, network, (study.width,) * study.depth, (study.std, study.min_std, study.max_std))

    return build


@dataclass(frozen=True, kw_only=True)
class PolicyStudy(ControlStudy):
    """PPO and TRPO on the tasks of Meta-World (settings of Yu et al. 2021, appendix D)."""

    rows: ClassVar[tuple[ControlMethod, ...]] = (
        ControlMethod("PPO, each task alone", _policy(multi_head_net, _proximal), alone=True),
        ControlMethod("MT-PPO", _policy(one_hot_net, _proximal)),
        ControlMethod("MTMH-PPO", _policy(multi_head_net, _proximal)),
        ControlMethod("TRPO, each task alone", _policy(multi_head_net, _trust_region), alone=True),
        ControlMethod("MT-TRPO", _policy(one_hot_net, _trust_region)),
        ControlMethod("MTMH-TRPO", _policy(multi_head_net, _trust_region)),
    )

    methods: tuple[str, ...] = ("MT-PPO",)
    worlds_per_task: int = 20
    width: int = 512
    depth: int = 2
    rollout: int = 500
    """Actions in each world between updates."""
    trace: float = 0.97
    """Lambda of the advantages."""
    normalise_advantages: bool = True
    """To mean zero and deviation one, within each task."""
    normalise_rewards: bool = False
    """Divide each task's rewards by the deviation of its discounted returns."""
    std: float = 1.0
    """Standard deviation of the actions at the start."""
    min_std: float = 0.5
    """The least it may become."""
    max_std: float = 1.5
    """The most it may become."""
    epochs: int = 16
    """PPO: passes over a roll-out."""
    minibatches: int = 25
    """PPO: minibatches of a pass."""
    learning_rate: float = 5e-4
    """PPO: of Adam."""
    ratio_clip: float = 0.2
    """PPO: how far the ratio of probabilities counts."""
    entropy: float = 5e-3
    """PPO: weight of the entropy."""
    clip: float = 1.0
    """PPO: norm to which gradients are clipped; 0 does not clip."""
    radius: float = 0.01
    """TRPO: the greatest mean KL divergence of a step, in nats."""
    rollouts_per_dispatch: int = 1
    """Roll-outs and updates in one compiled call."""

    def __post_init__(self):
        super().__post_init__()
        self.check_positive("rollout", "epochs", "minibatches", "rollouts_per_dispatch")
        check_shares(trace=self.trace)
        if (self.rollout * self.worlds_per_task) % self.minibatches:
            raise ValueError(
                f"minibatches is {self.minibatches}, which does not divide the {self.rollout * self.worlds_per_task} "
                "rows of a task (rollout x worlds_per_task)."
            )

    def schedule(self, environment_steps: int, worlds: int) -> Schedule:
        """In roll-outs."""
        steps = environment_steps // (worlds * self.rollout)
        if not steps:
            raise ValueError(
                f"environment_steps is {self.environment_steps}, less than one roll-out of {self.rollout} actions in "
                f"{worlds} worlds; raise it, or lower rollout or worlds_per_task."
            )
        every = max(1, steps // self.evaluations)
        return Schedule(
            steps=steps,
            evaluate_every=every,
            checkpoint_every=every,
            steps_per_dispatch=self.rollouts_per_dispatch,
        )

    def most_loss(self) -> float:
        """A policy's surrogate has no bound; what is not finite is refused by the training loop."""
        return math.inf

    def published(self) -> Sequence[Mapping[str, Any]]:
        """The table of the benchmark, for version 2 rewards."""
        return () if self.reward == "v1" or self.tasks else published_table(self.benchmark)

    def citations(self) -> dict[str, str]:
        """BibTeX of the methods and the benchmark."""
        sources = {method: SCHULMAN_2015 if "TRPO" in method else SCHULMAN_2017 for method in self.methods}
        return sources | {
            "advantages": SCHULMAN_2016,
            "linear baseline": DUAN_2016,
            "Meta-World": YU_2019,
        }
