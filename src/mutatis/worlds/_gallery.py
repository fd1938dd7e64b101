"""The tasks in pictures: scripted experts at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mutatis.worlds._benchmarks import select
from mutatis.worlds._evaluate import Policy
from mutatis.worlds._experts import Experts
from mutatis.worlds._make import make
from mutatis.worlds._pictures import contact_sheet, save_picture, save_video
from mutatis.worlds._pose import Pose
from mutatis.worlds._render import Renderer
from mutatis.worlds._vector import Worlds

_ATTEMPTS, _PATIENCE = 5, 250
"""Goals at which an expert is tried until it solves one, and its actions at each."""
_REST = 12
"""Actions that are shown after a success."""
_TELLING = 0.55
"""The moment of an episode that shows best what is to be done, as a part of the way to success."""


class Episode(NamedTuple):
    """One way to success."""

    task: str
    poses: list[Pose]
    """Before the first action and after each."""
    solved: int | None
    """The first of the poses in which the task is solved; None if that takes longer."""


def episodes(benchmark: str | Sequence[str] = "MT10", *, seed: int = 0) -> list[Episode]:
    """An episode of the scripted expert in each (training) task of a benchmark, solved if the expert can."""
    names = [task.name for task in select(benchmark, "train", seed).tasks]
    found: dict[str, Episode] = {}
    for attempt in range(_ATTEMPTS):
        left = [name for name in names if name not in found or found[name].solved is None]
        if left:
            found |= {episode.task: episode for episode in _attempt(left, seed, attempt)}
    return [found[name] for name in names]


def gallery(
    benchmark: str | Sequence[str] = "MT50",
    *,
    seed: int = 0,
    columns: int = 10,
    width: int = 240,
    height: int = 180,
    camera: str = "front",
) -> np.ndarray:
    """A sheet of all (training) tasks of a benchmark, each under the hands of its expert, half way to success.

    **Arguments:**

    - `benchmark`: as in `make`.
    - `seed`: of the goals.
    - `columns`: pictures in a row.
    - `width`: of each picture, in pixels.
    - `height`: of each picture.
    - `camera`: as in `Worlds.frame`.
    """
    return _sheet(episodes(benchmark, seed=seed), columns, width, height, camera)


def video(
    benchmark: str | Sequence[str] = "MT10",
    *,
    seed: int = 0,
    columns: int = 5,
    width: int = 240,
    height: int = 180,
    camera: str = "front",
    every: int = 2,
) -> list[np.ndarray]:
    """Frames of a film: experts solve all (training) tasks of a benchmark side by side; who is done waits.

    **Arguments:**

    - `benchmark`: as in `make`.
    - `seed`: of the goals.
    - `columns`: pictures in a row.
    - `width`: of each picture, in pixels.
    - `height`: of each picture.
    - `camera`: as in `Worlds.frame`.
    - `every`: actions from one frame to the next. An action takes 1/80 s, so with 2 the film shows 40 frames of each
      second of the worlds' time.
    """
    return _film(episodes(benchmark, seed=seed), columns, width, height, camera, every)


def write_gallery(benchmark: str | Sequence[str] = "MT10", out: str | Path = "gallery", *, seed: int = 0) -> list[Path]:
    """Writes `gallery.png`, `experts.mp4` and `experts.gif` (see `gallery` and `video`) to a directory.

    MT10 takes about a minute and MT50 several, where OpenGL runs on two cores.

    **Raises:** `ValueError` for a benchmark that does not exist. `NoGraphicsError` where OpenGL cannot draw.
    """
    found = episodes(benchmark, seed=seed)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    columns = 5 if len(found) <= 25 else 10
    film = _film(found, columns, width=240, height=180, camera="front", every=2)
    small = _film(found, columns, width=144, height=108, camera="front", every=4)
    return [
        save_picture(out / "gallery.png", _sheet(found, columns, width=240, height=180, camera="front")),
        save_video(out / "experts.mp4", film, frames_per_second=20),
        save_video(out / "experts.gif", small, frames_per_second=10),
    ]


def play(worlds: Worlds, act: Policy, goals: Sequence[int], *, patience: int) -> list[Episode]:
    """An episode in each world, under one policy; none goes on much longer than its success is shown.

    **Arguments:**

    - `worlds`: one of each task, with autoreset_mode="Disabled". They are reset first.
    - `act`: observations (M, 39 or more) to actions (M, 4).
    - `goals`: of each world, by index, M.
    - `patience`: actions in all; fewer where all are solved, or one of the worlds ends before.
    """
    seen, _ = worlds.reset(options={"goals": np.array(goals)})
    names = [worlds.tasks[task] for task in worlds.task_index]
    poses = [[worlds.pose(world)] for world in range(len(names))]
    solved: list[int | None] = [None] * len(names)
    for step in range(1, patience + 1):
        seen, _, terminated, truncated, info = worlds.step(act(seen))
        for world, success in enumerate(info["success"]):
            if solved[world] is None and success:
                solved[world] = step
        for world, first in enumerate(solved):
            if first is None or step <= first + _REST:
                poses[world].append(worlds.pose(world))
        over = all(first is not None and step >= first + _REST for first in solved)
        if over or (terminated | truncated).any():
            break
    return [Episode(*each) for each in zip(names, poses, solved, strict=True)]


def draw(poses: Sequence[Pose], width: int, height: int, camera: str = "front") -> Iterator[np.ndarray]:
    """Pictures of one task, (height, width, 3); its graphics are freed, as those of all tasks would take gigabytes.

    **Raises:** `NoGraphicsError` where OpenGL cannot draw.
    """
    with closing(Renderer()) as renderer:
        for pose in poses:
            yield renderer(pose, camera, width=width, height=height)


def _attempt(names: Sequence[str], seed: int, attempt: int) -> list[Episode]:
    """One episode in each of some tasks; another attempt has other goals."""
    with closing(make(names, seed=seed, autoreset_mode="Disabled")) as worlds:
        goals = [attempt % len(vectors) for vectors in worlds.vectors]
        return play(worlds, Experts(worlds), goals, patience=_PATIENCE)


def _sheet(found: Sequence[Episode], columns: int, width: int, height: int, camera: str) -> np.ndarray:
    ends = [len(episode.poses) - 1 if episode.solved is None else episode.solved for episode in found]
    moments = [[episode.poses[round(_TELLING * end)]] for episode, end in zip(found, ends, strict=True)]
    tiles = [tile for poses in moments for tile in draw(poses, width, height, camera)]
    return contact_sheet(tiles, [episode.task for episode in found], columns)


def _film(found: Sequence[Episode], columns: int, width: int, height: int, camera: str, every: int) -> list[np.ndarray]:
    tiles = [list(draw(episode.poses[::every], width, height, camera)) for episode in found]
    frames = []
    for k in range(max(map(len, tiles))):
        now = [strip[min(k, len(strip) - 1)] for strip in tiles]
        done = [episode.solved is not None and k * every >= episode.solved for episode in found]
        labels = [
            f"{episode.task} (solved)" if here else episode.task for episode, here in zip(found, done, strict=True)
        ]
        frames.append(contact_sheet(now, labels, columns))
    return frames
