"""A policy at work, as a small film for the report."""

from contextlib import closing

from mutatis.worlds import make
from mutatis.worlds._evaluate import Policy
from mutatis.worlds._gallery import draw, play
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
    # The last pose is shown in any case: it is the one that is solved, or not.
    poses = [*episode.poses[:-1:every], episode.poses[-1]]
    try:
        frames = list(draw(poses, width, height))
    except NoGraphicsError:
        return None
    return film_bytes(frames, SECOND / every)
