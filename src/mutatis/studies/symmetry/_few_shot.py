"""Studies of few-shot learning whose query, and not the support, is flipped, turned and cropped."""

import abc
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mutatis import Average, Learner, adapt, outer_init, outer_scan
from mutatis._citation import citation
from mutatis._types import Key
from mutatis.rules import cross_entropy
from mutatis.shift._metrics import seed_interval
from mutatis.studies._study import ADAPTED, Job, Outcome, Schedule, Study
from mutatis.symmetry._augment import Augmentation
from mutatis.symmetry._episodes import Episodes
from mutatis.symmetry._few_shot import METHODS, AugmentedSupport, FewShotMethod, FewShotSetting
from mutatis.symmetry._glyphs import digit_glyphs
from mutatis.symmetry._omniglot import omniglot

BY_NAME = {method.name: method for method in METHODS}

QUERIES = {
    # The first leaves images as they are, by the program of the others.
    "clean": {"flip": 0, "angle": 0, "area": 1},
    "augmented": {},
    "flips": {"angle": 0, "area": 1},
    "turns": {"flip": 0, "area": 1},
}
"""Kinds of query that every arm is judged by: settings of `Augmentation`."""

VALIDATION_KEY, TEST_KEY = 1000, 1001
"""Seeds of the episodes to choose by and to test; the same for all arms and seeds."""

# Reading costs seconds and the seeds of a method run in one process.
_omniglot, _glyphs = functools.lru_cache(maxsize=1)(omniglot), functools.lru_cache(maxsize=1)(digit_glyphs)

Sampler = Episodes | AugmentedSupport


@functools.lru_cache(maxsize=64)
def _optimiser(method: FewShotMethod, learning_rate: float) -> optax.GradientTransformation:
    # One object for all seeds: the compiled step is looked up by it.
    adam = optax.adam(learning_rate)
    return adam if method.frozen is None else optax.chain(adam, optax.masked(optax.set_to_zero(), method.frozen))


@eqx.filter_jit
def _judged(learner: Learner, sampler: Sampler, key: Key) -> tuple[Array, Array, Array, Array]:
    """One episode's queries, their classes, and what is predicted before and after adaptation."""
    task = jax.tree.map(lambda leaf: leaf[0], sampler(key))
    inputs, targets = task.query
    # No arm's adaptation is random: any key will do.
    models = learner.model, adapt(learner, task.context, key=key)
    before, after = (jnp.argmax(model(inputs), axis=-1) for model in models)
    return inputs, targets, before, after


@eqx.filter_jit
def _accuracies(learner: Learner, sampler: Sampler, keys: Key) -> Float[Array, "episodes"]:
    """The share of right predictions in one episode for each key."""

    def one(key):
        _, targets, _, after = _judged(learner, sampler, key)
        return jnp.mean(after == targets, dtype=jnp.float32)

    return jax.lax.map(one, keys)


@dataclass(frozen=True, eq=False)
class FewShotData:
    """Classes to learn from, to choose by and to test: images `(classes, drawers, h, w)` each.

    - `size`: of the images that a network sees.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    size: int
    checksums: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class FewShotTrainer:
    """How one arm learns from episodes; a `Trainer` of the training loop.

    - `query_view`: what the query's images undergo in training and in choosing; `None` leaves them alone.
    - `queries`: rows of a class that judge in training, and in choosing and testing.
    """

    method: FewShotMethod
    setting: FewShotSetting
    data: FewShotData
    seed: int
    schedule: Schedule
    learning_rate: float
    tasks_per_step: int
    shots: int
    queries: tuple[int, int]
    query_view: Augmentation | None
    validation_episodes: int

    def init(self) -> Any:
        """A fresh learner and its outer state."""
        build_key, outer_key = jax.random.split(jax.random.key(self.seed))
        learner = self.method.build(self.setting, build_key)
        optim = _optimiser(self.method, self.learning_rate)
        return learner, outer_init(learner, Average(), optim, num_groups=self.tasks_per_step, key=outer_key)

    def advance(self, carry: Any, steps: int) -> tuple[Any, Any, Any]:
        """`steps` outer steps."""
        learner, state = carry
        learner, state, history = outer_scan(
            learner, state, self.training, steps=steps, objective=cross_entropy, map_tasks=True
        )
        return (learner, state), history.losses, history.index

    def evaluate(self, carry: Any) -> Mapping[str, float]:
        """Accuracy on validation episodes of the kind that is trained on."""
        learner = self.method.at_test(carry[0], self.setting)
        accuracies = _accuracies(learner, self.validation, _keys(VALIDATION_KEY, self.validation_episodes))
        return {"accuracy": float(jnp.mean(accuracies))}

    def task_name(self, index: int) -> str:
        """Episodes are drawn anew for every step; they have a place in it."""
        return f"episode {index} of the step"

    @functools.cached_property
    def training(self) -> Sampler:
        """The tasks of a step."""
        return self.sampler(self.data.train, self.query_view, self.queries[0], self.tasks_per_step)

    @functools.cached_property
    def validation(self) -> Sampler:
        """An episode to choose by."""
        return self.sampler(self.data.validation, self.query_view, self.queries[1])

    def sampler(self, images: Any, view: Augmentation | None, queries: int, tasks: int = 1) -> Sampler:
        """Draws episodes as this arm meets them."""
        episodes = Episodes(images, self.setting.ways, self.shots, queries, tasks, self.data.size, query_view=view)
        copies = self.method.support_copies
        return AugmentedSupport(episodes, Augmentation(), copies) if copies else episodes


def _keys(seed: int, episodes: int) -> Key:
    return jax.random.split(jax.random.key(seed), episodes)


@dataclass(frozen=True, kw_only=True)
class FewShotStudy(Study):
    """Arms compared on few-shot episodes; a subclass says of which classes and how large."""

    seeds: int = 3
    methods: tuple[str, ...] = tuple(BY_NAME)
    """Arms to compare."""
    ways: int = 5
    """Classes of an episode."""
    shots: int = 1
    """Examples of each class that a model adapts to."""
    queries: int = 15
    """Examples of each class that judge it, in validation and test."""
    train_queries: int = 5
    """The same in training."""
    augmented: bool = True
    """Flip, turn and crop the queries of training and validation; off is the plain task. The test has both."""
    width: int = 16
    """Channels of each convolution."""
    steps: int = 1500
    """Outer steps."""
    inner_steps: int = 1
    """Inner steps in training."""
    test_steps: int = 3
    """Inner steps in validation and test."""
    inner_rate: float = 0.1
    """Where the learning rates of the inner loop start: one for each tensor, all of them trained."""
    learning_rate: float = 3e-3
    """Of Adam, in the outer loop."""
    tasks_per_step: int = 4
    """Episodes of one outer step."""
    evaluate_every: int = 250
    """Steps between looks at the validation episodes."""
    validation_episodes: int = 100
    """How many these are; of the models that are looked at, the best is tested."""
    test_episodes: int = 1000
    """Test episodes, the same for all arms and seeds."""
    steps_per_dispatch: int = 50
    """Steps in one compiled call."""

    def __post_init__(self):
        self.check_known("methods", BY_NAME)
        for name in ("validation_episodes", "test_episodes"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} is {getattr(self, name)}; pass at least 2, for an interval.")

    @abc.abstractmethod
    def data(self, seed: int) -> FewShotData:
        """The classes."""

    def trainer(self, data: FewShotData, job: Job) -> FewShotTrainer:
        """How this arm learns."""
        schedule = Schedule(
            steps=self.steps,
            evaluate_every=self.evaluate_every,
            checkpoint_every=self.evaluate_every,
            steps_per_dispatch=self.steps_per_dispatch,
            selection="accuracy",
        )
        return FewShotTrainer(
            BY_NAME[job.method],
            self._setting(data.size),
            data,
            job.seed,
            schedule,
            self.learning_rate,
            self.tasks_per_step,
            self.shots,
            (self.train_queries, self.queries),
            Augmentation() if self.augmented else None,
            self.validation_episodes,
        )

    def outcome(self, data: FewShotData, trained: Any, job: Job) -> Outcome:
        """Accuracy on the test episodes by every kind of query; beside it half its interval over episodes."""
        trainer = self.trainer(data, job)
        learner = trainer.method.at_test(trained[0], trainer.setting)
        keys = _keys(TEST_KEY, self.test_episodes)
        drawing = lambda kind: trainer.sampler(data.test, Augmentation(**kind), self.queries)
        samplers = {name: drawing(kind) for name, kind in QUERIES.items()}
        rows = []
        for name, sampler in samplers.items():
            accuracies = np.asarray(_accuracies(learner, sampler, keys), np.float64)
            row = {"split": "test", "group": name, "n": len(accuracies) * self.ways * self.queries}
            row |= {"metric": "accuracy", "value": float(accuracies.mean()), "support": self.ways * self.shots}
            half_width = 1.96 * accuracies.std(ddof=1) / len(accuracies) ** 0.5
            row |= {"order": ADAPTED, "half_width": float(half_width)}
            rows.append(row)
        return Outcome(rows, _gallery(learner, samplers, keys[0]))

    def citations(self) -> dict[str, str]:
        """BibTeX of the arms."""
        learner = lambda name: eqx.filter_eval_shape(BY_NAME[name].build, FewShotSetting(), jax.random.key(0))
        return {name: citation(learner(name), Average()) for name in self.methods}

    def closing(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """A Markdown table: arms by kinds of query, percent, mean and half the 95 % interval over seeds."""
        lines = [["method", *QUERIES], ["---"] * (1 + len(QUERIES))]
        for method in dict.fromkeys(row["method"] for row in rows):
            line = [method]
            for kind in QUERIES:
                values = [row["value"] for row in rows if (row["method"], row["group"]) == (method, kind)]
                interval = seed_interval(values)
                spread = f" ± {100 * interval.half_width:.1f}" if interval.n > 1 else ""
                line.append(f"{100 * interval.mean:.1f}{spread}")
            lines.append(line)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _setting(self, size: int) -> FewShotSetting:
        return FewShotSetting(self.ways, size, self.width, self.inner_rate, self.inner_steps, self.test_steps)


def _gallery(learner: Learner, samplers: Mapping[str, Sampler], key: Key, each: int = 8) -> dict[str, np.ndarray]:
    """Some queries of one episode by every kind, and what is said of them before and after adaptation."""
    judged = [map(np.asarray, _judged(learner, sampler, key)) for sampler in samplers.values()]
    images, *said = (np.stack(arrays) for arrays in zip(*judged, strict=True))
    chosen = np.linspace(0, images.shape[1] - 1, min(each, images.shape[1])).astype(int)
    shown = np.rint(255 * np.clip(images[:, chosen], 0, 1)).astype(np.uint8)
    targets, before, after = (labels[:, chosen] for labels in said)
    names = np.array(list(samplers))
    return {"images": shown, "targets": targets, "before": before, "after": after, "group_names": names}


@dataclass(frozen=True, kw_only=True)
class SymmetryOmniglot(FewShotStudy):
    """Omniglot, 8 alphabets: one clean image of a new character to learn from, flipped and turned ones to tell."""

    name: ClassVar[str] = "symmetry-omniglot"
    data_dir: Path | None = None
    """Folder of the official data files; else the environment variable MUTATIS_DATA."""

    def data(self, seed: int) -> FewShotData:
        """The characters; their division is fixed."""
        del seed
        characters = _omniglot(self.data_dir)
        train, validation, test = characters.split()
        description = (
            f"Omniglot, {len(train)} characters of 4 alphabets to learn from, {len(validation)} of 2 others to choose "
            f"by, {len(test)} of 2 others to test."
        )
        return FewShotData(train.images, validation.images, test.images, 28, characters.checksums, description)


@dataclass(frozen=True, kw_only=True)
class SymmetryGlyphs(FewShotStudy):
    """Characters made of scikit-learn's digits, flipped and turned when asked for; embedded, minutes on two cores."""

    name: ClassVar[str] = "symmetry-glyphs"
    methods: tuple[str, ...] = ("MAML", "Meta-Curvature", "MSR", "MSR, 4 terms", "MAML, augmented support")
    steps: int = 600
    evaluate_every: int = 100

    def data(self, seed: int) -> FewShotData:
        """The glyphs; their division is fixed."""
        del seed
        description = "60 glyphs of two digits each to learn from, 20 others to choose by, 20 others to test."
        return FewShotData(*_glyphs(), 8, description=description)
