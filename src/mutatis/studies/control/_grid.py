"""Success task by task: methods against tasks, the hardest first."""

import math

import numpy as np

from mutatis.studies.control._view import SUCCESS, ControlView
from mutatis.studies.page._charts import swatch
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._matrices import colour

UNSOLVED = 0.1
"""A task that no method solves more often than this is called unsolved."""


def control_grid(view: ControlView) -> Markup | None:
    """A table of coloured cells, each with its number; the last row is the mean over tasks."""
    if not view.hardest_first:
        return None
    styled = [element("th", swatch(view.styles[method]), method, scope="col") for method in view.methods]
    head = element("tr", element("td"), styled)
    rows = [
        element("tr", element("th", task, scope="row"), (_cell(view, method, task) for method in view.methods))
        for task in view.hardest_first
    ]
    means = element("tr", element("th", "mean", scope="row"), (_mean(view, method) for method in view.methods))
    parts = element("thead", head), element("tbody", rows), element("tfoot", means)
    table = element("table", *parts, class_="successes", style=f"--columns:{len(view.methods)}")
    return section("Task by task", element("div", table, class_="scroll-frame"), note=_note(view))


def _cell(view: ControlView, method: str, task: str) -> Markup:
    values = list(view.by_seed(SUCCESS, method, task).values())
    if not values:
        return element("td", "", title=f"{task}, {method}: no result yet")
    mean = float(np.mean(values))
    if not math.isfinite(mean):
        return element("td", "—", title=f"{task}, {method}: not finite", style=f"background:{colour(mean)}")
    each = ", ".join(f"{100 * value:.0f}" for value in values)
    said = f"{task}, {method}: {100 * mean:.1f} %; seeds: {each}"
    low, high = 100 * min(values), 100 * max(values)
    spread = element("span", f"{low:.0f}–{high:.0f}", class_="spread") if len(values) > 1 and high > low else None
    inside = [element("span", f"{100 * mean:.0f}"), spread]
    return element("td", inside, title=said, style=f"background:{colour(mean, sign=False)}")


def _mean(view: ControlView, method: str) -> Markup:
    scores = view.scores(SUCCESS, method)
    known = len(scores) and np.isfinite(scores).all()
    return element("td", f"{100 * scores.mean():.1f}" if known else "—")


def unsolved(view: ControlView) -> list[str]:
    """The tasks that no method solves."""
    best = {
        task: max((_average(view, method, task) for method in view.methods), default=math.nan)
        for task in view.hardest_first
    }
    return [task for task, value in best.items() if value <= UNSOLVED]


def _average(view: ControlView, method: str, task: str) -> float:
    values = list(view.by_seed(SUCCESS, method, task).values())
    mean = float(np.mean(values)) if values else -math.inf
    return mean if not math.isnan(mean) else -math.inf


def _note(view: ControlView) -> str:
    said = "Success in percent, the hardest task (mean over methods) first."
    if view.most_seeds > 1:
        said += " Mean over seeds; beside it the lowest and the highest seed, where they differ."
    left = unsolved(view)
    if left:
        said += f" No method solves more than {100 * UNSOLVED:.0f} % of: {', '.join(left)}."
    return said
