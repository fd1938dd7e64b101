"""What charts are made of: styles, series, axes, and how a curve, a marker and a whisker are drawn."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mutatis.studies.page._markup import Markup, element, join

HEIGHT = 280
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


def curve(one: Series, x: Axis, y: Axis, *, band: bool, dashed: bool = False) -> Markup:
    """A line through the finite points, stretched to the width of the plot; with a band where ends are known."""
    points = [(1000 * x.at(a), pixel(y, b)) for a, b in zip(one.x, one.y, strict=True) if math.isfinite(b)]
    paths: list[Markup] = []
    if band and one.low:
        known = [
            (1000 * x.at(a), pixel(y, low), pixel(y, high))
            for a, low, high in zip(one.x, one.low, one.high, strict=True)
            if math.isfinite(low) and math.isfinite(high)
        ]
        outline = [(a, high) for a, _, high in known] + [(a, low) for a, low, _ in reversed(known)]
        if len(known) > 1:
            paths.append(element("path", d=path_of(outline) + "z", class_="band"))
    if len(points) > 1:
        paths.append(element("path", d=path_of(points), class_=f"curve {'beside' if dashed else one.style.dashed}"))
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


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """Of an SVG path through points."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def marker(one: Series, x: Axis, y: Axis, value: float, height: float, said: str) -> Markup:
    """The shape of a style, with a text to be read when pointed at."""
    shape = element("path", element("title", said), d=one.style.shape)
    place = {"x": percent(x, value), "y": pixel(y, height)}
    return element("svg", shape, **place, class_=f"marker {one.style.colour}", data_m=one.name)


def whisker(one: Series, x: Axis, y: Axis, value: float, low: float, high: float) -> Markup:
    """A line from the low to the high end; nothing where either is unknown."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return join(())
    left = percent(x, value)
    ends = {"y1": pixel(y, max(low, y.low)), "y2": pixel(y, min(high, y.high))}
    return element("line", x1=left, x2=left, **ends, class_=f"whisker {one.style.colour}", data_m=one.name)


def percent(axis: Axis, value: float) -> str:
    """Where a value lies from left to right."""
    return f"{100 * min(max(axis.at(value), 0.0), 1.0):.2f}%"


def pixel(axis: Axis, value: float) -> float:
    """Where a value lies from the top down."""
    return round(HEIGHT * (1 - min(max(axis.at(value), 0.0), 1.0)), 1)
