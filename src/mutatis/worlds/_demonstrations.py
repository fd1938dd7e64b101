"""Episodes of the scripted policies, kept in one file."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mutatis._whole_file import whole_file
from mutatis.worlds import _models
from mutatis.worlds._benchmarks import Split, select
from mutatis.worlds._evaluate import successes
from mutatis.worlds._experts import Experts
from mutatis.worlds._make import make
from mutatis.worlds._observation import SIZE
from mutatis.worlds._vector import HORIZON, Worlds

_FORMAT = "mutatis demonstrations 1"
_BY_STEP = ("observations", "actions", "rewards", "success", "terminations", "truncations")
_BY_EPISODE = ("final_observations", "tasks", "goals", "vectors")
_WIDTHS = {"observations": SIZE, "final_observations": SIZE, "actions": 4, "vectors": 6}


class Demonstration(NamedTuple):
    """One episode of L actions."""

    task: str
    goal: int
    """Index in the task's list of goals."""
    vector: np.ndarray
    """The goal as a random vector, (3,) or (6,), for `Worlds.set_goals`."""
    observations: np.ndarray
    """(L + 1, 39), the last one included, as in Minari."""
    actions: np.ndarray
    """(L, 4)."""
    rewards: np.ndarray
    """(L,)."""
    success: np.ndarray
    """Boolean, (L,)."""
    terminations: np.ndarray
    """Boolean, (L,); never true, since success does not end an episode."""
    truncations: np.ndarray
    """Boolean, (L,); true at the end."""


@dataclass(frozen=True)
class Demonstrations:
    """E episodes of N actions in all, one after the other.

    Arrays by action are flat, as in D4RL (Fu et al. 2020), and all have N rows, so that row n of `actions` answers row
    n of `observations`. What an episode showed after its last action stands apart.

    **Attributes:**

    - `observations`: before each action, (N, 39).
    - `actions`: (N, 4), float32, from -1 to 1, noise included.
    - `rewards`: (N,).
    - `success`: after each action, boolean (N,).
    - `terminations`: boolean (N,), all false: success does not end an episode.
    - `truncations`: boolean (N,), true at each episode's last action.
    - `offsets`: the first row of each episode, and N, (E + 1,).
    - `final_observations`: after each episode's last action, (E, 39).
    - `tasks`: index of each episode's task in `metadata["tasks"]`, (E,).
    - `goals`: index of each episode's goal, (E,).
    - `vectors`: goals as random vectors, (E, 6), with NaN in the last three where the task's have three.
    - `metadata`: how they were made: benchmark, split, seed, tasks, expert, noise, simulator, reward and so on.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    success: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    offsets: np.ndarray
    final_observations: np.ndarray
    tasks: np.ndarray
    goals: np.ndarray
    vectors: np.ndarray
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return len(self.tasks)

    def episode(self, k: int) -> Demonstration:
        """The k-th episode, its last observation included; IndexError where there is none."""
        k = range(len(self))[k]
        rows = slice(self.offsets[k], self.offsets[k + 1])
        vector = self.vectors[k]
        return Demonstration(
            self.metadata["tasks"][self.tasks[k]],
            int(self.goals[k]),
            vector[np.isfinite(vector)],
            np.concatenate([self.observations[rows], self.final_observations[k, None]]),
            self.actions[rows],
            self.rewards[rows],
            self.success[rows],
            self.terminations[rows],
            self.truncations[rows],
        )


def collect_demonstrations(
    benchmark: str | Sequence[str],
    path: str | os.PathLike[str],
    *,
    split: Split = "train",
    episodes_per_task: int = 50,
    seed: int = 0,
    noise: float = 0.0,
    only_successful: bool = True,
    stop_after_success: int | None = None,
    horizon: int = HORIZON,
    progress: Callable[[str, int, int], None] | None = None,
) -> Demonstrations:
    """Lets the scripted policies act, and writes what they did to an `.npz` file.

    **Arguments:**

    - `benchmark`: as in `make`. Whether observations show the goal is as in its worlds; the policies see it.
    - `path`: of the file; it is replaced whole, at the end.
    - `split`: "train" or "test".
    - `episodes_per_task`: episodes played of each task, over its goals in turn.
    - `seed`: of the goals, which are then the official ones of that seed, and of the noise.
    - `noise`: standard deviation of Gaussian noise on the actions, before they are clipped to -1 to 1.
    - `only_successful`: whether to leave out episodes without success at any step.
    - `stop_after_success`: end an episode this many actions after its first success; None plays on to the horizon.
    - `horizon`: actions in an episode.
    - `progress`: called after each task with its name, the episodes kept and the episodes played.

    **Raises:** `ValueError` for numbers that make no sense, and as `make` does. `FileNotFoundError` if the file's
    folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: there is no folder {path.parent}; make it first")
    selection = select(benchmark, split, seed)
    least = min(len(vectors) for vectors in selection.vectors)
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise: must be a number from 0 on, not {noise}")
    if episodes_per_task < 1 or (episodes_per_task > least and not noise):
        raise ValueError(
            f"episodes_per_task: {episodes_per_task}; give 1 to {least}, the number of goals, or noise: without it the "
            "policies would only repeat themselves"
        )
    if stop_after_success is not None and stop_after_success < 0:
        raise ValueError(f"stop_after_success: must be at least 0, or None, not {stop_after_success}")

    episodes: list[dict[str, Any]] = []
    for index, (task, vectors) in enumerate(zip(selection.tasks, selection.vectors, strict=True)):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        before = len(episodes)
        for first in range(0, episodes_per_task, len(vectors)):
            here = vectors[: episodes_per_task - first]
            options = {"worlds_per_task": len(here), "observe_goal": selection.goal_observed, "horizon": horizon}
            with closing(make(task.name, redraw_goals=False, autoreset_mode="SameStep", **options)) as worlds:
                worlds.set_goals([here])
                played = _play(worlds, generator, noise, stop_after_success)
            episodes += [each | {"tasks": index} for each in played if each["success"].any() or not only_successful]
        if progress is not None:
            progress(task.name, len(episodes) - before, episodes_per_task)
    metadata = {
        "format": _FORMAT,
        "benchmark": benchmark if isinstance(benchmark, str) else list(benchmark),
        "split": split,
        "tasks": [task.name for task in selection.tasks],
        "seed": seed,
        "goal_observed": selection.goal_observed,
        "expert": "metaworld.policies",
        "noise": noise,
        "episodes_per_task": episodes_per_task,
        "only_successful": only_successful,
        "stop_after_success": stop_after_success,
        "horizon": horizon,
        "simulator": _models.version(),
        "reward": "v2",
    }
    demonstrations = _joined(episodes, metadata)
    arrays = {name: value for name, value in vars(demonstrations).items() if name != "metadata"}
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, metadata=json.dumps(metadata), **arrays)
    return demonstrations


def load_demonstrations(path: str | os.PathLike[str]) -> Demonstrations:
    """Reads what `collect_demonstrations` wrote.

    **Raises:** `FileNotFoundError` if there is no such file. `ValueError` if it is damaged, or holds something else.
    """
    try:
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: is damaged, or no .npz file ({error}); collect the demonstrations again") from error
    try:
        metadata = json.loads(str(arrays.pop("metadata")))
        if metadata["format"] != _FORMAT:
            raise ValueError(f"format {metadata['format']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: holds no demonstrations of this version ({error}); needed is a file that "
            "mutatis.worlds.collect_demonstrations wrote"
        ) from error
    try:
        demonstrations = Demonstrations(**arrays, metadata=metadata)
    except TypeError as error:
        raise ValueError(f"{path}: lacks arrays or has others ({', '.join(arrays)})") from error
    for problem in _problems(demonstrations):
        raise ValueError(f"{path}: {problem}; the file is damaged, collect the demonstrations again")
    return demonstrations


def _play(
    worlds: Worlds, generator: np.random.Generator, noise: float, stop_after_success: int | None
) -> list[dict[str, Any]]:
    """An episode of every goal of one task, each in a world: arrays by step and what stands once for an episode."""
    experts, goals = Experts(worlds), np.arange(worlds.num_envs)
    patience = np.inf if stop_after_success is None else stop_after_success
    observation, _ = worlds.reset(options={"goals": goals})
    length, since, going = np.zeros(len(goals), int), np.full(len(goals), -1), np.ones(len(goals), bool)
    steps, final = [], np.empty_like(observation)
    while going.any():
        action = experts(observation)
        action = np.clip(action + noise * generator.standard_normal(action.shape), -1.0, 1.0).astype(np.float32)
        after, reward, terminated, truncated, info = worlds.step(action)
        success = successes(info)
        since += (since >= 0) | success
        ended = truncated | (since >= patience)
        steps.append((observation, action, reward, success, terminated, ended))
        for world in np.flatnonzero(ended & going):
            final[world] = info["final_obs"][world] if truncated[world] else after[world]
        length += going
        going &= ~ended
        observation = after
    by_step = dict(zip(_BY_STEP, map(np.stack, zip(*steps, strict=True)), strict=True))
    vectors = np.full((len(goals), _WIDTHS["vectors"]), np.nan)
    vectors[:, : worlds.vectors[0].shape[1]] = worlds.vectors[0]
    return [
        {name: array[: length[goal], goal] for name, array in by_step.items()}
        | {"final_observations": final[goal], "goals": goal, "vectors": vectors[goal]}
        for goal in goals
    ]


def _joined(episodes: list[dict[str, Any]], metadata: dict[str, Any]) -> Demonstrations:
    if not episodes:
        raise ValueError("only_successful: no episode had success; give a longer horizon, less noise, or False")
    by_step = {name: np.concatenate([each[name] for each in episodes]) for name in _BY_STEP}
    by_episode = {name: np.stack([each[name] for each in episodes]) for name in _BY_EPISODE}
    offsets = np.cumsum([0, *(len(each["rewards"]) for each in episodes)])
    return Demonstrations(**by_step, **by_episode, offsets=offsets, metadata=metadata)


def _problems(demonstrations: Demonstrations) -> Iterator[str]:
    """What does not fit together, in words."""
    offsets, episodes = demonstrations.offsets, len(demonstrations.tasks)
    if offsets.shape != (episodes + 1,) or offsets[0] != 0 or (np.diff(offsets) < 1).any():
        yield f"offsets are not those of {episodes} episodes"
        return
    for names, rows in ((_BY_STEP, int(offsets[-1])), (_BY_EPISODE, episodes)):
        for name in names:
            array, shape = getattr(demonstrations, name), (rows, *(_WIDTHS[n] for n in (name,) if n in _WIDTHS))
            if array.shape != shape:
                yield f"{name} has shape {array.shape}, not {shape}"
            elif name != "vectors" and not np.isfinite(array).all():
                yield f"{name} holds numbers that are not finite"
    if not np.isin(demonstrations.tasks, np.arange(len(demonstrations.metadata["tasks"]))).all():
        yield f"tasks are numbered outside of 0 to {len(demonstrations.metadata['tasks']) - 1}"
