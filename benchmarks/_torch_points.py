"""The dense point robot (Rakelly et al. 2019) for PyTorch: the tasks of the other sides of `trials_training.py`.

`Points` is what one writes for speed, all worlds in one tensor; `Point` is one world in NumPy with the interface of a
Gym environment, as the published code of PEARL has it.
"""

import numpy as np
import torch

HORIZON, SPEED, ACTIONS = 20, 0.1, 2


class Points:
    """N worlds side by side, each with a goal, (N, 2)."""

    def __init__(self, goals):
        self.goals = goals

    def reset(self):
        self.place = 2 * torch.rand(len(self.goals), 2) - 1
        return self.place

    def step(self, action):
        """Observations (N, 2) and rewards (N,)."""
        self.place = self.place + SPEED * action.clamp(-1, 1)
        return self.place, -torch.linalg.vector_norm(self.place - self.goals, dim=1)


class Point:
    """One world."""

    def __init__(self, goal, generator):
        self.goal, self.generator = goal, generator

    def reset(self):
        self.place = self.generator.uniform(-1, 1, 2).astype(np.float32)
        return self.place

    def step(self, action):
        """An observation (2,) and a reward."""
        self.place = self.place + SPEED * np.clip(action, -1, 1)
        x, y = self.place - self.goal
        return self.place, -((x * x + y * y) ** 0.5)
