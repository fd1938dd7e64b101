"""The tables of results as text, for pages and papers."""

import math
from collections.abc import Sequence
from pathlib import Path

from mutatis.shift._metrics import Interval, Summary
from mutatis.studies._numbers import amount
from mutatis.studies._results import Results, read_results
from mutatis.studies._study import ADAPTED
from mutatis.studies.control._table import HEADINGS, columns, ends
from mutatis.studies.control._view import SUCCESS, ControlView
from mutatis.studies.shift._view import ShiftView
from mutatis.studies.symmetry._table import cell_text, reference_rows
from mutatis.studies.symmetry._view import OVERLAP, RISK, SymmetryView
from mutatis.studies.trials._table import headings, method_values, published_texts, reference_values, text_of
from mutatis.studies.trials._view import TrialView

SHOWN = ("average", "worst group", "worst tenth")


def markdown_table(directories: Sequence[Path]) -> str:
    """Markdown tables of the runs in these directories, one after the other.

    Of accuracies one table for each study: a row is a method at the study's support; the last columns give its average
    at every other support that was judged. Percent. Of learned symmetries two: risk and overlap, methods against
    problems. Mean and half the 95 % interval over seeds; best, and not distinguishable from it, in bold. Of control
    two: success with the published numbers below, bootstrap intervals in brackets, and success task by task, the
    hardest first; percent. Of trials one: returns, with the references and the published numbers below.

    **Raises:** `FileNotFoundError` or `ValueError`, naming the file, if a directory holds no readable run.
    """
    studies = read_results([Path(one) for one in directories])
    return "\n\n".join(table for study in studies for table in _tables(study))


def _tables(study: Results) -> list[str]:
    view, symmetries, control = ShiftView(study, {}), SymmetryView(study, {}), ControlView(study, {})
    tables = [_symmetry_table(symmetries, metric) for metric in (RISK, OVERLAP) if symmetries.methods(metric)]
    tables += [_control_table(control), _task_table(control)] if control.tasks and control.methods else []
    trials = TrialView(study, {})
    tables += [_trial_table(trials)] if trials.trial else []
    return tables if tables and not view.entries else [_table(view), *tables]


def _symmetry_table(view: SymmetryView, metric: str) -> str:
    lines = [_line([metric, *view.problems]), _line(["---"] * (1 + len(view.problems)))]
    for method in view.methods(metric):
        cells = [
            _spread(*cell_text(view, metric, problem, method), bold=method in view.best(metric, problem))
            for problem in view.problems
        ]
        lines.append(_line([method, *cells]))
    if metric == RISK:
        lines += [_line([name, *texts]) for name, texts in reference_rows(view)]
    return "\n".join(lines)


def _control_table(view: ControlView) -> str:
    shown = columns(view)
    heads = ["method", *(HEADINGS[column].lower() for column in shown), "environment steps", "protocol"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for method in view.methods:
        cells = []
        for metric, statistic in shown:
            found = view.interval(metric, method, statistic)
            if found is None or not math.isfinite(found.mean):
                cells.append("—")
                continue
            mean = f"{100 * found.mean:.1f}"
            mean = f"**{mean}**" if method in view.best(metric, statistic) else mean
            cells.append(f"{mean} ({ends(found)})" if ends(found) else mean)
        lines.append(_line([method, *cells, amount(view.environment_steps(method)), "this study"]))
    for _, one in view.published_methods.values():
        cells = [
            f"{100 * one.success:.1f}" if metric == SUCCESS and statistic == one.statistic else ""
            for metric, statistic in shown
        ]
        name = f"{one.method} ({one.source})" if one.source else one.method
        lines.append(_line([name, *cells, amount(one.environment_steps), one.protocol]))
    return "\n".join([*lines, *(["", f"This study: {view.protocol}"] if view.protocol else [])])


def _task_table(view: ControlView) -> str:
    lines = [_line(["task", *view.methods]), _line(["---"] * (1 + len(view.methods)))]
    for task in view.hardest_first:
        each = [list(view.by_seed(SUCCESS, method, task).values()) for method in view.methods]
        means = [sum(values) / len(values) if values else None for values in each]
        cells = ["" if mean is None else f"{100 * mean:.0f}" if math.isfinite(mean) else "—" for mean in means]
        lines.append(_line([task, *cells]))
    return "\n".join(lines)


def _trial_table(view: TrialView) -> str:
    heads = ["method", *(head.lower() for head in headings(view)), "environment steps"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for method in view.methods:
        cells = []
        for place, one in enumerate(method_values(view, method)):
            found = ("—", "") if one is None else text_of(view, place, one.mean, one.half_width)
            cells.append(_spread(*found, bold=False))
        lines.append(_line([method, *cells, amount(view.environment_steps(method))]))
    for one in view.references:
        values = reference_values(view, one)
        cells = [text_of(view, place, value)[0] if math.isfinite(value) else "" for place, value in enumerate(values)]
        lines.append(_line([f"{one['name']} ({'exact' if one['exact'] else 'simulated'})", *cells, ""]))
    for one in view.published:
        lines.append(_line([f"{one['method']} ({one['source']})", *published_texts(view, one), ""]))
    return "\n".join(lines)


def _table(view: ShiftView) -> str:
    sizes = sorted({one.support for one in view.summaries if one.order == ADAPTED} - {view.support})
    heads = ["method", *SHOWN, *(f"average at {size}" for size in sizes)]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for method, entry in view.entries.items():
        cells = [_cell(entry.main.interval(name), bold=method in view.best[name]) for name in SHOWN]
        lines.append(_line([method, *cells, *(_at(view, method, size) for size in sizes)]))
    return "\n".join(lines)


def _at(view: ShiftView, method: str, size: int) -> str:
    found: list[Summary] = [
        one for one in view.summaries if one.method == method and one.order == ADAPTED and one.support == size
    ]
    return _cell(found[0].interval("average")) if found else ""


def _cell(interval: Interval, *, bold: bool = False) -> str:
    mean = f"{100 * interval.mean:.1f}" if math.isfinite(interval.mean) else "—"
    half = f"{100 * interval.half_width:.1f}" if math.isfinite(interval.half_width) else ""
    return _spread(mean, half, bold=bold)


def _spread(mean: str, half: str, *, bold: bool) -> str:
    mean = f"**{mean}**" if bold else mean
    return f"{mean} ± {half}" if half else mean


def _line(cells: Sequence[str]) -> str:
    # An upright stroke in a name would end the cell.
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
