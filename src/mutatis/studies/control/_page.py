"""The part of the page that is about control: what was found in words, and the sections below it."""

import math
from collections.abc import Mapping

import numpy as np

from mutatis._diagnosis_words import CLEAR, UNEQUAL
from mutatis.shift._metrics import Interval
from mutatis.studies._numbers import count
from mutatis.studies._results import Results
from mutatis.studies.control._conflicts import conflict_section, hardest_pair, length_ratios, measured_methods, times
from mutatis.studies.control._course import conflict_share, conflicts, mean_conflicts
from mutatis.studies.control._curves import other_curves, success_curves
from mutatis.studies.control._films import film_section
from mutatis.studies.control._grid import control_grid
from mutatis.studies.control._stratified import stratified_difference
from mutatis.studies.control._table import control_table, ends
from mutatis.studies.control._view import IQM, MEAN, MEANS, SUCCESS, ControlView
from mutatis.studies.page._charts import Style
from mutatis.studies.page._part import Part, finding_list


def control_part(results: Results, styles: Mapping[str, Style], anchor: str) -> Part | None:
    """From the numbers to the pictures, where tasks were controlled."""
    view = ControlView(results, styles)
    if not view.tasks:
        return None
    sections = [
        control_table(view),
        success_curves(view),
        control_grid(view),
        conflict_section(view),
        film_section(view, anchor),
        other_curves(view),
    ]
    return Part(_basis(view), finding_list(control_sentences(view)), sections)


def _basis(view: ControlView) -> str:
    seeds = len({entry["seed"] for entry in (*view.results.rows, *view.results.curves)})
    said = f"{count(len(view.everyone), 'method')}, {count(seeds, 'seed')}"
    if len(view.episodes) == 1:
        said += f", each task judged on {count(next(iter(view.episodes)), 'episode')}"
    return f"{said}."


def control_sentences(view: ControlView) -> list[str]:
    """Who is highest and who cannot be told apart; what joint training costs; who pulls against whom, and how hard."""
    return [said for said in (_highest(view), _cost_of_sharing(view), _conflict(view), _lengths(view)) if said]


def _highest(view: ControlView) -> str | None:
    statistic, leader = view.statistics[0], view.leader
    found = view.interval(SUCCESS, leader, statistic) if leader else None
    if leader is None or found is None or len([m for m in view.methods if len(view.seeds(m))]) < 2:
        return None
    if found.mean == 0:
        return "No method solves a task."
    of = "interquartile mean" if statistic == IQM else "mean over tasks"
    interval = f", 95 % interval {ends(found)}" if ends(found) else ""
    said = f"Highest success: {leader}, {100 * found.mean:.1f} % ({of}{interval})."
    best = view.best(SUCCESS, statistic)
    if leader not in best:
        return f"{said} One seed: nothing can be told apart."
    ties = [method for method in view.methods if method in best and method != leader]
    if ties:
        return f"{said} Not distinguishable from it: {'; '.join(ties)}."
    rest = "" if all(len(view.seeds(method)) > 1 for method in view.methods) else " of which several seeds are known"
    return f"{said} Every other method{rest} is lower."


def _cost_of_sharing(view: ControlView) -> str | None:
    """The best joint method against the best of those that train each task alone, by the mean over tasks."""
    means = {method: found.mean for method in view.methods if (found := view.interval(SUCCESS, method, MEAN))}
    means = {method: value for method, value in means.items() if math.isfinite(value)}
    single = max((m for m in means if m in view.alone), key=means.__getitem__, default=None)
    joint = max((m for m in means if m not in view.alone), key=means.__getitem__, default=None)
    if single is None or joint is None:
        return None
    first, second = (view.scores(SUCCESS, method) for method in (single, joint))
    gap = stratified_difference(first, second, MEANS[MEAN])
    said = (
        f"On the mean over tasks, {joint} reaches {100 * means[joint]:.1f} % and {single} {100 * means[single]:.1f} %: "
        f"joint training {_difference(gap)}"
    )
    losses = first.mean(axis=0) - second.mean(axis=0)
    worst = int(np.argmax(losses))
    most = f"; it loses most in {view.tasks[worst]}, {100 * losses[worst]:.0f} points" if losses[worst] > 0.005 else ""
    return f"{said}{most}."


def _difference(gap: Interval) -> str:
    """What joint training loses, in words; `gap` is how far it lies below."""
    if gap.low <= 0 <= gap.high:
        return f"makes no difference that could be told from chance ({ends(gap)} points lost)"
    if gap.mean < 0:
        gap = Interval(-gap.mean, -gap.high, -gap.low, gap.n)
        return f"gains {_points(gap)}"
    return f"loses {_points(gap)}"


def _points(gap: Interval) -> str:
    return f"{100 * gap.mean:.1f} points" + (f" ({ends(gap)})" if ends(gap) else "")


def _conflict(view: ControlView) -> str | None:
    method = next(iter(measured_methods(view)), None)
    pair = hardest_pair(view, method) if method else None
    if method is None or pair is None:
        return None
    network, first, second, cosine = pair
    share = conflict_share(mean_conflicts(conflicts(view, method, network)))
    said = f"cosine {cosine:.2f} in the {network} of {method}, mean over training".replace("cosine -", "cosine −")
    if cosine >= CLEAR:
        clearly = " clearly" if cosine < 0 else ""
        return f"No pair of tasks conflicts{clearly}; nearest to it: {first} and {second}, {said}."
    return f"Most conflicting pair: {first} and {second}, {said}; {100 * share:.0f} % of all pairs lie below zero."


def _lengths(view: ControlView) -> str | None:
    """Of which method the gradients are most unequal, and of which they are least."""
    found = {method: ratios for method in measured_methods(view) if (ratios := length_ratios(view, method))}
    worst = lambda method: max(found[method].values())
    uneven = max(found, key=worst, default=None)
    if uneven is None or worst(uneven) < UNEQUAL:
        return None
    unequal = [network for network, ratio in found[uneven].items() if ratio >= UNEQUAL]
    listed = lambda ratios: ", ".join(f"{times(ratios[each])} in the {each}" for each in unequal if each in ratios)
    said = (
        f"Longest gradient of a task over the shortest: {listed(found[uneven])} ({uneven}, medians over training); "
        "a step is mostly that of few tasks."
    )
    even = min(found, key=worst)
    return said if even == uneven else f"{said} Least unequal: {even}, {listed(found[even])}."
