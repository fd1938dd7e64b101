"""The page of a run: one HTML file that needs no network, no script and nothing beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mutatis.studies._results import INCIDENTAL, Results, read_results
from mutatis.studies.control._page import control_part
from mutatis.studies.page._charts import Style
from mutatis.studies.page._markup import Markup, element, join, raw, section
from mutatis.studies.page._part import Kind, Part
from mutatis.studies.page._shell import own_text, write_page
from mutatis.studies.page._training_curves import training_curves
from mutatis.studies.shift._page import shift_part
from mutatis.studies.shift._view import ShiftView
from mutatis.studies.symmetry._page import symmetry_part
from mutatis.studies.trials._page import trial_part

KINDS: tuple[Kind, ...] = (shift_part, symmetry_part, control_part, trial_part)
"""The kinds of results there are, in the order of the page."""


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
    parts = [_study(study, styles, f"study{place}") for place, study in enumerate(studies)]
    links = [element("a", study.study, href=f"#study{place}") for place, study in enumerate(studies)]
    navigation = element("nav", links) if len(studies) > 1 else None
    return write_page(out, title, navigation, element("main", parts), element("script", raw(own_text("_page.js"))))


def _styles(studies: Sequence[Results]) -> dict[str, Style]:
    """The same look for a method in the whole page; the first study's reference is grey."""
    names = dict.fromkeys(name for study in studies for name in study.methods)
    reference = next((ref for study in studies if (ref := ShiftView(study, {}).reference)), None)
    others = [name for name in names if name != reference]
    return {name: Style(-1 if name == reference else others.index(name)) for name in names}


def _study(results: Results, styles: Mapping[str, Style], anchor: str) -> Markup:
    parts = [part for kind in KINDS if (part := kind(results, styles, anchor))]
    sections = [section for part in parts for section in part.sections]
    if not parts:
        metrics = sorted({row["metric"] for row in results.rows})
        said = f"The results are of {', '.join(metrics)}." if metrics else "There are no results yet."
        sections = [section("Summary", note=f"No accuracies to show. {said}"), training_curves(results, styles)]
    return element("article", _header(results, parts), sections, _details(results), _citations(results), id=anchor)


def _header(results: Results, parts: Sequence[Part]) -> Markup:
    return element(
        "header",
        element("p", "mutatis · study", class_="kicker"),
        element("h2", results.study),
        element("p", _what(results.configs[0], parts), class_="lead"),
        [part.finding for part in parts],
        [element("p", note, class_="warning") for note in results.notes],
    )


def _what(config: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """What was run: the study's own summary, the data's, and how much the numbers rest on."""
    said = [*(str(config.get(key, "")).strip() for key in ("summary", "description")), *(part.basis for part in parts)]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in said if text)


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
