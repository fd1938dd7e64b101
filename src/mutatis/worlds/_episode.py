"""What is carried from step to step beside the physics, and the judgement of a step; for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mutatis.worlds._observation import frame, stack
from mutatis.worlds._scene import Array, Scene
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task


class Episode(NamedTuple):
    """The episodes under way in N worlds of one task."""

    before: Array
    """The moment before, (N, 18)."""
    memory: dict[str, Array]
    """See `Situation`."""


class Step(NamedTuple):
    """What N worlds show after an action."""

    observation: Array
    """(N, 39)."""
    outcome: Outcome
    unstable: Array
    """Boolean, (N,): the physics diverged. The world shows what it showed before, for a reward of 0, and is of no use
    until it is reset."""


def first_episodes(starts: Sequence[Start]) -> Episode:
    """The episodes that begin at some starts, stacked, as JAX's arrays."""
    memory = {key: jnp.asarray(np.stack([start.memory[key] for start in starts])) for key in starts[0].memory}
    return Episode(jnp.asarray(np.stack([start.frame for start in starts])), memory)


def judge(
    task: Task, episode: Episode, scene: Scene, unstable: Array, action: Array, goal: Array
) -> tuple[Episode, Step]:
    """What an action was worth.

    **Arguments:**

    - `task`: of all these worlds.
    - `episode`: before the action.
    - `scene`: after it.
    - `unstable`: whether the physics diverged, (N,).
    - `action`: (N, 4).
    - `goal`: what is seen of the goal, (N, 3).
    """
    xp = scene.xp
    now = xp.where(unstable[:, None], episode.before, frame(task, scene))
    observation = stack(now, episode.before, goal)
    outcome = task.evaluate(Situation(scene, observation, action, episode.memory))
    grasped = outcome.grasp_success
    if task.touches is not None and scene.pad_forces is None:
        grasped = xp.full_like(outcome.reward, float("nan"))
    outcome = outcome._replace(
        reward=xp.where(unstable, 0.0, outcome.reward), success=outcome.success & ~unstable, grasp_success=grasped
    )
    return Episode(now, episode.memory | outcome.memory), Step(observation, outcome, unstable)
