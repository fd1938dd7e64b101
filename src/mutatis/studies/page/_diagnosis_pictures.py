"""A diagnosis of joint training as pictures: who agrees with whom, whose gradient is large, where and when."""

import math
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from mutatis._diagnosis import Diagnosis
from mutatis._diagnosis_words import Names, name_of
from mutatis.studies._numbers import rough
from mutatis.studies.page._charts import Series, Style, line_chart, linear_axis, log_axis
from mutatis.studies.page._markup import Markup, element, join, section
from mutatis.studies.page._matrices import WRITTEN, colour, key, matrix, signed
from mutatis.studies.page._shell import write_page

STRIPES = 90
"""Most stripes in the strip of a layer."""
MOST_LAYERS = 24


def write_diagnosis(
    out: Path,
    diagnosis: Diagnosis,
    *,
    names: Names = None,
    steps: Sequence[int] | None = None,
    title: str = "Diagnosis of joint training",
) -> Path:
    """Write one self-contained HTML page about a diagnosis, or a stack of them (steps first), and return where it is.

    - `out`: the HTML file.
    - `names`: of the tasks, by group id.
    - `steps`: of training, at which a stack was recorded.
    """
    said = diagnosis.report(names).split("\n")
    cut = said.index("What to try:") if "What to try:" in said else len(said)
    tries = [element("li", line.removeprefix("- ")) for line in said[cut + 1 :]]
    header = element(
        "header",
        element("p", "mutatis · diagnosis", class_="kicker"),
        element("h2", title),
        element("ul", (element("li", line) for line in said[:cut]), class_="evidence"),
        element("div", element("h4", "What to try"), element("ul", tries), class_="finding tries") if tries else None,
    )
    main = element("main", element("article", header, diagnosis_pictures(diagnosis, names=names, steps=steps)))
    return write_page(out, title, main)


def diagnosis_pictures(diagnosis: Diagnosis, *, names: Names = None, steps: Sequence[int] | None = None) -> Markup:
    """The sections of a page: matrices, sizes, layers and, of a stack, the course of training."""
    arrays = jax.tree.map(np.asarray, diagnosis)
    if arrays.losses.ndim == 1:
        arrays = jax.tree.map(lambda leaf: leaf[None], arrays)
    with np.errstate(all="ignore"):
        view = _ByGroup(arrays, names)
        return join([_matrices(view), _course(arrays, steps), _tasks(view), _layers(arrays)])


class _ByGroup:
    """Means over steps of what is known of each task and each pair, under the id of the group."""

    def __init__(self, found: Diagnosis, names: Names):
        self.found = found
        self.ids = np.unique(found.index)
        self._slots = np.searchsorted(self.ids, found.index)
        self.names = [name_of(one, names) for one in self.ids.tolist()]

    def vector(self, values: np.ndarray) -> np.ndarray:
        """Of `(steps, tasks)`."""
        total, count = np.zeros(len(self.ids)), np.zeros(len(self.ids))
        np.add.at(total, self._slots, values)
        np.add.at(count, self._slots, 1)
        return total / count

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Of `(steps, tasks, tasks)`; NaN where two groups never met."""
        total, count = (np.zeros((len(self.ids), len(self.ids))) for _ in range(2))
        rows, columns = self._slots[:, :, None], self._slots[:, None, :]
        # A group that is drawn twice in a step is a pair with itself, but not the one on the diagonal.
        apart = (rows != columns) | np.eye(values.shape[1], dtype=bool)
        np.add.at(total, (rows, columns), np.where(apart, values, 0))
        np.add.at(count, (rows, columns), apart)
        return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _matrices(view: _ByGroup) -> Markup:
    found = view.found
    note = "Means over time." if len(found.losses) > 1 else "At one point of training."
    if found.losses_after_own is not None:
        note += (
            f" A gain is what the column's task, stepping alone with size {rough(_step(found))}, takes off the loss of "
            "the row's task."
        )
    figures = [matrix(view.names, view.matrix(np.asarray(found.cosines)), "Cosine of the gradients", "{:.2f}")]
    if found.losses_after_own is not None:
        shares = view.matrix(np.asarray(found.gain)) / np.abs(view.vector(np.asarray(found.losses)))[:, None]
        finite = np.abs(shares[np.isfinite(shares)])
        limit = float(min(finite.max(initial=0.0), 1.0)) or 1.0
        title = "Gain from another's step, % of the loss"
        figures.append(matrix(view.names, shares, title, "{:.0f}", limit=limit, factor=100))
    wide = len(view.ids) > WRITTEN
    pictures = element("div", figures, class_="matrices" if wide else "matrices two")
    return section("Who agrees with whom", key(), pictures, note=note)


def _step(found: Diagnosis) -> float:
    return float(np.median(found.step_size))


def _tasks(view: _ByGroup) -> Markup:
    found = view.found
    longest = min(max(map(len, view.names)), 24)
    losses = np.abs(view.vector(np.asarray(found.losses)))
    panels = [
        _panel("Size of the gradient, log scale", _dots(view.names, view.vector(np.asarray(found.norms)))),
        _panel("Share of the joint step, %", _bars(view.names, 100 * view.vector(np.asarray(found.shares)), good=1)),
        _panel(
            "Change by the joint step, %",
            _bars(
                view.names,
                100 * view.vector(np.asarray(found.change)) / losses,
                good=-1,
                marks=100 * view.vector(np.asarray(found.first_order)) / losses,
            ),
        ),
    ]
    note = (
        "Blue is what the task gains from; changes are shares of the task's loss. The upright mark is what the slope "
        "at the start foretells; where bar and mark part, the curvature has a say."
    )
    return section("Task by task", element("div", panels, class_="panels", style=f"--names:{longest}ch"), note=note)


def _panel(title: str, lines: list[Markup]) -> Markup:
    return element("div", element("h4", title), element("ul", lines, class_="bars"), class_="panel")


def _dots(names: Sequence[str], values: np.ndarray) -> list[Markup]:
    seen = values[(values > 0) & np.isfinite(values)]
    low, high = (math.floor(math.log10(seen.min())), math.ceil(math.log10(seen.max()))) if len(seen) else (0, 1)
    low, high = (low, high) if high > low else (low, low + 1)
    lines = []
    for name, value in zip(names, values.tolist(), strict=True):
        inside = [
            element("span", class_="tick", style=f"left:{100 * k / (high - low):.2f}%") for k in range(1, high - low)
        ]
        if value > 0 and math.isfinite(value):
            share = 100 * (math.log10(value) - low) / (high - low)
            inside.append(element("span", class_="stem", style=f"width:{share:.2f}%"))
            inside.append(element("span", class_="dot", style=f"left:{share:.2f}%"))
        lines.append(_line(name, inside, rough(value, 3)))
    ends = [element("span", f"1e{low}"), element("span", f"1e{high}")]
    return [*lines, element("li", element("span"), element("span", ends, class_="ends"), element("span"))]


def _bars(names: Sequence[str], values: np.ndarray, *, good: int, marks: np.ndarray | None = None) -> list[Markup]:
    """Bars to both sides of zero, blue to the `good` one."""
    known = np.concatenate([values, values if marks is None else marks])
    known = known[np.isfinite(known)]
    low, high = min(0.0, float(known.min(initial=0))), max(0.0, float(known.max(initial=0)))
    low, high = (max(low, -100.0), min(high, 100.0)) if high > low else (0.0, 1.0)
    place = lambda value: 100 * (min(max(value, low), high) - low) / (high - low)
    lines = []
    for row, (name, value) in enumerate(zip(names, values.tolist(), strict=True)):
        inside = [element("span", class_="zero", style=f"left:{place(0):.2f}%")]
        if math.isfinite(value):
            left, right = sorted((place(0), place(value)))
            side = "gains" if value * good > 0 else "loses"
            inside.insert(0, element("span", class_=f"bar {side}", style=f"left:{left:.2f}%;width:{right - left:.2f}%"))
        if marks is not None and math.isfinite(marks[row]):
            inside.append(element("span", class_="mark", style=f"left:{place(float(marks[row])):.2f}%"))
        digits = 0 if abs(value) >= 9.95 else 1 if abs(value) >= 0.095 else 2
        lines.append(_line(name, inside, signed(f"{{:.{digits}f}}", value, full=True)))
    return lines


def _line(name: str, inside: Sequence[Markup], value: str) -> Markup:
    label = element("span", name, class_="group", title=name)
    return element("li", label, element("span", inside, class_="track"), element("span", value, class_="value"))


def _layers(found: Diagnosis) -> Markup | None:
    cosines = np.asarray(found.layer_cosines)
    tasks = cosines.shape[-1]
    if tasks < 2:
        return None
    pairs = cosines[(..., *np.triu_indices(tasks, 1))]
    shares = np.asarray(found.layer_conflict_share)
    over_time = len(shares) > 1
    lines = []
    for place, layer in list(enumerate(found.layers))[:MOST_LAYERS]:
        stripes = np.sort(pairs[:, place].mean(0))
        stripes = np.quantile(stripes, np.linspace(0, 1, STRIPES)) if len(stripes) > STRIPES else stripes
        strip = element("span", class_="stripes", style=_stripes([colour(one) for one in stripes]))
        course = None
        if over_time:
            bins = [one.mean() for one in np.array_split(shares[:, place], min(STRIPES, len(shares)))]
            colours = [colour(one, sign=False) for one in bins]
            course = element("span", class_="stripes", style=_stripes(colours))
        share = element("span", f"{100 * shares[:, place].mean():.0f} %", class_="value")
        lines.append(element("li", element("span", layer, class_="group", title=layer), strip, course, share))
    said = "Every stripe is a pair of tasks, coloured by its cosine in that layer, the most opposed first"
    said += " (means over time). The green strip is the share of pairs in conflict over time" if over_time else ""
    left_out = len(found.layers) - len(lines)
    note = f"{said}; the number is the share in conflict." + (
        f" {left_out} layers are left out." if left_out > 0 else ""
    )
    kind = "layers timed" if over_time else "layers"
    heads = ["", "pairs of tasks", *(["over time"] if over_time else []), "conflict"]
    head = element("li", (element("span", one, class_="group") for one in heads), class_="heads")
    return section("Layer by layer", element("ul", head, lines, class_=kind), note=note)


def _stripes(colours: Sequence[str]) -> str:
    edges = np.linspace(0, 100, len(colours) + 1)
    stops = [f"{one} {low:.2f}% {high:.2f}%" for one, low, high in zip(colours, edges[:-1], edges[1:], strict=True)]
    return f"background-image:linear-gradient(90deg,{','.join(stops)})"


def _course(found: Diagnosis, steps: Sequence[int] | None) -> Markup | None:
    count = len(found.losses)
    if count < 2:
        return None
    x = [float(step) for step in (range(count) if steps is None else steps)]
    if len(x) != count:
        raise ValueError(f"steps has {len(x)} entries for {count} diagnoses; pass one for each.")
    axis = linear_axis(x, "diagnosis" if steps is None else "Step", marks=4)
    series = found.series()
    hurt = 100 * np.asarray(series["hurt share"])
    conflict = 100 * np.asarray(series["conflict share"])
    ratio = np.asarray(series["size ratio"])
    sharpest = np.maximum(np.asarray(series["sharpness"]), np.asarray(series["path sharpness"]))
    overshoot = np.asarray(found.step_size) * sharpest
    one = lambda name, values, place: Series(name, Style(place), x, np.asarray(values, float).tolist())
    percent = linear_axis([0.0, 50.0, *conflict.tolist(), *hurt.tolist()], "%", within=(0, 100))
    level = Series("best step", Style(-1), x, [1.0] * count)
    charts = [
        line_chart([one("pairs in conflict", conflict, 1)], axis, percent, title="Pairs in conflict", markers=False),
        line_chart([one("tasks hurt", hurt, 3)], axis, percent, title="Tasks that the joint step hurts", markers=False),
        line_chart(
            [one("ratio", ratio, 0)],
            axis,
            log_axis(ratio, "log scale"),
            title="Largest over smallest gradient",
            markers=False,
        ),
        line_chart(
            [one("step", overshoot, 2)],
            axis,
            linear_axis([0.0, 1.0, *overshoot.tolist()], "× the best step along it", within=(0, math.inf)),
            title="Length of the step",
            markers=False,
            level=level,
        ),
    ]
    return section("Over training", element("figure", element("div", charts, class_="pair")))
