"""Which numbers of a study of control (reinforcement learning on many tasks) stand where."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mutatis.shift._metrics import Interval
from mutatis.studies._own_tasks import OWN, own_task
from mutatis.studies._results import Results
from mutatis.studies.control._stratified import highest, interquartile_mean, mean, stratified_interval
from mutatis.studies.page._charts import Style

SUCCESS, AT_END, RETURN = "success", "success at end", "return"
STEPS = "environment steps"
IQM, MEAN = "interquartile mean", "mean"
MEANS = {IQM: interquartile_mean, MEAN: mean}
"""How scores of runs and tasks become one number."""


@dataclass(frozen=True)
class Published:
    """A number from a paper: `success` is a share, and a `statistic` of it: `IQM` or `MEAN`."""

    method: str
    success: float
    environment_steps: int
    protocol: str
    source: str
    statistic: str


@dataclass(frozen=True)
class ControlView:
    """A study with the choices that its part of the page makes; successes are shares, not percent."""

    results: Results
    styles: Mapping[str, Style]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the study; none if it is of another kind."""
        if any(config.get("trial") for config in self.results.configs):
            return ()
        judged = [str(row["group"]) for row in self.results.rows if row["metric"] == SUCCESS]
        measured = any(f"{SUCCESS} by task" in line for line in self.results.curves)
        configured = [str(task) for config in self.results.configs for task in config.get("tasks", ())]
        return tuple(dict.fromkeys([*configured, *judged])) if judged or measured else ()

    @cached_property
    def everyone(self) -> tuple[str, ...]:
        """All methods in the order of the study, those that only train so far included."""
        jobs = (own_task(job["method"], self.tasks)[0] for config in self.results.configs for job in _jobs(config))
        place = {method: number for number, method in enumerate(dict.fromkeys(jobs))}
        return tuple(sorted(self.results.methods, key=lambda method: place.get(method, len(place))))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Those with results, in the order of the study."""
        having = {row["method"] for row in self.results.rows if row["metric"] == SUCCESS}
        return tuple(method for method in self.everyone if method in having)

    @cached_property
    def alone(self) -> frozenset[str]:
        """The methods that train each task in a job of its own."""
        jobs = {job["method"] for config in self.results.configs for job in _jobs(config)}
        lines = {line["method"] for line in self.results.curves if OWN in line}
        named = (m for m in self.everyone if any(f"{m}: {task}" in jobs for task in self.tasks))
        return frozenset([*lines, *named])

    @cached_property
    def _rows(self) -> dict[tuple[str, str], dict[str, dict[int, Mapping[str, Any]]]]:
        """Rows by (metric, method), then by task and seed."""
        found: dict[tuple[str, str], dict[str, dict[int, Mapping[str, Any]]]] = {}
        for row in self.results.rows:
            cell = found.setdefault((row["metric"], row["method"]), {})
            cell.setdefault(str(row["group"]), {})[row["seed"]] = row
        return found

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """The means that are shown; of one seed, an interquartile mean would leave out tasks instead of chance."""
        seeds: dict[str, set[int]] = {}
        for entry in (*self.results.rows, *self.results.curves):
            seeds.setdefault(entry["method"], set()).add(entry["seed"])
        return (IQM, MEAN) if max(map(len, seeds.values()), default=0) > 1 else (MEAN,)

    def by_seed(self, metric: str, method: str, task: str) -> dict[int, float]:
        """Seed to value; NaN where it was not finite."""
        rows = self._rows.get((metric, method), {}).get(task, {})
        return {seed: number(rows[seed]["value"]) for seed in sorted(rows)}

    def seeds(self, method: str) -> tuple[int, ...]:
        """The seeds that have a result on every task."""
        each = [set(self.by_seed(SUCCESS, method, task)) for task in self.tasks]
        return tuple(sorted(set.intersection(*each))) if each else ()

    @cached_property
    def most_seeds(self) -> int:
        """The most seeds any method has."""
        return max((len(self.seeds(method)) for method in self.methods), default=0)

    def tasks_of(self, method: str) -> int:
        """How many tasks have a result."""
        return sum(bool(self.by_seed(SUCCESS, method, task)) for task in self.tasks)

    def scores(self, metric: str, method: str) -> np.ndarray:
        """Values (seeds, tasks) of the seeds that have all tasks; NaN where a value is missing or not finite."""
        seeds = self.seeds(method)
        columns = [self.by_seed(metric, method, task) for task in self.tasks]
        scores = [[column.get(seed, math.nan) for column in columns] for seed in seeds]
        return np.array(scores, dtype=np.float64).reshape(len(seeds), len(self.tasks))

    def interval(self, metric: str, method: str, statistic: str) -> Interval | None:
        """A mean over seeds and tasks with its 95 % bootstrap interval; `None` where no seed has all tasks."""
        scores = self.scores(metric, method)
        return stratified_interval(scores, MEANS[statistic]) if len(scores) else None

    def best(self, metric: str, statistic: str) -> frozenset[str]:
        """The methods that may be marked as best."""
        return self._best[metric, statistic]

    @cached_property
    def _best(self) -> dict[tuple[str, str], frozenset[str]]:
        found = {}
        for metric in (SUCCESS, AT_END):
            scores = {method: self.scores(metric, method) for method in self.methods}
            found |= {(metric, statistic): highest(scores, MEANS[statistic]) for statistic in MEANS}
        return found

    @cached_property
    def leader(self) -> str | None:
        """The method of the highest success, by the first of `statistics`."""
        values = {method: self.interval(SUCCESS, method, self.statistics[0]) for method in self.methods}
        known = {method: one.mean for method, one in values.items() if one is not None and math.isfinite(one.mean)}
        return max(known, key=known.__getitem__) if known else None

    def environment_steps(self, method: str) -> int:
        """Of one seed, all tasks together: the most that any has taken; 0 if unknown."""
        rows = self._rows.get((SUCCESS, method), {})
        each = [max(int(row.get(STEPS) or 0) for row in by_seed.values()) for by_seed in rows.values()]
        return (sum if method in self.alone else max)(each) if each else 0

    @cached_property
    def episodes(self) -> set[int]:
        """Episodes that the results on a task are means of."""
        return {int(row["n"] or 0) for row in self.results.rows if row["metric"] == SUCCESS}

    @cached_property
    def hardest_first(self) -> tuple[str, ...]:
        """Tasks with results by their mean success over methods; last those of which nothing finite is known."""
        means: dict[str, float] = {}
        for task in self.tasks:
            each = [values for method in self.methods if (values := [*self.by_seed(SUCCESS, method, task).values()])]
            known = [float(np.mean(values)) for values in each if np.isfinite(values).all()]
            if each:
                means[task] = float(np.mean(known)) if known else math.inf
        return tuple(sorted(means, key=means.__getitem__))

    @cached_property
    def published(self) -> tuple[Published, ...]:
        """What papers report, each once."""
        entries = [entry for config in self.results.configs for entry in config.get("published") or ()]
        return tuple(dict.fromkeys(map(_published, entries)))

    @cached_property
    def published_methods(self) -> dict[tuple[str, str], tuple[Style, Published]]:
        """What papers report by method and source: its look, and the number of the largest budget."""
        found: dict[tuple[str, str], Published] = {}
        for one in sorted(self.published, key=lambda one: one.environment_steps):
            found[one.method, one.source] = one
        order = dict.fromkeys((one.method, one.source) for one in self.published)
        return {key: (Style(-1 - place, hollow=True), found[key]) for place, key in enumerate(order)}

    @property
    def protocol(self) -> str:
        """The sentence on how success is counted."""
        return " ".join(dict.fromkeys(str(config.get("protocol") or "").strip() for config in self.results.configs))

    def lines(self, method: str) -> Iterable[Mapping[str, Any]]:
        """The lines of `metrics.jsonl` of a method."""
        return (line for line in self.results.curves if line["method"] == method)


def _jobs(config: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return config.get("jobs") or ()


def number(value: Any) -> float:
    """A value of a row or line; NaN where there is none."""
    return float(value) if isinstance(value, int | float) else math.nan


def _published(entry: Mapping[str, Any]) -> Published:
    return Published(
        str(entry.get("method", "")),
        number(entry.get("success")),
        int(entry.get(STEPS.replace(" ", "_")) or 0),
        str(entry.get("protocol") or ""),
        str(entry.get("source") or ""),
        str(entry.get("statistic") or MEAN),
    )
