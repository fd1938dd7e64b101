"""Small films on a page: one tab per method, films out of view not decoded."""

import base64
from collections.abc import Callable, Sequence

from mutatis.studies._galleries import FilmGallery
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._tabs import tabs

SIZE = 160, 120
"""Width and height in pixels where a film does not say."""


def film_tabs(
    galleries: Sequence[FilmGallery],
    name: str,
    *,
    title: str,
    note: str,
    place: Callable[[str], int],
    beside: Callable[[FilmGallery, str], str] = lambda gallery, film: "",
    opened: int = 0,
) -> Markup | None:
    """A section with the films of every method, no script needed; nothing where there are none.

    - `name`: sets its ids apart from those of other studies on the page.
    - `place`: where a film of this name stands among the others.
    - `beside`: what stands beside the name of a film of a gallery.
    - `opened`: which tab.
    """
    if not galleries:
        return None

    def panel(gallery: FilmGallery) -> Markup:
        ordered = sorted(zip(gallery.tasks, gallery.films, strict=True), key=lambda pair: place(pair[0]))
        films = [_film(gallery.method, task, film, beside(gallery, task)) for task, film in ordered]
        return element("div", element("div", films, class_="films"))

    panes = [(gallery.method, panel(gallery)) for gallery in galleries]
    return section(title, tabs(f"{name}-film", panes, opened), note=note)


def seeds_of(galleries: Sequence[FilmGallery]) -> str:
    """Of the films, as a note begins."""
    return f"Seed {', '.join(map(str, sorted({gallery.seed for gallery in galleries})))}"


def film_size(film: bytes) -> tuple[int, int]:
    """Width and height in pixels that the head of an extended WebP says (every animated one is); else `SIZE`."""
    if film[12:16] != b"VP8X" or len(film) < 30:
        return SIZE
    width, height = (1 + int.from_bytes(film[place : place + 3], "little") for place in (24, 27))
    return width, height


def _film(method: str, task: str, film: bytes, said: str) -> Markup:
    width, height = film_size(film)
    image = element(
        "img",
        src=f"data:image/webp;base64,{base64.b64encode(film).decode()}",
        alt=f"{task}, {method}: one episode of the final policy",
        loading="lazy",
        decoding="async",
        width=width,
        height=height,
    )
    return element("figure", image, element("figcaption", element("span", task), element("span", said)), class_="film")
