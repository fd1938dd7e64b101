"""scikit-learn's own contract, all of it, with nothing declared as an expected failure."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from mutatis.estimators import AdaptiveClassifier, AdaptiveRegressor


@parametrize_with_checks([AdaptiveClassifier(), AdaptiveRegressor()])
def test_estimator_check(estimator, check):
    check(estimator)
