"""Sample images of the groups with what a method says before and after it adapts."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mutatis.studies._results import Gallery
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._tabs import tabs

MOST_GROUPS, MOST_IMAGES = 10, 8


def picture_section(galleries: Sequence[Gallery], name: str) -> Markup | None:
    """One tab per method (no script needed); images that methods share are embedded once.

    `name` sets the ids of this section apart from those of other studies on the page.
    """
    if not galleries:
        return None
    sprites: dict[bytes, str] = {}
    panes, rules = [], []
    # The first method that changes its mind is the one worth opening with.
    changed = (place for place, g in enumerate(galleries) if g.before is not None and (g.before != g.after).any())
    opened = next(changed, 0)
    for gallery in galleries:
        picked, images = _pick(gallery)
        sprite = sprites.setdefault(images.tobytes() + str(images.shape).encode(), f"{name}-sprite{len(sprites)}")
        if len(rules) < len(sprites):
            rules.append(f".{sprite}{{background-image:url({_png(images)})}}")
        panes.append((gallery.method, _panel(gallery, picked, images.shape[:2], sprite)))
    note = (
        f"Seed {galleries[opened].seed}. Under each image: the truth, then the prediction without and with adaptation. "
        "✓ right, ✗ wrong; framed where adaptation changed the prediction."
    )
    return section("What the groups look like", tabs(f"{name}-tab", panes, opened, rules=rules), note=note)


def _pick(gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
    """Groups spread evenly, first and last included, and their images."""
    groups = len(gallery.images)
    picked = np.unique(np.linspace(0, groups - 1, min(groups, MOST_GROUPS)).round().astype(int))
    return picked, gallery.images[picked][:, :MOST_IMAGES]


def _png(images: np.ndarray) -> str:
    """All images side by side as a data address: one row per group."""
    groups, k, height, width, channels = images.shape
    sheet = images.transpose(0, 2, 1, 3, 4).reshape(groups * height, k * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _panel(gallery: Gallery, picked: np.ndarray, shape: tuple[int, ...], sprite: str) -> Markup:
    rows = []
    for row, group in enumerate(picked):
        cells = [_cell(gallery, int(group), column, row, shape, sprite) for column in range(shape[1])]
        rows.append(element("div", element("h5", gallery.group_names[group]), element("div", cells, class_="strip")))
    return element("div", rows)


def _cell(gallery: Gallery, group: int, column: int, row: int, shape: tuple[int, ...], sprite: str) -> Markup:
    rows, columns = shape
    truth, after = int(gallery.targets[group, column]), int(gallery.after[group, column])
    before = after if gallery.before is None else int(gallery.before[group, column])
    # Background positions are shares of what sticks out, hence the minus one.
    x, y = 100 * column / max(columns - 1, 1), 100 * row / max(rows - 1, 1)
    names = [_class(gallery, label) for label in (truth, before, after)]
    said = f"{names[0]}, predicted {names[1]} before and {names[2]} after"
    image = element(
        "div",
        role="img",
        aria_label=said,
        title=said,
        class_=f"sprite {sprite}",
        style=f"background-size:{100 * columns}% {100 * rows}%;background-position:{x:.3f}% {y:.3f}%",
    )
    predictions = [_prediction(gallery, after, truth)]
    if gallery.before is not None:
        predictions = [_prediction(gallery, before, truth), element("span", "→"), *predictions]
    truth_line = element("span", _class(gallery, truth), class_="truth")
    changed = " changed" if before != after else ""
    return element("div", image, truth_line, element("span", predictions, class_="said"), class_=f"sample{changed}")


def _prediction(gallery: Gallery, label: int, truth: int) -> Markup:
    right = label == truth
    return element("span", "✓" if right else "✗", _class(gallery, label), class_="right" if right else "wrong")


def _class(gallery: Gallery, label: int) -> str:
    return gallery.class_names[label] if 0 <= label < len(gallery.class_names) else str(label)
