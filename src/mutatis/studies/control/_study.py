"""Studies of control: methods that learn the tasks of Meta-World, together or each alone, judged goal by goal."""

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import jax
import numpy as np

from mutatis.rl import Environment
from mutatis.rl._settings import check_shares
from mutatis.studies._galleries import film_arrays
from mutatis.studies._numbers import count
from mutatis.studies._study import Job, Outcome, Schedule, Study

if TYPE_CHECKING:
    from mutatis.studies.control._arenas import Arena
    from mutatis.worlds import Evaluation

Policy = Callable[[np.ndarray], np.ndarray]
Build = Callable[..., Callable]
"""`build(sizes, num_tasks, key=)`: a network that knows which task it is at."""


MOST_NAMES = 12
"""Tasks that a description names one by one."""
MOST_FILMED = 250
"""Actions of an episode that a film shows; what is not solved by then seldom is."""


class Agent(Protocol):
    """A learner of control, as a study trains it. `T` tasks; worlds of the first task first."""

    @property
    def actions_per_step(self) -> int:
        """Actions in each world during one step of the schedule."""
        ...

    def init(self, key: jax.Array) -> Any:
        """The state before the first step; the key is consumed."""
        ...

    def advance(self, state: Any, steps: int) -> tuple[Any, np.ndarray | None]:
        """A new state (the old one stays), and losses `(steps, T)`, or `None` if nothing was learned yet."""
        ...

    def policy(self, state: Any) -> Policy:
        """Actions without noise for observations of `T` times any number of worlds."""
        ...

    def steps_done(self, state: Any) -> int:
        """Steps of the schedule that lie behind a state."""
        ...

    def measures(self, state: Any) -> Mapping[str, Any]:
        """What else to record at an evaluation: numbers, or arrays by task."""
        ...


@dataclass(frozen=True)
class TaskSet:
    """Tasks by name, with the sentence that says how they are played; simulated, so that no file is to be checked."""

    tasks: tuple[str, ...]
    protocol: str
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The tasks in a line."""
        named = f" ({', '.join(self.tasks)})" if len(self.tasks) <= MOST_NAMES else ""
        return f"{count(len(self.tasks), 'task')}{named}. {self.protocol}"


class DivergedError(ArithmeticError):
    """What a critic expects of a task cannot be: training is stopped before more is lost."""


@dataclass(frozen=True)
class ControlTrainer:
    """How one agent learns some tasks; a `Trainer` of the training loop."""

    agent: Agent
    schedule: Schedule
    tasks: tuple[str, ...]
    environment: Environment
    seed: int
    judge: "Callable[[Policy], Evaluation]"
    """Plays the goals that the curve is drawn from."""
    most_loss: float
    """A loss above it says that the critic has diverged."""

    def init(self) -> Any:
        """Untrained networks and fresh worlds."""
        return self.agent.init(jax.random.key(self.seed))

    def advance(self, carry: Any, steps: int) -> tuple[Any, np.ndarray | None, None]:
        """Acting and learning."""
        carry, losses = self.agent.advance(carry, steps)
        if losses is not None and (losses > self.most_loss).any():
            row, task = np.argwhere(losses > self.most_loss)[0]
            raise DivergedError(
                f"the critic of {self.tasks[task]} diverges: its loss is {losses[row, task]:.3g}, and no value of this "
                f"task can be so wrong (at most {self.most_loss:.3g}). Lower --learning-rate, set --clip, or normalise "
                "the rewards; the last checkpoint is from before."
            )
        return carry, losses, None

    def evaluate(self, carry: Any) -> Mapping[str, Any]:
        """Success and return by task, and the agent's own measures."""
        found = self.judge(self.agent.policy(carry))
        success, at_end, returns = found.rates(), found.rates(at_end=True), found.returns.mean(axis=(1, 2))
        return {
            "environment steps": self.environment_steps(self.agent.steps_done(carry)),
            "success": success.mean(),
            "success at end": at_end.mean(),
            "return": returns.mean(),
            "success by task": success,
            "success at end by task": at_end,
            "return by task": returns,
            **self.agent.measures(carry),
        }

    def environment_steps(self, steps: int) -> int:
        """Actions in all worlds together."""
        return steps * self.agent.actions_per_step * self.environment.num_envs

    def task_name(self, index: int) -> str:
        """Losses come by task."""
        return f"task {self.tasks[index]!r}"


@dataclass(frozen=True)
class ControlMethod:
    """A way to learn the tasks.

    - `build`: `build(study, environment) -> Agent`.
    - `alone`: each task is a job of its own, with its share of the environment steps.
    """

    name: str
    build: Callable[[Any, Environment], Agent]
    alone: bool = False


def load_arenas() -> Any:
    """The worlds, loaded when they are wanted: who lists studies, or runs others, needs no simulator."""
    try:
        from mutatis.studies.control import _arenas
    except ModuleNotFoundError as error:
        raise ValueError(f"this study needs the simulator ({error}): pip install 'mutatis[worlds]'") from error
    return _arenas


@dataclass(frozen=True, kw_only=True)
class ControlStudy(Study):
    """Tasks of Meta-World learned together or each alone; a subclass says by what."""

    rows: ClassVar[tuple[ControlMethod, ...]] = ()
    """The methods there are."""

    seeds: int = 2
    benchmark: str = "MT10"
    """MT10, MT25 or MT50."""
    tasks: tuple[str, ...] = ()
    """Only these tasks, with the goals that they have in the benchmark, or of their own if they are not in it."""
    environment_steps: int = 20_000_000
    """Actions in all worlds of all tasks together; a method that learns each task alone shares them out."""
    worlds_per_task: int = 1
    """Worlds of each task that are acted in side by side."""
    reward: Literal["v1", "v2"] = "v2"
    """Which rewards: of version 2, or the older ones, which differ much more from task to task."""
    horizon: int = 500
    """Actions in an episode."""
    backend: Literal["cpu", "gpu"] = "cpu"
    """Where the worlds are simulated."""
    width: int = 400
    """Units of each hidden layer."""
    depth: int = 3
    """Hidden layers."""
    discount: float = 0.99
    evaluations: int = 20
    """Evaluations during training, evenly spaced."""
    progress_goals: int = 10
    """Goals of each task that an evaluation during training plays."""
    goals: int = 50
    """Goals of each task that the final evaluation plays."""
    films: bool = True
    """Film the final policy at each task, for the report."""

    def __post_init__(self):
        self.check_known("methods", sorted(row.name for row in self.rows))
        counts = ("environment_steps", "worlds_per_task", "horizon", "width", "depth", "evaluations")
        self.check_positive(*counts, "progress_goals", "goals")
        check_shares(discount=self.discount)

    def task_names(self) -> tuple[str, ...]:
        """The tasks in the order of their heads."""
        return load_arenas().task_names(self.benchmark, self.tasks)

    def jobs(self) -> list[Job]:
        """A job for each method and seed; for each task too where it is learned alone."""
        found = []
        for method in self.methods:
            names = [f"{method}: {task}" for task in self.task_names()] if self._row(method).alone else [method]
            found += [Job(name, seed) for name in names for seed in range(self.seeds)]
        return found

    def data(self, seed: int) -> TaskSet:
        """The tasks and how they are played."""
        del seed
        said = (
            f"Rewards {self.reward}, {self.horizon} actions an episode, the 50 official goals of the seed; success at "
            "any step counts, and each goal the same; success ends no episode."
        )
        return TaskSet(self.task_names(), said)

    @abc.abstractmethod
    def schedule(self, environment_steps: int, worlds: int) -> Schedule:
        """When to evaluate and stop, with so many actions in all in so many worlds."""

    @abc.abstractmethod
    def most_loss(self) -> float:
        """The greatest loss that a sound critic can have."""

    def trainer(self, data: TaskSet, job: Job) -> ControlTrainer:
        """How this job learns."""
        method, tasks = self._split(job.method)
        share = self.environment_steps * len(tasks) // len(data.tasks)
        arena = self._arena(tasks, job.seed)
        environment = arena.environment(self.worlds_per_task, self.backend)
        return ControlTrainer(
            agent=method.build(self, environment),
            schedule=self.schedule(share, environment.num_envs),
            tasks=tasks,
            environment=environment,
            seed=job.seed,
            judge=functools.partial(arena.judge, self.progress_goals),
            most_loss=self.most_loss(),
        )

    def outcome(self, data: TaskSet, trained: Any, job: Job) -> Outcome:
        """Success and return on every goal, and a film of each task."""
        trainer = self.trainer(data, job)
        method, tasks = self._split(job.method)
        policy = trainer.agent.policy(trained)
        found = self._arena(tasks, job.seed).judge(self.goals, policy)
        common = {
            "method": method.name,
            "split": "train",
            "n": found.success[0].size,
            "support": 0,
            "order": "evaluation",
            "environment steps": trainer.environment_steps(trainer.schedule.steps),
        }
        each = {
            "success": found.rates(),
            "success at end": found.rates(at_end=True),
            "return": found.returns.mean(axis=(1, 2)),
        }
        rows = [
            common | {"group": task, "metric": metric, "value": float(values[k])}
            for k, task in enumerate(tasks)
            for metric, values in each.items()
        ]
        return Outcome(rows, self._gallery(policy, tasks, job.seed) if self.films else {})

    def closing(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """The means beside what others report."""
        lines = []
        for method in self.methods:
            values = [row["value"] for row in rows if row["method"] == method and row["metric"] == "success"]
            if values:
                lines.append(f"{method}: {np.mean(values):.1%} of the goals, {self.environment_steps:,} steps")
        for entry in self.published():
            lines.append(
                f"published, {entry['method']}: {entry['success']:.1%}, {entry['environment_steps']:,} steps "
                f"({entry['protocol']}; {entry['source']})"
            )
        return "\n".join(lines)

    def _row(self, name: str) -> ControlMethod:
        return next(row for row in self.rows if row.name == name)

    def _split(self, name: str) -> tuple[ControlMethod, tuple[str, ...]]:
        """A job's method, and its tasks."""
        for row in self.rows:
            if name == row.name:
                return row, self.task_names()
            if row.alone and name.startswith(f"{row.name}: "):
                return row, (name.removeprefix(f"{row.name}: "),)
        raise ValueError(f"methods: there is no {name!r}")

    def _arena(self, tasks: tuple[str, ...], seed: int) -> "Arena":
        return load_arenas().Arena(self.benchmark, tasks, seed, self.reward, self.horizon)

    def _gallery(self, policy: Policy, tasks: tuple[str, ...], seed: int) -> dict[str, np.ndarray]:
        """Films by task, as encoded files; nothing where none can be drawn."""
        from mutatis.studies.control._filming import film_of

        films: dict[str, bytes] = {}
        for k, task in enumerate(tasks):

            def act(observation: np.ndarray, k: int = k) -> np.ndarray:
                return policy(np.repeat(observation, len(tasks), axis=0))[k : k + 1]

            film = film_of(act, task, seed=seed, steps=min(self.horizon, MOST_FILMED))
            if film is None:
                return {}
            films[task] = film
        return film_arrays(films)
