"""Two comparisons of methods in the report: worst group against average, and accuracy against support."""

import math
from collections.abc import Sequence

from mutatis.shift._metrics import Interval
from mutatis.studies._study import UNADAPTED
from mutatis.studies.page._charts import Series, legend, line_chart, linear_axis, log_axis, scatter_chart
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.shift._view import ShiftView

PERCENT = (0.0, 100.0)


def tradeoff(view: ShiftView) -> Markup | None:
    """Worst group against average; nothing to draw for a single method."""
    series = []
    for method, entry in view.entries.items():
        x, y = _percent(entry.main.interval("average")), _percent(entry.main.interval("worst group"))
        if math.isfinite(x.mean):
            series.append(Series(method, view.styles[method], [x.mean], [y.mean], [y.low], [y.high], x.low, x.high))
    if len(series) < 2:
        return None
    x_axis = linear_axis([v for s in series for v in (*s.x, s.x_low, s.x_high)], "Average accuracy, %", within=PERCENT)
    y_axis = linear_axis(
        [v for s in series for v in (*s.y, *s.low, *s.high)], "Worst-group accuracy, %", within=PERCENT
    )
    chart = scatter_chart(series, x_axis, y_axis, title="")
    return element("figure", legend(view.styled(s.name for s in series)), chart)


def support_curves(view: ShiftView) -> Markup | None:
    """Accuracy against the number of unlabelled examples adapted on."""
    sizes = sorted({one.support for one in view.summaries if one.order != UNADAPTED and one.support > 0})
    if len(sizes) < 2:
        return None
    charts, drawn = [], []
    for statistic in ("average", "worst group"):
        series = []
        for method, entry in view.entries.items():
            lines = [o for o in view.summaries if o.method == method and o.order == entry.main.order and o.support > 0]
            if entry.main.order == UNADAPTED or len(lines) < 2:
                continue
            lines.sort(key=lambda one: one.support)
            each = [_percent(one.interval(statistic)) for one in lines]
            x, y = [one.support for one in lines], [one.mean for one in each]
            lows, highs = [one.low for one in each], [one.high for one in each]
            series.append(Series(method, view.styles[method], x, y, lows, highs))
        if not series:
            return None
        drawn = [one.name for one in series]
        level = _level(view, statistic)
        values = [v for s in series for v in s.y] + ([level.y[0]] if level else [])
        y_axis = linear_axis(values, "accuracy, %", within=PERCENT)
        x_axis = log_axis(sizes, "Unlabelled examples per group (support)", _spaced(sizes))
        charts.append(line_chart(series, x_axis, y_axis, title=statistic.capitalize(), markers=True, level=level))
        if level is not None and level.name not in drawn:
            drawn = [level.name, *drawn]
    note = "Each method is adapted on this many examples at a time."
    if view.reference:
        note += f" The horizontal line is {view.reference}, which does not adapt."
    return section(
        "How much support is needed",
        element("figure", legend(view.styled(drawn)), element("div", charts, class_="pair")),
        note=note,
    )


def _spaced(sizes: Sequence[int]) -> list[float]:
    """Those sizes that can be written side by side on a phone."""
    kept: list[float] = []
    shortest = math.log10(sizes[-1] / sizes[0]) / 14
    for size in sizes:
        if not kept or math.log10(size / kept[-1]) >= shortest:
            kept.append(float(size))
    return kept


def _level(view: ShiftView, statistic: str) -> Series | None:
    if view.reference is None:
        return None
    entry = view.entries[view.reference]
    line = next((one for one in (entry.main, *entry.others) if one.order == UNADAPTED), None)
    if line is None:
        return None
    value = _percent(line.interval(statistic)).mean
    return Series(view.reference, view.styles[view.reference], [0.0], [value])


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high, interval.n)
