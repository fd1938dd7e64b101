"""The groups in the report: one panel of bars per method, and all groups by rank where they are many."""

import math

import numpy as np

from mutatis.shift._metrics import Interval
from mutatis.studies.page._charts import Axis, Series, legend, line_chart, linear_axis, swatch
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.shift._view import ShiftView, number

MANY_GROUPS = 40
SHOWN_WORST, SHOWN_BEST = 16, 4
RANK_POINTS = 300


def group_bars(view: ShiftView) -> Markup | None:
    """One panel per method, one bar per group, the hardest groups first."""
    groups = view.groups
    if not groups:
        return None
    many = len(groups) > MANY_GROUPS
    shown = [*groups[:SHOWN_WORST], *groups[-SHOWN_BEST:]] if many else list(groups)
    reference = view.accuracies.get(view.reference or "", {})
    panels = []
    for method, accuracies in view.accuracies.items():
        lines = []
        for place, group in enumerate(shown):
            if many and place == SHOWN_WORST:
                left_out = f"{len(groups) - len(shown)} groups in between"
                lines.append(element("li", left_out, class_="gap"))
            mark = reference.get(group) if method != view.reference else None
            lines.append(_bar_line(group, accuracies.get(group), mark))
        heading = element("h4", swatch(view.styles[method]), method)
        classes = f"panel {view.styles[method].colour}"
        panels.append(element("div", heading, element("ul", lines, class_="bars"), class_=classes, data_m=method))
    note = "Accuracy in percent; groups in the same order everywhere, the hardest (mean over methods) first."
    if view.reference and len(view.entries) > 1:
        note += f" The upright mark is {view.reference}."
    if view.seeds > 1:
        note += " The thin line is the 95 % interval over seeds."
    ranks = element("figure", legend(view.styled(view.accuracies)), _rank_chart(view)) if many else None
    longest = max(5, *map(len, shown))
    return section(
        "Group by group", ranks, element("div", panels, class_="panels", style=f"--names:{longest}ch"), note=note
    )


def _bar_line(group: str, interval: Interval | None, mark: Interval | None) -> Markup:
    name = element("span", group, class_="group", title=group)
    if interval is None or not math.isfinite(interval.mean):
        return element("li", name, element("span", class_="track"), element("span", "—", class_="value"))
    mean = 100 * interval.mean
    inside = [element("span", class_="bar", style=f"width:{mean:.2f}%", data_group=group, data_value=f"{mean:.2f}")]
    if math.isfinite(interval.half_width):
        low, high = max(0.0, 100 * interval.low), min(100.0, 100 * interval.high)
        inside.append(element("span", class_="error", style=f"left:{low:.2f}%;width:{high - low:.2f}%"))
    if mark is not None and math.isfinite(mark.mean):
        inside.append(element("span", class_="mark", style=f"left:{100 * mark.mean:.2f}%"))
    value = element("span", f"{mean:.1f}", class_="value")
    return element("li", name, element("span", inside, class_="track"), value, title=f"{group}: {number(interval)}")


def _rank_chart(view: ShiftView) -> Markup:
    series = []
    for method, seeds in view.by_seed.items():
        sorted_seeds = [np.sort([value for value, _ in groups.values()]) for groups in seeds.values()]
        shortest = min(map(len, sorted_seeds))
        curve = 100 * np.mean([each[:shortest] for each in sorted_seeds], axis=0)
        share = 100 * (np.arange(shortest) + 0.5) / shortest
        picks = np.unique(np.linspace(0, shortest - 1, min(shortest, RANK_POINTS)).round().astype(int))
        series.append(Series(method, view.styles[method], share[picks].tolist(), curve[picks].tolist()))
    values = [value for one in series for value in one.y]
    y_axis = linear_axis(values, "accuracy, %", within=(0, 100))
    x_axis = Axis(
        0,
        100,
        tuple((tick, f"{tick}") for tick in (0, 10, 25, 50, 75, 100)),
        "Share of groups, %, hardest first",
    )
    title = f"All {len(view.groups)} groups, each method's own order"
    return line_chart(series, x_axis, y_axis, title=title, markers=False)
