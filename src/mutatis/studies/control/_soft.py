"""Soft actor-critic on many tasks: the methods, and how a study trains them."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis import diagnose
from mutatis._citation import citation
from mutatis._references import HAARNOJA_2018, YU_2019
from mutatis._weighting import AbstractWeighting
from mutatis.nn import embedded_net, film_net, multi_head_net, one_hot_net
from mutatis.rl import ActorLoss, Environment, SoftActorCritic, SoftState, Twin, critic_loss, replay_bytes
from mutatis.rl._replay import device_memory
from mutatis.rl._settings import check_shares
from mutatis.studies._study import Schedule
from mutatis.studies.control._published import published_curve, published_table
from mutatis.studies.control._study import Build, ControlMethod, ControlStudy, Policy, TaskSet
from mutatis.weightings import (
    FAMO,
    IMTLG,
    MGDA,
    AlignedMTL,
    Average,
    CAGrad,
    GradNorm,
    NashMTL,
    PCGrad,
    RandomWeights,
    UncertaintyWeights,
)

OBSERVATION, ACTION = 39, 4
"""Numbers of an observation and an action in Meta-World."""
STATES = 2
"""Copies of the replay that are held at once: before a dispatch, which can be gone back to, and after."""
GIB = 2**30


@dataclass(frozen=True)
class SoftAgent:
    """Soft actor-critic as a study trains it."""

    learner: SoftActorCritic
    network: Build
    hidden: tuple[int, ...]
    critic_hidden: tuple[int, ...]
    capacity: int
    warm_up: int
    restart_every: int
    """Steps after which the networks are drawn anew; 0 never."""
    diagnosis_batch: int
    actions_per_step: int = 1

    def init(self, key: jax.Array) -> SoftState:
        """Untrained networks, empty replay, fresh worlds."""
        net_key, key = jax.random.split(key)
        return self.learner.init(*self._networks(net_key), capacity=self.capacity, key=key)

    def advance(self, state: SoftState, steps: int) -> tuple[SoftState, np.ndarray | None]:
        """Random actions while warming up, then the policy's, each followed by updates."""
        # The training loop keeps its state, and a step of the learner writes over its own.
        state = jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, state)
        done = int(state.vector_steps)
        if done < self.warm_up:
            return self.learner.explore(state, steps)[0], None
        if self.restart_every and done > self.warm_up and done % self.restart_every == 0:
            key, net_key, learn_key = jax.random.split(state.key, 3)
            state = self.learner.restart(state._replace(key=key), *self._networks(net_key), key=learn_key)
        state, progress = self.learner.train(state, steps)
        return state, np.asarray(progress.critic_loss)

    def policy(self, state: SoftState) -> Policy:
        """The means of the actions."""
        actor = state.actor.model
        return lambda observation: np.asarray(_act(self.learner, actor, jnp.asarray(observation, jnp.float32)))

    def steps_done(self, state: SoftState) -> int:
        """Vector steps, random ones included."""
        return int(state.vector_steps)

    def measures(self, state: SoftState) -> Mapping[str, Any]:
        """Temperatures, and how the tasks' gradients on a fresh batch lie to each other."""
        found = {"temperature by task": np.exp(state.log_temperature)}
        if self.diagnosis_batch and self.learner.environment.num_tasks > 1 and int(state.vector_steps) >= self.warm_up:
            found |= {
                name: np.asarray(value) for name, value in _conflicts(self.learner, state, self.diagnosis_batch).items()
            }
        return found

    def _networks(self, key: jax.Array) -> tuple[Callable, Twin]:
        return self.learner.networks(self.network, self.hidden, critic_hidden=self.critic_hidden, key=key)


@eqx.filter_jit
def _act(learner: SoftActorCritic, actor: Callable, observation: jax.Array) -> jax.Array:
    return learner.act(actor, observation, key=None)


@eqx.filter_jit
def _conflicts(learner: SoftActorCritic, state: SoftState, rows: int) -> dict[str, jax.Array]:
    """Cosines and lengths of the tasks' gradients, of critics and actor, and the curvature along their mean."""
    # A key of its own: looking must not change what comes next.
    sample_key, target_key, actor_key, *keys = jax.random.split(jax.random.fold_in(state.key, 0), 5)
    batch = state.replay.sample(rows, key=sample_key)
    tasks = {
        "critic": (state.critics, learner.critic_tasks(state, batch, key=target_key), critic_loss),
        "actor": (
            state.actor,
            learner.actor_tasks(state, batch, key=actor_key),
            ActorLoss(state.critics.model),
        ),
    }
    found = {}
    for (name, (parts, task, objective)), key in zip(tasks.items(), keys, strict=True):
        diagnosis = diagnose(parts, task, objective=objective, step_size=3e-4, key=key)
        found[f"{name} conflicts"] = diagnosis.cosines
        found[f"{name} norms"] = diagnosis.norms
        found[f"{name} sharpness"] = diagnosis.sharpness
    return found


told_heads = functools.partial(multi_head_net, tell_trunk=True)
"""A head for each task on layers that are told the task, as the published multi-head networks are."""


def _soft(
    network: Build,
    weighting: Callable[[], AbstractWeighting] = Average,
    *,
    normalise_rewards: bool = False,
    wider_critic: int = 1,
) -> Callable[[Any, Environment], SoftAgent]:
    """How a method is built with the settings of a study; an actor's losses are averaged if they may not be weighed."""

    def build(study: "SoftStudy", environment: Environment) -> SoftAgent:
        shared = weighting()
        learner = SoftActorCritic(
            environment,
            batch=study.batch,
            updates=study.updates,
            learning_rate=study.learning_rate,
            clip=study.clip or None,
            discount=study.discount,
            polyak=study.polyak,
            actor_weighting=Average() if shared.needs_positive_losses else shared,
            critic_weighting=shared,
            normalise_rewards=normalise_rewards or study.normalise_rewards,
        )
        critic_width = (study.critic_width or study.width) * wider_critic
        total = study.steps_of(environment)
        return SoftAgent(
            learner,
            network,
            hidden=(study.width,) * study.depth,
            critic_hidden=(critic_width,) * study.depth,
            capacity=study.capacity,
            warm_up=study.warm_up,
            restart_every=study.whole_dispatches(total // (study.resets + 1)) if study.resets else 0,
            diagnosis_batch=study.diagnosis_batch,
        )

    return build


@dataclass(frozen=True, kw_only=True)
class SoftStudy(ControlStudy):
    """Soft actor-critic on the tasks of Meta-World."""

    rows: ClassVar[tuple[ControlMethod, ...]] = (
        ControlMethod("SAC, each task alone", _soft(multi_head_net), alone=True),
        ControlMethod("MT-SAC", _soft(one_hot_net)),
        ControlMethod("MTMH-SAC", _soft(told_heads)),
        ControlMethod("MTMH-SAC, trunk not told", _soft(multi_head_net)),
        ControlMethod("MT-SAC, embedding", _soft(embedded_net)),
        ControlMethod("MT-SAC, FiLM", _soft(film_net)),
        ControlMethod("MTMH-SAC, normalised rewards", _soft(told_heads, normalise_rewards=True)),
        ControlMethod("MTMH-SAC, critic 4 times as wide", _soft(told_heads, wider_critic=4)),
        ControlMethod("MTMH-SAC, PCGrad", _soft(told_heads, PCGrad)),
        ControlMethod("MTMH-SAC, CAGrad", _soft(told_heads, CAGrad)),
        ControlMethod("MTMH-SAC, Nash-MTL", _soft(told_heads, NashMTL)),
        ControlMethod("MTMH-SAC, MGDA", _soft(told_heads, MGDA)),
        ControlMethod("MTMH-SAC, IMTL-G", _soft(told_heads, IMTLG)),
        ControlMethod("MTMH-SAC, Aligned-MTL", _soft(told_heads, AlignedMTL)),
        ControlMethod("MTMH-SAC, FAMO", _soft(told_heads, FAMO)),
        ControlMethod("MTMH-SAC, GradNorm", _soft(told_heads, GradNorm)),
        ControlMethod("MTMH-SAC, uncertainty", _soft(told_heads, UncertaintyWeights)),
        ControlMethod("MTMH-SAC, random weights", _soft(told_heads, RandomWeights)),
    )

    methods: tuple[str, ...] = ("MTMH-SAC",)
    batch: int = 128
    """Transitions of each task in an update."""
    updates: int = 1
    """Updates after each vector step."""
    learning_rate: float = 3e-4
    clip: float = 1.0
    """Norm to which gradients are clipped, after the tasks' were combined; 0 does not clip."""
    polyak: float = 0.005
    """How far the target critics move in an update."""
    warm_up: int = 4_000
    """Vector steps with random actions before the first update."""
    capacity: int = 100_000
    """Transitions of each task that are kept."""
    normalise_rewards: bool = False
    """Divide each task's rewards by their root mean square, in every method."""
    critic_width: int = 0
    """Units of each hidden layer of the critics; 0: as many as the actor's."""
    resets: int = 0
    """How often the networks are drawn anew during training, evenly spaced; the replay stays."""
    diagnosis_batch: int = 512
    """Transitions of each task that gradients are compared on, at each evaluation; 0 does not compare them."""
    steps_per_dispatch: int = 250
    """Vector steps in one compiled call."""
    checkpoint_every: int = 5_000
    """Vector steps between checkpoints, which hold the replay."""

    def __post_init__(self):
        super().__post_init__()
        self.check_positive("batch", "updates", "capacity", "steps_per_dispatch")
        check_shares(polyak=self.polyak)
        for name in ("warm_up", "critic_width", "resets", "diagnosis_batch"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; pass 0 or more.")
        if self.warm_up % self.steps_per_dispatch or not self.warm_up:
            raise ValueError(
                f"warm_up is {self.warm_up}; pass a multiple of steps_per_dispatch ({self.steps_per_dispatch}), "
                "at least one of them, so that an update finds transitions."
            )

    def data(self, seed: int) -> TaskSet:
        """The tasks, and what the replay takes.

        **Raises:** `ValueError` if it cannot fit into memory.
        """
        tasks = super().data(seed)
        needed, there = replay_bytes(len(tasks.tasks), self.capacity, OBSERVATION, ACTION), device_memory()
        if STATES * needed > there:
            fits = self.capacity * there // (2 * STATES * needed)
            raise ValueError(
                f"capacity is {self.capacity}: the replay of {len(tasks.tasks)} tasks takes {needed / GIB:.1f} GiB and "
                f"{STATES} of it are held while training, of {there / GIB:.1f} GiB; pass at most {fits}."
            )
        protocol = f"{tasks.protocol} The replay of all tasks takes {needed / GIB:.2f} GiB."
        return dataclasses.replace(tasks, protocol=protocol)

    def steps_of(self, environment: Environment) -> int:
        """Vector steps, of a job in these worlds."""
        tasks = len(self.task_names())
        return self.environment_steps // (tasks * self.worlds_per_task)

    def whole_dispatches(self, steps: int) -> int:
        """The steps, rounded down to whole dispatches, of which there is at least one."""
        return max(1, steps // self.steps_per_dispatch) * self.steps_per_dispatch

    def schedule(self, environment_steps: int, worlds: int) -> Schedule:
        """In vector steps."""
        steps = environment_steps // worlds
        if steps <= self.warm_up:
            raise ValueError(
                f"environment_steps is {self.environment_steps}, which is used up by warm_up ({self.warm_up} vector "
                f"steps of {worlds} worlds); raise it, or lower warm_up."
            )
        return Schedule(
            steps=steps,
            evaluate_every=self.whole_dispatches(steps // self.evaluations),
            checkpoint_every=self.whole_dispatches(self.checkpoint_every),
            steps_per_dispatch=self.steps_per_dispatch,
        )

    def most_loss(self) -> float:
        """Two critics, each wrong by ten times what the best policy could ever get: without a discount, no bound."""
        if self.discount == 1:
            return math.inf
        largest_reward = {"v1": 5_000.0, "v2": 10.0}[self.reward]
        return (10 * largest_reward / (1 - self.discount)) ** 2

    def published(self) -> Sequence[Mapping[str, Any]]:
        """Curves of multi-head SAC of about this width, and the table of the benchmark, for version 2 rewards."""
        if self.reward == "v1" or self.tasks:
            return ()
        curve = published_curve(self.benchmark, self.width, self.environment_steps)
        return [*curve, *published_table(self.benchmark)]

    def citations(self) -> dict[str, str]:
        """BibTeX of soft actor-critic, the benchmark and the weightings."""
        weightings = (PCGrad(), CAGrad(), NashMTL(), MGDA(), IMTLG(), AlignedMTL(), FAMO(), GradNorm())
        sources = dict.fromkeys(self.methods, HAARNOJA_2018)
        return sources | {"Meta-World": YU_2019, "weightings": citation(*weightings)}
