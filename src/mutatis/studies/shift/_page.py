"""The part of the page that is about group shift: what was found in words, and the sections below it."""

from collections.abc import Mapping

from mutatis.studies._numbers import count
from mutatis.studies._results import Results
from mutatis.studies._study import UNADAPTED
from mutatis.studies.page._charts import Style
from mutatis.studies.page._markup import Markup, element, section
from mutatis.studies.page._part import Part
from mutatis.studies.page._training_curves import training_curves
from mutatis.studies.shift._comparisons import support_curves, tradeoff
from mutatis.studies.shift._group_bars import group_bars
from mutatis.studies.shift._pictures import picture_section
from mutatis.studies.shift._table import summary_table
from mutatis.studies.shift._view import ShiftView, number


def shift_part(results: Results, styles: Mapping[str, Style], anchor: str) -> Part | None:
    """From the numbers to the pictures, where there are accuracies."""
    view = ShiftView(results, styles)
    if not view.entries:
        return None
    sections = [
        summary_table(view),
        _trade(view),
        support_curves(view),
        group_bars(view),
        training_curves(results, styles),
        picture_section(results.galleries, anchor),
    ]
    return Part(_basis(view), _finding(view), sections)


def _basis(view: ShiftView) -> str:
    examples = max(entry.main.examples for entry in view.entries.values())
    return (
        f"{count(len(view.entries), 'method')}, {count(view.seeds, 'seed')}, judged on "
        f"{count(len(view.groups), f'{view.split} group')} with {count(examples, 'example')}."
    )


def _finding(view: ShiftView) -> Markup | None:
    """The worst group in words: who is best, who cannot be told apart, and the reference."""
    best = view.best["worst group"]
    if not best:
        return None
    worst = {name: view.entries[name].main.interval("worst group") for name in view.entries}
    first, *ties = sorted(best, key=lambda name: -worst[name].mean)
    text = f"Highest worst-group accuracy: {first}, {number(worst[first])}"
    if view.reference and view.reference not in best:
        text += f" ({view.reference}: {number(worst[view.reference])})"
    if ties:
        text += f". Not distinguishable from it: {', '.join(ties)}"
    return element("p", f"{text}.", class_="finding")


def _trade(view: ShiftView) -> Markup | None:
    chart = tradeoff(view)
    if not chart:
        return None
    bars = " Bars are 95 % intervals over seeds." if view.seeds > 1 else " One seed: no interval."
    orders = dict.fromkeys(entry.main.order for entry in view.entries.values() if entry.main.order != UNADAPTED)
    said = f" Order of those that adapt: {', '.join(orders)}." if orders else ""
    return section("Worst group against average", chart, note=f"Up and to the right is better.{bars}{said}")
