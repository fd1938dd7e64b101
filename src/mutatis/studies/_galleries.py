"""The pictures of a job, read from its `gallery.npz` and checked."""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mutatis.studies._study import Job

PICTURES = 4
"""Pictures of a symmetry, for the truth and for what was learned: see `WeightGallery`."""


@dataclass(frozen=True)
class Gallery:
    """Images of some groups and what one method says of them.

    - `images`: `(groups, k, height, width, channels)`, `uint8`, one or three channels.
    - `targets`, `before`, `after`: `(groups, k)` class ids: the truth, and the predictions without and with
      adaptation; `before` is `None` where a method has no such prediction, or none that differs.
    - `group_names`, `class_names`: the latter by class id, and empty if the ids say it all.
    """

    method: str
    seed: int
    images: np.ndarray
    targets: np.ndarray
    before: np.ndarray | None
    after: np.ndarray
    group_names: tuple[str, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class WeightGallery:
    """Weights and symmetries that one method learned, beside the true ones.

    - `pictures`: of each problem, `(2, 4, out, in)`: the truth and what was learned; the weights of one held-out task,
      of a second one, how much each entry is used, and what is tied to an entry in the middle. NaN where there is none.
    - `problems`: their names.
    """

    method: str
    seed: int
    problems: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class FilmGallery:
    """What one method's final policy does, in films.

    - `tasks`: their names; none where there were no graphics to draw with.
    - `films`: of each task, the bytes of an animated WebP.
    """

    method: str
    seed: int
    tasks: tuple[str, ...]
    films: tuple[bytes, ...]


@dataclass(frozen=True)
class TrialGallery:
    """Where one method's final policy went, in some episodes of some trials.

    - `paths`: `(trials, episodes, steps + 1, 2)`, positions in the plane, or cells of a grid.
    - `goals`: `(trials, 2)`, or `(trials, episodes, 2)` where an episode has one of its own.
    - `returns`: `(trials, episodes)`.
    - `episodes`: which of the trial these are, from 0.
    - `radius`: of the disc around a goal that pays; 0 where there is none.
    - `believed`: `(trials, episodes, draws, 2)`, where the goal was taken to be before each; none without a belief.
    - `links`: `(trials, links, 2, 2)`, pairs of cells of a grid that are joined; none in the plane.
    """

    method: str
    seed: int
    paths: np.ndarray
    goals: np.ndarray
    returns: np.ndarray
    episodes: tuple[int, ...]
    radius: float
    believed: np.ndarray | None
    links: np.ndarray | None


AnyGallery = Gallery | WeightGallery | FilmGallery | TrialGallery

MOST_EPISODES = 4
"""Of a trial that are drawn."""


def drawn_episodes(episodes: int) -> np.ndarray:
    """Which are drawn: the first and the last among them, the others evenly between."""
    return np.unique(np.linspace(0, episodes - 1, min(episodes, MOST_EPISODES)).round().astype(int))


def film_arrays(films: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """Arrays of a `FilmGallery`, from names to encoded films; nothing where there are none."""
    encoded = {f"film_{place}": np.frombuffer(film, np.uint8) for place, film in enumerate(films.values())}
    return {"films_tasks": np.array(list(films)), **encoded} if films else {}


def read_galleries(directory: Path, jobs: Iterable[tuple[str, int]]) -> tuple[list[AnyGallery], list[str]]:
    """Of each method the gallery of its first seed that has one, and a sentence on every file that is damaged.

    - `directory`: of the run.
    - `jobs`: names of methods with seeds.
    """
    found: dict[str, AnyGallery] = {}
    notes = []
    for method, seed in sorted(jobs, key=lambda job: job[1]):
        path = directory / Job(method, seed).directory / "gallery.npz"
        if method in found or not path.exists():
            continue
        try:
            found[method] = read_gallery(path, method, seed)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            notes.append(f"The pictures of {method}, seed {seed}, are not shown: {error}.")
    return list(found.values()), notes


def read_gallery(path: Path, method: str, seed: int) -> AnyGallery:
    """The gallery in this file, of whichever kind it is.

    **Raises:** `ValueError` saying what is wrong with it; `OSError` or `zipfile.BadZipFile` if it cannot be read.
    """
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    kinds = {"problems": _weights, "films_tasks": _films, "trial_paths": _trials}
    read = next((read for name, read in kinds.items() if name in arrays), _images)
    return read(arrays, method, seed)


def _images(arrays: dict[str, np.ndarray], method: str, seed: int) -> Gallery:
    missing = [name for name in ("images", "targets", "after") if name not in arrays]
    if missing:
        raise ValueError(f"gallery.npz lacks {', '.join(missing)}")
    images = arrays["images"]
    if images.ndim != 5 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(
            f"images has shape {images.shape} and type {images.dtype}, not (groups, k, H, W, 1 or 3) uint8"
        )
    for name in ("targets", "before", "after"):
        if name in arrays and arrays[name].shape != images.shape[:2]:
            raise ValueError(f"{name} has shape {arrays[name].shape}, images {images.shape[:2]}")
    names = arrays.get("group_names", np.array([f"group {g}" for g in range(len(images))]))
    if len(names) != len(images):
        raise ValueError(f"group_names has {len(names)} names for {len(images)} groups")
    before = arrays.get("before")
    return Gallery(
        method=method,
        seed=seed,
        images=images,
        targets=arrays["targets"],
        before=None if before is None or np.array_equal(before, arrays["after"]) else before,
        after=arrays["after"],
        group_names=tuple(map(str, names)),
        class_names=tuple(map(str, arrays.get("class_names", ()))),
    )


def _weights(arrays: dict[str, np.ndarray], method: str, seed: int) -> WeightGallery:
    problems = tuple(map(str, arrays["problems"].ravel()))
    names = [f"pictures_{place}" for place in range(len(problems))]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"gallery.npz has {len(problems)} problems but lacks {', '.join(missing)}")
    for name in names:
        picture = arrays[name]
        if picture.ndim != 4 or picture.shape[:2] != (2, PICTURES) or 0 in picture.shape or picture.dtype.kind != "f":
            raise ValueError(
                f"{name} has shape {picture.shape} and type {picture.dtype}, not (2, {PICTURES}, out, in) floats"
            )
    return WeightGallery(method, seed, problems, tuple(arrays[name] for name in names))


def _films(arrays: dict[str, np.ndarray], method: str, seed: int) -> FilmGallery:
    tasks = tuple(map(str, arrays["films_tasks"].ravel()))
    names = [f"film_{place}" for place in range(len(tasks))]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"gallery.npz has {len(tasks)} films_tasks but lacks {', '.join(missing)}")
    for name in names:
        film = arrays[name]
        if film.ndim != 1 or film.dtype != np.uint8:
            raise ValueError(f"{name} has shape {film.shape} and type {film.dtype}, not (bytes,) uint8")
        head = film[:12].tobytes()
        if head[:4] != b"RIFF" or head[8:] != b"WEBP":
            raise ValueError(f"{name} is no WebP: it begins with {head!r}")
    return FilmGallery(method, seed, tasks, tuple(arrays[name].tobytes() for name in names))


def _trials(arrays: dict[str, np.ndarray], method: str, seed: int) -> TrialGallery:
    names = [f"trial_{name}" for name in ("paths", "goals", "returns", "episodes", "radius")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"gallery.npz lacks {', '.join(missing)}")
    paths, goals, returns, episodes, radius = (arrays[name] for name in names)
    if paths.ndim != 4 or paths.shape[-1] != 2 or paths.dtype.kind != "f" or not np.isfinite(paths).all():
        raise ValueError(
            f"trial_paths has shape {paths.shape} and type {paths.dtype}, not (trials, episodes, steps, 2) of finite "
            "floats"
        )
    if returns.shape != paths.shape[:2] or episodes.shape != paths.shape[1:2]:
        raise ValueError(
            f"trial_returns has shape {returns.shape} and trial_episodes {episodes.shape}, trial_paths {paths.shape}"
        )
    if goals.shape not in ((*paths.shape[:1], 2), (*paths.shape[:2], 2)):
        raise ValueError(f"trial_goals has shape {goals.shape}, trial_paths {paths.shape}")
    believed = arrays.get("trial_believed")
    if believed is not None and (
        believed.ndim != 4
        or believed.shape[:2] != paths.shape[:2]
        or believed.shape[-1] != 2
        or not np.isfinite(believed).all()
    ):
        raise ValueError(
            f"trial_believed has shape {believed.shape}, not {(*paths.shape[:2], 'draws', 2)} of finite numbers"
        )
    links = arrays.get("trial_links")
    if links is not None and (links.ndim != 4 or links.shape[0] != len(paths) or links.shape[2:] != (2, 2)):
        raise ValueError(f"trial_links has shape {links.shape}, not ({len(paths)}, links, 2, 2)")
    return TrialGallery(method, seed, paths, goals, returns, tuple(map(int, episodes)), float(radius), believed, links)
