"""The table of results as text, for pages and papers."""

import math
from collections.abc import Sequence
from pathlib import Path

from mutatis.shift._metrics import Interval, Summary
from mutatis.studies._results import read_results
from mutatis.studies._view import ADAPTED, View

SHOWN = ("average", "worst group", "worst tenth")


def markdown_table(directories: Sequence[Path]) -> str:
    """Markdown tables of the runs in these directories, one for each study.

    A row is a method at the study's support; the last columns give its average at every other support that was judged.
    Percent, mean and half the 95 % interval over seeds; best, and not distinguishable from it, in bold.

    **Raises:** `FileNotFoundError` or `ValueError`, naming the file, if a directory holds no readable run.
    """
    return "\n\n".join(_table(View(study, {})) for study in read_results([Path(one) for one in directories]))


def _table(view: View) -> str:
    sizes = sorted({one.support for one in view.summaries if one.order == ADAPTED} - {view.support})
    heads = ["method", *SHOWN, *(f"average at {size}" for size in sizes)]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for method, entry in view.entries.items():
        cells = [_cell(entry.main.interval(name), bold=method in view.best[name]) for name in SHOWN]
        lines.append(_line([method, *cells, *(_at(view, method, size) for size in sizes)]))
    return "\n".join(lines)


def _at(view: View, method: str, size: int) -> str:
    found: list[Summary] = [
        one for one in view.summaries if one.method == method and one.order == ADAPTED and one.support == size
    ]
    return _cell(found[0].interval("average")) if found else ""


def _cell(interval: Interval, *, bold: bool = False) -> str:
    mean = f"{100 * interval.mean:.1f}" if math.isfinite(interval.mean) else "—"
    mean = f"**{mean}**" if bold else mean
    return f"{mean} ± {100 * interval.half_width:.1f}" if math.isfinite(interval.half_width) else mean


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
