"""Scores that respect groups, in the form of scikit-learn's scorers."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest


class GroupScorer:
    """`scorer(estimator, X, y, groups=...)`: adapts to every group, measures each, and reduces to one number.

    Made by `group_scorer`.
    """

    def __init__(
        self,
        metric: Callable[[np.ndarray, np.ndarray], float],
        reduce: Callable[[Iterable[float]], float],
        response_method: str,
        greater_is_better: bool,
    ):
        self.metric = metric
        self.reduce = reduce
        self.response_method = response_method
        self.greater_is_better = greater_is_better

    def __call__(self, estimator: Any, X: Any, y: Any, groups: Any = None) -> float:
        """The reduced score.

        **Raises:** `ValueError` without groups, which would silently score the unadapted model.
        """
        if groups is None:
            raise ValueError(
                "groups did not reach the scorer; call scorer(estimator, X, y, groups=...), or in "
                "cross-validation switch routing on with sklearn.set_config(enable_metadata_routing=True) and "
                "pass params={'groups': ...}."
            )
        scores = self.per_group(estimator, X, y, groups)
        return float(self.reduce(list(scores.values())))

    def per_group(self, estimator: Any, X: Any, y: Any, groups: Any) -> dict[Any, float]:
        """The score of each group; greater is better in any case."""
        y, groups = np.asarray(y), np.asarray(groups)
        answers = getattr(estimator, self.response_method)(X, groups=groups)
        sign = 1 if self.greater_is_better else -1
        return {
            group: sign * float(self.metric(y[groups == group], answers[groups == group]))
            for group in np.unique(groups).tolist()
        }

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn reads to learn that this scorer wants `groups`."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="groups", alias=True)
        return request

    def __repr__(self) -> str:
        names = (getattr(function, "__name__", repr(function)) for function in (self.metric, self.reduce))
        return f"group_scorer({', '.join(names)})"


def group_scorer(
    metric: Callable[[np.ndarray, np.ndarray], float],
    reduce: Callable[[Iterable[float]], float] = min,
    *,
    response_method: str = "predict",
    greater_is_better: bool = True,
) -> GroupScorer:
    """A scorer that passes groups on to the prediction and to the metric; by default the worst group's score.

    `sklearn.metrics.make_scorer` drops `groups` before `predict` without a warning, and so scores the
    unadapted model.

    - `metric`: `metric(y_true, y_pred) -> number`, applied to each group.
    - `reduce`: from the groups' scores to one number, for example `min` or `numpy.mean`.
    - `response_method`: what the metric is given, `"predict"` or for example `"predict_proba"`.
    - `greater_is_better`: False for losses, whose sign is then turned before reducing.
    """
    return GroupScorer(metric, reduce, response_method, greater_is_better)
