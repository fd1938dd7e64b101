"""Adapting pays on groups never met; not adapting depends on nothing but the row."""

import numpy as np
import pytest
from shifted_groups import levels_by_group, moved_by_group
from sklearn.datasets import load_digits

import mutatis
from mutatis.estimators import AdaptiveClassifier, AdaptiveRegressor
from mutatis.estimators._adaptation import _piece_sizes


@pytest.fixture(scope="module")
def moved():
    return moved_by_group(24, 60, seed=0)


@pytest.fixture(scope="module")
def moved_new():
    return moved_by_group(16, 100, seed=1)


@pytest.fixture(scope="module")
def moments_classifier(moved):
    X, y, groups = moved
    return AdaptiveClassifier(rule="moments", random_state=0).fit(X, y, groups=groups)


@pytest.fixture(scope="module")
def none_on_moved(moved):
    X, y, groups = moved
    return AdaptiveClassifier(rule="none", random_state=0).fit(X, y, groups=groups)


def test_context_beats_none_on_new_groups(context_classifier, flipped, flipped_new):
    X, y, groups = flipped
    X_new, y_new, groups_new = flipped_new
    none = AdaptiveClassifier(rule="none", random_state=0).fit(X, y, groups=groups)
    # Seeing single rows only, nothing exceeds Phi(1/2) = 0.69 by more than chance.
    assert none.score(X_new, y_new, groups=groups_new) < 0.72
    assert context_classifier.score(X_new, y_new, groups=groups_new) > 0.9
    assert context_classifier.score(X_new, y_new) > 0.58


def test_moments_beat_none_on_new_groups(moments_classifier, none_on_moved, moved_new):
    X_new, y_new, groups_new = moved_new
    assert moments_classifier.score(X_new, y_new, groups=groups_new) > 0.9
    assert none_on_moved.score(X_new, y_new, groups=groups_new) < 0.65


def test_learned_loss_beats_none_on_new_groups(none_on_moved, moved, moved_new):
    X, y, groups = moved
    X_new, y_new, groups_new = moved_new
    learned = AdaptiveClassifier(
        "learned_loss", steps=1000, inner_learning_rate=1.0, unadapted_weight=0, random_state=0
    )
    learned.fit(X, y, groups=groups)
    gain = learned.score(X_new, y_new, groups=groups_new) - none_on_moved.score(X_new, y_new)
    assert gain > 0.2


def test_context_beats_none_in_regression():
    X, y, groups = levels_by_group(24, 60, seed=0)
    X_new, y_new, groups_new = levels_by_group(16, 100, seed=1)
    none = AdaptiveRegressor(rule="none", random_state=0).fit(X, y, groups=groups)
    context = AdaptiveRegressor(rule="context", random_state=0).fit(X, y, groups=groups)
    assert context.score(X_new, y_new, groups=groups_new) > 0.8
    assert none.score(X_new, y_new, groups=groups_new) < 0.5
    stream = context.stream().update(X_new[:37]).update(X_new[37:100])
    assert np.allclose(
        stream.predict(X_new[:100]), context.predict(X_new, groups=groups_new)[:100], rtol=1e-4, atol=1e-4
    )


def test_without_groups_rows_never_meet(context_classifier, flipped_new):
    X, _, _ = flipped_new
    whole = context_classifier.predict_proba(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(context_classifier.predict_proba(X[order]), whole[order], atol=1e-9)
    alone = np.concatenate([context_classifier.predict_proba(X[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, whole[:5], atol=1e-9)


def test_with_groups_only_the_own_group_matters(context_classifier, flipped_new):
    X, _, groups = flipped_new
    whole = context_classifier.predict_proba(X, groups=groups)
    own = groups == 3
    np.testing.assert_allclose(context_classifier.predict_proba(X[own], groups=groups[own]), whole[own], atol=1e-9)
    np.testing.assert_allclose(
        context_classifier.predict_proba(X[own][::-1], groups=groups[own])[::-1], whole[own], atol=1e-4
    )
    names = np.array([f"site {group}" for group in groups])
    np.testing.assert_array_equal(context_classifier.predict_proba(X, groups=names), whole)


@pytest.mark.parametrize("cuts", [[100], [1, 100], [50, 57, 100], [33, 34, 99, 100]])
def test_stream_equals_batch_for_sums(context_classifier, flipped_new, cuts):
    X, _, groups = flipped_new
    X = X[groups == 0]
    stream = context_classifier.stream()
    for start, end in zip([0, *cuts[:-1]], cuts, strict=True):
        assert stream.update(X[start:end]) is stream
    assert stream.rows_seen == len(X) == 100
    batch = context_classifier.predict_proba(X, groups=np.zeros(100))
    # Sums of float32 in another order.
    np.testing.assert_allclose(stream.predict_proba(X), batch, atol=1e-5)
    np.testing.assert_array_equal(stream.predict(X), context_classifier.predict(X, groups=np.zeros(100)))


def test_stream_starts_unadapted_and_learns(context_classifier, flipped_new):
    X, y, groups = flipped_new
    stream = context_classifier.stream()
    np.testing.assert_array_equal(stream.predict_proba(X), context_classifier.predict_proba(X))
    own = groups == 1
    first = stream.update(X[own][:2]).predict_proba(X[own])
    later = stream.update(X[own][2:]).predict_proba(X[own])
    right = np.arange(own.sum()), y[own]
    assert np.log(later[right]).mean() > np.log(first[right]).mean()


def test_group_of_one_row_survives_moments(moments_classifier, moved_new):
    X, _, _ = moved_new
    X = X[:40]
    alone = moments_classifier.predict_proba(X, groups=np.arange(40))
    assert np.isfinite(alone).all()
    # A share of 1 / (1 + 4) of its own moments must leave most of what the row says.
    assert len(np.unique(alone[:, 0].round(6))) == 40


def test_infinite_pseudo_count_does_not_adapt(moved):
    X, y, groups = moved
    frozen = AdaptiveClassifier(rule="moments", pseudo_count=float("inf"), steps=25, random_state=0)
    frozen.fit(X, y, groups=groups)
    np.testing.assert_allclose(frozen.predict_proba(X, groups=groups), frozen.predict_proba(X), atol=1e-6)


def test_gradient_rules_adapt_to_as_many_rows_as_in_training(moved, moved_new):
    X, y, groups = moved
    X_new, _, _ = moved_new
    entropy = AdaptiveClassifier(rule="entropy", steps=25, support=32, random_state=0).fit(X, y, groups=groups)
    spread = X_new[:96][::3]
    direct = entropy.stream().update(spread).predict_proba(X_new[:96])
    np.testing.assert_allclose(entropy.predict_proba(X_new[:96], groups=np.zeros(96)), direct, atol=1e-6)
    trained = entropy._trained.learner
    adapted = mutatis.adapt(trained, entropy._trained.inputs(spread), key=None)  # type: ignore[arg-type]
    logits = np.asarray(adapted(entropy._trained.inputs(X_new[:96])), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(direct, expected, atol=1e-5)


def test_pieces_cover_the_rows():
    for rows in range(200):
        sizes = _piece_sizes(rows, 50)
        assert sum(sizes) == rows
        assert set(sizes) <= {50, 32, 16, 8, 4, 2, 1}


@pytest.mark.parametrize("rule", ["context", "learned_loss"])
def test_images(rule):
    X, y = load_digits(return_X_y=True)
    X, y, groups = X[:400], y[:400], np.arange(400) % 4
    classifier = AdaptiveClassifier(
        rule, input_shape=(8, 8, 1), hidden=(8, 16), steps=75, groups_per_step=2, random_state=0
    )
    classifier.fit(X, y, groups=groups)
    # Ten classes; a network that was not trained, or saw scrambled pixels, would stay near 0.1.
    assert classifier.score(X, y, groups=groups) > 0.5
    assert classifier.score(X, y) > 0.3
