"""The summary of a study of control: what each method reaches, beside what papers report."""

import math
from collections.abc import Sequence

from mutatis.shift._metrics import Interval
from mutatis.studies._numbers import amount, count
from mutatis.studies.control._view import AT_END, IQM, MEAN, SUCCESS, ControlView, Published
from mutatis.studies.page._charts import Style, swatch
from mutatis.studies.page._markup import Markup, element, section

Column = tuple[str, str]
"""A metric, and the statistic of it."""
HEADINGS = {
    (SUCCESS, IQM): "Interquartile mean",
    (SUCCESS, MEAN): "Mean",
    (AT_END, MEAN): "Solved at the last step",
}


def columns(view: ControlView) -> list[Column]:
    """What the table shows, from left to right."""
    found = [(SUCCESS, statistic) for statistic in view.statistics]
    return [*found, *([(AT_END, MEAN)] if any(row["metric"] == AT_END for row in view.results.rows) else [])]


def control_table(view: ControlView) -> Markup:
    """Methods against statistics of success; bold are the best and what cannot be told apart from them."""
    shown = columns(view)
    headings = [element("th", "Method", scope="col", data_sort="text")]
    headings += [element("th", HEADINGS[column], scope="col", data_sort="number") for column in shown]
    headings.append(element("th", "Steps", scope="col", data_sort="number"))
    body = [_row(view, method, shown) for method in view.everyone]
    others = [_published_row(one, style, shown) for style, one in view.published_methods.values()]
    table = element(
        "table",
        element("thead", element("tr", headings)),
        element("tbody", body),
        element("tbody", others, class_="reference") if others else None,
        class_="summary control",
    )
    return section("Summary", element("div", table, class_="scroll"), _protocols(view), note=_note(view))


def ends(found: Interval) -> str:
    """The ends of an interval in percent; empty where there is none."""
    low, high = 100 * found.low, 100 * found.high
    return f"{low:.1f} to {high:.1f}".replace("-", "−") if math.isfinite(low) and math.isfinite(high) else ""


def _row(view: ControlView, method: str, shown: Sequence[Column]) -> Markup:
    said, tasks, seeds = [], view.tasks_of(method), len(view.seeds(method))
    if method not in view.methods:
        said.append("in training")
    elif tasks < len(view.tasks):
        said.append(f"{tasks} of {len(view.tasks)} tasks so far")
    elif seeds < view.most_seeds:
        said.append("one seed: no interval" if seeds == 1 else f"{seeds} seeds")
    detail = element("span", "; ".join(said), class_="detail") if said else None
    cells = [element("th", swatch(view.styles[method]), element("span", method, class_="method"), detail, scope="row")]
    cells += [_cell(view, method, *column) for column in shown]
    steps = view.environment_steps(method)
    cells.append(element("td", amount(steps) if steps else "—", data_value=steps or "nan"))
    return element("tr", cells, class_="main", data_m=method)


def _cell(view: ControlView, method: str, metric: str, statistic: str) -> Markup:
    found = view.interval(metric, method, statistic)
    if found is None or not math.isfinite(found.mean):
        said = "no seed has all tasks yet" if found is None else "not finite in at least one seed"
        return element("td", "—", title=said, data_value="nan")
    best = method in view.best(metric, statistic)
    spread = element("span", ends(found).replace(" to ", "–"), class_="spread") if ends(found) else None
    value = element("strong" if best else "span", f"{100 * found.mean:.1f}")
    return element("td", value, " ", spread, class_="best" if best else None, data_value=f"{found.mean:.6f}")


def _published_row(one: Published, style: Style, shown: Sequence[Column]) -> Markup:
    name = element("span", one.method, class_="method")
    source = element("span", one.source, class_="detail under") if one.source else None
    cells = [element("th", swatch(style), name, source, scope="row")]
    for metric, statistic in shown:
        known = metric == SUCCESS and statistic == one.statistic and math.isfinite(one.success)
        cells.append(element("td", f"{100 * one.success:.1f}" if known else None))
    cells.append(element("td", amount(one.environment_steps) if one.environment_steps else "—"))
    return element("tr", cells, title=one.protocol or None)


def _protocols(view: ControlView) -> Markup | None:
    """How success was counted, here and there."""
    lines = [("This study", view.protocol)] if view.protocol else []
    shared: dict[tuple[str, str], list[str]] = {}
    for _, one in view.published_methods.values():
        if one.protocol:
            shared.setdefault((one.protocol, one.source), []).append(one.method)
    for (protocol, source), methods in shared.items():
        names = "; ".join(methods)
        lines.append((f"{names} ({source})" if source else names, protocol))
    if not lines:
        return None
    rows = [element("tr", element("th", name, scope="row"), element("td", protocol)) for name, protocol in lines]
    table = element("table", element("tbody", rows), class_="pairs protocols")
    return element("details", element("summary", "How success is counted, here and there"), table, open=True)


def _note(view: ControlView) -> str:
    judged = f"{count(next(iter(view.episodes)), 'episode')} of each task" if len(view.episodes) == 1 else "each task"
    said = [f"Success of the final policies in percent, over {judged}: solved at any step, unless said otherwise."]
    if view.most_seeds > 1:
        said.append(
            f"Means over {count(view.most_seeds, 'seed')}; beside each its 95 % interval (stratified bootstrap: seeds "
            "drawn anew within each task, Agarwal et al. 2021)."
        )
    else:
        said.append("One seed: no interval, and so no best is marked.")
    if any(view.best(*column) for column in columns(view)):
        said.append(
            "Bold: the highest of a column, and every method whose difference to it has an interval that includes zero."
        )
    said.append("Steps are those of one seed in all environments, all tasks together.")
    if view.published:
        said.append("Below the line: what papers report, each by its own protocol.")
    return " ".join(said)
