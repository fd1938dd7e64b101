"""The training curves of the report: loss and validation metrics against steps."""

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mutatis.studies._results import Results
from mutatis.studies.page._charts import Series, Style, legend, line_chart, linear_axis, log_axis
from mutatis.studies.page._markup import Markup, element, section

CURVE_POINTS = 100
MOST_CHARTS = 4


def training_curves(results: Results, styles: Mapping[str, Style]) -> Markup | None:
    """The loss, and what was measured on the validation groups, while training."""
    charts = training_charts(results, styles)
    if not charts:
        return None
    curves = [line for line in results.curves if line["method"] in styles]
    drawn = {line["method"] for line in curves}
    styled = [(method, styles[method]) for method in results.methods if method in drawn]
    several = len({line["seed"] for line in curves}) > 1
    bands = " Bands reach from the lowest to the highest seed." if several else ""
    note = (
        f"Mean over seeds.{bands} The loss is that of the training tasks; the others are measured on the "
        "validation groups."
    )
    figure = element("figure", legend(styled), element("div", charts, class_="trio" if len(charts) == 3 else "pair"))
    return section("Training", figure, note=note)


def training_charts(results: Results, styles: Mapping[str, Style], *, leave_out: Container[str] = ()) -> list[Markup]:
    """A chart for each of the first entries of the lines that are curves."""
    lines = [line for line in results.curves if line["method"] in styles]
    entries = dict.fromkeys(key for line in lines for key in line if key not in ("method", "seed", "step"))
    charts = []
    for name in [name for name in entries if name not in leave_out][:MOST_CHARTS]:
        each = [training_series(styles[method], method, name, lines) for method in results.methods]
        series = [one for one in each if one is not None]
        if is_curve(series):
            charts.append(_training_chart(series, name))
    return charts


def is_curve(series: Sequence[Series]) -> bool:
    """Whether there is a line to draw, and not only points."""
    return max((len(one.x) for one in series), default=0) > 1


def training_series(style: Style, method: str, name: str, lines: Iterable[Mapping[str, Any]]) -> Series | None:
    """The curve of one method in bins of steps, each seed averaged within a bin first."""
    mine = [
        (line["step"], line["seed"], float(line[name]))
        for line in lines
        if line["method"] == method and isinstance(line.get(name), int | float)
    ]
    if not mine:
        return None
    steps = sorted({step for step, _, _ in mine})
    width = -(-len(steps) // CURVE_POINTS)
    bin_of = {step: place // width for place, step in enumerate(steps)}
    bins: dict[int, dict[int, list[float]]] = {}
    for step, seed, value in mine:
        bins.setdefault(bin_of[step], {}).setdefault(seed, []).append(value)
    places = sorted(bins)
    each = [[float(np.mean(values)) for values in bins[place].values()] for place in places]
    middles = [float(np.mean([step for step in steps if bin_of[step] == place])) for place in places]
    several = len({seed for _, seed, _ in mine}) > 1
    lows, highs = ([min(e) for e in each], [max(e) for e in each]) if several else ((), ())
    return Series(method, style, middles, [float(np.mean(e)) for e in each], lows, highs)


def _training_chart(series: list[Series], name: str) -> Markup:
    values = [value for one in series for value in (*one.y, *one.low, *one.high)]
    shares = name != "loss" and min(values) >= 0 and max(values) <= 1
    if shares:
        series = [_in_percent(one) for one in series]
        values = [100 * value for value in values]
    x_axis = linear_axis([0.0, *(x for one in series for x in one.x)], "Step", marks=4)
    steep = name == "loss" and min(values) > 0 and max(values) > 30 * min(values)
    unit = "%" if shares else "log scale" if steep else ""
    y_axis = log_axis(values, unit) if steep else linear_axis(values, unit)
    title = "Training loss" if name == "loss" else f"Validation: {name}"
    return line_chart(series, x_axis, y_axis, title=title, markers=False)


def _in_percent(one: Series) -> Series:
    y, low, high = ([100 * value for value in part] for part in (one.y, one.low, one.high))
    return dataclasses.replace(one, y=y, low=low, high=high)
