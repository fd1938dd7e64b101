"""Which symmetries were discovered, in words: every candidate of a problem, put together over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mutatis.studies._numbers import rough
from mutatis.studies.page._charts import swatch
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.symmetry._view import DISCOVERY, SymmetryView

POSITIVE = ("yes", "partly")


@dataclass(frozen=True)
class Verdicts:
    """What was said of one candidate: the rows of `discover` with each verdict, one row a seed."""

    candidate: str
    rows: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def seeds(self) -> int:
        """How many seeds were asked."""
        return sum(map(len, self.rows.values()))

    @property
    def rank(self) -> tuple[int, int]:
        """The surest first."""
        yes, partly = (len(self.rows.get(verdict, ())) for verdict in POSITIVE)
        return -yes, -partly

    def sentence(self) -> str:
        """As `mutatis.symmetry.discover` prints it: mean error, the largest p-value, and in how many seeds."""
        said = [self._clause(verdict, self.rows[verdict]) for verdict in POSITIVE if self.rows.get(verdict)]
        return f"{self.candidate}: {'; '.join(said)}" if said else f"{self.candidate}: no, error {self.error()}"

    def error(self) -> str:
        """Mean over all seeds, as text."""
        return _error([row for rows in self.rows.values() for row in rows])

    def _clause(self, verdict: str, rows: Sequence[Mapping[str, Any]]) -> str:
        share = _share(rows) if verdict == "partly" else ""
        seeds = f", in {len(rows)} of {self.seeds} seeds" if self.seeds > 1 else ""
        return f"{verdict}, error {_error(rows)}{share}{_chance(rows)}{seeds}"


def verdicts(view: SymmetryView, problem: str, method: str) -> list[Verdicts]:
    """All candidates, the surest first."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for rows in view.rows.get((DISCOVERY, problem, method), {}).values():
        for row in rows:
            found.setdefault(str(row.get("candidate")), {}).setdefault(str(row.get("verdict")), []).append(row)
    return sorted((Verdicts(name, rows) for name, rows in found.items()), key=lambda one: one.rank)


def verdict_section(view: SymmetryView) -> Markup | None:
    """One card for each problem and method that learns a symmetry."""
    methods = view.methods(DISCOVERY)
    parts = []
    for problem in view.problems:
        each = [(method, found) for method in methods if (found := verdicts(view, problem, method))]
        if each:
            cards = [_card(view, method, found) for method, found in each]
            parts.append(element("div", element("h4", problem), element("div", cards, class_="cards")))
    if not parts:
        return None
    note = (
        "Asked of each candidate: do the weights that the model adapts to on held-out tasks have this symmetry? Error: "
        "0 exact, about 1 unrelated. p: how often a random space fits as well, corrected for the number of candidates."
    )
    if view.seeds > 1:
        note += " The error is the mean over the seeds of that verdict, p the largest of them."
    return section("Which symmetry is it?", element("div", parts, class_="verdicts"), note=note)


def _card(view: SymmetryView, method: str, found: Sequence[Verdicts]) -> Markup:
    positive = [one for one in found if one.rank < (0, 0)]
    others = [one for one in found if one.rank == (0, 0)]
    lines = [element("li", one.sentence(), class_="yes" if one.rank[0] else "partly") for one in positive]
    if not lines:
        lines = [element("li", f"none of the {len(others)} candidates" if len(others) > 1 else "nothing", class_="no")]
    rest = f"No: {', '.join(f'{one.candidate} (error {one.error()})' for one in others)}." if others else None
    return element(
        "div",
        element("p", swatch(view.styles[method]), element("span", method, class_="method")),
        element("ul", lines),
        element("p", rest, class_="detail") if rest else None,
        class_="card",
        data_m=method,
    )


def _error(rows: Sequence[Mapping[str, Any]]) -> str:
    values = [math.nan if row.get("value") is None else float(row["value"]) for row in rows]
    return rough(sum(values) / len(values))


def _chance(rows: Sequence[Mapping[str, Any]]) -> str:
    values = [float(row["p_value"]) for row in rows if row.get("p_value") is not None]
    if not values:
        return ""
    sign = "=" if rough(min(values)) == rough(max(values)) else "≤"
    return f" (p\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}{rough(max(values))})"


def _share(rows: Sequence[Mapping[str, Any]]) -> str:
    pairs = [(row["directions"], row["moved"]) for row in rows if None not in (row.get("directions"), row.get("moved"))]
    if not pairs:
        return ""
    ranges = [(min(each), max(each)) for each in zip(*pairs, strict=True)]
    said = [f"{low}" if low == high else f"{low} to {high}" for low, high in ranges]
    return f", {said[0]} of {said[1]} directions"
