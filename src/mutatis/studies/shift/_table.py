"""The summary table of the report, and how much of each number is chance."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from mutatis.shift._metrics import (
    STATISTICS,
    Interval,
    Summary,
    average,
    bootstrap_interval,
    sampling_floor,
    tenth,
    worst_group,
    worst_tenth,
)
from mutatis.studies._study import ADAPTED, STREAM, UNADAPTED
from mutatis.studies.page._charts import swatch
from mutatis.studies.page._markup import Markup, element, join, section
from mutatis.studies.shift._view import ShiftView

# Names of one word and up to this many letters stay on one line on a phone.
SHORT = 14


def summary_table(view: ShiftView) -> Markup:
    """Methods against statistics; bold are the best and what cannot be told apart from them."""
    names = list(STATISTICS)
    headings = [element("th", "Method", scope="col", data_sort="text")]
    headings += [element("th", _heading(name, view), scope="col", data_sort="number") for name in names]
    body = []
    for method, entry in view.entries.items():
        body.append(_table_row(view, method, entry.main, names, first=True))
        body += [_table_row(view, method, other, names, first=False) for other in entry.others]
    table = element("table", element("thead", element("tr", headings)), element("tbody", body), class_="summary")
    below = _doubt(view), _choices(view)
    return section("Summary", element("div", table, class_="scroll"), *below, note=_summary_note(view))


def _heading(statistic: str, view: ShiftView) -> str:
    if statistic != "worst tenth":
        return statistic.capitalize()
    groups = len(view.groups)
    return f"Worst {tenth(groups)} of {groups}" if groups else "Worst tenth"


def _table_row(view: ShiftView, method: str, line: Summary, names: Sequence[str], *, first: bool) -> Markup:
    if first:
        # What is said once above the table is not repeated in every row.
        usual = line.order == UNADAPTED or (line.order == ADAPTED and line.support == view.support)
        said = [] if usual else [f"{line.order}, support {line.support}"]
        seeds = len(line.scores["average"])
        said += [] if seeds == view.seeds else ["one seed: no interval" if seeds == 1 else f"{seeds} seeds"]
        detail = element("span", "; ".join(said), class_="detail") if said else None
        head = join(
            [
                swatch(view.styles[method]),
                element("span", method, class_=_name_class(method)),
                detail,
            ]
        )
    else:
        same = {UNADAPTED: "without adaptation", STREAM: f"as a stream, {line.support} at a time"}.get(line.order)
        support = f", support {line.support}" if line.support not in (0, view.support) else ""
        head = element("span", same or f"{line.order}{support}", class_="detail")
    cells = [element("th", head, scope="row")]
    for name in names:
        best = first and method in view.best[name]
        cells.append(_cell(line.interval(name), best))
    return element("tr", cells, class_="main" if first else "other", data_m=method, data_order=line.order)


def _name_class(method: str) -> str:
    return "method short" if len(method) <= SHORT and " " not in method else "method"


def _cell(interval: Interval, best: bool) -> Markup:
    if not math.isfinite(interval.mean):
        return element("td", "—", title="not finite in at least one seed", data_value="nan")
    spread = None
    if math.isfinite(interval.half_width):
        spread = element("span", f"± {100 * interval.half_width:.1f}", class_="spread")
    value = element("strong" if best else "span", f"{100 * interval.mean:.1f}")
    return element("td", value, " ", spread, class_="best" if best else None, data_value=f"{interval.mean:.6f}")


def _summary_note(view: ShiftView) -> Markup:
    adapted = any(entry.main.order == ADAPTED for entry in view.entries.values())
    sentences = [f"Accuracy on the {view.split} groups in percent."]
    if adapted:
        sentences.append(
            f"Methods that adapt see {view.support} unlabelled examples of a group, then predict those same ones."
        )
    if view.seeds > 1:
        sentences.append(f"Mean ± 95 % interval over {view.seeds} seeds (Student's t).")
    else:
        sentences.append("One seed: no interval, and so no best is marked.")
    if any(view.best.values()):
        sentences.append(
            "Bold: the highest mean, and every method whose difference to it (paired over seeds) has a 95 % "
            "interval that includes zero."
        )
    broken = [m for m, e in view.entries.items() if not math.isfinite(e.main.interval("average").mean)]
    if broken:
        sentences.append(f"Not finite in at least one seed, and shown as a dash: {', '.join(broken)}.")
    rules = Counter(entry.main.selection for entry in view.entries.values() if entry.main.selection)
    if rules:
        rest = " (others: see below)" if len(rules) > 1 else ""
        sentences.append(f"Model chosen by: {rules.most_common(1)[0][0]}{rest}.")
    return join(" ".join(sentences))


def _choices(view: ShiftView) -> Markup | None:
    """How each model was chosen, where that is not the same for all."""
    if len({entry.main.selection for entry in view.entries.values()}) < 2:
        return None
    rows = [
        element("tr", element("th", method, scope="row"), element("td", entry.main.selection or "—"))
        for method, entry in view.entries.items()
    ]
    table = element("table", element("tbody", rows), class_="pairs")
    return element("details", element("summary", "How each model was chosen"), table)


def _doubt(view: ShiftView) -> Markup:
    """How much of each number the drawn examples and groups could explain."""
    headings = [
        "Method",
        "Average",
        "Average, other groups",
        "Worst tenth",
        "Worst group",
        "Worst if all were equal",
    ]
    body = []
    for method, seeds in view.by_seed.items():
        pairs = [np.array(list(groups.values())).T for groups in seeds.values()]
        known = [(values, counts.astype(int)) for values, counts in pairs if np.isfinite(values).all()]
        cells = [element("th", swatch(view.styles[method]), method, scope="row")]
        for statistic, over_groups in (
            (average, False),
            (average, True),
            (worst_tenth, False),
            (worst_group, False),
        ):
            each = [bootstrap_interval(v, c, statistic, seed=0, over_groups=over_groups, draws=300) for v, c in known]
            cells.append(element("td", _span(each)))
        floors = [sampling_floor(float(average(v, c)), c, worst_group, seed=0, draws=300) for v, c in known]
        cells.append(element("td", f"{100 * np.mean(floors):.1f}" if floors else "—"))
        body.append(element("tr", cells))
    table = element(
        "table",
        element("thead", element("tr", (element("th", text, scope="col") for text in headings))),
        element("tbody", body),
    )
    said = (
        "95 % bootstrap intervals, from low to high, averaged over seeds. Average, worst tenth and worst "
        "group: with other examples of the same groups. Other groups: with other groups of the same kind. A minimum "
        "over few examples lies too low: the last column is the worst group one would see if every group had "
        "the method's average accuracy."
    )
    return element(
        "details",
        element("summary", "How much is chance: other examples, other groups"),
        element("p", said, class_="note"),
        element("div", table, class_="scroll"),
    )


def _span(intervals: Sequence[Interval]) -> str:
    if not intervals:
        return "—"
    low, high = (100 * np.mean([one[place] for one in intervals]) for place in (1, 2))
    return f"{low:.1f} – {high:.1f}"
