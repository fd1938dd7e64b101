"""What a study of trials says when it has ended, in lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mutatis.shift._metrics import Interval, seed_interval
from mutatis.studies._numbers import amount, written

RETURN, SUCCESS = "return", "success"
GAIN = "gain in success"
"""The metric of a row that says what the last episode has over the first."""
WHOLE = "whole trial"
"""The group of a row that sums up all episodes."""


def scores_by_seed(
    trial: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], method: str, metric: str = RETURN
) -> dict[int, float]:
    """Seed to what counts of a trial: all of it, or its last episode."""
    mine = [row for row in rows if row["method"] == method and row["metric"] == metric]
    counting = [row for row in mine if (row["group"] == WHOLE) == bool(trial["whole"])]
    last = {row["seed"]: row for row in sorted(counting, key=lambda row: row["support"])}
    return {seed: float(row["value"]) for seed, row in last.items() if row["value"] is not None}


def success_gain(rows: Sequence[Mapping[str, Any]], method: str) -> Interval | None:
    """What adapting gains, its interval over seeds, or of one seed over its trials; `None` where it is not told."""
    mine = [row for row in rows if row["method"] == method and row["metric"] == GAIN]
    if len(mine) == 1:
        (row,) = mine
        return Interval(row["value"], row["low"], row["high"], int(row["n"]))
    return seed_interval([float(row["value"]) for row in mine]) if mine else None


def share_of_the_way(value: float, references: Sequence[Mapping[str, Any]]) -> float:
    """Where a score lies from that of one who knows nothing, 0, to the best there is, 1; NaN if either is unknown."""
    ends = [next((one["value"] for one in references if one[role]), np.nan) for role in ("is_nothing", "is_best")]
    return (value - ends[0]) / (ends[1] - ends[0])


def closing_lines(
    trial: Mapping[str, Any],
    methods: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]],
) -> str:
    """The scores of the methods, then what is computed, then what papers report."""
    lines = [f"The {trial['score']}:"]
    for method in methods:
        scores = scores_by_seed(trial, rows, method)
        if not scores:
            continue
        found = seed_interval(list(scores.values()))
        mean, half = written(found.mean, found.half_width)
        share = share_of_the_way(found.mean, references)
        said = f", {share:.1%} of the way from nothing known to the best there is" if np.isfinite(share) else ""
        steps = max(int(row["environment steps"]) for row in rows if row["method"] == method)
        lines.append(f"  {method}: {mean}{f' ± {half}' if half else ''}{said} ({amount(steps)} environment steps)")
    for one in references:
        lines.append(f"  {one['name']}: {written(one['value'])[0]} ({'exact' if one['exact'] else 'simulated'})")
    for one in published:
        lines.append(f"  published, {one['method']}: {one['value']:g} ({one['source']})")
    return "\n".join(lines)
