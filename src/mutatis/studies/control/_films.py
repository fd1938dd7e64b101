"""What the final policies of a control study do, in small films."""

import math

from mutatis.studies._galleries import FilmGallery
from mutatis.studies.control._view import SUCCESS, ControlView
from mutatis.studies.page._film_tabs import film_tabs, seeds_of
from mutatis.studies.page._markup import Markup


def film_section(view: ControlView, name: str) -> Markup | None:
    """The method of the highest success opened; films in the order of the table above, the hardest task first.

    `name` sets the ids of this section apart from those of other studies on the page.
    """
    galleries, tasks = view.results.films, view.hardest_first
    places = {gallery.method: place for place, gallery in enumerate(galleries)}

    def rate(gallery: FilmGallery, task: str) -> str:
        found = view.by_seed(SUCCESS, gallery.method, task).get(gallery.seed, math.nan)
        return f"{100 * found:.0f} %" if math.isfinite(found) else "—"

    note = (
        f"{seeds_of(galleries)}; one episode of each task, the hardest first, with the success rate of that seed. A "
        "film of a solved task ends shortly after it is solved. The pink ball is the goal."
    )
    return film_tabs(
        galleries,
        name,
        title="What the policies do",
        note=note,
        place=lambda task: tasks.index(task) if task in tasks else len(tasks),
        beside=rate,
        opened=places.get(view.leader or "", 0),
    )
