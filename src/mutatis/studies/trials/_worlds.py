"""Studies of trials on Meta-World: tasks and goals that were never met, judged goal by goal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import jax
import numpy as np

from mutatis._references import YU_2019
from mutatis._types import Tree
from mutatis.rl import Player
from mutatis.shift._metrics import seed_interval
from mutatis.studies._galleries import film_arrays
from mutatis.studies._numbers import amount
from mutatis.studies._study import Job, Outcome
from mutatis.studies.control._study import load_arenas
from mutatis.studies.trials._films import film_name
from mutatis.studies.trials._parts import Judged, TrialSet, episode_rows, judged
from mutatis.studies.trials._published_worlds import published_success
from mutatis.studies.trials._study import EpisodicStudy
from mutatis.studies.trials._words import SUCCESS, scores_by_seed, success_gain

if TYPE_CHECKING:
    from mutatis.studies.trials._arenas import WorldTasks

TRAINING = " on training tasks"
BY_TASK = " by task"
OFFICIAL = "success, official evaluation"
"""The metric of rows that are not to be mixed with `SUCCESS`: they are biased."""


@dataclass(frozen=True, kw_only=True)
class WorldStudy(EpisodicStudy):
    """Meta-World for meta-learners (Yu et al. 2019): goals are hidden, success in the last episode of a trial counts.

    The policies learn on the training tasks and are judged on the test tasks (of ML1: the test goals), every goal once,
    in a world of its own that the learner explores by itself in all episodes but the last. The official evaluation of
    the same policies stands beside, as `success, official evaluation`, with its bias in words.
    """

    benchmark: str = "ML10"
    """ML10, ML25, ML45, or ML1- and a task, as ML1-reach."""
    goal_seed: int = 0
    """Of the goals, which are the official ones of that seed; the same for all seeds of the study."""
    reward: Literal["v1", "v2"] = "v2"
    """Which rewards: of version 2, or the older ones."""
    horizon: int = 500
    episodes: int = 11
    """Episodes of a trial: those to explore and adapt in, officially ten, and the one that counts."""
    environment_steps: int = 20_000_000
    worlds_per_task: int = 10
    """Simulations of each task that are built; where more worlds are played, they take turns."""
    goals: int = 50
    """Goals of each task that the final evaluation plays, once each."""
    progress_goals: int = 5
    """Goals of each test task that an evaluation during training plays, the first ones."""
    training_goals: int = 5
    """Goals of each training task that learners with a replay of every task learn from; others draw from all 50."""
    films: bool = True
    """Whether the report shows the first and the last episode of a trial in small films."""
    official: bool = True
    """Whether the official evaluation is made too, which adapts in all episodes but the last."""
    noise: bool = False
    steps_per_dispatch: int = 1

    # A trial is a goal of each test task here, and none is drawn: these are no settings of their own.
    pictures: ClassVar[int] = 0  # pyright: ignore[reportIncompatibleVariableOverride]
    test_trials: ClassVar[Any] = property(lambda study: study.goals)  # pyright: ignore[reportIncompatibleVariableOverride]
    progress_trials: ClassVar[Any] = property(lambda study: study.progress_goals)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self):
        self.check_positive("goals", "progress_goals", "training_goals", "worlds_per_task")
        if self.official and self.episodes < 2:
            raise ValueError(
                f"episodes is {self.episodes}, and the official evaluation adapts in all but the last; pass at least "
                "2, or official=False."
            )
        super().__post_init__()

    def family(self) -> "WorldTasks":
        """The training tasks."""
        return self._tasks("train")

    def training_tasks(self) -> Tree:
        """The first goals of every training task."""
        return self.family().every(self.training_goals)

    def test_tasks(self) -> Tree:
        """The goals of every test task that are judged."""
        return self._tasks("test").every(self.goals)

    def about(self) -> str:
        """The tasks, and what others report of them."""
        training, testing = self.family().names, self._tasks("test").names
        split = f"{_told(training)} to train on, {_told(testing)} to test"
        if training == testing:
            split = "50 goals to train on, 50 others to test"
        said = (
            f"Meta-World's {self.benchmark}: {split}; goals are hidden, rewards {self.reward}; {self.episodes} "
            f"episodes of {self.horizon} actions."
        )
        reported = _reported_lines(self.reported())
        return f"{said} Papers report of the test tasks: {'; '.join(reported)}." if reported else said

    def reported(self) -> Sequence[Mapping[str, Any]]:
        """Success that papers report, for version 2 rewards; not `published`, which are returns."""
        return published_success(self.benchmark) if self.reward == "v2" else ()

    def data(self, seed: int) -> TrialSet:
        """What is played; nothing is simulated yet.

        **Raises:** `ValueError` for settings that do not fit the benchmark or each other.
        """
        self._check()
        found = super().data(seed)
        counts = f"Judged on {self.goals} goals of each task, every goal once; success at any step counts."
        return TrialSet(f"{self.about()} {counts}", found.trial)

    def judge(self, trials: int, player: Player) -> Judged:
        """What a player achieves at the first so many goals of each test task."""
        return self._judged("test", trials, player)

    def outcome(self, data: TrialSet, trained: Any, job: Job) -> Outcome:
        """Success and return of each episode, success by task on test and training tasks, and the official one."""
        trainer = self.trainer(data, job)
        player = trainer.agent.player(trained)
        rows = self._rows("test", player) + self._rows("train", player)
        if self.official:
            rows += self._official_rows(player)
        steps = trainer.environment_steps(trainer.schedule.steps)
        return Outcome([row | {"environment steps": steps} for row in rows], self._films(player) if self.films else {})

    def closing(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Success beside what others report."""
        trial, test_tasks = self.data(0).trial, f"{len(self._tasks('test').names) * self.goals} goals"
        lines = [f"Success in the last of {self.episodes} episodes, {test_tasks} of the test tasks:"]
        for method in self.methods:
            scores = scores_by_seed(trial, rows, method, SUCCESS)
            if not scores:
                continue
            found = seed_interval(list(scores.values()))
            spread = f" ± {found.half_width:.1%}" if np.isfinite(found.half_width) else ""
            steps = max(int(row["environment steps"]) for row in rows if row["method"] == method)
            lines.append(f"  {method}: {found.mean:.1%}{spread}{_beside(rows, method)} ({amount(steps)} steps)")
        for one in self.reported():
            training = "" if one["training_success"] is None else f", training tasks {one['training_success']:.1%}"
            lines.append(
                f"  published, {one['method']}: {one['success']:.1%}{training} ({amount(one['environment_steps'])} "
                f"steps; {one['protocol']}; {one['source']})"
            )
        return "\n".join(lines)

    def citations(self) -> dict[str, str]:
        """BibTeX of the methods and the benchmark."""
        return super().citations() | {"Meta-World": YU_2019}

    def _tasks(self, split: Literal["train", "test"]) -> "WorldTasks":
        load_arenas()  # says what is to be installed
        from mutatis.studies.trials._arenas import WorldTasks

        return WorldTasks(self.benchmark, split, self.goal_seed, self.reward, self.horizon, self.worlds_per_task)

    def _check(self) -> None:
        """Refuses what training or judging would refuse later."""
        load_arenas()
        from mutatis.studies.trials._arenas import OFFICIAL_COUNT, shows_goals

        if shows_goals(self.benchmark):
            raise ValueError(
                f"benchmark is {self.benchmark!r}, which shows its goals; pass ML10, ML25, ML45, or ML1- and a task, "
                "as ML1-reach."
            )
        for name in ("goals", "progress_goals", "training_goals"):
            if getattr(self, name) > OFFICIAL_COUNT:
                raise ValueError(f"{name} is {getattr(self, name)}; a task has 1 to {OFFICIAL_COUNT} goals.")
        tasks = len(self.family().names)
        for name in ("trials", "tasks_per_step"):
            count = getattr(self, name, tasks)
            if count % tasks:
                raise ValueError(
                    f"{name} is {count}, which the {tasks} training tasks of {self.benchmark} cannot share evenly; "
                    f"pass a multiple of {tasks}."
                )

    def _judged(self, split: Literal["train", "test"], goals: int, player: Player) -> Judged:
        family, chance = self._tasks(split), jax.random.fold_in(jax.random.key(self.test_seed), 1)
        found = judged(family, family.every(goals), player, chance, self.episodes, 0)
        return jax.tree.map(np.asarray, found)

    def _rows(self, split: Literal["train", "test"], player: Player) -> list[dict[str, Any]]:
        """Of one split; numbers on training tasks have metrics of their own."""
        found, names = self._judged(split, self.goals, player), self._tasks(split).names
        suffix = "" if split == "test" else TRAINING
        common = {"split": split, "n": len(found.returns), "order": "trial"}
        rows = episode_rows(found, self.episode, common, suffix)
        last = common | {"n": self.goals, "metric": SUCCESS + BY_TASK + suffix, "support": self.episodes - 1}
        by_task = found.success[:, -1].reshape(len(names), self.goals).mean(axis=1)
        return rows + [last | {"group": name, "value": float(x)} for name, x in zip(names, by_task, strict=True)]

    def _films(self, player: Player) -> dict[str, np.ndarray]:
        """Of a trial on the first goal of each test task, as encoded files; nothing where none can be drawn."""
        from mutatis.studies.control._filming import films_of_actions

        family, chance = self._tasks("test"), jax.random.fold_in(jax.random.key(self.test_seed), 3)
        tasks = family.every(1)
        trials = judged(family, tasks, player, chance, self.episodes, len(family.names)).first
        films: dict[str, bytes] = {}
        for episode in sorted({0, self.episodes - 1}):
            names = [film_name(task, self.episode, episode + 1) for task in family.names]
            found = films_of_actions(np.asarray(trials.action[:, episode]), self.benchmark, family.options())
            films |= dict(zip(names, found, strict=False))  # there are none where nothing can be drawn
        return film_arrays(films)

    def _official_rows(self, player: Player) -> list[dict[str, Any]]:
        key = jax.random.fold_in(jax.random.key(self.test_seed), 2)
        found = self._tasks("test").officially(player, key=key, episodes=self.episodes - 1)
        said = found.row()
        common = {
            "split": "test",
            "n": found.success[:, 0].size,
            "metric": OFFICIAL,
            "support": self.episodes - 1,
            "order": said["protocol"],
            "bias": said["bias"],
        }
        return [common | {"group": name, "value": float(x)} for name, x in zip(found.tasks, found.rates(), strict=True)]


def _told(names: Sequence[str]) -> str:
    """A few tasks by name, more by their number."""
    return ", ".join(names) if len(names) <= 10 else f"{len(names)} tasks"


def _reported_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Success of all methods that one source tells of, with its protocol."""
    found: dict[str, list[str]] = {}
    for one in entries:
        how = f"{amount(one['environment_steps'])} steps, {one['protocol']}; {one['source']}"
        found.setdefault(how, []).append(f"{one['method']} {100 * one['success']:.1f} %")
    return [f"{', '.join(methods)} ({how})" for how, methods in found.items()]


def _beside(rows: Sequence[Mapping[str, Any]], method: str) -> str:
    """A method's other rates, with what they are."""
    mine = [row for row in rows if row["method"] == method]
    gain = success_gain(rows, method)
    said = "" if gain is None else f", {100 * gain.mean:+.1f} points [{100 * gain.low:.1f}, {100 * gain.high:.1f}]"
    said += "" if gain is None else " from the first"
    for metric, name in ((OFFICIAL, "officially counted"), (SUCCESS + BY_TASK + TRAINING, "training tasks")):
        values = [row["value"] for row in mine if row["metric"] == metric]
        if values:
            biased = next((f" (bias: {row['bias']})" for row in mine if row["metric"] == metric and "bias" in row), "")
            said += f"; {name} {np.mean(values):.1%}{biased}"
    return said
