"""What a policy achieves: every goal counts the same, every episode is played to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from mutatis._interquartile import interquartile_mean
from mutatis._timestep import Timestep
from mutatis.worlds import _models
from mutatis.worlds._benchmarks import Split
from mutatis.worlds._goals import OFFICIAL_COUNT
from mutatis.worlds._make import make
from mutatis.worlds._observation import SIZE
from mutatis.worlds._vector import Worlds

Policy = Callable[[np.ndarray], np.ndarray]
"""Observations (M, 39 or more) to actions (M, 4), from -1 to 1; row m is world m."""
Begin = Callable[[np.ndarray], None]
"""Called before the first action of new episodes with the worlds where they begin, boolean (M,)."""
Learn = Callable[[np.ndarray, np.ndarray, Timestep], None]
"""Called with what was seen and done, and with what that showed, in NumPy's arrays; what ends an episode counts as
termination if it is success."""

_RESAMPLES = 2000


def evaluation_worlds(
    benchmark: str | Sequence[str],
    split: Split = "train",
    *,
    seed: int = 0,
    goals: int | None = None,
    **options: Any,
) -> Worlds:
    """One world for every goal: in world k of a task the k-th goal, in every episode.

    A meta-learner may adapt in these worlds before `evaluate`, each world's episodes being about one goal.

    **Arguments:**

    - `benchmark`: as in `make`.
    - `split`: "train" or "test".
    - `seed`: of the goals, which are then the official ones of that seed.
    - `goals`: use only so many of each task's 50 goals, the first.
    - `options`: of `make`; `autoreset_mode` is "SameStep" unless told otherwise.

    **Raises:** `TypeError` for an option that this protocol decides. `ValueError` for a number of goals that is not
    from 1 to 50, and as `make` does.
    """
    refuse(options, "evaluation_worlds")
    count = OFFICIAL_COUNT if goals is None else goals
    if not 1 <= count <= OFFICIAL_COUNT:
        raise ValueError(f"goals: a task has {OFFICIAL_COUNT} goals; use 1 to {OFFICIAL_COUNT} of them, not {count}")
    options = {"autoreset_mode": AutoresetMode.SAME_STEP} | options
    worlds = make(benchmark, split, worlds_per_task=count, seed=seed, redraw_goals=False, **options)
    worlds.set_goals([vectors[:count] for vectors in worlds.vectors])
    worlds.reset(options={"goals": _every_goal(worlds)})
    return worlds


def evaluate(policy: Policy, worlds: Worlds, *, episodes: int = 1, begin: Begin | None = None) -> Evaluation:
    """Plays whole episodes of every goal of every task.

    Success does not end an episode, and each goal counts the same however soon it is solved. (The official evaluation
    counts the episodes that end first; see `evaluate_officially`.) A world whose physics diverges ends its episode
    there, with the successes that it had.

    **Arguments:**

    - `policy`: observations (M, 39 or more) to actions (M, 4).
    - `worlds`: one for every goal, as `evaluation_worlds` makes them. They are reset first.
    - `episodes`: of every goal.
    - `begin`: for policies that remember: called before the first action of new episodes with the worlds (M,) where
      they begin.

    **Raises:** `ValueError` if the worlds are not one for every goal, end on success, or are not reset by themselves.
    """
    if episodes < 1:
        raise ValueError(f"episodes: must be at least 1, not {episodes}")
    if worlds.metadata["autoreset_mode"] is AutoresetMode.DISABLED:
        raise ValueError("worlds: have autoreset_mode='Disabled'; evaluate needs 'SameStep' or 'NextStep'")
    goals = _every_goal(worlds)
    records = [_play(policy, worlds, goals, begin) for _ in range(episodes)]
    shape = (len(worlds.tasks), len(worlds.vectors[0]), episodes)
    arrays = [np.stack(each, axis=-1).reshape(shape) for each in zip(*records, strict=True)]
    return Evaluation(tuple(worlds.tasks), *arrays, settings=describe(worlds))


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` saw, in T tasks, G goals, E episodes.

    Intervals come from a stratified bootstrap: goals are drawn anew, with replacement, within each task. They say how
    far the numbers depend on the goals at hand, not on the training seed: for that, compare runs.

    **Attributes:**

    - `tasks`: names, T.
    - `success`: whether the task was solved at any step, boolean (T, G, E).
    - `success_at_end`: whether it was solved at the last step, boolean (T, G, E).
    - `steps`: actions until the first success, (T, G, E); the horizon where there was none.
    - `returns`: sums of rewards, (T, G, E).
    - `settings`: of the worlds, for `row`.
    """

    tasks: tuple[str, ...]
    success: np.ndarray
    success_at_end: np.ndarray
    steps: np.ndarray
    returns: np.ndarray
    settings: dict[str, Any]

    def rates(self, *, at_end: bool = False) -> np.ndarray:
        """Share of solved episodes by task, (T,): solved at any step, or at the last one."""
        return self._by_goal(at_end).mean(axis=1)

    def mean(self, *, at_end: bool = False, resamples: int = _RESAMPLES, seed: int = 0) -> Estimate:
        """The mean success rate over goals, then tasks."""
        return _estimate(lambda rates: rates.mean(axis=-1), self._by_goal(at_end), resamples, seed)

    def interquartile_mean(self, *, at_end: bool = False, resamples: int = _RESAMPLES, seed: int = 0) -> Estimate:
        """The mean of the middle half of the tasks' success rates (Agarwal et al. 2021)."""
        return _estimate(interquartile_mean, self._by_goal(at_end), resamples, seed)

    def mean_return(self, *, resamples: int = _RESAMPLES, seed: int = 0) -> Estimate:
        """The mean return of an episode over goals, then tasks."""
        return _estimate(lambda means: means.mean(axis=-1), self.returns.mean(axis=2), resamples, seed)

    def by_episode(self) -> list[Evaluation]:
        """E evaluations of one episode each: of a trial, what had been learned by then."""
        fields = ("success", "success_at_end", "steps", "returns")
        one = lambda k: {name: getattr(self, name)[:, :, k : k + 1] for name in fields}
        return [replace(self, **one(k)) for k in range(self.success.shape[2])]

    def row(self) -> dict[str, Any]:
        """The numbers with all that they depend on, ready for JSON."""
        _, goals, episodes = self.success.shape
        protocol = (
            f"each of {goals} goals of a task in a world of its own, {episodes} whole "
            f"episode{'s' * (episodes > 1)} of {self.settings['horizon']} actions each; success ends no episode; means "
            "over goals, then tasks; iqm: mean of the middle half of the tasks; 95 % intervals: bootstrap of the "
            f"goals within each task, {_RESAMPLES} resamples, seed 0; by episode: [mean, low, high]"
        )
        counts = {"tasks": list(self.tasks), "goals": goals, "episodes": episodes}
        return {
            "protocol": protocol,
            **self.settings,
            **counts,
            "success": self._summary(at_end=False),
            "success_at_end": self._summary(at_end=True),
            "success_by_episode": [list(each.mean()) for each in self.by_episode()],
            "return_by_episode": [list(each.mean_return()) for each in self.by_episode()],
            "return_by_task": dict(zip(self.tasks, self.returns.mean(axis=(1, 2)).tolist(), strict=True)),
        }

    def table(self) -> str:
        """Markdown: a line for each task, then mean and interquartile mean with their intervals."""
        columns = (self.rates(), self.rates(at_end=True), self.steps.mean(axis=(1, 2)), self.returns.mean(axis=(1, 2)))
        head = "| task | success | at the last step | actions until success | return |\n|---|---|---|---|---|"
        rows = [
            f"| {task} | {any_step:.3f} | {at_end:.3f} | {steps:.0f} | {total:.0f} |"
            for task, any_step, at_end, steps, total in zip(self.tasks, *columns, strict=True)
        ]
        mean = f"| **mean** | {self.mean()} | {self.mean(at_end=True)} | | |"
        middle = (
            f"| **interquartile mean** | {self.interquartile_mean()} | {self.interquartile_mean(at_end=True)} | | |"
        )
        return "\n".join([head, *rows, mean, middle])

    def _by_goal(self, at_end: bool) -> np.ndarray:
        return (self.success_at_end if at_end else self.success).mean(axis=2)

    def _summary(self, *, at_end: bool) -> dict[str, Any]:
        mean, middle = self.mean(at_end=at_end), self.interquartile_mean(at_end=at_end)
        return {
            "mean": mean.value,
            "mean_interval": [mean.low, mean.high],
            "iqm": middle.value,
            "iqm_interval": [middle.low, middle.high],
            "by_task": dict(zip(self.tasks, self.rates(at_end=at_end).tolist(), strict=True)),
        }


def describe(worlds: Worlds) -> dict[str, Any]:
    """What results in some worlds depend on."""
    return {
        **worlds.origin,
        "horizon": worlds.horizon,
        "goal_observed": bool(worlds.single_observation_space.high[SIZE - 3 : SIZE].any()),  # pyright: ignore
        "simulator": _models.version(),
    }


def refuse(options: dict[str, Any], function: str) -> None:
    """An error for options of `make` that a protocol decides."""
    decided = sorted({"worlds_per_task", "redraw_goals", "terminate_on_success"} & options.keys())
    if decided:
        raise TypeError(f"{function}: decides {', '.join(decided)} itself; leave it out")


def successes(info: dict[str, Any]) -> np.ndarray:
    """Success at a step, boolean (M,), also where the step ended an episode and the next one has begun."""
    return info.get("final_info", info)["success"]


def last_observations(observation: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """What a step led to, (M, 39 or more), also where it ended an episode and the next one has begun."""
    if "final_obs" not in info:
        return observation
    last = observation.copy()
    ended = info["_final_obs"]
    last[ended] = np.stack(info["final_obs"][ended])
    return last


class _Record(NamedTuple):
    """One episode in M worlds: fields of an `Evaluation`, each (M,)."""

    success: np.ndarray
    success_at_end: np.ndarray
    steps: np.ndarray
    returns: np.ndarray


def _play(policy: Policy, worlds: Worlds, goals: np.ndarray, begin: Begin | None) -> _Record:
    """One episode of every goal."""
    solved, now, going = np.zeros(len(goals), bool), np.zeros(len(goals), bool), np.ones(len(goals), bool)
    first, returns, step = np.full(len(goals), worlds.horizon), np.zeros(len(goals)), 0
    observation, _ = worlds.reset(options={"goals": goals})
    if begin is not None:
        begin(going.copy())
    while going.any():
        observation, reward, terminated, truncated, info = worlds.step(policy(observation))
        if terminated.any():
            raise ValueError("worlds: end on success; make them with terminate_on_success=False")
        step += 1
        now = np.where(going, successes(info), now)
        first[now & ~solved] = step
        solved |= now
        returns += np.where(going, reward, 0.0)
        going &= ~truncated
    return _Record(solved, now, first, returns)


def _every_goal(worlds: Worlds) -> np.ndarray:
    """The goal that each world is to meet, (M,): the k-th in a task's k-th world."""
    counts = np.array([len(vectors) for vectors in worlds.vectors])
    here = np.bincount(worlds.task_index)
    if (counts != here).any():
        task = np.flatnonzero(counts != here)[0]
        raise ValueError(
            f"worlds: {worlds.tasks[task]} has {here[task]} worlds for {counts[task]} goals; one for each is needed, "
            "as mutatis.worlds.evaluation_worlds makes them"
        )
    return np.concatenate([np.arange(count) for count in counts])


def _estimate(
    statistic: Callable[[np.ndarray], np.ndarray], by_goal: np.ndarray, resamples: int, seed: int
) -> Estimate:
    """A statistic of the tasks' rates (..., T) and its interval, from the goals' rates (T, G)."""
    picks = np.random.default_rng(seed).integers(by_goal.shape[1], size=(resamples, *by_goal.shape))
    rates = np.take_along_axis(by_goal[None], picks, axis=2).mean(axis=2)
    low, high = np.quantile(statistic(rates), (0.025, 0.975))
    return Estimate(float(statistic(by_goal.mean(axis=1))), float(low), float(high))
