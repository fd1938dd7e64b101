"""An estimator outlives its process: as one checked file without pickle, and by pickle."""

import json
import pickle

import numpy as np
import pytest

import mutatis
from mutatis.estimators import AdaptiveClassifier, AdaptiveRegressor


def _same(first, second, X, groups):
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.predict_proba(X, groups=groups), second.predict_proba(X, groups=groups))


def _copies(estimator, tmp_path):
    estimator.save(tmp_path / "model.mutatis")
    return AdaptiveClassifier.load(tmp_path / "model.mutatis"), pickle.loads(pickle.dumps(estimator))


def test_copies_answer_and_go_on_alike(context_classifier, flipped, flipped_new, tmp_path):
    X, y, groups = flipped
    X_new, _, groups_new = flipped_new
    loaded, unpickled = _copies(context_classifier, tmp_path)
    for copy in (loaded, unpickled):
        assert copy.get_params() == context_classifier.get_params()
        _same(copy, context_classifier, X_new, groups_new)
    loaded.partial_fit(X, y, groups=groups)
    unpickled.partial_fit(X, y, groups=groups)
    _same(loaded, unpickled, X_new, groups_new)
    assert len(loaded.loss_curve_) == len(context_classifier.loss_curve_) + 25


def test_copies_are_of_the_fit_not_of_later_parameters(flipped, tmp_path):
    X, y, groups = flipped
    names = np.array(["no", "yes"], dtype=object)[y]
    classifier = AdaptiveClassifier(steps=25, weighting="group_dro", random_state=0).fit(X, names, groups=groups)
    before = classifier.predict_proba(X)
    classifier.set_params(hidden=(7,), rule="none")
    for copy in _copies(classifier, tmp_path):
        np.testing.assert_array_equal(copy.predict_proba(X), before)
        assert copy.hidden == (7,)
        assert set(copy.predict(X)) <= {"no", "yes"}


def test_regressor_file(flipped, tmp_path):
    X, _, groups = flipped
    regressor = AdaptiveRegressor("moments", steps=25, random_state=0).fit(X, 50 + 3 * X[:, 0], groups=groups)
    regressor.save(tmp_path / "model.mutatis")
    loaded = AdaptiveRegressor.load(tmp_path / "model.mutatis")
    np.testing.assert_array_equal(loaded.predict(X, groups=groups), regressor.predict(X, groups=groups))
    with pytest.raises(ValueError, match=r"use AdaptiveRegressor\.load"):
        AdaptiveClassifier.load(tmp_path / "model.mutatis")


def test_objects_are_given_again(flipped, tmp_path):
    X, y, groups = flipped
    rule = mutatis.BatchMoments(pseudo_count=2.0)
    classifier = AdaptiveClassifier(rule, steps=25, random_state=0).fit(X, y, groups=groups)
    path = tmp_path / "model.mutatis"
    classifier.save(path)
    with pytest.raises(ValueError, match=r"rule given as an object \(BatchMoments\); pass it again"):
        AdaptiveClassifier.load(path)
    _same(AdaptiveClassifier.load(path, rule=rule), classifier, X, groups)
    with pytest.raises(ValueError, match="does not fit the objects given to load"):
        AdaptiveClassifier.load(path, rule=mutatis.NoAdaptation())


def test_damaged_files_are_refused(context_classifier, tmp_path):
    path = tmp_path / "model.mutatis"
    with pytest.raises(FileNotFoundError, match="there is no file"):
        AdaptiveClassifier.load(path)
    context_classifier.save(path)
    whole = path.read_bytes()
    flipped_bit = bytearray(whole)
    flipped_bit[-100] ^= 1
    header, _, content = whole.partition(b"\n")
    newer = json.dumps({**json.loads(header), "version": 2}).encode() + b"\n" + content
    for damaged in (bytes(flipped_bit), whole[:-1], whole[: len(header) // 2], b"", b"\x80\x04K\x01.", b"[1]\n"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            AdaptiveClassifier.load(path)
    path.write_bytes(newer)
    with pytest.raises(ValueError, match="version 2"):
        AdaptiveClassifier.load(path)


def test_a_failed_write_leaves_the_old_file(context_classifier, tmp_path, monkeypatch):
    path = tmp_path / "model.mutatis"
    path.write_text("old")

    def full(handle):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        context_classifier.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
