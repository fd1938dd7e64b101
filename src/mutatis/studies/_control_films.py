"""What the final policies do, in small films."""

import base64
import math

from mutatis.studies._control_view import SUCCESS, ControlView
from mutatis.studies._galleries import FilmGallery
from mutatis.studies._markup import Markup, element, section
from mutatis.studies._tabs import tabs

SIZE = 160, 120
"""Width and height in pixels where a film does not say."""


def film_section(view: ControlView, name: str) -> Markup | None:
    """One tab per method (no script needed), that of the highest success opened; films out of view are not decoded.

    `name` sets the ids of this section apart from those of other studies on the page.
    """
    galleries = view.results.films
    if not galleries:
        return None
    places = {gallery.method: place for place, gallery in enumerate(galleries)}
    panes = [(gallery.method, element("div", _panel(view, gallery))) for gallery in galleries]
    opened = places.get(view.leader or "", 0)
    return section("What the policies do", tabs(f"{name}-film", panes, opened), note=_note(view))


def film_size(film: bytes) -> tuple[int, int]:
    """Width and height in pixels that the head of an extended WebP says (every animated one is); else `SIZE`."""
    if film[12:16] != b"VP8X" or len(film) < 30:
        return SIZE
    width, height = (1 + int.from_bytes(film[place : place + 3], "little") for place in (24, 27))
    return width, height


def _panel(view: ControlView, gallery: FilmGallery) -> Markup:
    return element(
        "div",
        [
            _film(view, gallery, task, film)
            for task, film in sorted(
                zip(gallery.tasks, gallery.films, strict=True), key=lambda pair: _place(view, pair[0])
            )
        ],
        class_="films",
    )


def _film(view: ControlView, gallery: FilmGallery, task: str, film: bytes) -> Markup:
    width, height = film_size(film)
    rate = view.by_seed(SUCCESS, gallery.method, task).get(gallery.seed, math.nan)
    said = f"{100 * rate:.0f} %" if math.isfinite(rate) else "—"
    image = element(
        "img",
        src=f"data:image/webp;base64,{base64.b64encode(film).decode()}",
        alt=f"{task}, {gallery.method}: one episode of the final policy",
        loading="lazy",
        decoding="async",
        width=width,
        height=height,
    )
    return element("figure", image, element("figcaption", element("span", task), element("span", said)), class_="film")


def _place(view: ControlView, task: str) -> int:
    """Films stand in the order of the table above, the hardest task first."""
    return view.hardest_first.index(task) if task in view.hardest_first else len(view.hardest_first)


def _note(view: ControlView) -> str:
    seeds = ", ".join(map(str, sorted({gallery.seed for gallery in view.results.films})))
    return (
        f"Seed {seeds}; one episode of each task, the hardest first, with the success rate of that seed. A film of a "
        "solved task ends shortly after it is solved. The pink ball is the goal."
    )
