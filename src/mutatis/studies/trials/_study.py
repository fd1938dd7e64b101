"""Studies of trials: learners that find out in a few episodes what a new task is, judged episode by episode."""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import jax
import numpy as np

from mutatis._citation import citation
from mutatis._types import Key, Tree
from mutatis.rl import Family, Memoryless, Player, Trials
from mutatis.studies._study import Job, Outcome, Schedule, Study
from mutatis.studies.trials._parts import Judged, Reference, TrialSet, episode_rows, judged
from mutatis.studies.trials._words import WHOLE, closing_lines


class TrialAgent(Protocol):
    """A learner of a family of tasks, as a study trains it."""

    @property
    def environment_steps_per_step(self) -> int:
        """Actions in all worlds together during one step of the schedule, if no episode ends early."""
        ...

    def init(self, key: Key) -> Any:
        """The state before the first step; the key is consumed."""
        ...

    def advance(self, state: Any, steps: int) -> tuple[Any, np.ndarray]:
        """A new state (the old one stays), and a loss of each step."""
        ...

    def player(self, state: Any) -> Player:
        """What plays a trial, by the learner's own way of exploring."""
        ...

    def steps_done(self, state: Any) -> int:
        """Steps of the schedule that lie behind a state."""
        ...


Believed = Callable[[Tree, Trials, np.ndarray], np.ndarray]
"""Tasks, trials, and which episodes to where a learner takes the goal to be before each of these."""


@dataclass(frozen=True)
class TrialMethod:
    """A way to learn a family.

    - `build`: `build(study, family) -> TrialAgent`.
    - `sources`: parts of the library that say what to cite.
    - `options`: further such parts, as the settings of a study ask for them.
    """

    name: str
    build: Callable[[Any, Family], TrialAgent]
    sources: tuple[Any, ...] = ()
    options: Callable[[Any], Sequence[Any]] = lambda study: ()


@dataclass(frozen=True)
class TrialTrainer:
    """How one agent learns a family; a `Trainer` of the training loop."""

    agent: TrialAgent
    schedule: Schedule
    seed: int
    judge: Callable[[Player], Judged]
    """Plays the trials that the curve is drawn from."""
    score: Callable[[np.ndarray], float]

    def init(self) -> Any:
        """Untrained."""
        return self.agent.init(jax.random.key(self.seed))

    def advance(self, carry: Any, steps: int) -> tuple[Any, np.ndarray, None]:
        """Playing and learning."""
        carry, losses = self.agent.advance(carry, steps)
        return carry, np.asarray(losses).reshape(steps, 1), None

    def evaluate(self, carry: Any) -> Mapping[str, Any]:
        """The score, and return and success by episode of a trial."""
        found = self.judge(self.agent.player(carry))
        by_episode = found.returns.mean(axis=0)
        measured = {
            "environment steps": self.environment_steps(self.agent.steps_done(carry)),
            "score": self.score(by_episode),
            "return by episode": by_episode,
        }
        if found.success is not None:
            measured["success by episode"] = found.success.mean(axis=0)
        return measured

    def environment_steps(self, steps: int) -> int:
        """Actions in all worlds together."""
        return steps * self.agent.environment_steps_per_step

    def task_name(self, index: int) -> str:
        """Losses are means over tasks."""
        del index
        return "all tasks together"


@dataclass(frozen=True, kw_only=True)
class TrialStudy(Study):
    """Learners of one family of tasks; a subclass says of which, and by what they learn."""

    rows: ClassVar[tuple[TrialMethod, ...]] = ()
    """The methods there are."""
    episode: ClassVar[str] = "episode"
    """What an episode is called."""
    scores_whole_trial: ClassVar[bool] = False
    """Whether all episodes of a trial count, or the last one: what is reached once there was time to explore."""

    seeds: int = 3
    environment_steps: int = 1_000_000
    """Actions in all worlds together, at most; rounded down to whole steps of learning between evaluations."""
    test_trials: int = 1_000
    """Trials that judge the final policies; the test tasks take turns."""
    progress_trials: int = 200
    """The first so many of them, at each evaluation during training."""
    test_seed: int = 1337
    """Of test tasks that are drawn, and of the chance in test trials: the same for all methods and seeds."""
    evaluations: int = 20
    """Evaluations during training, evenly spaced."""
    steps_per_dispatch: int = 10
    """Most steps of learning in one compiled call, and so the longest wait after Ctrl-C."""
    noise: bool = True
    """Whether policies draw their actions when they are judged, or take the likeliest."""
    pictures: int = 8
    """Test trials that are drawn in the report, where a family can be."""

    def __post_init__(self):
        self.check_known("methods", sorted(row.name for row in self.rows))
        self.check_positive("environment_steps", "test_trials", "progress_trials", "evaluations", "steps_per_dispatch")

    @property
    @abc.abstractmethod
    def trial_episodes(self) -> int:
        """Episodes of a trial."""

    @abc.abstractmethod
    def family(self) -> Family:
        """What is trained on."""

    @abc.abstractmethod
    def test_tasks(self) -> Tree:
        """Those that are tested on, at most `test_trials`; the same each time."""

    @abc.abstractmethod
    def about(self) -> str:
        """The family, and how it is tested, in a sentence."""

    def computed_references(self) -> Sequence[Reference]:
        """What to compare with, computed now."""
        return ()

    def picture(self, tasks: Tree, trials: Trials, believed: Believed | None = None) -> Mapping[str, np.ndarray]:
        """Arrays of `TrialGallery` for some trials; none where a family cannot be drawn.

        - `believed`: `believed(tasks, trials, episodes) -> (trials, episodes, draws, 2)`, of learners with a belief.
        """
        del tasks, trials, believed
        return {}

    def data(self, seed: int) -> TrialSet:
        """What is played.

        **Raises:** `ValueError` if the budget is too small for a step of a method.
        """
        del seed
        for method in self.methods:
            self.schedule(_agent(self, method))
        score = WHOLE if self.scores_whole_trial else f"last {self.episode}"
        trial = {
            "episodes": self.trial_episodes,
            "episode": self.episode,
            "score": f"return of the {score}",
            "whole": self.scores_whole_trial,
        }
        return TrialSet(f"{self.about()} {self.test_trials:,} test trials.", trial)

    def references(self) -> Sequence[Mapping[str, Any]]:
        """What the best there is, or one who knows nothing, would get."""
        return [one.entry() for one in _references(self)]

    def schedule(self, agent: TrialAgent) -> Schedule:
        """When to evaluate and stop, in steps of an agent.

        **Raises:** `ValueError` if there is no step.
        """
        each = agent.environment_steps_per_step
        steps = self.environment_steps // each
        if not steps:
            raise ValueError(f"environment_steps is {self.environment_steps}; one step of learning alone takes {each}.")
        every = max(1, steps // self.evaluations)
        return Schedule(
            steps=steps // every * every,
            evaluate_every=every,
            checkpoint_every=every,
            steps_per_dispatch=self.steps_per_dispatch,
        )

    def trainer(self, data: TrialSet, job: Job) -> TrialTrainer:
        """How this job learns."""
        del data
        agent = _agent(self, job.method)
        judge = functools.partial(self.judge, self.progress_trials)
        return TrialTrainer(agent, self.schedule(agent), job.seed, judge, self.score)

    def outcome(self, data: TrialSet, trained: Any, job: Job) -> Outcome:
        """Return and success of each episode of a trial, and some trials to draw."""
        trainer = self.trainer(data, job)
        player = trainer.agent.player(trained)
        found = self.judge(self.test_trials, player)
        steps = trainer.environment_steps(trainer.schedule.steps)
        common = {"split": "test", "n": len(found.returns), "order": "trial", "environment steps": steps}
        rows = episode_rows(found, self.episode, common)
        if not self.pictures:
            return Outcome(rows, {})
        _, tasks = _worlds(self)
        first = jax.tree.map(lambda x: x[: self.pictures], tasks)
        return Outcome(rows, dict(self.picture(first, found.first, self._believed(trainer.agent, trained))))

    def _believed(self, agent: TrialAgent, state: Any) -> Believed | None:
        """What shows the belief of a learner that has one."""
        told, key = getattr(agent, "believed", None), jax.random.fold_in(jax.random.key(self.test_seed), 3)
        return told and (lambda tasks, trials, shown: told(state, tasks, trials, shown, key))

    def score(self, by_episode: np.ndarray) -> float:
        """Of mean returns by episode, what counts."""
        return float(by_episode.sum() if self.scores_whole_trial else by_episode[-1])

    def judge(self, trials: int, player: Player) -> Judged:
        """What a player earns in the first so many test trials."""
        family, tasks = _worlds(self)
        first = jax.tree.map(lambda x: x[:trials], tasks)
        chance = jax.random.fold_in(jax.random.key(self.test_seed), 1)
        return jax.tree.map(np.asarray, judged(family, first, player, chance, self.trial_episodes, self.pictures))

    def simulated(self, name: str, player: Player, **roles: bool) -> Reference:
        """What a known algorithm gets in the very test trials."""
        returns = self.judge(self.test_trials, player).returns
        if isinstance(player, Memoryless):  # no episode differs from another but by chance
            returns = np.broadcast_to(returns.mean(), returns.shape)
        by_episode = returns.mean(axis=0)
        return Reference(name, self.score(by_episode), tuple(map(float, by_episode)), exact=False, **roles)

    def closing(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """The scores beside the references and what others report."""
        return closing_lines(self.data(0).trial, self.methods, rows, self.references(), self.published())

    def citations(self) -> dict[str, str]:
        """BibTeX of the methods."""
        return {row.name: citation(*row.sources, *row.options(self)) for row in self.rows}


@dataclass(frozen=True, kw_only=True)
class EpisodicStudy(TrialStudy):
    """A study whose trials have several episodes of several steps."""

    episodes: int = 2
    """Episodes of a trial: of one task, with everything kept that was found out."""
    horizon: int = 20
    """Steps of an episode."""

    def __post_init__(self):
        super().__post_init__()
        self.check_positive("episodes", "horizon")

    @property
    def trial_episodes(self) -> int:
        """As set."""
        return self.episodes


# What is made once in a process is compiled once: the seeds of a method come to the same process.
@functools.lru_cache(maxsize=8)
def _agent(study: TrialStudy, method: str) -> TrialAgent:
    row = next(row for row in study.rows if row.name == method)
    return row.build(study, study.family())


@functools.lru_cache(maxsize=2)
def _worlds(study: TrialStudy) -> tuple[Family, Tree]:
    """The family, and one task for each test trial."""
    tasks = study.test_tasks()
    turns = np.arange(study.test_trials) % jax.tree.leaves(tasks)[0].shape[0]
    return study.family(), jax.tree.map(lambda x: jax.numpy.asarray(x)[turns], tasks)


@functools.lru_cache(maxsize=2)
def _references(study: TrialStudy) -> tuple[Reference, ...]:
    return tuple(study.computed_references())
