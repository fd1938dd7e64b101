"""Values for rows, adapted to the group the rows come from."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import validate_data

from mutatis.estimators._base import AbstractAdaptiveEstimator, _mean_and_scale
from mutatis.estimators._files import load
from mutatis.estimators._stream import RegressorStream
from mutatis.estimators._training import squared_error


class AdaptiveRegressor(RegressorMixin, AbstractAdaptiveEstimator):
    """A regressor that adapts to groups it has never met, from their unlabelled rows.

    Its parameters are those of `AdaptiveClassifier` (without `rule="entropy"`, which needs classes). It is
    trained on squared error; targets are standardised by the training rows.

    **Attributes:** `groups_` (labels of the training groups), `loss_curve_` (mean loss of each step, in
    units of the targets' variance), `n_features_in_`, `feature_names_in_`.
    """

    def fit(self, X, y, groups=None, sample_weight=None) -> Self:
        """Train on labelled rows.

        - `X`: `(rows, features)`; `y`: `(rows,)` values.
        - `groups`: `(rows,)` numbers or strings. Without them all rows are one group.
        - `sample_weight`: `(rows,)`, not negative.

        **Raises:** `ValueError` for bad input; `FloatingPointError` if the loss becomes infinite or NaN.
        """
        X, y = self._checked_pair(X, y, reset=True)
        return self._fit(X, y, groups, sample_weight)

    def partial_fit(self, X, y, groups=None, sample_weight=None) -> Self:
        """Take 25 more outer steps, on these labelled rows. (For unlabelled rows: `stream`.)

        The first call (or `fit`) fixes the units of the inputs and targets. A group not met before makes the
        weighting forget what it remembered of the others.
        """
        X, y = self._checked_pair(X, y, reset=not hasattr(self, "_trained"))
        return self._partial_fit(X, y, groups, sample_weight)

    def predict(self, X, groups=None) -> np.ndarray:
        """Values, `(rows,)`; with `groups`, `(rows,)`, by models adapted to each group's rows of X."""
        return self._decide(self._outputs(X, groups), self._trained)

    def score(self, X, y, groups=None, sample_weight=None) -> float:
        """Coefficient of determination of `predict(X, groups)`."""
        return float(r2_score(y, self.predict(X, groups=groups), sample_weight=sample_weight))

    def stream(self) -> RegressorStream:
        """A stream for one group whose rows arrive in chunks."""
        return RegressorStream(self)

    @classmethod
    def load(cls, path: Any, *, rule=None, weighting=None, model=None) -> "AdaptiveRegressor":
        """The regressor that `save` wrote; pass again what was given as an object.

        **Raises:** `FileNotFoundError`; `ValueError` if the file is damaged or holds something else.
        """
        return load(cls, path, rule=rule, weighting=weighting, model=model)

    def _checked_pair(self, X, y, *, reset: bool):
        return validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32], y_numeric=True)

    def _encoded(self, y):
        return y

    def _target_units(self, y, weights):
        mean, scale = _mean_and_scale(y[:, None], weights)
        return float(mean[0]), float(scale[0])

    def _objective(self):
        return squared_error, 1, False

    def _decide(self, answers, trained):
        return answers[:, 0] * trained.output_scale + trained.output_mean
