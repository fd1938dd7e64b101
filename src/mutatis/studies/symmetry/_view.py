"""Which numbers of a study of learned symmetries stand where: by metric, problem, method and seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mutatis.shift._metrics import Interval, not_distinguishable_from_best, seed_interval
from mutatis.studies._results import Results
from mutatis.studies._study import ADAPTED
from mutatis.studies.page._charts import Style

RISK, EXCESS, OVERLAP, DISCOVERY = "risk", "excess", "overlap", "discovery"
DIMENSION = "effective dimension"
METRICS = (RISK, EXCESS, OVERLAP, "smallest cosine", "capture", DIMENSION, DISCOVERY)
LOW_IS_GOOD = frozenset({RISK, EXCESS})
# Other than relative differences beyond this, two methods have the same floor.
SAME = 1e-6

Rows = dict[int, list[Mapping[str, Any]]]


@dataclass(frozen=True)
class SymmetryView:
    """A study with the choices that its part of the page makes."""

    results: Results
    styles: Mapping[str, Style]

    @cached_property
    def split(self) -> str:
        """`test`, or what there is instead."""
        splits = [row["split"] for row in self.results.rows if row["metric"] in METRICS]
        return "test" if "test" in splits or not splits else splits[0]

    @cached_property
    def rows(self) -> dict[tuple[str, str, str], Rows]:
        """Rows by (metric, problem, method), then by seed: of one order and one support, the study's if it is there."""
        found: dict[tuple[str, str, str], dict[tuple[str, int], Rows]] = {}
        for row in self.results.rows:
            if row["metric"] in METRICS and row["split"] == self.split:
                condition = str(row["order"]), int(row["support"] or 0)
                cell = found.setdefault((row["metric"], str(row["group"]), row["method"]), {})
                cell.setdefault(condition, {}).setdefault(row["seed"], []).append(row)
        return {key: each[max(each, key=self._closeness)] for key, each in found.items()}

    def _closeness(self, condition: tuple[str, int]) -> tuple[bool, bool, int]:
        order, support = condition
        return order == ADAPTED, support == self.results.configs[0].get("fields", {}).get("support"), support

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Problems in the order of the study; none if it is of another kind."""
        return tuple(dict.fromkeys(problem for _, problem, _ in self.rows))

    @cached_property
    def learners(self) -> frozenset[str]:
        """The methods that learn a symmetry; one that is given a symmetry has an overlap but nothing to discover."""
        asked = {method for metric, _, method in self.rows if metric == DISCOVERY}
        return frozenset(asked or {method for metric, _, method in self.rows if metric == OVERLAP})

    @cached_property
    def given(self) -> frozenset[str]:
        """The methods that are given a symmetry: they show what could be reached, and compete with nobody."""
        return frozenset(self.methods(OVERLAP)) - self.learners

    @cached_property
    def seeds(self) -> int:
        """The most seeds any method has."""
        return max((len(by_seed) for by_seed in self.rows.values()), default=0)

    def methods(self, metric: str) -> list[str]:
        """Those with such a row, in the order of the study."""
        having = {method for kind, _, method in self.rows if kind == metric}
        return [method for method in self.results.methods if method in having]

    def values(self, metric: str, problem: str, method: str) -> dict[int, float]:
        """Seed to value; NaN where it was not finite."""
        return self.extra("value", metric, problem, method)

    def extra(self, name: str, metric: str, problem: str, method: str) -> dict[int, float]:
        """Seed to another entry of the rows; NaN where it is missing."""
        rows = self.rows.get((metric, problem, method), {})
        return {seed: _number(each[-1].get(name)) for seed, each in sorted(rows.items())}

    def interval(self, metric: str, problem: str, method: str) -> Interval | None:
        """Mean and 95 % interval over seeds; `None` where there is no row."""
        values = self.values(metric, problem, method)
        return seed_interval(list(values.values())) if values else None

    def mean(self, metric: str, problem: str, method: str) -> float:
        """Mean over seeds; NaN where there is no row, or a value is not finite."""
        found = self.interval(metric, problem, method)
        return found.mean if found else math.nan

    def best(self, metric: str, problem: str) -> frozenset[str]:
        """The methods that may be marked as best; nobody where there is nobody to beat."""
        sign = -1.0 if metric in LOW_IS_GOOD else 1.0
        scores = {m: self.values(metric, problem, m) for m in self.methods(metric) if m not in self.given}
        scores = {m: {seed: sign * value for seed, value in each.items()} for m, each in scores.items() if each}
        return not_distinguishable_from_best(scores) if len(scores) > 1 else frozenset()

    @cached_property
    def signals(self) -> dict[str, float]:
        """Problem to the risk of answering 0, the mean over seeds."""
        return {problem: _mean(self._by_seed("signal", problem)) for problem in self.problems}

    @cached_property
    def floors(self) -> list[tuple[list[str], dict[str, float]]]:
        """Methods whose rules have the same floors, and these by problem."""
        shared: list[tuple[list[str], dict[tuple[str, int], float]]] = []
        for method in self.methods(RISK):
            mine = {
                (problem, seed): floor
                for problem in self.problems
                for seed, floor in self.extra("floor", RISK, problem, method).items()
                if math.isfinite(floor)
            }
            for names, floors in shared:
                common = mine.keys() & floors.keys()
                if common and all(math.isclose(mine[key], floors[key], rel_tol=SAME, abs_tol=SAME) for key in common):
                    names.append(method)
                    floors |= mine
                    break
            else:
                if mine:
                    shared.append(([method], mine))
        by_problem = lambda floors, problem: {seed: value for (name, seed), value in floors.items() if name == problem}
        return [(names, {p: _mean(by_problem(floors, p)) for p in self.problems}) for names, floors in shared]

    def truth(self, problem: str) -> int:
        """Dimension of the true symmetry, which rows of the effective dimension count as their `n`; 0 if unknown."""
        counts = {row.get("n") for key in self.rows if key[:2] == (DIMENSION, problem) for row in self._all(key)}
        return int(next(iter(counts)) or 0) if len(counts) == 1 else 0

    def supports(self, problem: str) -> set[int]:
        """Examples of each task of a problem."""
        return {int(row["support"] or 0) for key in self.rows if key[:2] == (RISK, problem) for row in self._all(key)}

    def tasks(self, problem: str) -> int:
        """Held-out tasks that the risk of a problem is a mean of; 0 if unknown."""
        keys = [key for key in self.rows if key[:2] == (RISK, problem)]
        return max((int(row.get("n") or 0) for key in keys for row in self._all(key)), default=0)

    def _all(self, key: tuple[str, str, str]) -> list[Mapping[str, Any]]:
        return [row for rows in self.rows[key].values() for row in rows]

    def _by_seed(self, name: str, problem: str) -> dict[int, float]:
        found: dict[int, float] = {}
        for method in self.methods(RISK):
            found |= {s: v for s, v in self.extra(name, RISK, problem, method).items() if math.isfinite(v)}
        return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _mean(by_seed: Mapping[int, float]) -> float:
    return sum(by_seed.values()) / len(by_seed) if by_seed else math.nan
