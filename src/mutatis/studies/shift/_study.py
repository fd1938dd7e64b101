"""Studies of group shift: one training and judging procedure for every method and data set."""

import abc
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mutatis import Learner, outer_init, outer_scan
from mutatis._citation import citation
from mutatis.shift._evaluate import predict_batches, predict_source, predict_stream
from mutatis.shift._groups import GroupedData, Groups
from mutatis.shift._methods import AT_TEST, METHODS, Method, TestTime
from mutatis.shift._metrics import average, group_accuracy, worst_group
from mutatis.shift._networks import Networks
from mutatis.shift._sampling import GroupArrays, GroupSampler
from mutatis.shift._source import measure_source
from mutatis.studies._study import ADAPTED, STREAM, UNADAPTED, Job, Outcome, Schedule, Study

BY_NAME = {method.name: method for method in METHODS}


@functools.lru_cache(maxsize=64)
def _optimiser(method: Method, learning_rate: float):
    # One object for all seeds: the compiled step is looked up by it.
    return method.optim(learning_rate)


@dataclass(frozen=True)
class ShiftTrainer:
    """How one method learns from the groups of one data set; a `Trainer` of the training loop."""

    method: Method
    networks: Networks
    data: GroupedData
    validation: Groups
    seed: int
    schedule: Schedule
    learning_rate: float
    groups_per_step: int
    support: int
    mix_groups: bool
    source_steps: int

    def init(self) -> Any:
        """A fresh learner and its outer state."""
        build_key, outer_key = jax.random.split(jax.random.key(self.seed))
        learner = self.method.build(self.networks, build_key)
        optim = _optimiser(self.method, self.learning_rate)
        weighting = self.method.weighting(self.data.train)
        groups = max(len(self.data.train.names), self.groups_per_step)
        return learner, outer_init(learner, weighting, optim, num_groups=groups, key=outer_key)

    def advance(self, carry: Any, steps: int) -> tuple[Any, Any, Any]:
        """`steps` outer steps; methods that meet several context sizes divide them among the sizes."""
        learner, state = carry
        losses, index = [], []
        for sampler, share in zip(self.samplers, _shares(steps, len(self.samplers)), strict=True):
            if share:
                learner, state, history = outer_scan(
                    learner,
                    state,
                    sampler,
                    steps=share,
                    objective=self.method.objective,
                    direction=self.method.direction,
                    map_tasks=self.method.map_tasks,
                )
                first_bad = np.argmax(~np.isfinite(history.losses), axis=1)[:, None]
                index.append(np.take_along_axis(np.asarray(history.index), first_bad, 1))
                losses.append(np.mean(history.losses, axis=1, keepdims=True))
        return (learner, state), np.concatenate(losses), np.concatenate(index)

    def evaluate(self, carry: Any) -> Mapping[str, float]:
        """Accuracy on the validation groups, as the method is used at test."""
        learner = self.method.at_test(self.settled(carry, self.support))
        accuracy, counts = self.accuracies(learner, self.validation, self.support)
        return {"average": float(average(accuracy, counts)), "worst": float(worst_group(accuracy, counts))}

    def settled(self, carry: Any, support: int) -> Learner:
        """The trained learner, whose source moments are measured anew on training groups.

        They are measured in contexts of the size that is met at test: inputs that carry a context (ARM-CML) have other
        moments where contexts are small and noisy. For a support of 0, in those of training.
        """
        learner, state = carry
        if not (self.source_steps and self.method.fresh_source):
            return learner
        samplers = (self.sampler(support),) if support else self.samplers
        return measure_source(learner, samplers, steps=self.source_steps, key=state.key)

    def task_name(self, index: int) -> str:
        """The group's name; methods that mix groups have numbered batches."""
        mixed = self.method.mix_groups or self.mix_groups
        return f"batch {index}" if mixed else self.data.train.names[index]

    def predictions(self, learner: Learner, groups: Groups, support: int) -> np.ndarray:
        """Predicted classes; the unadapted model's for a support of 0."""
        if support == 0:
            return predict_source(learner, groups, mean=self.data.mean, std=self.data.std)
        return predict_batches(learner, groups, support, mean=self.data.mean, std=self.data.std, seed=self.seed)

    def accuracies(self, learner: Learner, groups: Groups, support: int) -> tuple[np.ndarray, np.ndarray]:
        """Per group: share of right predictions, and number of rows."""
        adapts = self.method.adapts or support == 0
        predicted = self.predictions(learner, groups, support if adapts else 0)
        return group_accuracy(predicted == groups.targets, groups.groups, len(groups.names))

    @functools.cached_property
    def samplers(self) -> tuple[GroupSampler, ...]:
        """One for every context size that the method meets in training."""
        supports = [size for size in self.method.supports if size <= self.support] or [self.support]
        return tuple(map(self.sampler, supports))

    def sampler(self, support: int) -> GroupSampler:
        """Draws tasks of this context size, as the method does in training; rows per step stay about the same."""
        rows, most = self.groups_per_step * self.support, MOST_TASKS * self.groups_per_step
        return GroupSampler(
            self.arrays,
            groups_per_step=max(1, min(rows // support, most)),
            support=support,
            mix_groups=self.method.mix_groups or self.mix_groups,
            balanced=self.method.balanced,
            labelled_context=self.method.labelled_context,
        )

    @functools.cached_property
    def arrays(self) -> GroupArrays:
        """The training groups on the device."""
        return GroupArrays(self.data.train, mean=self.data.mean, std=self.data.std)


MOST_TASKS = 50
"""With small contexts, at most this many times as many tasks a step as with the study's own."""


def _shares(steps: int, parts: int) -> list[int]:
    """Whole numbers, as equal as can be, that add up to `steps`."""
    return [steps // parts + (part < steps % parts) for part in range(parts)]


@dataclass(frozen=True, kw_only=True)
class ShiftStudy(Study):
    """Methods compared on one data set with groups; a subclass says which data and how large the networks are."""

    methods: tuple[str, ...] = tuple(BY_NAME)
    """Methods to compare."""
    data_dir: Path | None = None
    """Folder of the official data files; else the environment variable MUTATIS_DATA."""
    steps: int = 400
    """Outer steps."""
    learning_rate: float = 1e-3
    """Of Adam, in the outer loop."""
    groups_per_step: int = 6
    """Groups drawn for one outer step."""
    support: int = 50
    """Unlabelled examples of a group that a model adapts to, in training and in the main table."""
    test_supports: tuple[int, ...] = (1, 5, 10, 25, 50, 100)
    """Context sizes of the support curve."""
    stream_chunk: int = 10
    """Rows that arrive at once when a group is met as a stream; 0 leaves the stream out."""
    width: int = 128
    """Channels of the predictor's convolutions."""
    context_width: int = 64
    """Channels of the context network's convolutions."""
    context_channels: int = 12
    """Channels that the context network adds to an image."""
    hidden: int = 200
    """Length of the features before the last layer."""
    kernel_size: int = 5
    """Of every convolution."""
    evaluate_every: int = 100
    """Steps between looks at the validation groups."""
    validation_rows: int = 200
    """Rows of each validation group that are looked at, at most."""
    source_steps: int = 30
    """Steps' worth of training examples on which the source moments of batch norms are measured anew, under the weights
    that are judged; 0 judges with the moving average that training leaves."""
    selection: str = "last"
    """Which model is judged: "last", or the best "worst" or "average" accuracy over the validation groups."""
    steps_per_dispatch: int = 20
    """Steps in one compiled call."""
    at_test: tuple[str, ...] = tuple(extra.name for extra in AT_TEST)
    """Methods put at test on the model that was trained without adaptation (ERM)."""
    mix_groups: bool = False
    """The context ablation: training batches mix the groups, so that a context tells nothing."""

    def __post_init__(self):
        self.check_known("methods", BY_NAME)
        self.check_known("at_test", (extra.name for extra in AT_TEST))
        if self.source_steps < 0:
            raise ValueError(
                f"source_steps is {self.source_steps}; pass a number of steps, or 0 for the moving average."
            )

    @abc.abstractmethod
    def data(self, seed: int) -> GroupedData:
        """The data of this seed."""

    def trainer(self, data: GroupedData, job: Job) -> ShiftTrainer:
        """How this method learns."""
        networks = Networks(
            shape=data.train.inputs.shape[1:],
            num_classes=data.num_classes,
            width=self.width,
            context_width=self.context_width,
            context_channels=self.context_channels,
            hidden=self.hidden,
            kernel_size=self.kernel_size,
        )
        schedule = Schedule(
            steps=self.steps,
            evaluate_every=self.evaluate_every,
            checkpoint_every=self.evaluate_every,
            steps_per_dispatch=self.steps_per_dispatch,
            selection=self.selection,
        )
        return ShiftTrainer(
            BY_NAME[job.method],
            networks,
            data,
            first_rows(data.validation, self.validation_rows),
            job.seed,
            schedule,
            self.learning_rate,
            self.groups_per_step,
            self.support,
            self.mix_groups,
            self.source_steps,
        )

    def outcome(self, data: GroupedData, trained: Any, job: Job) -> Outcome:
        """Accuracy of every test group at every support, of the method and of what is put on it at test."""
        trainer = self.trainer(data, job)
        settled = functools.cache(functools.partial(trainer.settled, trained))
        at_test = lambda support: trainer.method.at_test(settled(support))
        rows = list(self._rows(trainer, at_test, trainer.method.adapts))
        learner = settled(self.support)
        for extra in self._put_at_test(trainer.method):
            setting, changed = _chosen(trainer, extra, learner)
            note = {
                "method": extra.name,
                "selection": f"{setting}, of {len(extra.candidates)} by validation worst group",
            }
            rows += [row | note for row in self._rows(trainer, lambda support, same=changed: same, adapts=True)]
        return Outcome(rows, _gallery(trainer, trainer.method.at_test(learner)))

    def citations(self) -> dict[str, str]:
        """BibTeX of the methods."""
        small = Networks(shape=(2,), num_classes=2, width=2, hidden=2, context_width=2, context_channels=2)
        none = Groups(np.zeros((1, 2), np.float32), np.zeros(1, int), np.zeros(1, int), ("",))
        entries = {}
        for name in self.methods:
            method = BY_NAME[name]
            learner = method.build(small, jax.random.key(0))
            entries[name] = citation(learner, method.direction, method.weighting(none))
            for extra in self._put_at_test(method):
                entries[extra.name] = citation(extra.candidates[0][1](learner))
        return entries

    def _put_at_test(self, method: Method) -> list[TestTime]:
        return [extra for extra in method.test_time if extra.name in self.at_test]

    def _rows(self, trainer: ShiftTrainer, learner_at: Callable[[int], Learner], adapts: bool):
        test = trainer.data.test
        for support in (0, *self.test_supports) if adapts else (0,):
            predicted = trainer.predictions(learner_at(support), test, support)
            order = ADAPTED if support else UNADAPTED
            yield from _group_rows(predicted, test, support, order)
        if adapts and self.stream_chunk:
            learner, data = learner_at(self.support), trainer.data
            predicted = predict_stream(
                learner, test, self.stream_chunk, mean=data.mean, std=data.std, seed=trainer.seed
            )
            yield from _group_rows(predicted, test, self.stream_chunk, STREAM)


def first_rows(groups: Groups, most: int) -> Groups:
    """At most this many rows of each group, the first ones."""
    return groups.take(np.sort(np.concatenate([members[:most] for members in groups.members])))


def _chosen(trainer: ShiftTrainer, extra: TestTime, learner: Learner) -> tuple[str, Learner]:
    """The candidate with the best worst group (then average) of the validation groups."""
    best = None
    for setting, change in extra.candidates:
        changed = change(learner)
        predicted = trainer.predictions(changed, trainer.validation, trainer.support)
        groups = trainer.validation
        accuracy, counts = group_accuracy(predicted == groups.targets, groups.groups, len(groups.names))
        score = float(worst_group(accuracy, counts)), float(average(accuracy, counts))
        if best is None or score > best[0]:
            best = score, setting, changed
    assert best is not None
    return best[1], best[2]


def _group_rows(predicted: np.ndarray, test: Groups, support: int, order: str):
    seen = predicted >= 0
    accuracy, counts = group_accuracy((predicted == test.targets)[seen], test.groups[seen], len(test.names))
    for name, value, count in zip(test.names, accuracy, counts, strict=True):
        if count:
            yield {
                "split": "test",
                "group": name,
                "n": int(count),
                "metric": "accuracy",
                "value": float(value),
                "support": support,
                "order": order,
            }


def _gallery(trainer: ShiftTrainer, learner: Learner, groups: int = 6, each: int = 8) -> dict[str, np.ndarray]:
    """A few images of a few groups, with what the model says before and after it adapts."""
    test = trainer.data.test
    if test.inputs.ndim != 4 or test.inputs.dtype != np.uint8:
        return {}
    chosen = np.unique(np.linspace(0, len(test.names) - 1, groups).astype(int))
    chosen = [group for group in chosen if len(test.members[group]) >= each]
    few = test.take(np.concatenate([test.members[group][: trainer.support] for group in chosen]))
    shown = np.stack([np.flatnonzero(few.groups == group)[:each] for group in chosen])
    before = trainer.predictions(learner, few, 0)[shown]
    after = trainer.predictions(learner, few, trainer.support)[shown] if trainer.method.adapts else before
    return {
        "images": few.inputs[shown],
        "group_names": np.array([test.names[group] for group in chosen]),
        "targets": few.targets[shown],
        "before": before,
        "after": after,
    }
