"""Which numbers of a study of trials stand where."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mutatis.shift._metrics import Interval, not_distinguishable_from_best, seed_interval
from mutatis.studies._results import Results
from mutatis.studies.page._charts import Style
from mutatis.studies.trials._words import RETURN as RETURN
from mutatis.studies.trials._words import SUCCESS as SUCCESS
from mutatis.studies.trials._words import scores_by_seed, share_of_the_way, success_gain

STEPS = "environment steps"


@dataclass(frozen=True)
class TrialView:
    """A study with the choices that its part of the page makes."""

    results: Results
    styles: Mapping[str, Style]

    @cached_property
    def trial(self) -> Mapping[str, Any]:
        """What a trial is, see `TrialSet`; empty if the study is of another kind.

        Of runs with several numbers of episodes, the longest.
        """
        found = [config["trial"] for config in self.results.configs if config.get("trial")]
        return max(found, key=lambda one: one["episodes"]) if found else {}

    @property
    def episodes(self) -> int:
        """Of a trial."""
        return int(self.trial["episodes"])

    @property
    def episode(self) -> str:
        """What one is called."""
        return str(self.trial["episode"])

    @cached_property
    def everyone(self) -> tuple[str, ...]:
        """All methods in the order of the study, those that only train so far included."""
        return self.results.methods

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Those with results."""
        having = {row["method"] for row in self.results.rows}
        return tuple(method for method in self.everyone if method in having)

    @cached_property
    def _rows(self) -> dict[tuple[str, str, str], dict[int, float]]:
        found: dict[tuple[str, str, str], dict[int, float]] = {}
        for row in self.results.rows:
            cell = found.setdefault((row["metric"], row["method"], row["group"]), {})
            cell[row["seed"]] = math.nan if row["value"] is None else float(row["value"])
        return found

    def of_episode(self, metric: str, method: str, place: int) -> dict[int, float]:
        """Seed to the value in an episode, counted from 0."""
        return self._rows.get((metric, method, f"{self.episode} {place + 1}"), {})

    def by_episode(self, metric: str, method: str) -> list[Interval | None]:
        """Of each episode of a trial the mean and its interval over seeds."""
        each = (self.of_episode(metric, method, place) for place in range(self.episodes))
        return [seed_interval(list(values.values())) if values else None for values in each]

    def scores(self, method: str) -> dict[int, float]:
        """Seed to what counts of a trial."""
        return scores_by_seed(self.trial, self.results.rows, method)

    def score(self, method: str) -> Interval | None:
        """Its mean and interval over seeds."""
        scores = list(self.scores(method).values())
        return seed_interval(scores) if scores else None

    @cached_property
    def best(self) -> frozenset[str]:
        """The methods that may be marked as best by their score; nobody where there is nobody to beat."""
        if len(self.methods) < 2:
            return frozenset()
        return not_distinguishable_from_best({method: self.scores(method) for method in self.methods})

    @cached_property
    def has_success(self) -> bool:
        """Whether the family tells it."""
        return any(row["metric"] == SUCCESS for row in self.results.rows)

    def gain(self, method: str) -> Interval | None:
        """What adapting gains in success, see `success_gain`."""
        return success_gain(self.results.rows, method)

    @cached_property
    def has_gain(self) -> bool:
        """Whether any method tells it."""
        return any(self.gain(method) is not None for method in self.methods)

    @cached_property
    def seeds(self) -> int:
        """The most seeds any method has."""
        return len({entry["seed"] for entry in (*self.results.rows, *self.results.curves)})

    @cached_property
    def trials(self) -> set[int]:
        """Test trials that a result is the mean of."""
        return {int(row["n"]) for row in self.results.rows if row["split"] == "test"}

    @cached_property
    def references(self) -> tuple[Mapping[str, Any], ...]:
        """What is computed, each once; of several runs that differ in it, the first."""
        found: dict[str, Mapping[str, Any]] = {}
        for config in self.results.configs:
            for one in config.get("references") or ():
                found.setdefault(str(one["name"]), one)
        return tuple(found.values())

    def reference_style(self, name: str) -> Style:
        """Grey, with a shape of its own."""
        names = [one["name"] for one in self.references]
        return Style(-1 - names.index(name))

    @cached_property
    def published(self) -> tuple[Mapping[str, Any], ...]:
        """What papers report, each once."""
        entries = [entry for config in self.results.configs for entry in config.get("published") or ()]
        return tuple({(str(one["method"]), str(one["source"])): one for one in entries}.values())

    def share(self, value: float) -> float:
        """Of the way from one who knows nothing to the best there is; NaN if either is unknown."""
        return share_of_the_way(value, self.references)

    def environment_steps(self, method: str) -> int:
        """Of one seed: the most that any has taken."""
        entries = [e for e in (*self.results.rows, *self.results.curves) if e["method"] == method and e.get(STEPS)]
        return max((int(entry[STEPS]) for entry in entries), default=0)

    def course(self, method: str) -> dict[float, dict[int, float]]:
        """Environment steps to seed to score, at each evaluation while training."""
        found: dict[float, dict[int, float]] = {}
        for line in self.results.curves:
            if line["method"] == method and isinstance(line.get("score"), int | float):
                found.setdefault(float(line[STEPS]), {})[line["seed"]] = float(line["score"])
        return dict(sorted(found.items()))


def middle(values: Sequence[float]) -> Interval:
    """The mean of some seeds, with the lowest and the highest of them."""
    array = np.asarray(values, np.float64)
    ends = (array.min(), array.max()) if len(array) > 1 else (math.nan, math.nan)
    return Interval(float(array.mean()), float(ends[0]), float(ends[1]), len(array))
