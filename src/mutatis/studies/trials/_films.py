"""The first and the last episode of a trial on Meta-World, in small films."""

from mutatis.studies.page._film_tabs import film_tabs, seeds_of
from mutatis.studies.page._markup import Markup
from mutatis.studies.trials._view import TrialView


def film_name(task: str, episode: str, number: int) -> str:
    """Of the film of one episode, counted from 1."""
    return f"{task}, {episode} {number}"


def trial_films(view: TrialView, name: str) -> Markup | None:
    """By task, before adapting and after; `name` sets the ids of this section apart from those of other studies."""
    galleries = view.results.films
    order = list(dict.fromkeys(task for gallery in galleries for task in gallery.tasks))
    note = (
        f"{seeds_of(galleries)}; the first and the last {view.episode} of a trial on the first goal of each test task. "
        "A film of a solved task ends shortly after it is solved. The pink ball is the goal, not shown to the policy."
    )
    return film_tabs(galleries, name, title="What the policies do", note=note, place=order.index)
