"""Fitted estimators that several tests ask questions of."""

import pytest
from shifted_groups import flipped_by_group

from mutatis.estimators import AdaptiveClassifier


@pytest.fixture(scope="session")
def flipped():
    return flipped_by_group(24, 60, seed=0)


@pytest.fixture(scope="session")
def flipped_new():
    return flipped_by_group(16, 100, seed=1)


@pytest.fixture(scope="session")
def context_classifier(flipped):
    X, y, groups = flipped
    return AdaptiveClassifier(rule="context", random_state=0).fit(X, y, groups=groups)
