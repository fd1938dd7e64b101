"""The tables of a study of learned symmetries: risks beside their floors, overlaps, and what else was measured."""

import math
from collections.abc import Sequence

from mutatis.shift._metrics import Interval
from mutatis.studies._numbers import written
from mutatis.studies.page._charts import swatch
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.symmetry._view import DIMENSION, EXCESS, LOW_IS_GOOD, OVERLAP, RISK, SymmetryView

# An effective dimension beyond this many times the truth's is worth saying.
MORE = 1.05
OTHERS = {
    EXCESS: "Excess over the floor of the method's own rule, as a share of the risk of answering 0.",
    "smallest cosine": "Cosine of the largest angle between U and the truth; 0 if a true direction is missing.",
    "capture": "Share of the energy of held-out true weights that U can express.",
    DIMENSION: "Directions that U uses: (sum s²)² / sum s⁴ over its singular values s.",
}


def symmetry_tables(view: SymmetryView) -> Markup:
    """Risk and overlap, methods against problems; bold are the best and what cannot be told apart from them."""
    parts: list[Markup | None] = []
    if view.methods(RISK):
        parts += [element("h4", "Risk"), _table(view, RISK, _references(view))]
    if view.methods(OVERLAP):
        parts += [element("h4", "Overlap with the true symmetry"), element("p", _overlap_note(view), class_="note")]
        parts.append(_table(view, OVERLAP))
    return section("Summary", element("div", parts, class_="tables"), _others(view), note=_note(view))


def cell_text(view: SymmetryView, metric: str, problem: str, method: str) -> tuple[str, str]:
    """A number and its half interval as text; both empty where there is none."""
    found = view.interval(metric, problem, method)
    if found is None:
        return "", ""
    if metric in LOW_IS_GOOD or metric == DIMENSION:
        return written(found.mean, found.half_width)
    known = math.isfinite(found.half_width)
    return (f"{found.mean:.3f}", f"{found.half_width:.3f}" if known else "") if math.isfinite(found.mean) else ("—", "")


def reference_rows(view: SymmetryView) -> list[tuple[str, list[str]]]:
    """What the risks are to be compared with, as text: answering 0, and the least that each rule can reach."""
    lines = [("answering 0", view.signals)] if any(map(math.isfinite, view.signals.values())) else []
    for names, floors in view.floors:
        whose = f" of {'; '.join(names)}" if len(view.floors) > 1 else ""
        lines.append((f"floor{whose}", floors))
    return [(name, [written(values[problem])[0] for problem in view.problems]) for name, values in lines]


def _table(view: SymmetryView, metric: str, reference: Markup | None = None) -> Markup:
    headings = [element("th", "Method", scope="col", data_sort="text")]
    order = "low" if metric in LOW_IS_GOOD else "number"
    headings += [element("th", _heading(view, metric, name), scope="col", data_sort=order) for name in view.problems]
    body = [_row(view, metric, method) for method in view.methods(metric)]
    head = element("thead", element("tr", headings))
    table = element("table", head, element("tbody", body), reference, class_="summary", data_metric=metric)
    return element("div", table, class_="scroll")


def _heading(view: SymmetryView, metric: str, problem: str) -> Sequence[Markup | str]:
    detail = ""
    if metric == RISK and len(_supports(view)) > 1:
        detail = f"support {', '.join(map(str, sorted(view.supports(problem))))}"
    elif metric in (OVERLAP, DIMENSION) and view.truth(problem):
        detail = f"{view.truth(problem)} direction{'' if view.truth(problem) == 1 else 's'}"
    return [problem, element("span", detail, class_="detail under")] if detail else [problem]


def _row(view: SymmetryView, metric: str, method: str) -> Markup:
    name = element("span", method, class_="method")
    said = []
    if metric in (RISK, OVERLAP) and method in view.given:
        said.append("given")
    seeds = max(len(view.values(metric, problem, method)) for problem in view.problems)
    if seeds < view.seeds:
        said.append("one seed: no interval" if seeds == 1 else f"{seeds} seeds")
    detail = element("span", "; ".join(said), class_="detail") if said else None
    cells = [element("th", swatch(view.styles[method]), name, detail, scope="row")]
    cells += [_cell(view, metric, problem, method) for problem in view.problems]
    return element("tr", cells, class_="main", data_m=method)


def _cell(view: SymmetryView, metric: str, problem: str, method: str) -> Markup:
    found = view.interval(metric, problem, method)
    # Lost and missing numbers sort last where low is good, and where high is good.
    last = "Infinity" if metric in LOW_IS_GOOD else "nan"
    if found is None:
        return element("td", data_value=last)
    mean, half = cell_text(view, metric, problem, method)
    if not math.isfinite(found.mean):
        return element("td", mean, title="not finite in at least one seed", data_value=last)
    best = method in view.best(metric, problem) and metric in (RISK, OVERLAP)
    spread = element("span", f"± {half}", class_="spread") if half else None
    value = element("strong" if best else "span", mean)
    classes = "best" if best else None
    more = _more_directions(view, metric, problem, method)
    return element("td", value, " ", spread, more, class_=classes, data_value=f"{found.mean:.6g}")


def _more_directions(view: SymmetryView, metric: str, problem: str, method: str) -> Markup | None:
    """How many directions U uses, beside an overlap of only the largest ones."""
    found: Interval | None = view.interval(DIMENSION, problem, method) if metric == OVERLAP else None
    truth = view.truth(problem)
    if found is None or not truth or not found.mean > MORE * truth:
        return None
    return element("span", f"of {written(found.mean)[0]} used", class_="detail under")


def _references(view: SymmetryView) -> Markup | None:
    rows = [
        element("tr", element("th", name, scope="row"), (element("td", text) for text in texts))
        for name, texts in reference_rows(view)
    ]
    return element("tbody", rows, class_="reference") if rows else None


def _note(view: SymmetryView) -> str:
    supports, sentences = _supports(view), []
    if view.methods(RISK):
        count = next(iter(supports)) if len(supports) == 1 else 0
        seen = f"{count} example{'' if count == 1 else 's'}" if count else "a few examples"
        split = "" if view.split == "test" else f" of the {view.split} split"
        sentences.append(
            f"Risk: the expected squared error of one output after adapting to {seen} of a new task{split}; computed "
            "exactly, lower is better."
        )
    if view.floors:
        sentences.append("A floor is the least that a rule can reach with the best layer there is.")
    if view.seeds > 1:
        sentences.append(f"Mean ± 95 % interval over {view.seeds} seeds (Student's t).")
    else:
        sentences.append("One seed: no interval, and so no best is marked.")
    if any(view.best(metric, problem) for metric in (RISK, OVERLAP) for problem in view.problems):
        aside = ", those that are given the symmetry set aside" if view.given else ""
        sentences.append(
            "Bold: the best mean of a column, and every method whose difference to it (paired over seeds) has a 95 % "
            f"interval that includes zero{aside}."
        )
    lost = [method for method in view.results.methods if _lost(view, method)]
    if lost:
        sentences.append(f"Not finite in at least one seed, and shown as a dash: {'; '.join(lost)}.")
    return " ".join(sentences)


def _overlap_note(view: SymmetryView) -> str:
    said = "Share of the true symmetry that lies in the learned one: 1 if it was found, near 0 by chance."
    if any(map(view.truth, view.problems)):
        said += " Below the name of a problem: the number of true directions."
    shown = [
        _more_directions(view, OVERLAP, problem, method)
        for method in view.methods(OVERLAP)
        for problem in view.problems
    ]
    if any(shown):
        said += (
            " Where U uses more directions than the truth has, its largest are judged, and the number used is below."
        )
    return said


def _lost(view: SymmetryView, method: str) -> bool:
    intervals = [view.interval(metric, problem, method) for metric in (RISK, OVERLAP) for problem in view.problems]
    return any(found is not None and not math.isfinite(found.mean) for found in intervals)


def _supports(view: SymmetryView) -> set[int]:
    return {size for problem in view.problems for size in view.supports(problem)}


def _others(view: SymmetryView) -> Markup | None:
    """What else was measured, closed."""
    shown = [metric for metric in OTHERS if view.methods(metric)]
    if not shown:
        return None
    tables = [
        [element("h4", metric.capitalize()), element("p", OTHERS[metric], class_="note"), _table(view, metric)]
        for metric in shown
    ]
    summary = element("summary", f"More measures: {', '.join(shown)}")
    return element("details", summary, element("div", tables, class_="tables"))
