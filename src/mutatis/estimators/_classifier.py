"""Classes for rows, adapted to the group the rows come from."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from mutatis.estimators._base import AbstractAdaptiveEstimator
from mutatis.estimators._files import load
from mutatis.estimators._stream import ClassifierStream, softmax
from mutatis.rules import cross_entropy


class AdaptiveClassifier(ClassifierMixin, AbstractAdaptiveEstimator):
    """A classifier that adapts to groups it has never met, from their unlabelled rows.

    Training goes through the groups of `fit`: a group is drawn, rows of it are drawn, the model adapts to
    their inputs and is judged on their labels. With `groups=` a prediction does the same with all rows that
    share a group; without, it never depends on any other row.

    **Arguments:**

    - `rule`: how the model adapts. `"context"` conditions on the mean embedding of the group's rows
      (ARM-CML, Zhang et al. 2021), `"moments"` normalises by the group's moments (ARM-BN), `"learned_loss"`
      takes a gradient step on a learned loss (ARM-LL), `"entropy"` one on the entropy of predictions (the
      loss of Tent, Wang et al. 2021), `"none"` does not adapt. Or a rule object, or a factory `(input_shape,
      outputs, *, key) -> rule`.
    - `weighting`: how the groups of a step share it: `"average"`, or another name in the documentation, or
      an object.
    - `hidden`: units of the hidden layers; for images the first is the width of the convolutions, the last
      that of the layer after them.
    - `input_shape`: `(height, width, channels)` if rows are flattened images (channels last); None for plain
      features.
    - `model`: a factory `(input_shape, outputs, *, key) -> module` that maps a batch to a batch; None for a
      network of `hidden` units.
    - `steps`: outer steps of `fit`; a `partial_fit` takes 25.
    - `learning_rate`: of Adam.
    - `groups_per_step`: groups in one outer step; `support`: rows drawn, with replacement, from each.
    - `group_sampling`: `"uniform"` draws all groups equally often, `"size"` in proportion to their total
      weight.
    - `pseudo_count`: how many rows the training data count for beside a group's own, in `"context"` and
      `"moments"`: with n rows of a group its own statistics weigh n / (n + pseudo_count). 0 forgets the
      training data.
    - `context_size`: length of the embedding of `"context"`.
    - `inner_learning_rate`: of the gradient step of `"learned_loss"` and `"entropy"`.
    - `unadapted_weight`: share of the unadapted model in the training loss, which makes predictions without
      groups useful.
    - `random_state`: seed, generator, or None.
    - `verbose`: print the loss every 25 steps.

    **Attributes:** `classes_`, `groups_` (labels of the training groups), `loss_curve_` (mean loss of each
    step), `n_features_in_`, `feature_names_in_`.

    Inputs are standardised (per feature; per channel for images) by the training rows. A fit depends on the
    set of rows, not on their order, and a row of weight 2 counts as the row twice.
    """

    def fit(self, X, y, groups=None, sample_weight=None) -> Self:
        """Train on labelled rows.

        - `X`: `(rows, features)`; `y`: `(rows,)` labels.
        - `groups`: `(rows,)` numbers or strings. Without them all rows are one group.
        - `sample_weight`: `(rows,)`, not negative.

        **Raises:** `ValueError` for bad input; `FloatingPointError` if the loss becomes infinite or NaN.
        """
        X, y = self._checked_pair(X, y, reset=True)
        self.classes_ = np.unique(y)
        return self._fit(X, y, groups, sample_weight)

    def partial_fit(self, X, y, classes=None, groups=None, sample_weight=None) -> Self:
        """Take 25 more outer steps, on these labelled rows. (For unlabelled rows: `stream`.)

        - `classes`: all labels there will be; needed at the first call.

        The first call (or `fit`) fixes the units of the inputs. A group not met before makes the weighting
        forget what it remembered of the others.
        """
        first = not hasattr(self, "_trained")
        X, y = self._checked_pair(X, y, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes!r} is not the same as on the first call, {self.classes_!r}.")
        strange = np.setdiff1d(y, self.classes_)
        if len(strange):
            raise ValueError(f"y holds {strange[:3].tolist()}, not among classes {self.classes_.tolist()}.")
        return self._partial_fit(X, y, groups, sample_weight)

    def predict(self, X, groups=None) -> np.ndarray:
        """Labels, `(rows,)`; with `groups`, `(rows,)`, by models adapted to each group's rows of X."""
        return self._decide(self._outputs(X, groups), self._trained)

    def predict_proba(self, X, groups=None) -> np.ndarray:
        """Probabilities, `(rows, classes)`, in the order of `classes_`."""
        return softmax(self._outputs(X, groups))

    def predict_log_proba(self, X, groups=None) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X, groups=groups))

    def decision_function(self, X, groups=None) -> np.ndarray:
        """Logits, `(rows, classes)`; of two classes the second's minus the first's, `(rows,)`."""
        logits = self._outputs(X, groups)
        if logits.shape[1] == 2:
            return logits[:, 1] - logits[:, 0]
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def score(self, X, y, groups=None, sample_weight=None) -> float:
        """Accuracy of `predict(X, groups)`."""
        return float(accuracy_score(y, self.predict(X, groups=groups), sample_weight=sample_weight))

    def stream(self) -> ClassifierStream:
        """A stream for one group whose rows arrive in chunks."""
        return ClassifierStream(self)

    @classmethod
    def load(cls, path: Any, *, rule=None, weighting=None, model=None) -> "AdaptiveClassifier":
        """The classifier that `save` wrote; pass again what was given as an object.

        **Raises:** `FileNotFoundError`; `ValueError` if the file is damaged or holds something else.
        """
        return load(cls, path, rule=rule, weighting=weighting, model=model)

    def _checked_pair(self, X, y, *, reset: bool):
        X, y = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        return X, y

    def _encoded(self, y):
        return np.searchsorted(self.classes_, y)

    def _target_units(self, y, weights):
        del y, weights
        return 0, 1

    def _objective(self):
        return cross_entropy, len(self.classes_), True

    def _decide(self, answers, trained):
        del trained
        return self.classes_[np.argmax(answers, axis=1)]
