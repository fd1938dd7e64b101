"""While symmetries are learned: the excess over the floor, and the overlap with the truth, against steps."""

import dataclasses
import math
from collections.abc import Iterable

from mutatis.studies.page._charts import Axis, Series, legend, line_chart, linear_axis, log_axis
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._training_curves import is_curve, training_charts, training_series
from mutatis.studies.symmetry._view import EXCESS, OVERLAP, SymmetryView

# A logarithmic axis reaches this far below its highest value; what lies lower is drawn on its lower end.
DECADES = 8


def symmetry_curves(view: SymmetryView) -> Markup | None:
    """A pair of charts for each problem, and the losses below."""
    pairs, drawn, cut = [], {}, False
    for problem in view.problems:
        charts = []
        for metric in (EXCESS, OVERLAP):
            series = _series(view, curve_name(problem, metric))
            if is_curve(series):
                charts.append(_excess_chart(series, problem) if metric == EXCESS else _overlap_chart(series, problem))
                cut |= metric == EXCESS and _low(series) > min(_values(series))
                drawn |= dict.fromkeys(one.name for one in series)
        if charts:
            pairs.append(element("div", charts, class_="pair"))
    rest = _losses(view)
    if not pairs:
        return section("Training", rest) if rest else None
    note = "Excess: how far the risk lies above the floor, as a share of the risk of answering 0."
    if view.seeds > 1:
        note += " Mean over seeds; bands reach from the lowest to the highest."
    if cut:
        note += " What is at or below the floor, or too small for the axis, is drawn on its lower end."
    methods = [method for method in view.results.methods if method in drawn]
    styled = [(method, view.styles[method]) for method in methods]
    return section("While training", element("figure", legend(styled), pairs, class_="curves"), rest, note=note)


def curve_name(problem: str, metric: str) -> str:
    """What a line of `metrics.jsonl` calls this."""
    return f"{problem}: {metric}"


def _series(view: SymmetryView, name: str) -> list[Series]:
    found = (training_series(view.styles[m], m, name, view.results.curves) for m in view.results.methods)
    return [one for one in found if one is not None]


def _losses(view: SymmetryView) -> Markup | None:
    ours = {curve_name(problem, metric) for problem in view.problems for metric in (EXCESS, OVERLAP)}
    charts = training_charts(view.results, view.styles, leave_out=ours)
    if not charts:
        return None
    summary = element("summary", "Loss of the training tasks, over all problems")
    styled = [(method, view.styles[method]) for method in view.results.methods]
    return element("details", summary, element("figure", legend(styled), element("div", charts, class_="pair")))


def _overlap_chart(series: list[Series], problem: str) -> Markup:
    return line_chart(series, _steps(series), linear_axis([0.0, 1.0], "overlap"), title=problem, markers=False)


def _excess_chart(series: list[Series], problem: str) -> Markup:
    if not any(value > 0 for value in _values(series)):
        axis = linear_axis(_values(series), "excess")
        return line_chart(series, _steps(series), axis, title=problem, markers=False)
    low = _low(series)
    axis = log_axis([low, *_values(series)], "excess, log scale")
    # A logarithm has no place for zero.
    above = lambda values: [max(value, axis.low) if math.isfinite(value) else value for value in values]
    cut = [dataclasses.replace(s, y=above(s.y), low=above(s.low), high=above(s.high)) for s in series]
    ticks = tuple((value, _power(value)) for value, _ in axis.ticks if value >= axis.low)
    return line_chart(cut, _steps(series), dataclasses.replace(axis, ticks=ticks), title=problem, markers=False)


def _low(series: Iterable[Series]) -> float:
    values = _values(series)
    positive = [value for value in values if value > 0]
    return max(min(positive), max(positive) / 10**DECADES) if positive else min(values)


def _values(series: Iterable[Series]) -> list[float]:
    return [value for one in series for value in (*one.y, *one.low, *one.high) if math.isfinite(value)] or [0.0]


def _power(value: float) -> str:
    power = round(math.log10(value))
    return f"{value:g}" if -3 < power < 4 else f"1e{power}"


def _steps(series: Iterable[Series]) -> Axis:
    return linear_axis([0.0, *(x for one in series for x in one.x)], "Step", marks=4)
