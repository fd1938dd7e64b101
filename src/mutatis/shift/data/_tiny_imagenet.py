"""Tiny ImageNet's folders, and those of Tiny ImageNet-C."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mutatis._data_files import DOCS, DataFolder, damaged, optional
from mutatis.shift.data._corrupted import Condition, name_of

SIZE = 64
CLASSES = 200
_FOLDERS = ("tiny-imagenet-200", "tiny-imagenet", "tiny_imagenet")
_PUBLISHED_FOLDERS = ("Tiny-ImageNet-C", "tiny-imagenet-c", "tiny_imagenet_c")
_TRAIN_PER_CLASS = 500
_TEST_PER_CLASS = 50
_IMAGE = "an image of 64 x 64 pixels"

Listing = tuple[list[Path], np.ndarray]
"""Image files, and the class of each."""


def list_train(folder: DataFolder, *, verify: bool) -> tuple[list[str], Listing]:
    """Class names in sorted order (a class is its rank), and all training images."""
    what = f"Tiny ImageNet's training folder: {CLASSES} folders nXXXXXXXX/images, {_TRAIN_PER_CLASS} JPEGs each"
    where = folder.find("train", _FOLDERS, what)
    classes = sorted(path.name for path in where.iterdir() if path.is_dir())
    listing = _list(classes, lambda name: where / name / "images")
    _check_counts(where, what, classes, listing[1], _TRAIN_PER_CLASS if verify else None)
    return classes, listing


def list_validation(folder: DataFolder, classes: Sequence[str], *, verify: bool) -> Listing:
    """The images of Tiny ImageNet's `val` folder, whose classes are in `val_annotations.txt`."""
    what = "Tiny ImageNet's validation table: lines of file name, class name and box, separated by tabs"
    path = folder.find("val/val_annotations.txt", _FOLDERS, what)
    rows = [line.split("\t") for line in folder.read(path).decode(errors="replace").splitlines() if line]
    rank = {name: index for index, name in enumerate(classes)}
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or row[1] not in rank:
            raise damaged(path, what, f"line {number} names no class of the training folder.")
    paths = [path.parent / "images" / row[0] for row in rows]
    absent = [image for image in paths if not image.exists()]
    if absent:
        raise FileNotFoundError(
            f"{absent[0]} and {len(absent) - 1} more images of val_annotations.txt are missing. {DOCS}"
        )
    labels = np.array([rank[row[1]] for row in rows], np.int32)
    _check_counts(path, what, classes, labels, _TEST_PER_CLASS if verify else None)
    return paths, labels


def list_published(folder: DataFolder, condition: Condition, classes: Sequence[str], *, verify: bool) -> Listing:
    """The images of one corruption at one severity of Tiny ImageNet-C."""
    what = (
        f"Tiny ImageNet-C's folder of {name_of(condition)}: {CLASSES} folders nXXXXXXXX of {_TEST_PER_CLASS} JPEG files"
    )
    where = folder.find(f"{condition[0]}/{condition[1]}", _PUBLISHED_FOLDERS, what)
    found = {path.name for path in where.iterdir() if path.is_dir()}
    if found != set(classes):
        raise damaged(where, what, f"its {len(found)} class folders are not the {len(classes)} of training.")
    listing = _list(classes, lambda name: where / name)
    _check_counts(where, what, classes, listing[1], _TEST_PER_CLASS if verify else None)
    return listing


def _list(classes: Sequence[str], place: Callable[[str], Path]) -> Listing:
    found = [
        sorted(path for path in place(name).glob("*") if path.suffix.lower() in (".jpeg", ".jpg")) for name in classes
    ]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(paths) for paths in found])
    return [path for paths in found for path in paths], labels


def _check_counts(where: Path, what: str, classes: Sequence[str], labels: np.ndarray, expected: int | None) -> None:
    counts = Counter(labels.tolist())
    for index, name in enumerate(classes):
        if counts[index] == 0 or expected not in (None, counts[index]):
            raise damaged(where, what, f"class {name} has {counts[index]} images (verify=False accepts fewer).")
    if not classes or (expected is not None and len(classes) != CLASSES):
        raise damaged(where, what, f"it has {len(classes)} classes (verify=False accepts fewer).")


def read_images(folder: DataFolder, paths: Sequence[Path], under: str) -> np.ndarray:
    """Decode images to `(n, 64, 64, 3)` of `uint8`; grey ones are repeated over the channels.

    So many files get one checksum together, noted under the name `under`: the SHA-256 of the lines "SHA-256
    of the file, its path below the data directory", sorted by path.
    """
    pillow = optional("PIL.Image")
    images = np.empty((len(paths), SIZE, SIZE, 3), np.uint8)
    lines = []
    for index, path in enumerate(paths):
        content = path.read_bytes()
        lines.append((path.relative_to(folder.root).as_posix(), hashlib.sha256(content).hexdigest()))
        try:
            with pillow.open(io.BytesIO(content)) as image:
                pixels = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise damaged(path, _IMAGE, f"it cannot be decoded ({error}).") from error
        if pixels.shape != images.shape[1:]:
            raise damaged(path, _IMAGE, f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels.")
        images[index] = pixels
    table = "".join(f"{digest}  {path}\n" for path, digest in sorted(lines))
    folder.checksums[under] = hashlib.sha256(table.encode()).hexdigest()
    return images
