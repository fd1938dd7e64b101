"""Where names stand in a chart: beside points where there is room, and at the right ends of curves to compare with."""

import math
from collections.abc import Sequence

from mutatis.studies.page._chart_parts import HEIGHT, Axis, Series, curve, percent, pixel
from mutatis.studies.page._markup import Markup, element

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
LINE = 15
"""Pixels from one name at the right to the next."""

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


def point_names(series: Sequence[Series], x: Axis, y: Axis) -> list[Markup]:
    """Names beside their points; a name without room between `NARROW` and `WIDE` is left to the legend.

    Positions are linear in the width, so boxes that keep apart on the same side at both widths keep apart at
    every width between.
    """
    points = [(x.at(one.x[0]), pixel(y, one.y[0])) for one in series]
    taken: list[tuple[Box, Box]] = [_boxes(share, share, height - 7, height + 7, 7) for share, height in points]
    for one, (share, height) in zip(series, points, strict=True):
        if math.isfinite(one.x_low):
            left, right = (min(max(x.at(end), 0.0), 1.0) for end in (one.x_low, one.x_high))
            taken.append(_boxes(left, right, height - 2, height + 2))
            taken.append(_boxes(share, share, pixel(y, one.high[0]), pixel(y, one.low[0])))
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
            if inside and all(_separate(boxes, other) for other in taken):
                taken.append(boxes)
                classes = f"name {anchor} {one.style.colour}"
                labels.append(
                    element(
                        "text",
                        one.name,
                        x=percent(x, one.x[0]),
                        y=height,
                        dx=dx,
                        dy=dy,
                        class_=classes,
                        data_m=one.name,
                    )
                )
                break
    return labels


def _separate(first: tuple[Box, Box], second: tuple[Box, Box]) -> bool:
    if first[0][3] <= second[0][1] or second[0][3] <= first[0][1]:
        return True
    left = all(a[2] <= b[0] for a, b in zip(first, second, strict=True))
    right = all(b[2] <= a[0] for a, b in zip(first, second, strict=True))
    return left or right


def beside_curves(series: Sequence[Series], x: Axis, y: Axis) -> list[Markup]:
    """Dashed curves, each with its name at the right end; names are moved apart where they would overlap."""
    ends = [pixel(y, one.y[-1]) for one in series]
    parts = [curve(one, x, y, band=False, dashed=True) for one in series]
    for one, height in zip(series, apart(ends, LINE, HEIGHT), strict=True):
        text = element("text", one.name, x="100%", y=height, class_=f"tag {one.style.colour}", data_m=one.name)
        parts.append(text)
    return parts


def apart(heights: Sequence[float], least: float, most: float) -> list[float]:
    """The heights moved as little as need be, in order, to be `least` apart and between 0 and `most`.

    Names that would overlap form a block around their mean, which swallows the blocks that it comes to touch.
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    blocks: list[list[int]] = []
    for place in order:
        blocks.append([place])
        while len(blocks) > 1 and _top(blocks[-1], heights, least, most) < (
            _top(blocks[-2], heights, least, most) + least * len(blocks[-2])
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    moved = list(heights)
    for block in blocks:
        top = _top(block, heights, least, most)
        for rank, place in enumerate(block):
            moved[place] = round(top + least * rank, 1)
    return moved


def _top(block: Sequence[int], heights: Sequence[float], least: float, most: float) -> float:
    """Where the first of a block of names stands."""
    length = least * (len(block) - 1)
    middle = sum(heights[place] for place in block) / len(block)
    return max(0.0, min(middle - length / 2, most - length))
