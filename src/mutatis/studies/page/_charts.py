"""Charts as SVG that keep their text size at any width.

Horizontal positions are percentages of the plot, vertical ones pixels: the browser lays a chart out anew for
a phone instead of scaling its text down. Curves live in a nested, stretched SVG with strokes that do not
stretch.
"""

import math
from collections.abc import Iterable, Sequence

from mutatis.studies.page._chart_names import beside_curves, point_names
from mutatis.studies.page._chart_parts import HEIGHT as HEIGHT
from mutatis.studies.page._chart_parts import Axis as Axis
from mutatis.studies.page._chart_parts import Series as Series
from mutatis.studies.page._chart_parts import Style as Style
from mutatis.studies.page._chart_parts import curve, marker, percent, pixel, whisker
from mutatis.studies.page._chart_parts import linear_axis as linear_axis
from mutatis.studies.page._chart_parts import log_axis as log_axis
from mutatis.studies.page._markup import Markup, element


def legend(entries: Iterable[tuple[str, Style]]) -> Markup:
    """Names with their markers."""
    return element("ul", (element("li", swatch(style), name, data_m=name) for name, style in entries), class_="legend")


def swatch(style: Style) -> Markup:
    """The marker of a method, to stand in text."""
    shape = element("path", d=style.shape)
    return element(
        "svg",
        shape,
        class_=f"swatch {style.colour}",
        viewBox="-7 -7 14 14",
        width=14,
        height=14,
        aria_hidden="true",
    )


def line_chart(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    title: str,
    markers: bool,
    level: Series | None = None,
    points: Sequence[tuple[Series, str]] = (),
    beside: Sequence[Series] = (),
) -> Markup:
    """Curves with a band (without markers) or whiskers (with markers), and a level or points to compare with.

    A point is a series of one value and what is said of it; it is named where there is room. Curves `beside` are dashed
    and named at their right ends.
    """
    parts: list[Markup] = beside_curves(beside, x, y)
    if level is not None and math.isfinite(level.y[0]):
        height = pixel(y, level.y[0])
        parts.append(
            element(
                "line",
                x1="0",
                x2="100%",
                y1=height,
                y2=height,
                class_=f"level {level.style.colour}",
                data_m=level.name,
            )
        )
    for one in series:
        parts.append(curve(one, x, y, band=not markers))
        if markers:
            for place, (value, height) in enumerate(zip(one.x, one.y, strict=True)):
                if math.isfinite(height):
                    bounds = (one.low[place], one.high[place]) if one.low else (math.nan, math.nan)
                    parts.append(whisker(one, x, y, value, *bounds))
                    parts.append(marker(one, x, y, value, height, f"{one.name}: {height:.1f} at {value:g}"))
    parts += [marker(one, x, y, one.x[0], one.y[0], said) for one, said in points]
    parts += point_names([one for one, _ in points], x, y)
    return _frame(parts, x, y, title, named=bool(beside))


def scatter_chart(series: Sequence[Series], x: Axis, y: Axis, *, title: str) -> Markup:
    """One point with error bars both ways for each series, named where there is room."""
    parts: list[Markup] = []
    for one in series:
        parts.append(whisker(one, x, y, one.x[0], one.low[0], one.high[0]))
        if math.isfinite(one.x_low):
            height, left, right = pixel(y, one.y[0]), percent(x, one.x_low), percent(x, one.x_high)
            parts.append(
                element(
                    "line",
                    x1=left,
                    x2=right,
                    y1=height,
                    y2=height,
                    class_=f"whisker {one.style.colour}",
                    data_m=one.name,
                )
            )
    for one in series:
        said = f"{one.name}: {x.label} {one.x[0]:.1f}, {y.label} {one.y[0]:.1f}"
        parts.append(marker(one, x, y, one.x[0], one.y[0], said))
    return _frame([*parts, *point_names(series, x, y)], x, y, title)


def _frame(parts: Iterable[Markup], x: Axis, y: Axis, title: str, *, named: bool = False) -> Markup:
    grid: list[Markup] = []
    for value, text in y.ticks:
        height = pixel(y, value)
        grid.append(element("line", x1="0", x2="100%", y1=height, y2=height, class_="grid"))
        grid.append(element("text", text, x=-8, y=height + 4, class_="tick end"))
    for value, text in x.ticks:
        left = percent(x, value)
        grid.append(element("line", x1=left, x2=left, y1=HEIGHT, y2=HEIGHT + 5, class_="axis"))
        grid.append(element("text", text, x=left, y=HEIGHT + 19, class_="tick middle"))
    grid.append(element("line", x1="0", x2="100%", y1=HEIGHT, y2=HEIGHT, class_="axis"))
    grid.append(element("text", x.label, x="50%", y=HEIGHT + 39, class_="label middle"))
    said = title or f"{y.label} against {x.label}"
    drawing = element("svg", grid, parts, width="100%", height=HEIGHT, role="img", aria_label=said)
    name = element("span", title) if title else None
    heading = element("p", name, element("span", y.label, class_="unit"), class_="chart-title")
    return element("div", heading, element("div", drawing, class_="plot named" if named else "plot"), class_="chart")
