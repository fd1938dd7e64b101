"""Learned weights and symmetries beside the true ones, as pictures with one pixel for each entry."""

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from mutatis.studies._galleries import WeightGallery
from mutatis.studies._numbers import rough
from mutatis.studies.page._markup import Markup, element, join, section
from mutatis.studies.page._palette import NEGATIVE, POSITIVE, USED
from mutatis.studies.page._tabs import tabs
from mutatis.studies.symmetry._view import EXCESS, OVERLAP, SymmetryView

ROWS = ("truth", "learned")
COLUMNS = ("weights of one task", "weights of another", "how much each entry is used", "what is tied to the middle")
SIGNED = (True, True, False, True)
LEVELS, LOST = 255, 255
# Below 1, so that what is small but not zero is seen.
GAMMA = 0.7
DESK, PHONE = 212, 142
"""Most pixels that a picture is wide, on a desk and on a phone; `DESK` is also the most that it is high."""


def weight_pictures(view: SymmetryView, name: str) -> Markup | None:
    """One tab per method (no script needed); pictures that methods share are embedded once.

    `name` sets the ids of this section apart from those of other studies on the page.
    """
    galleries = view.results.weights
    if not galleries:
        return None
    classes: dict[str, str] = {}
    panes = [
        (gallery.method, _panel(view, gallery, lambda address: classes.setdefault(address, f"{name}-w{len(classes)}")))
        for gallery in galleries
    ]
    rules = [f".{one}{{background-image:url({address})}}" for address, one in classes.items()]
    seeds = sorted({gallery.seed for gallery in galleries})
    note = (
        f"Seed {', '.join(map(str, seeds))}. A row of a picture is an output, a column an input. Each pair of pictures "
        "has one scale, up to the largest true value; what lies beyond has the strongest colour."
    )
    opened = next(place for place, gallery in enumerate(galleries) if gallery is _opened(view))
    pictures = tabs(f"{name}-weights", panes, opened, rules=rules, display="flex")
    return section("What was learned", _key(), pictures, note=note)


def _opened(view: SymmetryView) -> WeightGallery:
    """The learned symmetry nearest to the truth is the one worth opening with."""
    galleries = view.results.weights
    learned = [gallery for gallery in galleries if gallery.method in view.learners] or galleries
    nearness = lambda gallery: np.nan_to_num(
        np.mean([view.mean(OVERLAP, problem, gallery.method) for problem in gallery.problems]), nan=-1.0
    )
    return max(learned, key=nearness)


def _panel(view: SymmetryView, gallery: WeightGallery, named: Callable[[str], str]) -> Markup:
    return element(
        "div",
        [
            element("figure", element("figcaption", _caption(view, gallery, problem, pictures)), _grid(pictures, named))
            for problem, pictures in zip(gallery.problems, gallery.pictures, strict=True)
        ],
        class_="problems",
    )


def _caption(view: SymmetryView, gallery: WeightGallery, problem: str, pictures: np.ndarray) -> Markup:
    said = [f"{pictures.shape[2]} × {pictures.shape[3]}"]
    overlap = view.values(OVERLAP, problem, gallery.method).get(gallery.seed)
    excess = view.values(EXCESS, problem, gallery.method).get(gallery.seed)
    said += [f"overlap {overlap:.3f}"] if overlap is not None and np.isfinite(overlap) else []
    said += [f"excess {rough(excess)}"] if excess is not None and np.isfinite(excess) else []
    return join([element("span", problem, class_="method"), element("span", ", ".join(said), class_="detail")])


def _grid(pictures: np.ndarray, named: Callable[[str], str]) -> Markup:
    """Truth above what was learned; side by side on a phone, where the grid is laid out by columns."""
    cells = [element("span"), *(element("span", column, class_="kind") for column in COLUMNS)]
    limits = [_limit(picture) for picture in pictures[0]]
    for row, line in zip(ROWS, pictures, strict=True):
        cells.append(element("span", row, class_="row"))
        for kind, picture, limit, signed in zip(COLUMNS, line, limits, SIGNED, strict=True):
            cells.append(_cell(picture, f"{kind}: {row}", limit, signed, named))
    height, width = pictures.shape[2:]
    desk, phone = (max(1, min(most // width, DESK // height)) for most in (DESK, PHONE))
    shape = f"--w:{width};--h:{height};--desk:{desk};--phone:{phone}"
    return element("div", cells, class_="compare", style=shape)


def _cell(picture: np.ndarray, said: str, limit: float, signed: bool, named: Callable[[str], str]) -> Markup:
    if np.isnan(picture).all():
        return element("div", "none", title=f"{said}: none", class_="weights none")
    style = named(_address(levels(picture, limit, signed=signed), signed=signed))
    return element("div", role="img", aria_label=said, title=said, class_=f"weights {style}")


def _limit(picture: np.ndarray) -> float:
    finite = np.abs(picture[np.isfinite(picture)])
    return float(finite.max()) if finite.any() else 1.0


def levels(picture: np.ndarray, limit: float, *, signed: bool) -> np.ndarray:
    """Values as places in the palette: 0 to 254 for -limit to limit (or 0 to limit), 255 for what is not finite."""
    shares = np.clip(np.nan_to_num(picture.astype(np.float64), nan=0.0) / limit, -1 if signed else 0, 1)
    places = np.round((shares + 1) / 2 * (LEVELS - 1) if signed else shares * (LEVELS - 1))
    return np.where(np.isfinite(picture), places, LOST).astype(np.uint8)


def palette(*, signed: bool) -> np.ndarray:
    """Colours `(256, 4)`, red to alpha: the further from zero, the less transparent; what is not finite is grey."""
    shares = np.linspace(-1 if signed else 0, 1, LEVELS)
    colours = np.where(shares[:, None] < 0, NEGATIVE, POSITIVE if signed else USED)
    alpha = np.round(255 * np.abs(shares) ** GAMMA)[:, None]
    return np.concatenate([np.hstack([colours, alpha]), [[128, 128, 128, 160]]]).astype(np.uint8)


def _address(places: np.ndarray, *, signed: bool) -> str:
    colours = palette(signed=signed)
    image = Image.fromarray(places)
    image.putpalette(colours[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=colours[:, 3].tobytes())
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _key() -> Markup:
    """What the colours mean."""
    parts = []
    for signed, low, high in ((True, "−", "+"), (False, "unused", "most used")):
        ramp = np.arange(LEVELS, dtype=np.uint8)[None]
        style = f"background-image:url({_address(ramp, signed=signed)})"
        parts.append(element("span", low, element("span", class_="ramp", style=style), high))
    return element("p", parts, class_="key")
