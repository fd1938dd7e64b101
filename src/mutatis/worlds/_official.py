"""Meta-World's own evaluation, for comparison with published numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

from mutatis._timestep import Timestep
from mutatis.worlds._benchmarks import ML1, Split, select
from mutatis.worlds._evaluate import Begin, Learn, Policy, describe, last_observations, refuse, successes
from mutatis.worlds._goals import OFFICIAL_COUNT
from mutatis.worlds._make import make
from mutatis.worlds._vector import Worlds
from mutatis.worlds.tasks import TASKS

_META_BATCH = {"ML10": 20, "ML25": 25, "ML45": 45} | {f"{ML1}{task}": 20 for task in TASKS}
"""Worlds in the official meta-learning runs (McLean et al. 2025), shared out among the tasks of a split."""
_META_GOALS = 40
"""Test goals of a task in those runs, or the next number that its worlds can share evenly."""


def evaluate_officially(
    policy: Policy,
    benchmark: str | Sequence[str],
    split: Split = "train",
    *,
    seed: int = 0,
    episodes: int | None = None,
    worlds_per_task: int | None = None,
    goals: int | None = None,
    begin: Begin | None = None,
    adapt: Callable[[Worlds], None] | None = None,
    learn: Learn | None = None,
    **options: Any,
) -> OfficialEvaluation:
    """The official evaluation (metaworld 3.1, `evaluation`; McLean et al. 2025), goal by goal as there.

    Success ends an episode, and of each task the first `episodes` to end count. Multi-task benchmarks have one world
    of each task, which draws a goal for every episode, with replacement. Meta-learning benchmarks have several, and
    rounds: in each round a world has one goal of its share. There the result is **biased upwards**, because goals that
    are solved quickly fill the quota: with one of four goals solvable it can be 1. Report `evaluate`; use this to
    compare with published numbers.

    **Arguments:**

    - `policy`: observations (M, 39 or more) to actions (M, 4).
    - `benchmark`: as in `make`. Lists and single tasks that show their goal are evaluated as multi-task benchmarks, or,
      if `worlds_per_task` is given, as meta-learning ones.
    - `split`: "train" or "test".
    - `seed`: of the goals and of the order in which every world meets them, which is the same for all tasks.
    - `episodes`: that count for each task (and round); officially 50, and 3 in meta-learning.
    - `worlds_per_task`: in meta-learning; officially 4 in ML10's test, 9 in ML45's, 20 in ML1.
    - `goals`: use only so many of each task's 50 goals, the first; officially all, in meta-learning 40 to 45.
    - `begin`: for policies that remember, as in `evaluate`.
    - `adapt`: called with the worlds at the start of each round, to let the policy adapt in them: in meta-learning
      their goals are those of the round, which stay; elsewhere it is called once, and goals are drawn after.
    - `learn`: for policies that remember: told after every action that is evaluated what came of it.
    - `options`: of `make`.

    **Raises:** `ValueError` for goals that the worlds cannot share evenly, and as `make` does. `TypeError` for an
    option that this protocol decides.

    **Deviations**: ML25's test leaves out basketball, which is a training task too.
    """
    refuse(options, "evaluate_officially")
    batch = _META_BATCH.get(benchmark.removesuffix("-v3")) if isinstance(benchmark, str) else None
    meta = batch is not None or worlds_per_task is not None
    if worlds_per_task is None:
        worlds_per_task = 1 if batch is None else batch // len(select(benchmark, split, seed).tasks)
    if worlds_per_task < 1:
        raise ValueError(f"worlds_per_task: must be at least 1, not {worlds_per_task}")
    if goals is None:
        goals = -(-_META_GOALS // worlds_per_task) * worlds_per_task if meta else OFFICIAL_COUNT
    if not 1 <= goals <= OFFICIAL_COUNT or goals % worlds_per_task:
        raise ValueError(f"goals: {goals} cannot be shared by {worlds_per_task} worlds, each goal in one of them")
    episodes = (3 if meta else 50) if episodes is None else episodes
    if episodes < 1:
        raise ValueError(f"episodes: must be at least 1, not {episodes}")

    options = options | {"redraw_goals": False, "autoreset_mode": AutoresetMode.SAME_STEP}
    counted = []
    with closing(make(benchmark, split, worlds_per_task=worlds_per_task, seed=seed, **options)) as worlds:
        worlds.set_goals([vectors[:goals] for vectors in worlds.vectors])
        for share in _shares(goals, worlds_per_task, seed) if meta else [None]:
            fixed = (share or [0]) * len(worlds.tasks)
            if adapt is not None:
                worlds.reset(options={"goals": np.array(fixed)})
                adapt(worlds)
            queues = [_draws(goals, seed) if share is None else repeat(goal) for goal in fixed]
            counted.append(_count(policy, worlds, queues, episodes, begin, learn))
    goal, success, returns = (np.array([[[e[k] for e in task] for task in turn] for turn in counted]) for k in range(3))
    settings = describe(worlds) | {"goals": goals, "worlds_per_task": worlds_per_task, "drawn": not meta}
    return OfficialEvaluation(tuple(worlds.tasks), success, returns, goal, settings)


@dataclass(frozen=True)
class OfficialEvaluation:
    """What `evaluate_officially` counted: R rounds, T tasks, N episodes.

    **Attributes:**

    - `tasks`: names, T.
    - `success`: boolean, (R, T, N).
    - `returns`: sums of rewards until success or the horizon, (R, T, N).
    - `goal`: index of the goal of each counted episode, (R, T, N).
    - `settings`: of the worlds, for `row`.
    """

    tasks: tuple[str, ...]
    success: np.ndarray
    returns: np.ndarray
    goal: np.ndarray
    settings: dict[str, Any]

    def rates(self) -> np.ndarray:
        """Success rate of each task, (T,)."""
        return self.success.mean(axis=(0, 2))

    def mean(self) -> float:
        """The mean success rate over tasks."""
        return float(self.success.mean())

    def bias(self) -> str:
        """What is wrong with these numbers, in words."""
        met = np.mean([len(np.unique(self.goal[:, task])) for task in range(len(self.tasks))])
        goals, worlds = self.settings["goals"], self.settings["worlds_per_task"]
        if self.settings["drawn"]:
            return (
                f"no bias in the mean, but goals are drawn with replacement: {met:.1f} of {goals} goals of a task were "
                "met, some several times, so the rate is less certain than its number of episodes says"
            )
        if worlds == 1:
            return (
                f"none by the quota, since each task has one world; {met:.1f} of {goals} goals of a task were counted"
            )
        return (
            f"upwards: of {worlds} worlds of a task the first {self.success.shape[2]} episodes to end count, and "
            f"success ends an episode, so goals that are solved quickly fill the quota; {met:.1f} of {goals} goals of "
            "a task were counted"
        )

    def row(self) -> dict[str, Any]:
        """The numbers with all that they depend on, and their bias, ready for JSON."""
        rounds, _, episodes = self.success.shape
        protocol = (
            f"official (metaworld.evaluation): of each task the first {episodes} episodes to end count, in {rounds} "
            f"round{'s' * (rounds > 1)} of {self.settings['worlds_per_task']} world(s) per task; success ends an "
            "episode; mean over episodes and rounds, then tasks"
        )
        return {
            "protocol": protocol,
            "bias": self.bias(),
            **self.settings,
            "tasks": list(self.tasks),
            "episodes": episodes,
            "rounds": rounds,
            "success": {"mean": self.mean(), "by_task": dict(zip(self.tasks, self.rates().tolist(), strict=True))},
            "return_by_task": dict(zip(self.tasks, self.returns.mean(axis=(0, 2)).tolist(), strict=True)),
        }


def _count(
    policy: Policy,
    worlds: Worlds,
    goals: list[Iterator[int]],
    episodes: int,
    begin: Begin | None,
    learn: Learn | None,
) -> list[list[tuple[int, bool, float]]]:
    """Goal, success and return of the episodes of each task that end first."""
    counted: list[list[tuple[int, bool, float]]] = [[] for _ in worlds.tasks]
    ended, goal, returns = np.ones(worlds.num_envs, bool), np.zeros(worlds.num_envs, int), np.zeros(worlds.num_envs)
    observation = np.empty(0)
    while min(len(each) for each in counted) < episodes:
        if ended.any():
            goal[ended] = [next(goals[world]) for world in np.flatnonzero(ended)]
            returns[ended] = 0.0
            observation, _ = worlds.reset(options={"goals": goal, "reset_mask": ended})
            if begin is not None:
                begin(ended.copy())
        seen, action = observation, policy(observation)
        observation, reward, _, truncated, info = worlds.step(action)
        success = successes(info)
        if learn is not None:
            last = last_observations(observation, info)
            shown: Any = (observation, last, reward, success, truncated & ~success, {})
            learn(seen, action, Timestep(*shown))
        returns += reward
        ended = success | truncated
        for world in np.flatnonzero(ended):
            counted[worlds.task_index[world]].append((int(goal[world]), bool(success[world]), float(returns[world])))
    return [each[:episodes] for each in counted]


def _draws(count: int, seed: int) -> Iterator[int]:
    """Goals drawn with replacement, as the official wrapper draws them."""
    generator, _ = seeding.np_random(seed)
    while True:
        yield int(generator.choice(count))


def _shares(goals: int, worlds: int, seed: int) -> list[list[int]]:
    """The goal of each world of a task, round by round: every world meets its share once, shuffled as officially."""
    shares = [list(range(goals))[world::worlds] for world in range(worlds)]
    for share in shares:
        generator, _ = seeding.np_random(seed)
        generator.shuffle(share)
    return [list(each) for each in zip(*shares, strict=True)]
