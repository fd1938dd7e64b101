"""Matrices over pairs of tasks as pictures: with names and numbers, or small ones to be compared with one another."""

import math
from collections.abc import Sequence

import numpy as np

from mutatis.studies.page._markup import Markup, element
from mutatis.studies.page._palette import NEGATIVE, POSITIVE, USED

WRITTEN = 12
"""Up to so many tasks the entries of a matrix are written out."""
CELLS = ((7, 44), (WRITTEN, 32), (24, 24), (math.inf, 15))
"""Up to so many tasks a cell is so many pixels wide."""
STRENGTH, GAMMA = 0.8, 0.8
"""The strongest colour lets the text on it be read, on white and on black; small values are lifted to be seen."""
SHADES = 40
"""Steps from -1 to 1 of the colours of a small matrix: a fortieth is not seen."""


def matrix(
    names: Sequence[str], values: np.ndarray, title: str, form: str, *, limit: float = 1.0, factor: float = 1.0
) -> Markup:
    """A table of coloured cells, each named; the numbers are written out where there is room.

    - `names`: of the tasks, T.
    - `values`: (T, T); `limit` (and minus `limit`) has the strongest colour, and NaN is grey.
    - `form`: of the numbers, as `str.format` reads it, times `factor`.
    """
    head = element("tr", element("td"), (element("th", element("span", name), scope="col") for name in names))
    rows = []
    for name, line in zip(names, values, strict=True):
        cells = []
        for other, value in zip(names, line, strict=True):
            text = signed(form, factor * value)
            said = f"{name}, {other}: {text}"
            shown = text if len(names) <= WRITTEN else None
            cells.append(element("td", shown, title=said, style=f"background:{colour(value / limit)}"))
        rows.append(element("tr", element("th", name, scope="row"), cells))
    size = next(cell for most, cell in CELLS if len(names) <= most)
    table = element("table", element("thead", head), element("tbody", rows), class_="matrix", style=f"--cell:{size}px")
    return element("figure", element("h4", title), element("div", table, class_="matrix-frame"))


def small_matrix(values: np.ndarray, said: str) -> Markup:
    """A drawing of (T, T) values from -1 to 1, without names and numbers; `said` is read out instead."""
    shades: dict[float, list[str]] = {}
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            shade = round(value * SHADES / 2) / (SHADES / 2) if math.isfinite(value) else math.inf
            shades.setdefault(shade, []).append(f"M{column} {row}h1v1h-1z")
    paths = (element("path", d="".join(cells), fill=colour(shade)) for shade, cells in shades.items())
    count = len(values)
    return element("svg", paths, viewBox=f"0 0 {count} {count}", class_="small-matrix", role="img", aria_label=said)


def key(low: str = "against each other", high: str = "together") -> Markup:
    """What the colours of signed values mean."""
    stops = ",".join(colour(value) for value in np.linspace(-1, 1, 21))
    ramp = element("span", class_="ramp", style=f"background:linear-gradient(90deg,{stops})")
    return element("p", element("span", low, ramp, high), class_="key")


def signed(form: str, value: float, *, full: bool = False) -> str:
    """A number with a true minus sign, without the 0 before its point unless `full`; a dash if it is not finite."""
    if not math.isfinite(value):
        return "—"
    text = f"{value / 1000:.0f}k" if abs(value) >= 1000 else form.format(value)
    text = text.replace("-", "−")
    if not text.strip("−0."):
        text = text.removeprefix("−")
    return text if full else text.replace("0.", ".", 1) if text.lstrip("−").startswith("0.") else text


def colour(value: float, *, sign: bool = True) -> str:
    """A colour for -1 to 1; without sign for 0 to 1."""
    if not math.isfinite(value):
        return "rgb(128 128 128/.35)"
    red, green, blue = (POSITIVE if value > 0 else NEGATIVE) if sign else USED
    return f"rgb({red} {green} {blue}/{STRENGTH * min(abs(value), 1.0) ** GAMMA:.3f})"
