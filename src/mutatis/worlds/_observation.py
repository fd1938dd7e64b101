"""The 39 numbers an agent sees: the moment, the moment before, the goal."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._scene import Array, Scene, clip, distance, interface
from mutatis.worlds._task import Task

SIZE = 39
FRAME = 18
"""One moment: hand (3), gripper opening, and 14 for the objects."""
HAND_LOW = (-0.525, 0.348, -0.0525)
HAND_HIGH = (0.525, 1.025, 0.7)
OPEN = 0.1
"""The fingers' distance that counts as open, in metres."""


def frame(task: Task, scene: Scene) -> Array:
    """One moment, (N, 18): hand, opening from 0 to 1, objects, zeros where the task has fewer objects.

    The hand is clipped to its bounds. The original clips what it shows and not what it keeps for the next step; but
    then it shows that clipped.
    """
    xp = scene.xp
    opening = distance(scene.body("rightclaw"), scene.body("leftclaw")) / OPEN
    hand = clip(scene.body("hand"), _LOW, _HIGH)
    parts = [hand, clip(opening, 0.0, 1.0)[:, None], *task.objects(scene)]
    missing = FRAME - sum(part.shape[1] for part in parts)
    if missing:
        parts.append(xp.zeros((len(opening), missing), opening.dtype))
    return xp.concatenate(parts, axis=1)


_LOW, _HIGH = np.array([HAND_LOW]), np.array([HAND_HIGH])


def stack(now: Array, before: Array, goal: Array) -> Array:
    """What is seen: two moments and the goal (zeros where it is hidden), (N, 39)."""
    return interface(now).concatenate([now, before, goal], axis=1)
