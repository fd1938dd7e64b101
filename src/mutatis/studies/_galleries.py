"""The pictures of a job, read from its `gallery.npz` and checked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

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


def read_gallery(path: Path, method: str, seed: int) -> Gallery | WeightGallery:
    """The gallery in this file, of whichever kind it is.

    **Raises:** `ValueError` saying what is wrong with it; `OSError` or `zipfile.BadZipFile` if it cannot be read.
    """
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return (_weights if "problems" in arrays else _images)(arrays, method, seed)


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
