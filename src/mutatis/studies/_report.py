"""The page of a run: one HTML file that needs no network, no script and nothing beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mutatis.studies._charts import Style
from mutatis.studies._comparisons import support_curves, tradeoff
from mutatis.studies._control_page import control_findings, control_sections, what_was_trained
from mutatis.studies._control_view import ControlView
from mutatis.studies._group_bars import group_bars
from mutatis.studies._markup import Markup, element, join, raw, section
from mutatis.studies._numbers import count
from mutatis.studies._pictures import picture_section
from mutatis.studies._results import INCIDENTAL, Results, read_results
from mutatis.studies._shell import own_text, write_page
from mutatis.studies._symmetry_page import findings, symmetry_sections, what_was_judged
from mutatis.studies._symmetry_view import SymmetryView
from mutatis.studies._table import summary_table
from mutatis.studies._training_curves import training_curves
from mutatis.studies._trial_page import trial_findings, trial_sections, what_was_played
from mutatis.studies._trial_view import TrialView
from mutatis.studies._view import UNADAPTED, View, number


def write_report(directories: Sequence[Path], out: Path) -> Path:
    """Write the page of one run, or of several together, and return where it is.

    Runs of the same study share one part of the page; different studies follow one another.

    **Arguments:**

    - `directories`: run directories; only their files are read.
    - `out`: the HTML file.

    **Raises:** `FileNotFoundError` or `ValueError`, naming the file, if a directory holds no readable run.
    """
    studies = read_results([Path(directory) for directory in directories])
    styles = _styles(studies)
    title = ", ".join(study.study for study in studies)
    parts = [_study(View(study, styles), f"study{place}") for place, study in enumerate(studies)]
    links = [element("a", study.study, href=f"#study{place}") for place, study in enumerate(studies)]
    navigation = element("nav", links) if len(studies) > 1 else None
    return write_page(out, title, navigation, element("main", parts), element("script", raw(own_text("_page.js"))))


def _styles(studies: Sequence[Results]) -> dict[str, Style]:
    """The same look for a method in the whole page; the first study's reference is grey."""
    names = dict.fromkeys(name for study in studies for name in study.methods)
    reference = next((ref for study in studies if (ref := View(study, {}).reference)), None)
    others = [name for name in names if name != reference]
    return {name: Style(-1 if name == reference else others.index(name)) for name in names}


def _study(view: View, anchor: str) -> Markup:
    results = view.results
    config = results.configs[0]
    symmetries, control = SymmetryView(results, view.styles), ControlView(results, view.styles)
    trials = TrialView(results, view.styles)
    parts: list[Markup | None] = [_header(view, symmetries, control, trials, config)]
    if view.entries:
        trade = tradeoff(view)
        finding = section("Worst group against average", trade, note=_trade_note(view)) if trade else None
        parts += [summary_table(view), finding, support_curves(view), group_bars(view), training_curves(view)]
    if symmetries.problems:
        parts += symmetry_sections(symmetries, anchor)
    if control.tasks:
        parts += control_sections(control, anchor)
    if trials.trial:
        parts += trial_sections(trials, anchor)
    if not view.entries and not symmetries.problems and not control.tasks and not trials.trial:
        metrics = sorted({row["metric"] for row in results.rows})
        said = f"The results are of {', '.join(metrics)}." if metrics else "There are no results yet."
        parts += [section("Summary", note=f"No accuracies to show. {said}"), training_curves(view)]
    parts.append(picture_section(results.galleries, anchor))
    parts += [_details(results), _citations(results)]
    return element("article", parts, id=anchor)


def _header(
    view: View, symmetries: SymmetryView, control: ControlView, trials: TrialView, config: Mapping[str, Any]
) -> Markup:
    notes = [element("p", note, class_="warning") for note in view.results.notes]
    finding = _finding(view)
    return element(
        "header",
        element("p", "mutatis · study", class_="kicker"),
        element("h2", view.results.study),
        element("p", _what(view, symmetries, control, trials, config), class_="lead"),
        element("p", finding, class_="finding") if finding else None,
        findings(symmetries),
        control_findings(control) if control.tasks else None,
        trial_findings(trials) if trials.trial else None,
        notes,
    )


def _what(
    view: View, symmetries: SymmetryView, control: ControlView, trials: TrialView, config: Mapping[str, Any]
) -> str:
    """One sentence on what was run, after the study's own summary and the data's."""
    said = [str(config.get(key, "")).strip() for key in ("summary", "description")]
    if view.entries:
        examples = max(entry.main.examples for entry in view.entries.values())
        said.append(
            f"{count(len(view.entries), 'method')}, {count(view.seeds, 'seed')}, judged on "
            f"{count(len(view.groups), f'{view.split} group')} with {count(examples, 'example')}."
        )
    if symmetries.problems:
        said.append(what_was_judged(symmetries))
    if control.tasks:
        said.append(what_was_trained(control))
    if trials.trial:
        said.append(what_was_played(trials))
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in said if text)


def _finding(view: View) -> str | None:
    """The worst group in words: who is best, who cannot be told apart, and the reference."""
    best = view.best.get("worst group", frozenset()) if view.entries else frozenset()
    if not best:
        return None
    worst = {name: view.entries[name].main.interval("worst group") for name in view.entries}
    first, *ties = sorted(best, key=lambda name: -worst[name].mean)
    text = f"Highest worst-group accuracy: {first}, {number(worst[first])}"
    if view.reference and view.reference not in best:
        text += f" ({view.reference}: {number(worst[view.reference])})"
    if ties:
        text += f". Not distinguishable from it: {', '.join(ties)}"
    return text + "."


def _trade_note(view: View) -> str:
    bars = " Bars are 95 % intervals over seeds." if view.seeds > 1 else " One seed: no interval."
    orders = dict.fromkeys(entry.main.order for entry in view.entries.values() if entry.main.order != UNADAPTED)
    said = f" Order of those that adapt: {', '.join(orders)}." if orders else ""
    return f"Up and to the right is better.{bars}{said}"


def _details(results: Results) -> Markup:
    parts = []
    for place, config in enumerate(results.configs, 1):
        if len(results.configs) > 1:
            parts.append(element("h4", f"Run {place}"))
        parts.append(_command(config))
        fields = config.get("fields", {})
        settings = {
            name: value for name, value in fields.items() if name not in INCIDENTAL or name in ("seeds", "methods")
        }
        parts.append(_pairs("Settings", settings, opened=True))
        machine = {
            "platform": config.get("platform"),
            "processes": config.get("workers"),
            "threads of each": config.get("threads"),
        }
        versions = {**config.get("versions", {}), **{k: v for k, v in machine.items() if v is not None}}
        parts.append(_pairs("Versions and machine", versions))
        parts.append(_pairs("Data files, SHA-256", config.get("checksums", {})))
    return section("How to get this again", *parts)


def _command(config: Mapping[str, Any]) -> Markup | None:
    command = config.get("command", "")
    if not isinstance(command, str):
        command = " ".join(map(str, command))
    return element("pre", element("code", command)) if command else None


def _pairs(title: str, values: Mapping[str, Any], *, opened: bool = False) -> Markup | None:
    if not values:
        return None
    rows = [
        element("tr", element("th", name, scope="row"), element("td", _plain(value))) for name, value in values.items()
    ]
    table = element("table", element("tbody", rows), class_="pairs")
    return element("details", element("summary", title), table, open=opened)


def _plain(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(entry, str | int | float) for entry in value):
        return _listed(list(map(str, value)))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _listed(texts: Sequence[str]) -> str:
    """Names one after the other, told apart even where they hold commas."""
    return ("; " if any("," in text for text in texts) else ", ").join(texts)


def _citations(results: Results) -> Markup | None:
    found: dict[str, str] = {}
    for config in results.configs:
        found |= config.get("citations", {})
    if not found:
        return None
    # Methods that come from one paper share one entry.
    names: dict[str, list[str]] = {}
    for name, entry in found.items():
        if entry.strip():
            names.setdefault(entry.strip(), []).append(name)
    entries = [
        element("details", element("summary", _listed(who)), element("pre", element("code", entry)))
        for entry, who in names.items()
    ]
    return section("Please cite", join(entries))
