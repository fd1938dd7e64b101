"""Return against the episodes of a trial, and against what training took."""

import math
from collections.abc import Mapping
from typing import Any

from mutatis.studies.control._curves import steps_axis
from mutatis.studies.page._charts import Axis, Series, legend, line_chart, linear_axis
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.trials._view import RETURN, SUCCESS, TrialView, middle

FEW = 12
"""Episodes that each get a mark and a tick."""


def adaptation_curves(view: TrialView) -> Markup | None:
    """One line a method: what is earned before anything is known of the task, while it is explored, and after."""
    if view.episodes < 2 or not view.methods:
        return None
    charts = [_adaptation(view, RETURN, f"Return of each {view.episode}")]
    if view.has_success:
        charts.append(_adaptation(view, SUCCESS, f"Success in each {view.episode}, %"))
    styled = [(method, view.styles[method]) for method in view.methods]
    figure = element("figure", legend(styled), element("div", charts, class_="stack"))
    bands = "95 % intervals over seeds" if view.seeds > 1 else ""
    drawn = f" {'Bars' if view.episodes <= FEW else 'Bands'} are {bands}." if bands else " One seed: no interval."
    note = (
        f"Mean over test trials: all {view.episode}s of a trial are of one task, which is new in the first."
        f"{drawn}{_beside_note(view)}"
    )
    return section("Adaptation within a trial", figure, note=note)


def _adaptation(view: TrialView, metric: str, title: str) -> Markup:
    scale = 100 if metric == SUCCESS else 1
    series = [_of_method(view, metric, method, scale) for method in view.methods]
    beside = [_of_reference(view, one) for one in view.references if one["by_episode"]] if metric == RETURN else []
    x = episode_axis(view.episodes, view.episode)
    values = [value for one in (*series, *beside) for value in (*one.y, *one.low, *one.high)]
    y = linear_axis(values, "", within=(0, 100) if scale == 100 else (-math.inf, math.inf))
    return line_chart(series, x, y, title=title, markers=view.episodes <= FEW, beside=beside)


def _of_method(view: TrialView, metric: str, method: str, scale: float) -> Series:
    found = [(place + 1, one) for place, one in enumerate(view.by_episode(metric, method)) if one is not None]
    several = any(one.n > 1 for _, one in found)
    ends = ([scale * one.low for _, one in found], [scale * one.high for _, one in found]) if several else ((), ())
    return Series(method, view.styles[method], [k for k, _ in found], [scale * one.mean for _, one in found], *ends)


def _of_reference(view: TrialView, one: Mapping[str, Any]) -> Series:
    """Over as many episodes as are shown: one that is always the same goes on."""
    values = [float(value) for value in one["by_episode"]][: view.episodes]
    if len(set(values)) == 1:
        values = values[:1] * view.episodes
    return Series(one["name"], view.reference_style(one["name"]), list(range(1, len(values) + 1)), values)


def episode_axis(episodes: int, name: str) -> Axis:
    """A tick for each episode, or for the first and round ones; a little room at both ends."""
    room = 0.04 * (episodes - 1) or 0.5
    if episodes <= FEW:
        places = range(1, episodes + 1)
    else:
        step = next(step for step in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if episodes / step <= 8)
        places = [1, *range(step, episodes + 1, step)]
    ticks = tuple((float(place), str(place)) for place in places)
    return Axis(1 - room, episodes + room, ticks, f"{name.capitalize()} of the trial")


def learning_curves(view: TrialView) -> Markup | None:
    """What counts of a trial, on fewer test trials, while training."""
    series = []
    for method in view.everyone:
        course = [(steps, middle(list(seeds.values()))) for steps, seeds in view.course(method).items()]
        if len(course) > 1:
            ends = ([one.low for _, one in course], [one.high for _, one in course])
            several = any(one.n > 1 for _, one in course)
            xs, ys = [steps for steps, _ in course], [one.mean for _, one in course]
            series.append(Series(method, view.styles[method], xs, ys, *(ends if several else ((), ()))))
    if not series:
        return None
    x = steps_axis([value for one in series for value in one.x])
    beside = [
        Series(one["name"], view.reference_style(one["name"]), [x.low, x.high], [one["value"]] * 2)
        for one in view.references
    ]
    y = linear_axis([value for one in (*series, *beside) for value in (*one.y, *one.low, *one.high)], "")
    title = str(view.trial["score"]).capitalize()
    chart = line_chart(series, x, y, title=title, markers=False, beside=beside)
    styled = [(one.name, one.style) for one in series]
    bands = " Bands reach from the lowest to the highest seed." if view.seeds > 1 else ""
    note = f"On the first of the test trials, while training.{bands}{_beside_note(view)}"
    return section("Learning to adapt", element("figure", legend(styled), element("div", chart)), note=note)


def _beside_note(view: TrialView) -> str:
    simulated = [one for one in view.references if not one["exact"]]
    if not view.references:
        return ""
    how = "computed exactly" if not simulated else "computed exactly, or by playing the very test trials"
    return f" Dashed: what could be got, {how}."
