"""How good a model is over groups, and how sure that is.

A *statistic* maps the accuracies of the groups and their sizes to one number: `average`, `worst_group`,
`worst_tenth`, `size_weighted`. Three sources of chance are kept apart: the seed (`seed_interval`, Student's
t), the examples that happened to be drawn, and the groups that happened to be met (`bootstrap_interval`).

A worst group is a minimum over noisy numbers, so it lies below the truth even where all groups are equally
hard; `sampling_floor` says by how much.

Results of many methods, seeds, groups and support sizes come as rows (mappings with `method`, `seed`,
`group`, `n`, `metric`, `value`, `support`, `order`, `split`); `summarise` makes the table of them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def group_accuracy(correct: np.ndarray, groups: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of correct predictions in each group, and the number of examples it rests on.

    **Arguments:**

    - `correct`: `(n,)` booleans.
    - `groups`: `(n,)` group ids `0 .. num_groups - 1`.

    **Returns:** two arrays `(num_groups,)`; a group without examples has accuracy NaN and size 0.
    """
    correct, groups = np.asarray(correct, dtype=np.float64), np.asarray(groups)
    if correct.shape != groups.shape:
        raise ValueError(f"correct has shape {correct.shape}, groups {groups.shape}; give one id per example.")
    counts = np.bincount(groups, minlength=num_groups)
    hits = np.bincount(groups, weights=correct, minlength=num_groups)
    return np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0), counts


def average(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over groups, each counted once. Shapes as for every statistic: `(..., groups)` to `(...)`."""
    return _present(values, counts).mean(axis=-1)


def worst_group(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The lowest accuracy of any group."""
    return _present(values, counts).min(axis=-1)


def worst_tenth(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the `tenth(groups)` groups of lowest accuracy."""
    values = _present(values, counts)
    lowest = np.sort(values, axis=-1)[..., : tenth(values.shape[-1])].mean(axis=-1)
    # Sorting moves NaN to the end, where it would go unnoticed.
    return np.where(np.isnan(values).any(axis=-1), np.nan, lowest)


def size_weighted(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over examples: groups counted by their size (called *empirical* by Zhang et al. 2021)."""
    weights = np.asarray(counts, dtype=np.float64)[np.asarray(counts) > 0]
    return np.sum(_present(values, counts) * weights, axis=-1) / weights.sum()


STATISTICS: Mapping[str, Statistic] = {
    "average": average,
    "worst group": worst_group,
    "worst tenth": worst_tenth,
    "size-weighted": size_weighted,
}


def tenth(groups: int) -> int:
    """The fewest groups that are at least a tenth of them: 1 of 10, 2 of 14, 30 of 297."""
    return -(-groups // 10)


def _present(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    values, counts = np.asarray(values, dtype=np.float64), np.asarray(counts)
    if values.shape[-1:] != counts.shape:
        raise ValueError(f"values end in {values.shape[-1:]} groups, counts has {counts.shape}; give one count each.")
    if not (counts > 0).any():
        raise ValueError("counts has no group with examples; there is nothing to judge.")
    return values[..., counts > 0]


class Interval(NamedTuple):
    """A mean with its interval over `n` observations; the ends are NaN where one observation gives none."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """The number behind the plus-minus sign."""
        return (self.high - self.low) / 2


def seed_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Student's interval for the mean over seeds: mean +- t(n - 1) s / sqrt(n), s with divisor n - 1."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        raise ValueError("values is empty; an interval needs at least one seed.")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half, len(values))


def difference_interval(first: Mapping[int, float], second: Mapping[int, float], level: float = 0.95) -> Interval:
    """Student's interval for the mean of `first - second`, paired over the seeds they share.

    A seed fixes data and initialisation for both, so pairing removes what they have in common. With fewer
    than two shared seeds the ends are NaN.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return Interval(math.nan, math.nan, math.nan, 0)
    return seed_interval([first[seed] - second[seed] for seed in shared], level)


def not_distinguishable_from_best(scores: Mapping[str, Mapping[int, float]]) -> frozenset[str]:
    """The method of highest mean, and all whose paired difference to it has an interval that reaches zero.

    **Arguments:**

    - `scores`: method to seed to score. Methods with fewer than two seeds, or with a score that is not
      finite, cannot be compared and are never returned.
    """
    means = {
        method: float(np.mean(list(by_seed.values())))
        for method, by_seed in scores.items()
        if len(by_seed) > 1 and np.isfinite(list(by_seed.values())).all()
    }
    if not means:
        return frozenset()
    best = max(means, key=means.__getitem__)
    others = {method: difference_interval(scores[best], scores[method]) for method in means}
    return frozenset(method for method, gap in others.items() if method == best or gap.low <= 0)


def bootstrap_interval(
    values: np.ndarray,
    counts: np.ndarray,
    statistic: Statistic,
    *,
    seed: int,
    over_groups: bool = False,
    level: float = 0.95,
    draws: int = 1000,
) -> Interval:
    """Percentile bootstrap of a statistic of group accuracies (Efron 1979).

    Within a group of `n` examples with accuracy `a`, a resample of the examples has `Binomial(n, a) / n`
    correct ones; so the accuracies suffice. `over_groups` resamples the groups themselves instead, which
    says how the number would vary with other groups of the same kind.

    A resampled minimum is biased downwards, so for the worst group read the interval together with
    `sampling_floor`; over groups it has no useful interval at all.

    **Arguments:**

    - `values`, `counts`: `(groups,)`; groups without examples are left out.
    - `seed`: of NumPy's generator; the same seed gives the same interval.

    **Returns:** the statistic itself as `mean`, with `n` the number of groups.
    """
    rng = np.random.default_rng(seed)
    counts = np.asarray(counts)
    values, counts = _present(values, counts), counts[counts > 0]
    if not np.isfinite(values).all():
        return Interval(math.nan, math.nan, math.nan, len(values))
    if over_groups:
        picks = rng.integers(len(values), size=(draws, len(values)))
        samples = np.array([statistic(values[pick], counts[pick]) for pick in picks])
    else:
        samples = statistic(_resample(rng, values, counts, draws), counts)
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values, counts)), float(low), float(high), len(values))


def sampling_floor(accuracy: float, counts: np.ndarray, statistic: Statistic, *, seed: int, draws: int = 1000) -> float:
    """What the statistic would show on average if every group had this very accuracy.

    For a minimum over many small groups this is far below `accuracy`; only what lies below the floor is
    evidence that some groups are harder than others.
    """
    if not math.isfinite(accuracy):
        return math.nan
    counts = np.asarray(counts)[np.asarray(counts) > 0]
    rng = np.random.default_rng(seed)
    return float(np.mean(statistic(_resample(rng, np.full(len(counts), accuracy), counts, draws), counts)))


def _resample(rng: np.random.Generator, values: np.ndarray, counts: np.ndarray, draws: int) -> np.ndarray:
    return rng.binomial(counts, np.clip(values, 0, 1), size=(draws, len(values))) / counts


@dataclass(frozen=True)
class Summary:
    """One line of the table: a method at one support size, in one order of adapting and predicting.

    - `support`: number of unlabelled examples adapted on, 0 without adaptation.
    - `selection`: how the model was chosen, every way that some seed had.
    - `groups`, `examples`: what it was judged on (of the seed with most).
    - `scores`: statistic (a key of `STATISTICS`) to seed to value.
    """

    method: str
    order: str
    support: int
    selection: str
    groups: int
    examples: int
    scores: Mapping[str, Mapping[int, float]]

    def interval(self, statistic: str) -> Interval:
        """Mean and 95 % interval over seeds."""
        return seed_interval(list(self.scores[statistic].values()))


def summarise(
    rows: Iterable[Mapping[str, Any]], *, split: str = "test", metric: str = "accuracy"
) -> tuple[Summary, ...]:
    """The table of results: one `Summary` for every method, order and support size, in order of appearance.

    Rows without examples (`n` of 0) are left out; a value of `None` counts as NaN.

    **Raises:** `ValueError` if a method and seed has two values for the same group under the same
    conditions.
    """
    cells: dict[tuple[str, str, int], dict[int, dict[str, tuple[float, int]]]] = {}
    selections: dict[tuple[str, str, int], dict[str, None]] = {}
    for row in rows:
        if row["split"] != split or row["metric"] != metric or int(row["n"]) == 0:
            continue
        key = (row["method"], row["order"], int(row["support"] or 0))
        groups = cells.setdefault(key, {}).setdefault(row["seed"], {})
        if row["group"] in groups:
            raise ValueError(
                f"rows holds group {row['group']!r} of {row['method']}, seed {row['seed']}, "
                f"support {key[2]}, {row['order']!r} twice; give each result once."
            )
        value = math.nan if row["value"] is None else float(row["value"])
        groups[row["group"]] = value, int(row["n"])
        selections.setdefault(key, {})[str(row.get("selection") or "")] = None
    return tuple(_summary(key, "; ".join(filter(None, selections[key])), by_seed) for key, by_seed in cells.items())


def _summary(
    key: tuple[str, str, int], selection: str, by_seed: Mapping[int, Mapping[str, tuple[float, int]]]
) -> Summary:
    arrays = {seed: np.array(list(by_seed[seed].values())).T for seed in sorted(by_seed)}
    scores = {
        name: {seed: float(statistic(values, counts)) for seed, (values, counts) in arrays.items()}
        for name, statistic in STATISTICS.items()
    }
    return Summary(
        *key,
        selection=selection,
        groups=max(int((counts > 0).sum()) for _, counts in arrays.values()),
        examples=max(int(counts.sum()) for _, counts in arrays.values()),
        scores=scores,
    )
