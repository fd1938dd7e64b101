"""Group statistics and intervals against closed forms, scipy and scikit-learn."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from mutatis.shift._metrics import (
    STATISTICS,
    average,
    bootstrap_interval,
    difference_interval,
    group_accuracy,
    not_distinguishable_from_best,
    sampling_floor,
    seed_interval,
    size_weighted,
    summarise,
    tenth,
    worst_group,
    worst_tenth,
)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 7, 500)
    targets = rng.integers(0, 3, 500)
    predicted = np.where(rng.random(500) < 0.6 + 0.05 * groups, targets, (targets + 1) % 3)
    return predicted, targets, groups


def test_group_accuracy_is_scikit_learns_in_each_group(predictions):
    predicted, targets, groups = predictions
    values, counts = group_accuracy(predicted == targets, groups, 8)
    for group in range(7):
        mine = groups == group
        assert values[group] == pytest.approx(accuracy_score(targets[mine], predicted[mine]))
        assert counts[group] == mine.sum()
    assert math.isnan(values[7]) and counts[7] == 0


def test_size_weighted_is_the_accuracy_over_all_examples(predictions):
    predicted, targets, groups = predictions
    values, counts = group_accuracy(predicted == targets, groups, 8)
    assert size_weighted(values, counts) == pytest.approx(accuracy_score(targets, predicted))


def test_statistics_of_a_table_worked_by_hand():
    values = np.array([0.9, 0.2, 0.4, 0.8, 0.7, 1.0, 0.6, 0.5, 0.3, 0.75, 0.95])
    counts = np.array([10, 20, 30, 10, 10, 10, 10, 10, 10, 10, 10])
    assert average(values, counts) == pytest.approx(7.1 / 11)
    assert worst_group(values, counts) == 0.2
    assert worst_tenth(values, counts) == pytest.approx((0.2 + 0.3) / 2)  # 2 of 11 are at least a tenth
    assert size_weighted(values, counts) == pytest.approx((4 + 12 + 65) / 140)


@pytest.mark.parametrize(("groups", "worst"), [(1, 1), (9, 1), (10, 1), (11, 2), (14, 2), (22, 3), (297, 30)])
def test_a_tenth_is_never_less_than_one_group(groups, worst):
    assert tenth(groups) == worst


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=1, max_size=40))
def test_worst_group_worst_tenth_and_average_are_in_this_order(table):
    values, counts = (np.array(column) for column in zip(*table, strict=True))
    lowest, tail, mean = (statistic(values, counts) for statistic in (worst_group, worst_tenth, average))
    assert lowest <= tail + 1e-12 and tail <= mean + 1e-12


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_groups_without_examples_do_not_count_but_lost_values_show(statistic):
    values, counts = np.array([0.5, 0.25, np.nan]), np.array([2, 4, 0])
    assert statistic(values, counts) == statistic(values[:2], counts[:2])
    assert math.isnan(statistic(values, np.array([2, 4, 1])))
    with pytest.raises(ValueError, match="counts has no group"):
        statistic(values, np.zeros(3, int))
    with pytest.raises(ValueError, match="one count each"):
        statistic(values, counts[:2])


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_seed_interval_is_students(n):
    values = np.random.default_rng(n).normal(0.8, 0.02, n)
    expected = scipy.stats.t.interval(0.95, n - 1, values.mean(), scipy.stats.sem(values))
    interval = seed_interval(values)
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9)
    assert interval.mean == pytest.approx(values.mean()) and interval.n == n


def test_seed_interval_covers_the_truth_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(size=(2000, 5))
    intervals = [seed_interval(sample) for sample in samples]
    covered = sum(one.low <= 0 <= one.high for one in intervals)
    # Three standard errors of a share of 2000.
    assert abs(covered / 2000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000)


def test_one_seed_has_a_mean_and_no_interval():
    interval = seed_interval([0.7])
    assert interval.mean == 0.7 and math.isnan(interval.half_width)
    with pytest.raises(ValueError, match="values is empty"):
        seed_interval([])


def test_difference_is_the_paired_t_interval_of_scipy():
    rng = np.random.default_rng(1)
    common = rng.normal(size=6)
    a, b = (dict(enumerate(common + rng.normal(0, 0.1, 6))) for _ in range(2))
    expected = scipy.stats.ttest_rel(list(a.values()), list(b.values())).confidence_interval(0.95)
    interval = difference_interval(a, b | {99: 0.0})
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_best_marks_what_the_paired_interval_cannot_tell_apart():
    seeds = range(5)
    wobble = [0.03, -0.02, 0.01, -0.03, 0.01]
    scores = {
        "best": {s: 0.80 + wobble[s] for s in seeds},
        # Intervals overlap widely, but every seed agrees: pairing tells it apart.
        "always a little worse": {s: 0.79 + wobble[s] + 1e-4 * s for s in seeds},
        "a tie": {s: 0.795 - wobble[s] for s in seeds},
        "one seed": {0: 0.99},
        "broken": {s: math.nan if s == 2 else 0.99 for s in seeds},
    }
    assert not_distinguishable_from_best(scores) == {"best", "a tie"}
    assert not_distinguishable_from_best({"one seed": {0: 0.9}, "another": {0: 0.1}}) == frozenset()


def test_bootstrap_of_one_group_is_scipys_on_the_examples():
    correct = np.repeat([1.0, 0.0], [70, 30])
    expected = scipy.stats.bootstrap(
        (correct,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    interval = bootstrap_interval(np.array([0.7]), np.array([100]), average, seed=0, draws=20_000)
    # Ends lie on hundredths; two resamplings may differ by one.
    assert interval.low == pytest.approx(expected.low, abs=0.0101)
    assert interval.high == pytest.approx(expected.high, abs=0.0101)
    assert interval.mean == 0.7


def test_bootstrap_over_groups_has_the_spread_of_the_groups():
    values = np.random.default_rng(0).normal(0.7, 0.05, 200)
    interval = bootstrap_interval(values, np.full(200, 9), average, seed=0, over_groups=True, draws=4000)
    assert interval.half_width == pytest.approx(1.96 * values.std() / math.sqrt(200), rel=0.06)


def test_bootstrap_repeats_with_its_seed_and_passes_on_lost_values():
    values, counts = np.array([0.5, 0.8]), np.array([40, 60])
    first, again, other = (bootstrap_interval(values, counts, worst_tenth, seed=s) for s in (3, 3, 4))
    assert first == again != other
    assert math.isnan(bootstrap_interval(np.array([0.5, np.nan]), counts, average, seed=0).low)


@settings(max_examples=10)
@given(st.integers(2, 60), st.integers(5, 200), st.floats(0.3, 0.99))
def test_sampling_floor_of_the_minimum_is_the_closed_form(groups, size, accuracy):
    # E[min] = sum over k >= 1 of P(every group has at least k right) / size
    at_least = scipy.stats.binom.sf(np.arange(size), size, accuracy)
    expected = (at_least**groups).sum() / size
    floor = sampling_floor(accuracy, np.full(groups, size), worst_group, seed=0, draws=4000)
    assert floor == pytest.approx(expected, abs=5 * 0.5 / math.sqrt(size * 4000))
    assert math.isnan(sampling_floor(math.nan, np.full(groups, size), worst_group, seed=0))


def make_rows():
    rng = np.random.default_rng(0)
    return [
        {"method": method, "seed": seed, "split": split, "group": f"g{group}", "n": 10 * (group + 1),
         "metric": "accuracy", "value": float(rng.random()), "support": support, "order": order,
         "selection": "last step"}
        for method in ("ERM", "ARM-BN")
        for seed in (0, 1, 2)
        for split in ("validation", "test")
        for group in range(12)
        for support, order in ((0, "no adaptation"), (5, "adapt, then predict"), (50, "adapt, then predict"))
    ]  # fmt: skip


def test_summarise_gives_what_plain_loops_give():
    rows = make_rows()
    table = summarise(rows)
    assert [(one.method, one.support) for one in table] == [
        (method, support) for method in ("ERM", "ARM-BN") for support in (0, 5, 50)
    ]
    for one in table:
        worst, weighted = [], []
        for seed in (0, 1, 2):
            mine = [
                row
                for row in rows
                if (row["method"], row["seed"], row["split"], row["support"]) == (one.method, seed, "test", one.support)
            ]
            worst.append(min(row["value"] for row in mine))
            weighted.append(sum(row["value"] * row["n"] for row in mine) / sum(row["n"] for row in mine))
        assert one.interval("worst group").mean == pytest.approx(sum(worst) / 3)
        assert one.interval("size-weighted").mean == pytest.approx(sum(weighted) / 3)
        assert one.groups == 12 and one.examples == 780 and one.selection == "last step"


def test_summarise_keeps_lost_values_and_refuses_doubles():
    rows = make_rows()
    lost = [row | {"value": None} if row["group"] == "g3" and row["seed"] == 1 else row for row in rows]
    assert math.isnan(summarise(lost)[0].interval("average").mean)
    empty = [row | {"n": 0, "value": None} if row["group"] == "g3" else row for row in rows]
    assert summarise(empty)[0].groups == 11
    with pytest.raises(ValueError, match="group 'g0' of ERM, seed 0"):
        summarise([*rows, rows[36]])  # the first row of the test groups
