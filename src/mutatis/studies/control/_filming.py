"""A policy at work, as small films for the report."""

import itertools
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
from jaxtyping import Float

from mutatis.worlds import make
from mutatis.worlds._evaluate import Policy
from mutatis.worlds._gallery import Episode, draw, play
from mutatis.worlds._pictures import film_bytes
from mutatis.worlds._render import NoGraphicsError

SECOND = 80
"""Actions in a second of the worlds' time."""


def film_of(
    policy: Policy,
    task_name: str,
    *,
    goal: int = 0,
    seed: int = 0,
    steps: int = 250,
    every: int = 5,
    width: int = 160,
    height: int = 120,
) -> bytes | None:
    """One episode of a policy in one task, in the worlds' own time; it ends shortly after the task is solved.

    **Arguments:**

    - `policy`: observations (1, 39) to actions (1, 4).
    - `task_name`: as in `mutatis.worlds.make`; the goal is shown to the policy.
    - `goal`: which of the task's 50.
    - `seed`: of the goals, which are then the official ones of that seed.
    - `steps`: most actions.
    - `every`: actions from one frame to the next; the film lasts as long as the episode, `SECOND` actions a second.
    - `width`: in pixels.
    - `height`: in pixels.

    **Returns:** The bytes of an animated WebP, or `None` where OpenGL cannot draw.

    **Raises:** `ValueError` for a task, goal or number that does not exist.
    """
    if min(steps, every) < 1:
        raise ValueError(f"steps and every: must be at least 1, not {steps} and {every}")
    with closing(make([task_name], seed=seed, autoreset_mode="Disabled")) as worlds:
        (episode,) = play(worlds, policy, [goal], patience=steps)
    return _filmed(episode, every, width, height)


def films_of_actions(
    actions: Float[np.ndarray, "tasks steps 4"],
    benchmark: str,
    options: Mapping[str, Any],
    *,
    every: int = 5,
    width: int = 160,
    height: int = 120,
) -> list[bytes]:
    """An episode of each test task, at its first goal, with actions that were played there before.

    - `benchmark`, `options`: as in `mutatis.worlds.make`.
    - `every`, `width`, `height`: as in `film_of`.

    **Returns:** The bytes of animated WebPs; none where OpenGL cannot draw.
    """
    steps = itertools.count()
    with closing(make(benchmark, "test", autoreset_mode="Disabled", **options)) as worlds:
        found = play(worlds, lambda seen: actions[:, next(steps)], [0] * len(actions), patience=actions.shape[1])
    films = [_filmed(episode, every, width, height) for episode in found]
    return [film for film in films if film is not None]


def _filmed(episode: Episode, every: int, width: int, height: int) -> bytes | None:
    # The last pose is shown in any case: it is the one that is solved, or not.
    poses = [*episode.poses[:-1:every], episode.poses[-1]]
    try:
        frames = list(draw(poses, width, height))
    except NoGraphicsError:
        return None
    return film_bytes(frames, SECOND / every)
