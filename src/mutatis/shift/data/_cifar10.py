"""CIFAR-10's binary version, and the published files of CIFAR-10-C."""

from collections.abc import Sequence

import numpy as np

from mutatis._data_files import DataFolder, damaged

BATCH_SIZE = 10_000
_RECORD = 1 + 3 * 32 * 32
_FOLDERS = ("cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10")
_PUBLISHED_FOLDERS = ("CIFAR-10-C", "cifar10-c", "cifar10_c")


def read_cifar10(folder: DataFolder, batches: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images `(n, 32, 32, 3)`, labels `(n,)` and places among all 50,000 `(n,)` of some training batches.

    **Raises:** `FileNotFoundError` naming each batch that is missing and those that are there.
    """
    if not batches or len(set(batches)) != len(batches) or not set(batches) <= set(range(1, 6)):
        raise ValueError(f"batches={tuple(batches)} must be distinct numbers from 1 to 5.")
    parts = [_read_batch(folder, f"data_batch_{b}.bin", f"training batch {b}", batches) for b in batches]
    places = [np.arange(BATCH_SIZE) + BATCH_SIZE * (b - 1) for b in batches]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels), np.concatenate(places)


def read_cifar10_test(folder: DataFolder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images `(10000, 32, 32, 3)`, labels and places of the test batch, after the training batches."""
    images, labels = _read_batch(folder, "test_batch.bin", "the test batch", ())
    return images, labels, np.arange(BATCH_SIZE) + 5 * BATCH_SIZE


def _read_batch(folder: DataFolder, name: str, which: str, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    what = f"{which} of CIFAR-10's binary version: {BATCH_SIZE:,} records of {_RECORD} bytes"
    try:
        path = folder.find(name, _FOLDERS, what)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{_batches_present(folder, wanted)}") from None
    content = folder.read(path)
    if len(content) != BATCH_SIZE * _RECORD:
        raise damaged(path, what, f"it has {len(content):,} bytes where {BATCH_SIZE * _RECORD:,} are expected.")
    records = np.frombuffer(content, np.uint8).reshape(BATCH_SIZE, _RECORD)
    if (highest := int(records[:, 0].max())) > 9:
        raise damaged(path, what, f"it has a label {highest} where labels are 0 to 9.")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int32)


def _batches_present(folder: DataFolder, wanted: Sequence[int]) -> str:
    names = {b: f"data_batch_{b}.bin" for b in wanted}
    there = [b for b in wanted if any((folder.root / f / names[b]).exists() for f in (*_FOLDERS, "."))]
    missing = [names[b] for b in wanted if b not in there]
    if not missing:
        return ""
    advice = f" To work with the batches present, pass batches={tuple(there)}." if there else ""
    return f" Missing of the batches asked for: {', '.join(missing)}.{advice}"


def read_published_labels(folder: DataFolder) -> np.ndarray:
    """Labels of the 10,000 published test images, which are the same at every severity."""
    what = "CIFAR-10-C's labels, an array of 50,000 integers: the same 10,000 at each of five severities"
    path = folder.find("labels.npy", _PUBLISHED_FOLDERS, what)
    labels = np.asarray(folder.read_array(path, what))
    if labels.shape != (5 * BATCH_SIZE,) or not np.issubdtype(labels.dtype, np.integer):
        raise damaged(path, what, f"it is {labels.dtype} of shape {labels.shape}.")
    labels = labels.reshape(5, BATCH_SIZE)
    if (labels != labels[0]).any() or labels.min() < 0 or labels.max() > 9:
        raise damaged(path, what, "its five blocks differ or hold labels outside 0 to 9.")
    return labels[0].astype(np.int32)


def read_published(folder: DataFolder, corruption: str) -> np.ndarray:
    """Images of one corruption, memory-mapped, `(5, 10000, 32, 32, 3)`: by severity, then image."""
    what = f"CIFAR-10-C's images under {corruption}, bytes of shape (50000, 32, 32, 3)"
    path = folder.find(f"{corruption}.npy", _PUBLISHED_FOLDERS, what)
    images = folder.read_array(path, what)
    if images.shape != (5 * BATCH_SIZE, 32, 32, 3) or images.dtype != np.uint8:
        raise damaged(path, what, f"it is {images.dtype} of shape {images.shape}.")
    return images.reshape(5, BATCH_SIZE, 32, 32, 3)
