"""Which numbers of a study stand where: the main line of each method, and what it is compared with."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mutatis.shift._metrics import (
    STATISTICS,
    Interval,
    Summary,
    not_distinguishable_from_best,
    seed_interval,
    summarise,
)
from mutatis.studies._results import Results
from mutatis.studies._study import ADAPTED, UNADAPTED
from mutatis.studies.page._charts import Style

REFERENCE = "ERM"


@dataclass(frozen=True)
class Entry:
    """A method: the line that stands for it, and the same models used in other ways."""

    main: Summary
    others: tuple[Summary, ...]


@dataclass(frozen=True)
class ShiftView:
    """A study with the choices that the page makes; accuracies are shares, not percent."""

    results: Results
    styles: Mapping[str, Style]

    @cached_property
    def split(self) -> str:
        """`test`, or what there is instead."""
        splits = [row["split"] for row in self.results.rows if row["metric"] == "accuracy"]
        return "test" if "test" in splits or not splits else splits[0]

    @cached_property
    def rows(self) -> list[Mapping[str, Any]]:
        """The rows that the page shows."""
        judged = (row for row in self.results.rows if row["metric"] == "accuracy" and int(row["n"]) > 0)
        return [row for row in judged if row["split"] == self.split]

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """All lines of the table of results."""
        return summarise(self.rows, split=self.split)

    @cached_property
    def support(self) -> int:
        """The main support size: the study's setting of that name, or the largest that was judged."""
        sizes = {one.support for one in self.summaries if one.order != UNADAPTED}
        wanted = self.results.configs[0].get("fields", {}).get("support")
        return wanted if wanted in sizes else max(sizes, default=0)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Methods in the order of the study."""
        found: dict[str, Entry] = {}
        for method in dict.fromkeys(one.method for one in self.summaries):
            mine = [one for one in self.summaries if one.method == method]
            best_of_order = {
                order: max((one for one in mine if one.order == order), key=self._closeness)
                for order in dict.fromkeys(one.order for one in mine)
            }
            ranked = [
                ADAPTED,
                *(order for order in best_of_order if order not in (ADAPTED, UNADAPTED)),
                UNADAPTED,
            ]
            lines = [best_of_order[order] for order in ranked if order in best_of_order]
            found[method] = Entry(lines[0], tuple(lines[1:]))
        return found

    def _closeness(self, one: Summary) -> tuple[bool, int]:
        return one.support == self.support, one.support

    @cached_property
    def reference(self) -> str | None:
        """The method that the others are compared with: ERM, or the first that never adapts."""
        adapting = {row["method"] for row in self.rows if row["order"] != UNADAPTED}
        names = dict.fromkeys(row["method"] for row in self.rows)
        plain = [name for name in names if name not in adapting]
        erm = [name for name in names if name == REFERENCE or name.startswith(f"{REFERENCE} (")]
        return next(iter([*erm, *plain]), None)

    @cached_property
    def best(self) -> dict[str, frozenset[str]]:
        """Statistic to the methods that may be marked as best; nobody where there is nobody to beat."""
        if len(self.entries) < 2:
            return {name: frozenset() for name in STATISTICS}
        mains = {name: entry.main for name, entry in self.entries.items()}
        return {
            statistic: not_distinguishable_from_best({m: one.scores[statistic] for m, one in mains.items()})
            for statistic in STATISTICS
        }

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups by accuracy, the hardest first: the mean over methods of their main lines."""
        means: dict[str, list[float]] = {}
        for accuracies in self.accuracies.values():
            for group, interval in accuracies.items():
                if math.isfinite(interval.mean):
                    means.setdefault(group, []).append(interval.mean)
        names = dict.fromkeys(row["group"] for row in self.rows)
        return tuple(sorted(names, key=lambda name: float(np.mean(means.get(name, [math.inf])))))

    @cached_property
    def by_seed(self) -> dict[str, dict[int, dict[str, tuple[float, int]]]]:
        """Method to seed to group to accuracy and size, of the main lines."""
        found: dict[str, dict[int, dict[str, tuple[float, int]]]] = {name: {} for name in self.entries}
        for row in self.rows:
            main = self.entries[row["method"]].main
            if row["order"] == main.order and int(row["support"] or 0) == main.support:
                value = math.nan if row["value"] is None else float(row["value"])
                found[row["method"]].setdefault(row["seed"], {})[row["group"]] = value, int(row["n"])
        return found

    @cached_property
    def accuracies(self) -> dict[str, dict[str, Interval]]:
        """Method to group to mean and interval over seeds, of the main lines."""
        found: dict[str, dict[str, Interval]] = {}
        for method, seeds in self.by_seed.items():
            values: dict[str, list[float]] = {}
            for groups in seeds.values():
                for group, (value, _) in groups.items():
                    values.setdefault(group, []).append(value)
            found[method] = {group: seed_interval(each) for group, each in values.items()}
        return found

    @cached_property
    def seeds(self) -> int:
        """The most seeds any method has."""
        return max((len(entry.main.scores["average"]) for entry in self.entries.values()), default=0)

    def styled(self, methods: Iterable[str]) -> list[tuple[str, Style]]:
        """Methods with their looks, for a legend."""
        return [(method, self.styles[method]) for method in methods]


def number(interval: Interval) -> str:
    """Percent with one decimal and its half width, as text."""
    if not math.isfinite(interval.mean):
        return "not finite"
    spread = f" ± {100 * interval.half_width:.1f}" if math.isfinite(interval.half_width) else ""
    return f"{100 * interval.mean:.1f}{spread} %"
