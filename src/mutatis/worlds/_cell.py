"""Many worlds of one task on one thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mutatis.worlds._episode import Episode, Step, judge
from mutatis.worlds._observation import FRAME
from mutatis.worlds._physics import Physics
from mutatis.worlds._pose import Pose
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task


class Cell:
    """N worlds of one task: their physics and their episodes."""

    def __init__(self, task: Task, worlds: int, *, measure_touch: bool = False):
        self.task = task
        self.physics = Physics(task, worlds, measure_touch=measure_touch)
        self.episode = Episode(np.zeros((worlds, FRAME)), {})

    def place(self, worlds: Sequence[int] | np.ndarray, starts: Sequence[Start]) -> None:
        """Puts some worlds at the start of an episode."""
        before, memory = self.episode
        for world, start in zip(worlds, starts, strict=True):
            self.physics.place(world, start)
            before[world] = start.frame
            for key, value in start.memory.items():
                memory.setdefault(key, np.zeros((len(before), *value.shape)))[world] = value

    def judge(self, unstable: np.ndarray, action: np.ndarray, goal: np.ndarray) -> Step:
        """What every world shows after `physics.act(action)`, which said which simulations diverged, (N,).

        **Arguments:**

        - `unstable`: the answer of `act`.
        - `action`: (N, 4).
        - `goal`: what is seen of the goal, (N, 3).
        """
        self.episode, step = judge(self.task, self.episode, self.physics.scene, unstable, action, goal)
        return step

    def pose(self, world: int) -> Pose:
        """What there is to see of a world now."""
        return Pose(self.task, *self.physics.places(world), self.episode.memory["target"][world].copy())
