"""The part of the page that is about trials: what was found in words, and the sections below it."""

import math
from collections.abc import Mapping
from typing import Any

from mutatis.studies._numbers import count, written
from mutatis.studies._results import Results
from mutatis.studies.page._charts import Style
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._part import Part, finding_list
from mutatis.studies.page._training_curves import training_charts
from mutatis.studies.trials._curves import adaptation_curves, learning_curves
from mutatis.studies.trials._films import trial_films
from mutatis.studies.trials._pictures import believed_pictures, trial_pictures
from mutatis.studies.trials._table import trial_table
from mutatis.studies.trials._view import RETURN, SUCCESS, TrialView


def trial_part(results: Results, styles: Mapping[str, Style], anchor: str) -> Part | None:
    """From the numbers to the pictures, where trials were played."""
    view = TrialView(results, styles)
    if not view.trial:
        return None
    sections = [
        trial_table(view),
        adaptation_curves(view),
        trial_films(view, anchor),
        trial_pictures(view, anchor),
        believed_pictures(view, anchor),
        learning_curves(view),
        _loss(view),
    ]
    return Part(_basis(view), finding_list(trial_sentences(view)), sections)


def _basis(view: TrialView) -> str:
    said = f"{count(len(view.everyone), 'method')}, {count(view.seeds, 'seed')}"
    return f"{said}, trials of {count(view.episodes, view.episode)}."


def trial_sentences(view: TrialView) -> list[str]:
    """Of each method where its score lies between nothing known and the best, and what a trial adds."""
    return [said for method in view.methods if (said := _sentence(view, method))]


def _sentence(view: TrialView, method: str) -> str | None:
    score = view.score(method)
    if score is None or not math.isfinite(score.mean):
        return None
    said = f"{method}: {_number(score.mean)} in the {str(view.trial['score']).removeprefix('return of the ')}"
    share = view.share(score.mean)
    if math.isfinite(share):
        nothing, best = (next(one for one in view.references if one[role]) for role in ("is_nothing", "is_best"))
        way = f"{100 * share:.1f}".replace("-", "−")
        said += f", {way}\u00a0% of the way from {_named(nothing)} to {_named(best)}"
    first = view.by_episode(RETURN, method)[0]
    if view.episodes > 1 and first is not None:
        last = view.by_episode(RETURN, method)[-1]
        after = f", {_number(last.mean)} in the last" if view.trial["whole"] and last is not None else ""
        said += f"; {_number(first.mean)} in the first {view.episode}{after}"
    last_success, gain = view.by_episode(SUCCESS, method)[-1], view.gain(method)
    if last_success is not None:
        said += f". Success in the last {view.episode} {100 * last_success.mean:.1f}\u00a0%"
        if gain is not None:
            said += f", {100 * gain.mean:+.1f} points from the first".replace("-", "−")
    return f"{said}."


def _named(one: Mapping[str, Any]) -> str:
    """A reference and its number."""
    return f"“{one['name']}” ({_number(one['value'])})"


def _number(value: float) -> str:
    return written(value)[0].replace("-", "−")


def _loss(view: TrialView) -> Markup | None:
    """The loss, closed: it says little of how good a learner is."""
    others = {name for line in view.results.curves for name in line if name != "loss"}
    charts = training_charts(view.results, view.styles, leave_out=others)
    if not charts:
        return None
    figure = element("figure", element("div", charts, class_="pair"))
    return section("Other measures", element("details", element("summary", "Loss while training"), figure))
