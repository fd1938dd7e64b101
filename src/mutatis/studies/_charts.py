"""Charts as SVG that keep their text size at any width.

Horizontal positions are percentages of the plot, vertical ones pixels: the browser lays a chart out anew for
a phone instead of scaling its text down. Curves live in a nested, stretched SVG with strokes that do not
stretch.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mutatis.studies._markup import Markup, element, join

HEIGHT = 280
# Between these plot widths (pixels) no two labels of a scatter chart overlap.
NARROW, WIDE = 270, 600
LETTER = 7.2
# Where a name may stand: text anchor and offset from its point.
PLACES = (
    ("start", 10, 4),
    ("end", -10, 4),
    ("start", 7, -7),
    ("start", 7, 16),
    ("end", -7, -7),
    ("end", -7, 16),
)
SHAPES = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "M-4 -4h8v8h-8z",
    "M0 -5.2L5 4H-5z",
    "M0 -5.6L5.6 0L0 5.6L-5.6 0z",
    "M0 5.2L5 -4H-5z",
    "M-1.7 -5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
)
COLOURS = 8


@dataclass(frozen=True)
class Style:
    """How one method looks in every chart: the reference is grey, the others get colour, shape and dashes.

    What others have measured is `hollow`: only the outline of its marker is drawn.
    """

    place: int
    hollow: bool = False

    @property
    def colour(self) -> str:
        """A class of the style sheet that sets the colour `--c`, and that of outlined markers."""
        colour = "ref" if self.place < 0 else f"c{self.place % COLOURS}"
        return f"{colour} hollow" if self.hollow else colour

    @property
    def shape(self) -> str:
        """The path of the marker, centred at zero."""
        return SHAPES[(self.place + 1 + max(self.place, 0) // COLOURS) % len(SHAPES)]

    @property
    def dashed(self) -> str:
        """The class of lines when the colours are used a second time."""
        return "dashed" if self.place // COLOURS % 2 and self.place >= 0 else ""


@dataclass(frozen=True)
class Series:
    """One method's points, in the units of the axes; `low` and `high` may hold NaN where nothing is known."""

    name: str
    style: Style
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    x_low: float = math.nan
    x_high: float = math.nan


@dataclass(frozen=True)
class Axis:
    """Where a value lies, as a share of the axis, and which values are written at it."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str
    scale: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        start, end = self.scale(self.low), self.scale(self.high)
        return (self.scale(value) - start) / (end - start)


def linear_axis(
    values: Iterable[float],
    label: str,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
    marks: int = 5,
) -> Axis:
    """An axis around the finite values (cut to `within`), from one round number to another."""
    values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = max(min(values), within[0]), min(max(values), within[1])
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / marks)
    places = range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple((place * step, f"{place * step:,.{decimals}f}") for place in places)
    return Axis(ticks[0][0], ticks[-1][0], ticks, label)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def log_axis(values: Iterable[float], label: str, ticks: Sequence[float] | None = None) -> Axis:
    """A logarithmic axis; ticks at the powers of ten, or at the given values."""
    values = [value for value in values if math.isfinite(value) and value > 0] or [1.0, 10.0]
    low, high = min(values), max(values)
    if ticks is None:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [10.0**power for power in powers]
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    if low == high:
        low, high = low / 2, high * 2
    return Axis(low, high, tuple((tick, f"{tick:g}") for tick in ticks), label, math.log10)


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
) -> Markup:
    """Curves with a band (without markers) or whiskers (with markers), and a level or points to compare with.

    A point is a series of one value and what is said of it; it is named where there is room.
    """
    parts: list[Markup] = []
    if level is not None and math.isfinite(level.y[0]):
        height = _pixel(y, level.y[0])
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
        parts.append(_curve(one, x, y, band=not markers))
        if markers:
            for place, (value, height) in enumerate(zip(one.x, one.y, strict=True)):
                if math.isfinite(height):
                    bounds = (one.low[place], one.high[place]) if one.low else (math.nan, math.nan)
                    parts.append(_whisker(one, x, y, value, *bounds))
                    parts.append(_marker(one, x, y, value, height, f"{one.name}: {height:.1f} at {value:g}"))
    parts += [_marker(one, x, y, one.x[0], one.y[0], said) for one, said in points]
    parts += _labels([one for one, _ in points], x, y)
    return _frame(parts, x, y, title)


def scatter_chart(series: Sequence[Series], x: Axis, y: Axis, *, title: str) -> Markup:
    """One point with error bars both ways for each series, named where there is room."""
    parts: list[Markup] = []
    for one in series:
        parts.append(_whisker(one, x, y, one.x[0], one.low[0], one.high[0]))
        if math.isfinite(one.x_low):
            height, left, right = _pixel(y, one.y[0]), _percent(x, one.x_low), _percent(x, one.x_high)
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
        parts.append(_marker(one, x, y, one.x[0], one.y[0], said))
    return _frame([*parts, *_labels(series, x, y)], x, y, title)


def _frame(parts: Iterable[Markup], x: Axis, y: Axis, title: str) -> Markup:
    grid: list[Markup] = []
    for value, text in y.ticks:
        height = _pixel(y, value)
        grid.append(element("line", x1="0", x2="100%", y1=height, y2=height, class_="grid"))
        grid.append(element("text", text, x=-8, y=height + 4, class_="tick end"))
    for value, text in x.ticks:
        left = _percent(x, value)
        grid.append(element("line", x1=left, x2=left, y1=HEIGHT, y2=HEIGHT + 5, class_="axis"))
        grid.append(element("text", text, x=left, y=HEIGHT + 19, class_="tick middle"))
    grid.append(element("line", x1="0", x2="100%", y1=HEIGHT, y2=HEIGHT, class_="axis"))
    grid.append(element("text", x.label, x="50%", y=HEIGHT + 39, class_="label middle"))
    said = title or f"{y.label} against {x.label}"
    drawing = element("svg", grid, parts, width="100%", height=HEIGHT, role="img", aria_label=said)
    name = element("span", title) if title else None
    heading = element("p", name, element("span", y.label, class_="unit"), class_="chart-title")
    return element("div", heading, element("div", drawing, class_="plot"), class_="chart")


def _curve(one: Series, x: Axis, y: Axis, *, band: bool) -> Markup:
    points = [(1000 * x.at(a), _pixel(y, b)) for a, b in zip(one.x, one.y, strict=True) if math.isfinite(b)]
    paths: list[Markup] = []
    if band and one.low:
        known = [
            (1000 * x.at(a), _pixel(y, low), _pixel(y, high))
            for a, low, high in zip(one.x, one.low, one.high, strict=True)
            if math.isfinite(low) and math.isfinite(high)
        ]
        outline = [(a, high) for a, _, high in known] + [(a, low) for a, low, _ in reversed(known)]
        if len(known) > 1:
            paths.append(element("path", d=_path(outline) + "z", class_="band"))
    if len(points) > 1:
        paths.append(element("path", d=_path(points), class_=f"curve {one.style.dashed}"))
    return element(
        "svg",
        element("title", one.name),
        paths,
        viewBox=f"0 0 1000 {HEIGHT}",
        preserveAspectRatio="none",
        width="100%",
        height=HEIGHT,
        class_=one.style.colour,
        data_m=one.name,
    )


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def _marker(one: Series, x: Axis, y: Axis, value: float, height: float, said: str) -> Markup:
    shape = element("path", element("title", said), d=one.style.shape)
    place = {"x": _percent(x, value), "y": _pixel(y, height)}
    return element("svg", shape, **place, class_=f"marker {one.style.colour}", data_m=one.name)


def _whisker(one: Series, x: Axis, y: Axis, value: float, low: float, high: float) -> Markup:
    if not (math.isfinite(low) and math.isfinite(high)):
        return join(())
    left = _percent(x, value)
    ends = {"y1": _pixel(y, max(low, y.low)), "y2": _pixel(y, min(high, y.high))}
    return element("line", x1=left, x2=left, **ends, class_=f"whisker {one.style.colour}", data_m=one.name)


def _percent(axis: Axis, value: float) -> str:
    return f"{100 * min(max(axis.at(value), 0.0), 1.0):.2f}%"


def _pixel(axis: Axis, value: float) -> float:
    return round(HEIGHT * (1 - min(max(axis.at(value), 0.0), 1.0)), 1)


Box = tuple[float, float, float, float]


def _boxes(
    left: float, right: float, top: float, bottom: float, margin: float = 2, start: float = 0, length: float = 0
) -> tuple[Box, Box]:
    """What an object covers at the two widths: shares of the width, plus a part that keeps its size."""
    narrow, wide = (
        (left * width + start - margin, top, right * width + start + length + margin, bottom)
        for width in (NARROW, WIDE)
    )
    return narrow, wide


def _labels(series: Sequence[Series], x: Axis, y: Axis) -> list[Markup]:
    """Names beside their points; a name without room between `NARROW` and `WIDE` is left to the legend.

    Positions are linear in the width, so boxes that keep apart on the same side at both widths keep apart at
    every width between.
    """
    points = [(x.at(one.x[0]), _pixel(y, one.y[0])) for one in series]
    taken: list[tuple[Box, Box]] = [_boxes(share, share, height - 7, height + 7, 7) for share, height in points]
    for one, (share, height) in zip(series, points, strict=True):
        if math.isfinite(one.x_low):
            left, right = (min(max(x.at(end), 0.0), 1.0) for end in (one.x_low, one.x_high))
            taken.append(_boxes(left, right, height - 2, height + 2))
            taken.append(_boxes(share, share, _pixel(y, one.high[0]), _pixel(y, one.low[0])))
    labels: list[Markup] = []
    last = {one.name: place for place, one in enumerate(series)}
    for place, (one, (share, height)) in enumerate(zip(series, points, strict=True)):
        if last[one.name] != place:  # of several points with one name the last bears it
            continue
        length = LETTER * len(one.name)
        for anchor, dx, dy in PLACES:
            start = {"start": dx, "end": dx - length, "middle": -length / 2}[anchor]
            boxes = _boxes(share, share, height + dy - 11, height + dy + 3, 0, start, length)
            inside = all(
                box[0] >= 0 and box[2] <= width + 8 and box[1] >= -4 and box[3] <= HEIGHT
                for box, width in zip(boxes, (NARROW, WIDE), strict=True)
            )
            if inside and all(_apart(boxes, other) for other in taken):
                taken.append(boxes)
                classes = f"name {anchor} {one.style.colour}"
                labels.append(
                    element(
                        "text",
                        one.name,
                        x=_percent(x, one.x[0]),
                        y=height,
                        dx=dx,
                        dy=dy,
                        class_=classes,
                        data_m=one.name,
                    )
                )
                break
    return labels


def _apart(first: tuple[Box, Box], second: tuple[Box, Box]) -> bool:
    if first[0][3] <= second[0][1] or second[0][3] <= first[0][1]:
        return True
    left = all(a[2] <= b[0] for a, b in zip(first, second, strict=True))
    right = all(b[2] <= a[0] for a, b in zip(first, second, strict=True))
    return left or right
