"""What is drawn, what weights mean, and how training goes on."""

import jax
import numpy as np
import pytest

import mutatis
from mutatis.estimators import AdaptiveClassifier, AdaptiveRegressor
from mutatis.estimators._training import group_sampler


def _frequencies(sampler, draws):
    tasks = jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(0), draws))
    rows = np.asarray(tasks.query[1]).ravel()
    return np.asarray(tasks.index), rows


@pytest.mark.parametrize("by_size", [False, True])
def test_rows_are_drawn_as_their_weights_say(by_size):
    groups = np.array([0, 0, 0, 1, 1, 3])
    weights = np.array([1.0, 2.0, 3.0, 0.5, 0.5, 2.0])
    ids = np.arange(6)
    inputs = ids[:, None].astype(np.float32)
    sampler = group_sampler(
        inputs, ids.astype(np.int32), groups, weights, num_groups=4, by_size=by_size, tasks=2, support=8
    )
    index, rows = _frequencies(sampler, 4000)
    share = np.array([6.0, 1.0, 0.0, 2.0]) / 9 if by_size else np.array([1, 1, 0, 1]) / 3
    total = np.bincount(groups, weights, minlength=4)
    expected_rows = share[groups] * weights / total[groups]
    counts = np.bincount(index.ravel(), minlength=4) / index.size
    # Five standard errors; rows of a task share its group, so only tasks are independent.
    error = 5 * np.sqrt(0.25 / 8000)
    np.testing.assert_allclose(counts, share, atol=error)
    np.testing.assert_allclose(np.bincount(rows, minlength=6) / rows.size, expected_rows, atol=error)


def test_groups_of_a_step_differ_when_there_are_enough():
    groups = np.repeat(np.arange(8), 3)
    sampler = group_sampler(
        np.arange(24, dtype=np.float32)[:, None],
        np.zeros(24, np.int32),
        groups,
        np.ones(24),
        num_groups=8,
        by_size=False,
        tasks=4,
        support=2,
    )
    index, _ = _frequencies(sampler, 200)
    assert all(len(set(step)) == 4 for step in index.tolist())


def test_a_fit_depends_on_the_set_of_rows_only(flipped):
    X, y, groups = flipped
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    order = np.random.default_rng(1).permutation(len(X))
    fit = lambda *rows: AdaptiveClassifier(steps=50, random_state=0).fit(
        *rows[:2], groups=rows[2], sample_weight=rows[3]
    )
    weighted = fit(X[order], y[order], groups[order], weights[order])
    repeated = fit(*(np.repeat(array, weights, axis=0) for array in (X, y, groups)), None)
    np.testing.assert_array_equal(weighted.loss_curve_, repeated.loss_curve_)


@pytest.mark.parametrize("weighting", ["group_dro", "pcgrad", mutatis.Average()])
def test_weightings_by_name_and_object(flipped, flipped_new, weighting):
    X, y, groups = flipped
    classifier = AdaptiveClassifier(weighting=weighting, steps=150, random_state=0).fit(X, y, groups=groups)
    X_new, y_new, groups_new = flipped_new
    assert classifier.score(X_new, y_new, groups=groups_new) > 0.8


def test_rules_by_object_and_factory(flipped):
    X, y, groups = flipped
    factory = lambda shape, outputs, *, key: mutatis.ContextMean(
        mutatis.nn.mlp((*shape, 4), key=key), (4,), pseudo_count=1.0
    )
    for rule in (mutatis.BatchMoments(pseudo_count=2.0), factory):
        classifier = AdaptiveClassifier(rule=rule, steps=25, random_state=0).fit(X, y, groups=groups)
        adapted = classifier.predict_proba(X, groups=groups)
        assert np.abs(adapted - classifier.predict_proba(X)).max() > 1e-3


def test_models_by_factory(flipped):
    X, _, _ = flipped
    linear = lambda shape, outputs, *, key: mutatis.nn.Linear(shape[0], outputs, key=key)
    classifier = AdaptiveClassifier("none", model=linear, steps=200, random_state=0).fit(X, X[:, 0] > X[:, 1])
    assert classifier.score(X, X[:, 0] > X[:, 1]) > 0.95


def test_partial_fit_continues(flipped):
    X, y, groups = flipped
    once = AdaptiveClassifier(steps=50, random_state=0).fit(X, y, groups=groups)
    twice = AdaptiveClassifier(random_state=0)
    for _ in range(2):
        twice.partial_fit(X, y, classes=[0, 1], groups=groups)
    np.testing.assert_array_equal(once.loss_curve_, twice.loss_curve_)
    np.testing.assert_array_equal(once.predict_proba(X), twice.predict_proba(X))


def test_partial_fit_meets_new_groups(flipped):
    X, y, groups = flipped
    classifier = AdaptiveClassifier(weighting="group_dro", random_state=0)
    old = groups < 12
    classifier.partial_fit(X[old], y[old], classes=[0, 1], groups=groups[old])
    classifier.partial_fit(X[~old], y[~old], groups=groups[~old])
    np.testing.assert_array_equal(classifier.groups_, np.arange(24))
    assert len(classifier.loss_curve_) == 50
    with pytest.raises(ValueError, match="not among classes"):
        classifier.partial_fit(X, y + 1, groups=groups)
    with pytest.raises(ValueError, match="not the same as on the first call"):
        classifier.partial_fit(X, y, classes=[0, 1, 2])


def test_regressor_partial_fit(flipped):
    X, _, groups = flipped
    regressor = AdaptiveRegressor(random_state=0)
    for _ in range(8):
        regressor.partial_fit(X, 100 + 5 * X[:, 0], groups=groups)
    assert regressor.score(X, 100 + 5 * X[:, 0]) > 0.9


def test_verbose_prints_the_loss(flipped, capsys):
    X, y, groups = flipped
    AdaptiveClassifier(steps=50, verbose=True, random_state=0).fit(X, y, groups=groups)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["step 25 of 50", "step 50 of 50"]


def test_a_loss_that_explodes_stops(flipped):
    X, _, groups = flipped
    regressor = AdaptiveRegressor("none", learning_rate=1e30, random_state=0)
    with pytest.raises(FloatingPointError, match=r"at step \d+; lower learning_rate"):
        regressor.fit(X, X[:, 0], groups=groups)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "contxt"}, "did you mean 'context'"),
        ({"weighting": "groupdro"}, "did you mean 'group_dro'"),
        ({"input_shape": (8, 8, 1)}, r"holds 64 numbers but X has 2 features"),
        ({"input_shape": (1, 2)}, "must be \\(height, width, channels\\)"),
        ({"input_shape": (1, 2, 1)}, "too small for convolutions"),
        ({"steps": 0}, "steps=0"),
        ({"support": 2.5}, "support=2.5"),
        ({"hidden": ()}, "hidden="),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"pseudo_count": -1}, "pseudo_count=-1"),
        ({"unadapted_weight": 2}, "unadapted_weight=2"),
        ({"group_sampling": "often"}, "group_sampling='often'"),
    ],
)
def test_bad_settings_are_named(flipped, settings, message):
    X, y, groups = flipped
    with pytest.raises(ValueError, match=message):
        AdaptiveClassifier(**settings).fit(X, y, groups=groups)


def test_bad_arrays_are_named(flipped, context_classifier):
    X, y, groups = flipped
    fresh = AdaptiveClassifier(steps=25)
    with pytest.raises(ValueError, match="groups has 3 entries but X has 1440 rows"):
        fresh.fit(X, y, groups=groups[:3])
    with pytest.raises(ValueError, match="groups has 3 entries but X has 1440 rows"):
        context_classifier.predict(X, groups=groups[:3])
    with pytest.raises(ValueError, match="groups contains NaN"):
        fresh.fit(X, y, groups=np.where(groups == 0, np.nan, groups))
    with pytest.raises(ValueError, match="groups mixes kinds"):
        fresh.fit(X, y, groups=np.array([None, *groups[1:]], dtype=object))
    with pytest.raises(ValueError, match="contains NaN"):
        context_classifier.predict(np.where(X > 0, np.nan, X))
    with pytest.raises(ValueError, match="zero"):
        fresh.fit(X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="needs classes"):
        AdaptiveRegressor("entropy").fit(X, X[:, 0])


def test_more_rows_a_step_than_there_are():
    X = np.array([[0.0], [1.0], [2.0]])
    classifier = AdaptiveClassifier(groups_per_step=8, support=64, random_state=0).fit(X, ["a", "b", "b"])
    np.testing.assert_array_equal(classifier.predict(X), ["a", "b", "b"])
