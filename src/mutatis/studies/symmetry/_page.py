"""The part of the page that is about learned symmetries: what was found in words, and the sections below it."""

import math
from collections.abc import Mapping

from mutatis.studies._numbers import count, rough
from mutatis.studies._results import Results
from mutatis.studies.page._charts import Style
from mutatis.studies.page._markup import Markup, element
from mutatis.studies.page._part import Part
from mutatis.studies.symmetry._curves import symmetry_curves
from mutatis.studies.symmetry._table import symmetry_tables
from mutatis.studies.symmetry._verdicts import verdict_section
from mutatis.studies.symmetry._view import EXCESS, OVERLAP, RISK, SymmetryView
from mutatis.studies.symmetry._weight_pictures import weight_pictures

FOUND, PARTLY = 0.95, 0.5
"""The least overlap at which a symmetry counts as found, and as found in part."""


def symmetry_part(results: Results, styles: Mapping[str, Style], anchor: str) -> Part | None:
    """From the numbers to the pictures and the words, where there are problems of known symmetry."""
    view = SymmetryView(results, styles)
    if not view.problems:
        return None
    sections = [symmetry_tables(view), symmetry_curves(view), weight_pictures(view, anchor), verdict_section(view)]
    return Part(_basis(view), _findings(view), sections)


def _basis(view: SymmetryView) -> str:
    methods = len({method for _, _, method in view.rows})
    tasks = {view.tasks(problem) for problem in view.problems}
    judged = f"judged on {count(len(view.problems), 'problem')} of known symmetry"
    if len(tasks) == 1 and (number := next(iter(tasks))) > 1:
        judged += f", {number:,} held-out tasks each" if len(view.problems) > 1 else f", {number:,} held-out tasks"
    return f"{count(methods, 'method')}, {count(view.seeds, 'seed')}, {judged}."


def _findings(view: SymmetryView) -> Markup | None:
    """What was found, one line a problem."""
    sentences = finding_sentences(view)
    if not sentences:
        return None
    lines = [element("li", said) for said in sentences]
    if any(f"{side} the floor" in said for said in sentences for side in ("above", "below")):
        unit = "Above the floor of its own rule, as a share of the risk of answering 0."
        lines.append(element("li", unit, class_="detail"))
    return element("ul", lines, class_="finding")


def finding_sentences(view: SymmetryView) -> list[str]:
    """A sentence on each problem.

    It is about the learned symmetry that is nearest to the truth on the mean over seeds (of two equals, the one that is
    less above its floor): found if its overlap is at least `FOUND` in every seed, and otherwise in how many seeds it
    is; found in part above `PARTLY`. Where no symmetry is learned, it is about the lowest risk.
    """
    return [said for problem in view.problems if (said := _finding(view, problem))]


def _finding(view: SymmetryView, problem: str) -> str | None:
    means = {method: view.mean(OVERLAP, problem, method) for method in view.methods(OVERLAP) if method in view.learners}
    known = [method for method, mean in means.items() if math.isfinite(mean)]
    if not known:
        return _lowest_risk(view, problem)
    excess = {method: _or_infinite(view.mean(EXCESS, problem, method)) for method in known}
    nearest = min(known, key=lambda method: (-round(means[method], 6), excess[method]))
    said = f"{problem}: {_verdict(view, problem, nearest)}: overlap {means[nearest]:.3f}"
    if math.isfinite(excess[nearest]):
        said += f", {above_floor(excess[nearest])}"
    least = min(known, key=lambda method: excess[method])
    if excess[least] < excess[nearest] and nearest not in view.best(EXCESS, problem):
        said += f"; {least} comes nearest to its floor, {above_floor(excess[least])}"
    return f"{said}."


def _verdict(view: SymmetryView, problem: str, method: str) -> str:
    overlaps = list(view.values(OVERLAP, problem, method).values())
    found = sum(value >= FOUND for value in overlaps)
    if found == len(overlaps):
        return f"{method} finds the symmetry"
    if found:
        return f"{method} finds the symmetry in {found} of {len(overlaps)} seeds"
    if view.mean(OVERLAP, problem, method) >= PARTLY:
        return f"{method} finds part of the symmetry"
    return f"the symmetry is not found; nearest is {method}"


def above_floor(excess: float) -> str:
    """An excess in words; it is in units of the risk of answering 0."""
    if abs(excess) < 5e-5:
        return "at the floor"
    return f"{rough(excess, 1)} above the floor" if excess > 0 else f"{rough(-excess, 1)} below the floor"


def _lowest_risk(view: SymmetryView, problem: str) -> str | None:
    means = {method: view.mean(RISK, problem, method) for method in view.methods(RISK)}
    known = [method for method, mean in means.items() if math.isfinite(mean)]
    if not known:
        return None
    lowest = min(known, key=lambda method: means[method])
    excess = view.mean(EXCESS, problem, lowest)
    floor = f", {above_floor(excess)}" if math.isfinite(excess) else ""
    return f"{problem}: lowest risk: {lowest}, {rough(means[lowest], 3)}{floor}."


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
