"""What the classifier and the regressor share: checking arrays, training on groups, answering with or
without them."""

import dataclasses
import math
import numbers
from abc import abstractmethod
from typing import Any, Self

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from mutatis._types import Objective
from mutatis.estimators._adaptation import adapted_state, outputs
from mutatis.estimators._blueprint import Blueprint, for_prediction
from mutatis.estimators._files import save
from mutatis.estimators._trained import Trained
from mutatis.estimators._training import BLOCK, group_sampler, train

_WIDTH = 8
"""Plain features are filled up with zeros to a multiple of this, so that similar tables share compiled
programs."""


class AbstractAdaptiveEstimator(BaseEstimator):
    """The parameters and the life of an adaptive estimator; see `AdaptiveClassifier`."""

    def __init__(
        self,
        rule="context",
        weighting="average",
        *,
        hidden=(32, 32),
        input_shape=None,
        model=None,
        steps=300,
        learning_rate=0.01,
        groups_per_step=4,
        support=32,
        group_sampling="uniform",
        pseudo_count=4.0,
        context_size=8,
        inner_learning_rate=0.1,
        unadapted_weight=0.2,
        random_state=None,
        verbose=False,
    ):
        self.rule = rule
        self.weighting = weighting
        self.hidden = hidden
        self.input_shape = input_shape
        self.model = model
        self.steps = steps
        self.learning_rate = learning_rate
        self.groups_per_step = groups_per_step
        self.support = support
        self.group_sampling = group_sampling
        self.pseudo_count = pseudo_count
        self.context_size = context_size
        self.inner_learning_rate = inner_learning_rate
        self.unadapted_weight = unadapted_weight
        self.random_state = random_state
        self.verbose = verbose

    @abstractmethod
    def _encoded(self, y: np.ndarray) -> np.ndarray:
        """Targets as the network sees them."""

    @abstractmethod
    def _target_units(self, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        """Mean and scale that turn outputs into targets."""

    @abstractmethod
    def _objective(self) -> tuple[Objective, int, bool]:
        """The loss, the number of outputs, and whether they are classes."""

    @abstractmethod
    def _decide(self, answers: np.ndarray, trained: Trained) -> np.ndarray:
        """Predictions from outputs."""

    def save(self, path: Any) -> None:
        """Write all of it to one file, without pickle; `load` of the class reads it.

        The file is written whole or not at all. Rules, weightings and models that were given as objects are
        code, which a file cannot hold: give them to `load` again.

        **Raises:** `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        save(self, path)

    def _fit(self, X, y, groups, sample_weight) -> Self:
        weights = self._checked_weights(sample_weight, X)
        rows = self._checked_labelled(X, groups)
        self._begin(X, y, rows, weights)
        return self._train(X, y, rows, weights, self.steps)

    def _partial_fit(self, X, y, groups, sample_weight) -> Self:
        weights = self._checked_weights(sample_weight, X)
        rows = self._checked_labelled(X, groups)
        if not hasattr(self, "_trained"):
            self._begin(X, y, rows, weights)
        else:
            self._meet(rows)
        return self._train(X, y, rows, weights, BLOCK)

    def _checked_labelled(self, X, groups) -> np.ndarray:
        self._check_settings(X.shape[1])
        return np.zeros(len(X), np.int64) if groups is None else _checked_groups(groups, len(X))

    def _checked_weights(self, sample_weight, X) -> np.ndarray:
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weights.sum() > 0:
            raise ValueError("sample_weight is zero for every row; at least one must count.")
        return weights

    def _begin(self, X, y, groups, weights) -> None:
        """A fresh learner for data like these."""
        _, num_outputs, classification = self._objective()
        blueprint = Blueprint(
            self.rule,
            self.weighting,
            self.model,
            tuple(self.hidden),
            self._shape(X.shape[1]),
            num_outputs,
            classification,
            self.context_size,
            float(self.pseudo_count),
            float(self.inner_learning_rate),
            float(self.learning_rate),
        )
        self.groups_ = np.unique(groups)
        self.loss_curve_ = np.zeros(0)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        learner, outer = blueprint.start(len(self.groups_), jax.random.key(seed))
        images = X if self.input_shape is None else X.reshape(len(X), *blueprint.shape)
        input_mean, input_scale = _mean_and_scale(images, weights)
        units = self._target_units(y, weights)
        self._trained = Trained(blueprint, len(self.groups_), learner, outer, input_mean, input_scale, *units)

    def _shape(self, num_features: int) -> tuple[int, ...]:
        if self.input_shape is not None:
            return tuple(self.input_shape)
        if self.model is not None or not isinstance(self.rule, str):
            return (num_features,)
        return (math.ceil(num_features / _WIDTH) * _WIDTH,)

    def _meet(self, groups) -> None:
        """Give groups not met before an id; what a weighting remembers of groups then starts afresh."""
        known = np.concatenate([self.groups_, np.setdiff1d(groups, self.groups_)])
        if len(known) == len(self.groups_):
            return
        trained = self._trained
        memory = trained.outer.weighting.init(len(known))
        self.groups_ = known
        self._trained = dataclasses.replace(
            trained, num_groups=len(known), outer=dataclasses.replace(trained.outer, weighting_state=memory)
        )

    def _train(self, X, y, groups, weights, steps) -> Self:
        trained, counts = self._trained, weights > 0
        order = np.argsort(self.groups_, kind="stable")
        ids = order[np.searchsorted(self.groups_, groups, sorter=order)]
        targets = (self._encoded(y) - trained.output_mean) / trained.output_scale
        sampler = group_sampler(
            trained.inputs(X[counts]),
            targets[counts].astype(np.int32 if trained.blueprint.classification else np.float32),
            ids[counts],
            weights[counts],
            num_groups=len(self.groups_),
            by_size=self.group_sampling == "size",
            tasks=self.groups_per_step,
            support=self.support,
        )
        objective, _, _ = self._objective()
        learner, outer, curve = train(
            trained.learner,
            trained.outer,
            sampler,
            steps=steps,
            objective=objective,
            unadapted_weight=self.unadapted_weight,
            report=lambda done, loss: print(f"step {done} of {steps}: loss {loss:.4f}") if self.verbose else None,
        )
        self._trained = dataclasses.replace(trained, learner=learner, outer=outer)
        self.loss_curve_ = np.concatenate([self.loss_curve_, curve])
        return self

    def _opened(self):
        check_is_fitted(self)
        learner = for_prediction(self._trained.learner)
        return learner, learner.rule.init(learner.model), self._trained

    def _checked_rows(self, X) -> np.ndarray:
        rows: Any = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return rows

    def _outputs(self, X, groups) -> np.ndarray:
        """Outputs for rows: of the unadapted model, or of one model per group adapted to all its rows."""
        learner, start, trained = self._opened()
        X = self._checked_rows(X)
        inputs = trained.inputs(X)
        if groups is None:
            return outputs(learner, start, inputs)
        groups = _checked_groups(groups, len(X))
        answers = np.empty((len(X), trained.blueprint.outputs))
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            state = adapted_state(learner, start, inputs[rows], self.support)
            answers[rows] = outputs(learner, state, inputs[rows])
        return answers

    def _check_settings(self, num_features: int) -> None:
        for name in ("steps", "groups_per_step", "support", "context_size"):
            value = getattr(self, name)
            if not _is_count(value):
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
        for name in ("learning_rate", "inner_learning_rate"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value < math.inf:
                raise ValueError(f"{name}={value!r} must be a positive number.")
        if not _is_number(self.pseudo_count) or not self.pseudo_count >= 0:
            raise ValueError(f"pseudo_count={self.pseudo_count!r} counts rows and must be at least 0.")
        if not _is_number(self.unadapted_weight) or not 0 <= self.unadapted_weight <= 1:
            raise ValueError(f"unadapted_weight={self.unadapted_weight!r} is a share and must lie between 0 and 1.")
        if self.group_sampling not in ("uniform", "size"):
            raise ValueError(f"group_sampling={self.group_sampling!r} is not known; pass 'uniform' or 'size'.")
        hidden = tuple(self.hidden) if isinstance(self.hidden, tuple | list) else ()
        if not hidden or not all(map(_is_count, hidden)):
            raise ValueError(f"hidden={self.hidden!r} must be a tuple of positive whole numbers, like (32, 32).")
        if self.input_shape is not None:
            _check_input_shape(self.input_shape, num_features)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and int(value) >= 1


def _check_input_shape(shape, num_features: int) -> None:
    whole = isinstance(shape, tuple | list) and all(map(_is_count, shape))
    if not whole or len(shape) != 3:
        raise ValueError(f"input_shape={shape!r} must be (height, width, channels); grey images have 1 channel.")
    if np.prod(shape) != num_features:
        raise ValueError(
            f"input_shape={tuple(shape)} holds {np.prod(shape)} numbers but X has {num_features} features; "
            "flatten images with X.reshape(len(X), -1), channels last."
        )


def _checked_groups(groups: Any, rows: int) -> np.ndarray:
    groups = np.asarray(column_or_1d(groups))
    if len(groups) != rows:
        raise ValueError(f"groups has {len(groups)} entries but X has {rows} rows; pass one group for each row.")
    if groups.dtype.kind == "f" and not np.isfinite(groups).all():
        raise ValueError("groups contains NaN or infinity; give every row the name or number of its group.")
    if groups.dtype.kind == "O":
        if not all(isinstance(group, str) for group in groups):
            raise ValueError("groups mixes kinds of labels or misses some; pass all numbers or all strings.")
        groups = groups.astype(str)
    return groups


def _mean_and_scale(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation along the last axis' entries; a constant has scale 1."""
    axes = tuple(range(values.ndim - 1))
    share = (weights / weights.sum()).reshape(-1, *(1,) * (values.ndim - 1))
    positions = values[0].size // values.shape[-1]
    mean = np.sum(values * share, axis=axes, dtype=np.float64) / positions
    variance = np.sum(np.square(values - mean) * share, axis=axes, dtype=np.float64) / positions
    scale = np.sqrt(variance)
    # What rounding leaves of a constant is not a scale.
    return mean, np.where(scale > 1e-9 * np.abs(mean), scale, 1.0)
