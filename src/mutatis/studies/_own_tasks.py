"""Methods that train each task alone: one job for each task, put together as one method.

The job of a method M on its task t is called `"M: t"`; its rows are those of M already, its lines and films become so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mutatis.studies._galleries import FilmGallery
from mutatis.studies._numbers import count

OWN = "own task"
"""The entry of a line that names the one task it is about."""


def own_task(method: str, tasks: Iterable[str]) -> tuple[str, str | None]:
    """Of a job's name the method's, and the task that it trains alone; `None` where it trains all of them."""
    task = next((task for task in tasks if method.endswith(f": {task}")), None)
    return (method, None) if task is None else (method.removesuffix(f": {task}"), task)


def of_the_method(line: Mapping[str, Any], tasks: Iterable[str]) -> Mapping[str, Any]:
    """A line of `metrics.jsonl` under the method's name; the task is then its entry `OWN`."""
    method, task = own_task(line["method"], tasks)
    return line if task is None else {**line, "method": method, OWN: task}


def done_jobs(rows: Iterable[Mapping[str, Any]], tasks: Sequence[str]) -> set[tuple[str, int]]:
    """Names and seeds of the jobs that have results, those of single tasks included."""
    done = set()
    for row in rows:
        done.add((row["method"], row["seed"]))
        if row["group"] in tasks:
            done.add((f"{row['method']}: {row['group']}", row["seed"]))
    return done


def in_words(jobs: Iterable[tuple[str, int]], tasks: Sequence[str]) -> list[str]:
    """Jobs with their seeds; those on single tasks are counted by method and seed."""
    found: dict[tuple[str, int, bool], int] = {}
    for name, seed in jobs:
        method, task = own_task(name, tasks)
        found[method, seed, task is not None] = found.get((method, seed, task is not None), 0) + 1
    return [
        f"{method}: {count(number, 'task')} (seed {seed})" if single else f"{method} (seed {seed})"
        for (method, seed, single), number in found.items()
    ]


def gathered(galleries: Iterable[FilmGallery], tasks: Sequence[str]) -> tuple[FilmGallery, ...]:
    """One gallery for each method: the films of jobs on single tasks are put together where they have the same seed."""
    found: dict[str, tuple[int, dict[str, bytes]]] = {}
    for gallery in galleries:
        method, _ = own_task(gallery.method, tasks)
        seed, films = found.setdefault(method, (gallery.seed, {}))
        if seed == gallery.seed:
            films |= dict(zip(gallery.tasks, gallery.films, strict=True))
    place = {task: number for number, task in enumerate(tasks)}
    galleries = []
    for method, (seed, films) in found.items():
        names = tuple(sorted(films, key=lambda task: place.get(task, len(place))))
        if names:
            galleries.append(FilmGallery(method, seed, names, tuple(films[name] for name in names)))
    return tuple(galleries)
