"""One group whose unlabelled rows arrive in chunks."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mutatis.estimators._adaptation import adapted_state, outputs

if TYPE_CHECKING:
    from mutatis.estimators._base import AbstractAdaptiveEstimator


class AbstractStream(ABC):
    """The state of an estimator's rule while rows of one group arrive.

    `update` adapts to a chunk and returns the stream; predicting never changes it. A stream keeps what the
    estimator was when it was opened. Where the rule's state is a sum over rows (`rule="context"`), chunks
    give the same answers as the whole group at once; rules with gradient steps take further steps with every
    chunk.
    """

    def __init__(self, estimator: "AbstractAdaptiveEstimator"):
        self._estimator = estimator
        self._learner, self._state, self._trained = estimator._opened()
        self.rows_seen = 0

    def update(self, chunk: Any) -> Self:
        """Adapt to more unlabelled rows of the group, `(rows, features)`."""
        inputs = self._inputs(chunk)
        self._state = adapted_state(self._learner, self._state, inputs, self._estimator.support)
        self.rows_seen += len(inputs)
        return self

    @abstractmethod
    def predict(self, chunk: Any) -> np.ndarray:
        """Answers for these rows by the model as adapted so far."""

    def _inputs(self, chunk: Any) -> np.ndarray:
        return self._trained.inputs(self._estimator._checked_rows(chunk))

    def _outputs(self, chunk: Any) -> np.ndarray:
        return outputs(self._learner, self._state, self._inputs(chunk))


class RegressorStream(AbstractStream):
    """A stream of `AdaptiveRegressor`."""

    def predict(self, chunk: Any) -> np.ndarray:
        """Values, `(rows,)`, by the model as adapted so far."""
        return self._estimator._decide(self._outputs(chunk), self._trained)


class ClassifierStream(AbstractStream):
    """A stream of `AdaptiveClassifier`."""

    def predict(self, chunk: Any) -> np.ndarray:
        """Labels, `(rows,)`, by the model as adapted so far."""
        return self._estimator._decide(self._outputs(chunk), self._trained)

    def predict_proba(self, chunk: Any) -> np.ndarray:
        """Probabilities of the classes, `(rows, classes)`, by the model as adapted so far."""
        return softmax(self._outputs(chunk))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of probabilities, in the precision of the logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
