"""Groups through scikit-learn's own tools: splitting, pipelines, grid search, scorers."""

import numpy as np
import pytest
import sklearn
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mutatis.estimators import AdaptiveClassifier, group_scorer


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def _requesting():
    classifier = AdaptiveClassifier(steps=150, random_state=0)
    return classifier.set_fit_request(groups=True).set_score_request(groups=True).set_predict_request(groups=True)


def test_group_scorer_is_the_worst_group(context_classifier, flipped_new):
    X, y, groups = flipped_new
    predicted = context_classifier.predict(X, groups=groups)
    each = [accuracy_score(y[groups == group], predicted[groups == group]) for group in range(16)]
    worst, average = group_scorer(accuracy_score), group_scorer(accuracy_score, reduce=np.mean)
    assert worst(context_classifier, X, y, groups=groups) == min(each)
    assert average(context_classifier, X, y, groups=groups) == pytest.approx(np.mean(each))
    assert list(worst.per_group(context_classifier, X, y, groups).values()) == each
    loss = group_scorer(log_loss, response_method="predict_proba", greater_is_better=False)
    probabilities = context_classifier.predict_proba(X, groups=groups)
    losses = [log_loss(y[groups == group], probabilities[groups == group]) for group in range(16)]
    assert loss(context_classifier, X, y, groups=groups) == pytest.approx(-max(losses))


def test_group_scorer_refuses_to_score_without_groups(context_classifier, flipped_new):
    X, y, _ = flipped_new
    with pytest.raises(ValueError, match="groups did not reach the scorer"):
        group_scorer(accuracy_score)(context_classifier, X, y)


def test_cross_validation_over_groups(routing, flipped):
    X, y, groups = flipped
    scoring = {
        "average": group_scorer(accuracy_score, np.mean),
        "unaware": make_scorer(accuracy_score),
    }
    results = cross_validate(
        _requesting(), X, y, cv=GroupKFold(2), params={"groups": groups}, scoring=scoring, error_score="raise"
    )
    assert results["test_average"].mean() > 0.85
    # scikit-learn's own scorer drops the groups before it predicts.
    assert results["test_unaware"].mean() < 0.72
    own = cross_validate(_requesting(), X, y, cv=GroupKFold(2), params={"groups": groups}, error_score="raise")
    assert own["test_score"].mean() > 0.85


def test_grid_search_over_a_pipeline(routing, flipped, flipped_new):
    X, y, groups = flipped
    X_new, y_new, groups_new = flipped_new
    search = GridSearchCV(
        make_pipeline(StandardScaler(), _requesting()),
        {"adaptiveclassifier__rule": ["none", "context"]},
        cv=GroupKFold(2),
        scoring=group_scorer(accuracy_score, np.mean),
        error_score="raise",
    )
    search.fit(X, y, groups=groups)
    assert search.best_params_ == {"adaptiveclassifier__rule": "context"}
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] - scores[0] > 0.15
    assert accuracy_score(y_new, search.best_estimator_.predict(X_new, groups=groups_new)) > 0.85


def test_routing_is_off_unless_the_user_asks():
    assert not sklearn.get_config()["enable_metadata_routing"]
