"""Which tasks pull against each other, and when: cosines of the tasks' gradients while training."""

from collections.abc import Sequence

import numpy as np

from mutatis.studies._numbers import amount
from mutatis.studies.control._course import NETWORKS, Conflicts, conflict_share, conflicts, mean_conflicts, measured
from mutatis.studies.control._curves import Chart, control_charts
from mutatis.studies.control._view import ControlView
from mutatis.studies.page._charts import legend, linear_axis, log_axis
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._matrices import WRITTEN, key, matrix, small_matrix

MOMENTS = 6
CHARTS = (
    *(
        Chart(
            f"{network} share",
            f"{network.capitalize()}: pairs of tasks in conflict",
            lambda values: linear_axis([0.0, 50.0, *values], "%", within=(0, 100)),
        )
        for network in NETWORKS
    ),
    *(
        Chart(
            f"{network} ratio",
            f"{network.capitalize()}: largest over smallest gradient",
            lambda values: log_axis([1.0, *values], "log scale"),
        )
        for network in NETWORKS
    ),
)


def conflict_section(view: ControlView) -> Markup | None:
    """Matrices of one method, large and while it trains, then all that were measured beside each other."""
    methods = measured_methods(view)
    if not methods:
        return None
    method = methods[0]
    found = {network: moments for network in NETWORKS if (moments := conflicts(view, method, network))}
    large = [
        matrix(view.tasks, mean_conflicts(moments), f"{network.capitalize()}, mean over training", "{:.2f}")
        for network, moments in found.items()
    ]
    wide = len(view.tasks) > WRITTEN or len(large) < 2
    small = [_moments(network, moments) for network, moments in found.items() if len(moments) > 1]
    if len(methods) > 1:
        small += [_side_by_side(view, methods, network) for network in found]
    note = (
        f"Cosines of the tasks' gradients, {method}"
        f"{', means over seeds' if len(view.statistics) > 1 else ''}. Below zero, a step for one task undoes some of "
        "the other's. In the small pictures the tasks stand in the same order."
    )
    matrices = element("div", large, class_="matrices" if wide else "matrices two")
    return section("Who pulls against whom", key(), matrices, *small, _courses(view), note=note)


def measured_methods(view: ControlView) -> list[str]:
    """The methods whose conflicts were measured, in the order of the study; the first is the one shown at large."""
    return [m for m in view.everyone if any(conflicts(view, m, network) for network in NETWORKS)]


def hardest_pair(view: ControlView, method: str) -> tuple[str, str, str, float] | None:
    """The network, two tasks and the lowest mean cosine that a method has; `None` if none is known."""
    found = []
    for network in NETWORKS:
        moments = conflicts(view, method, network)
        if moments:
            cosines = mean_conflicts(moments)
            rows, columns = np.triu_indices(len(cosines), 1)
            pairs = cosines[rows, columns]
            if np.isfinite(pairs).any():
                place = int(np.nanargmin(pairs))
                found.append((network, view.tasks[rows[place]], view.tasks[columns[place]], float(pairs[place])))
    return min(found, key=lambda one: one[-1]) if found else None


def length_ratios(view: ControlView, method: str) -> dict[str, float]:
    """Of each network the longest gradient of a task over the shortest, the median over training."""
    lines = measured(view, method)
    each = {network: [line.get(f"{network} ratio", np.nan) for line in lines] for network in NETWORKS}
    return {network: float(np.nanmedian(ratios)) for network, ratios in each.items() if np.isfinite(ratios).any()}


def times(ratio: float) -> str:
    """A factor to two digits."""
    return f"{float(f'{ratio:.2g}'):,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _moments(network: str, moments: Sequence[Conflicts]) -> Markup:
    """A row of small matrices, spread evenly over training."""
    picks = np.unique(np.linspace(0, len(moments) - 1, min(len(moments), MOMENTS)).round().astype(int))
    figures = []
    for moment in (moments[place] for place in picks.tolist()):
        at = amount(moment.steps)
        figures.append(_small_figure(moment.cosines, f"{network} after {at} environment steps", f"{at} steps"))
    return _row(f"{network.capitalize()} while training", figures)


def _side_by_side(view: ControlView, methods: Sequence[str], network: str) -> Markup:
    """A row of small matrices, the mean over training of each method, and how unequal the lengths are."""
    figures = []
    for method in methods:
        if moments := conflicts(view, method, network):
            ratio = length_ratios(view, method).get(network)
            lengths = () if ratio is None else (f"lengths 1 to {times(ratio)}",)
            said = f"{network} of {method}, mean over training"
            figures.append(_small_figure(mean_conflicts(moments), said, method, *lengths))
    return _row(f"{network.capitalize()} of each method, mean over training", figures)


def _small_figure(cosines: np.ndarray, said: str, name: str, *more: str) -> Markup:
    share = f"{100 * conflict_share(cosines):.0f} % in conflict"
    label = [element("span", line) for line in (name, share, *more)]
    picture = small_matrix(cosines, f"{said}: {share} of the pairs")
    return element("figure", picture, element("figcaption", label))


def _row(title: str, figures: Sequence[Markup]) -> Markup:
    return element("div", element("h4", title), element("div", figures, class_="moments"), class_="course")


def _courses(view: ControlView) -> Markup | None:
    charts, methods = control_charts(view, CHARTS)
    if not charts:
        return None
    styled = [(method, view.styles[method]) for method in methods]
    return element("figure", legend(styled), element("div", charts, class_="pair"), class_="course")
