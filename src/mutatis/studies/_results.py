"""What run directories hold, read for the report: rows, curves and pictures, put together by study."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutatis.studies._galleries import FilmGallery, Gallery, TrialGallery, WeightGallery, read_galleries
from mutatis.studies._own_tasks import OWN, done_jobs, gathered, in_words, of_the_method
from mutatis.studies._store import read_json, read_lines

# Settings that change where or how often something is run, never what one job gives.
INCIDENTAL = frozenset({"seeds", "methods", "data_dir", "out", "workers", "threads"})
IDENTITY = ("method", "seed", "split", "group", "metric", "support", "order", "candidate")


@dataclass(frozen=True)
class Results:
    """Everything the report says of one study, from one run directory or several."""

    study: str
    configs: tuple[Mapping[str, Any], ...]
    rows: tuple[Mapping[str, Any], ...]
    curves: tuple[Mapping[str, Any], ...]
    galleries: tuple[Gallery, ...] = ()
    notes: tuple[str, ...] = field(default=())
    weights: tuple[WeightGallery, ...] = ()
    films: tuple[FilmGallery, ...] = ()
    trials: tuple[TrialGallery, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """Names in the order of the study, those that only train so far included."""
        return tuple(dict.fromkeys(entry["method"] for entry in (*self.rows, *self.curves)))


def read_results(directories: Sequence[Path]) -> tuple[Results, ...]:
    """One `Results` per study, in the order of the directories.

    Runs of one study are merged. Where their settings differ, the methods' names say by what.

    **Raises:** `FileNotFoundError` naming the file if a directory holds no run; `ValueError` if a file is
    damaged.
    """
    if not directories:
        raise ValueError("directories is empty; name the directory of at least one run.")
    by_study: dict[str, list[Results]] = {}
    for directory in directories:
        run = _read_run(Path(directory))
        by_study.setdefault(run.study, []).append(run)
    return tuple(_merge(runs) for runs in by_study.values())


def _read_run(directory: Path) -> Results:
    for name in ("config.json", "results.json"):
        if not (directory / name).exists():
            raise FileNotFoundError(
                f"{directory} holds no run: {name} is missing; `mutatis run` makes such a directory."
            )
    config = read_json(directory / "config.json")
    rows = read_json(directory / "results.json")
    tasks = config.get("tasks", ())
    done = done_jobs(rows, tasks)
    galleries, notes = read_galleries(directory, done)
    jobs = [(job["method"], job["seed"]) for job in config.get("jobs", [])]
    missing = [job for job in jobs if job not in done]
    if missing:
        said = ", ".join(in_words(missing, tasks))
        notes.append(f"Incomplete: {len(missing)} of {len(jobs)} jobs have no results yet: {said}.")
    order = {name: place for place, name in enumerate(dict.fromkeys(method for method, _ in jobs))}
    galleries.sort(key=lambda gallery: order.get(gallery.method, len(order)))
    curves = [of_the_method(_widen(line), tasks) for line in read_lines(directory / "metrics.jsonl")]
    return Results(
        config["study"],
        (config,),
        tuple(rows),
        tuple(curves),
        tuple(gallery for gallery in galleries if isinstance(gallery, Gallery)),
        tuple(notes),
        tuple(gallery for gallery in galleries if isinstance(gallery, WeightGallery)),
        gathered([gallery for gallery in galleries if isinstance(gallery, FilmGallery)], tasks),
        tuple(gallery for gallery in galleries if isinstance(gallery, TrialGallery)),
    )


def _widen(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lines with one named value each read like lines that hold several."""
    if "name" not in line:
        return line
    return {key: line[key] for key in ("method", "seed", "step")} | {line["name"]: line["value"]}


def _merge(runs: Sequence[Results]) -> Results:
    if len(runs) == 1:
        return runs[0]
    runs = [_rename(run, suffix) for run, suffix in zip(runs, _suffixes(runs), strict=True)]
    rows = {_identity(row): row for run in runs for row in run.rows}
    order = {name: place for place, name in enumerate(dict.fromkeys(m for run in runs for m in run.methods))}
    galleries = {gallery.method: gallery for run in reversed(runs) for gallery in run.galleries}
    weights = {gallery.method: gallery for run in reversed(runs) for gallery in run.weights}
    films = {gallery.method: gallery for run in reversed(runs) for gallery in run.films}
    trials = {gallery.method: gallery for run in reversed(runs) for gallery in run.trials}
    curves = {(c["method"], c["seed"], c["step"], c.get(OWN)): c for run in runs for c in run.curves}
    return Results(
        runs[0].study,
        tuple(config for run in runs for config in run.configs),
        tuple(sorted(rows.values(), key=lambda row: order[row["method"]])),
        tuple(curves.values()),
        tuple(galleries[name] for name in order if name in galleries),
        tuple(note for run in runs for note in run.notes),
        tuple(weights[name] for name in order if name in weights),
        tuple(films[name] for name in order if name in films),
        tuple(trials[name] for name in order if name in trials),
    )


def _suffixes(runs: Sequence[Results]) -> list[str]:
    """What to add to the methods' names of each run so that different things have different names."""
    fields = [run.configs[0].get("fields", {}) for run in runs]
    names = dict.fromkeys(name for settings in fields for name in settings if name not in INCIDENTAL)
    differing = [name for name in names if any(s.get(name) != fields[0].get(name) for s in fields)]
    said = [", ".join(f"{name}={settings.get(name)}" for name in differing) for settings in fields]
    suffixes = [f" ({text})" if text else "" for text in said]
    values: dict[tuple[Any, ...], Any] = {}
    for run, suffix in zip(runs, suffixes, strict=True):
        for row in run.rows:
            if values.setdefault((suffix, *_identity(row)), row["value"]) != row["value"]:
                return [f"{suffix} (run {place})" for place, suffix in enumerate(suffixes, 1)]
    return suffixes


def _rename(run: Results, suffix: str) -> Results:
    return dataclasses.replace(
        run,
        rows=tuple({**row, "method": row["method"] + suffix} for row in run.rows),
        curves=tuple({**line, "method": line["method"] + suffix} for line in run.curves),
        galleries=tuple(dataclasses.replace(g, method=g.method + suffix) for g in run.galleries),
        weights=tuple(dataclasses.replace(g, method=g.method + suffix) for g in run.weights),
        films=tuple(dataclasses.replace(g, method=g.method + suffix) for g in run.films),
        trials=tuple(dataclasses.replace(g, method=g.method + suffix) for g in run.trials),
    )


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in IDENTITY)
