"""Success against environment steps, with what papers report; and what else was measured while training."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mutatis.studies._numbers import amount
from mutatis.studies.control._course import NETWORKS, by_step, measured
from mutatis.studies.control._stratified import stratified_interval
from mutatis.studies.control._view import IQM, MEANS, RETURN, ControlView, Published
from mutatis.studies.page._charts import Axis, Series, Style, legend, line_chart, linear_axis
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._training_curves import CURVE_POINTS, is_curve, training_charts, training_series

MOST_TICKS = 7
RESAMPLES = 500
"""Of the bootstrap at each evaluation."""
FAR = 2.5
"""Published budgets that are so many times ours are shown on a logarithmic axis."""


class Chart(NamedTuple):
    """A number of the evaluations, the title of its chart, and the axis for its values."""

    name: str
    title: str
    axis: Callable[[list[float]], Axis]


def _from_zero(values: list[float]) -> Axis:
    return linear_axis([0.0, *values], "")


OTHERS = (
    Chart(RETURN, "Return of an episode", _from_zero),
    Chart("temperature", "Temperature", _from_zero),
    *(Chart(f"{network} sharpness", f"Sharpness of the {network}'s loss", _from_zero) for network in NETWORKS),
)


def success_curves(view: ControlView) -> Markup | None:
    """One chart for each of the view's statistics."""
    courses = {method: _thinned(by_step(view, method)) for method in view.everyone}
    drawn = {method: course for method, course in courses.items() if course}
    if not drawn:
        return None
    charts, published = [], {}
    budgets = [one.environment_steps for one in view.published if one.environment_steps > 0]
    x = steps_axis([steps for course in drawn.values() for steps in course], budgets)
    for statistic in view.statistics:
        series = [_series(view.styles[method], method, statistic, course) for method, course in drawn.items()]
        if is_curve(series):
            points = _points(view, statistic)
            published |= {one.name: one.style for one, _ in points}
            charts.append(_chart(series, points, x, statistic))
    if not charts:
        return None
    styled = [*((method, view.styles[method]) for method in drawn), *published.items()]
    figure = element("figure", legend(styled), element("div", charts, class_="pair" if len(charts) > 1 else None))
    missing = [method for method in view.everyone if method not in drawn]
    return section("Success while training", figure, note=_note(view, missing, bool(published)))


def _thinned(course: Mapping[float, np.ndarray]) -> dict[float, np.ndarray]:
    """At most so many evaluations as a chart can show, first and last included."""
    steps = list(course)
    picks = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), CURVE_POINTS)).round().astype(int))
    return {steps[place]: course[steps[place]] for place in picks.tolist()} if steps else {}


def _series(style: Style, method: str, statistic: str, course: Mapping[float, np.ndarray]) -> Series:
    found = [stratified_interval(scores, MEANS[statistic], resamples=RESAMPLES) for scores in course.values()]
    several = any(one.n > 1 for one in found)
    low, high = ([100 * one.low for one in found], [100 * one.high for one in found]) if several else ((), ())
    return Series(method, style, list(course), [100 * one.mean for one in found], low, high)


def _points(view: ControlView, statistic: str) -> list[tuple[Series, str]]:
    """The published numbers that are of this statistic."""
    points = []
    for one in sorted(view.published, key=lambda one: one.environment_steps):
        if one.statistic == statistic and math.isfinite(one.success) and one.environment_steps > 0:
            style, _ = view.published_methods[one.method, one.source]
            points.append((Series(one.method, style, [one.environment_steps], [100 * one.success]), said_of(one)))
    return points


def said_of(one: Published) -> str:
    """A published number with all that it depends on, in a sentence."""
    steps = f"{amount(one.environment_steps)} environment steps" if one.environment_steps else "an unknown budget"
    said = f"{one.method}: {100 * one.success:.1f} % ({one.statistic}) after {steps}"
    return "; ".join([said, *filter(None, [one.source, one.protocol])])


def _chart(series: Sequence[Series], points: Sequence[tuple[Series, str]], x: Axis, statistic: str) -> Markup:
    y = linear_axis([0.0, 100.0], "success, %")
    title = "Interquartile mean over seeds and tasks" if statistic == IQM else "Mean over tasks"
    return line_chart(series, x, y, title=title, markers=False, points=points)


def steps_axis(ours: Sequence[float], others: Sequence[float] = ()) -> Axis:
    """Environment steps; logarithmic where `others` lie far beyond ours."""
    label = "Environment steps, all tasks together"
    first, last, end = min(ours), max(ours), max([*ours, *others])
    if not others or end <= FAR * last or first <= 0:
        axis = linear_axis([0.0, end], label, marks=4)
        return dataclasses.replace(axis, ticks=tuple((value, amount(value)) for value, _ in axis.ticks))
    powers = range(math.floor(math.log10(first)), math.ceil(math.log10(end)) + 1)
    values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    low = max((value for value in values if value <= first * 1.001), default=first)
    # A little room at the end, or the mark of the last point is cut.
    high = max(end * 1.05, min((value for value in values if value >= end * 0.999), default=end))
    inside = [value for value in values if low <= value <= high]
    if len(inside) > MOST_TICKS:
        inside = [10.0**power for power in powers if low <= 10.0**power <= high]
    ticks = tuple((value, amount(value)) for value in inside)
    return Axis(low, high, ticks, f"{label} (log scale)", math.log10)


def _note(view: ControlView, missing: Sequence[str], published: bool) -> str:
    if len(view.statistics) > 1:
        said = (
            "Bands are 95 % intervals of a stratified bootstrap: seeds drawn anew within each task (Agarwal et al. "
            "2021). The interquartile mean leaves out the highest and the lowest quarter of all seeds and tasks."
        )
    else:
        said = "One seed: the plain mean over tasks, without a band."
    if published:
        said += " Hollow marks: what papers report, at their number of environment steps."
    incomplete = [method for method in missing if method in view.alone]
    if incomplete:
        said += f" Not drawn, as not all of its tasks have been judged yet: {'; '.join(incomplete)}."
    return said


def control_charts(view: ControlView, charts: Iterable[Chart]) -> tuple[list[Markup], list[str]]:
    """Those numbers of the evaluations that are curves, against environment steps, and the methods that have any.

    Means over seeds; a band reaches from the lowest to the highest.
    """
    lines = [line for method in view.everyone for line in measured(view, method)]
    drawn, having = [], set()
    for chart in charts:
        each = [training_series(view.styles[method], method, chart.name, lines) for method in view.everyone]
        series = [one for one in each if one is not None]
        if is_curve(series):
            x = steps_axis([value for one in series for value in one.x])
            y = chart.axis([value for one in series for value in (*one.y, *one.low, *one.high)])
            drawn.append(line_chart(series, x, y, title=chart.title, markers=False))
            having |= {one.name for one in series}
    return drawn, [method for method in view.everyone if method in having]


def other_curves(view: ControlView) -> Markup | None:
    """Returns, temperatures, sharpness and losses, closed."""
    charts, _ = control_charts(view, OTHERS)
    beside_the_loss = {name for line in view.results.curves for name in line if name != "loss"}
    charts += training_charts(view.results, view.styles, leave_out=beside_the_loss)
    if not charts:
        return None
    styled = [(method, view.styles[method]) for method in view.everyone]
    figure = element("figure", legend(styled), element("div", charts, class_="pair"))
    note = "Means over seeds and tasks; bands reach from the lowest to the highest seed."
    summary = element("summary", "More curves: return, loss and what else was measured")
    return section("Other measures", element("details", summary, element("p", note, class_="note"), figure))
