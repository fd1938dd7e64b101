"""The scripted policies of Meta-World's authors."""

from __future__ import annotations

import warnings

import numpy as np

from mutatis.worlds._observation import SIZE
from mutatis.worlds._vector import Worlds


class Experts:
    """The scripted policy of each world's task, from the package `metaworld` (Yu et al. 2019).

    They see the goal even where the worlds hide it, and remember nothing between actions. They are no upper bound:
    over 10 goals of each of the 50 tasks they solve 97.6 % within 500 actions, and 8 of 10 in the hardest tasks.

    **Arguments:**

    - `worlds`: those to act in.
    """

    def __init__(self, worlds: Worlds):
        from metaworld.policies import ENV_POLICY_MAP  # here, because the package registers environments when imported

        self._worlds = worlds
        self._policies = [ENV_POLICY_MAP[f"{name}-v3"]() for name in worlds.tasks]

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Actions from -1 to 1 for the worlds' present observations, (M, 39 or more) -> (M, 4), float32."""
        if observations.shape[0] != self._worlds.num_envs or observations.shape[1] < SIZE:
            raise ValueError(
                f"observations: have shape {observations.shape}; needed is ({self._worlds.num_envs}, {SIZE} or more), "
                "a row for each world that the experts were made for"
            )
        seen = np.concatenate([observations[:, : SIZE - 3], self._worlds.targets], axis=1, dtype=np.float64)
        with warnings.catch_warnings():
            # They warn whenever they ask for more than 1, as most do at every step.
            warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")
            actions = [self._policies[k].get_action(row) for k, row in zip(self._worlds.task_index, seen, strict=True)]
        return np.clip(np.stack(actions), -1.0, 1.0, dtype=np.float32)
