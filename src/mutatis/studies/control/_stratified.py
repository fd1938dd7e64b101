"""Means over runs and tasks, and how sure they are with few runs.

Agarwal, Schwarzer, Castro, Courville, Bellemare, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(NeurIPS 2021): the interquartile mean is less noisy than the median and less moved by single runs than the mean, and a
stratified bootstrap (strata: the tasks; drawn anew: the runs of each) gives its interval. The draws of different tasks
are independent of one another, which is so where each task is trained alone; where one run trains all tasks and they
rise and fall together, the interval is too narrow.
"""

from collections.abc import Callable, Mapping

import numpy as np

from mutatis import _interquartile
from mutatis.shift._metrics import Interval

Mean = Callable[[np.ndarray], np.ndarray]
"""Scores (..., runs, tasks) to one number (...)."""
RESAMPLES = 2000
LEVEL = 0.95


def mean(scores: np.ndarray) -> np.ndarray:
    """The mean over runs and tasks."""
    return scores.mean(axis=(-2, -1))


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """That of all runs and tasks together."""
    return _interquartile.interquartile_mean(scores.reshape(*scores.shape[:-2], -1))


def stratified_interval(scores: np.ndarray, over: Mean, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """A mean of scores (runs, tasks) and its 95 % percentile interval; ends of NaN where one run gives none."""
    if len(scores) < 2 or not np.isfinite(scores).all():
        return Interval(float(over(scores)), np.nan, np.nan, len(scores))
    low, high = _ends(over(_drawn(scores, resamples, np.random.default_rng(seed))))
    return Interval(float(over(scores)), low, high, len(scores))


def stratified_difference(
    first: np.ndarray, second: np.ndarray, over: Mean, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The same for the difference of two methods, (runs, tasks) and (other runs, tasks), each drawn on its own."""
    gap = float(over(first) - over(second))
    runs = min(len(first), len(second))
    if runs < 2 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Interval(gap, np.nan, np.nan, runs)
    random = np.random.default_rng(seed)
    return Interval(gap, *_ends(over(_drawn(first, resamples, random)) - over(_drawn(second, resamples, random))), runs)


def highest(scores: Mapping[str, np.ndarray], over: Mean) -> frozenset[str]:
    """The method of the highest mean, and all whose difference to it has an interval that reaches zero.

    Methods with fewer than two runs, or with a score that is not finite, cannot be compared and are never returned;
    nobody is where there is nobody to beat.
    """
    known = {method: each for method, each in scores.items() if len(each) > 1 and np.isfinite(each).all()}
    if len(known) < 2:
        return frozenset()
    best = max(known, key=lambda method: float(over(known[method])))
    gaps = {method: stratified_difference(known[best], each, over) for method, each in known.items()}
    return frozenset(method for method, gap in gaps.items() if method == best or gap.low <= 0)


def _drawn(scores: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """Runs drawn anew within each task, (resamples, runs, tasks)."""
    picks = random.integers(len(scores), size=(resamples, *scores.shape))
    return np.take_along_axis(scores[None], picks, axis=1)


def _ends(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
