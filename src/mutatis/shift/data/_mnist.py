"""The MNIST digits and the QMNIST table of who wrote them."""

import numpy as np

from mutatis._data_files import DataFolder, read_idx

_MNIST_FOLDERS = ("mnist", "MNIST/raw", "MNIST")
_QMNIST_FOLDERS = ("qmnist", "QMNIST/raw", "QMNIST")

# SHA-256 after unpacking, so that files packed afresh are recognised too.
_OFFICIAL = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "qmnist-train-labels-idx2-int": "bb1b6e1ec7b04fd5696f1ed50b5f58f8ef195118edd5c93c81783df9740b8ac5",
    "qmnist-test-labels-idx2-int": "92d0ccb8c25f9c6534270fb4be7e1d24a1c6d315edfc8a638bfbd31c70f362dd",
}
_SIZES = {"train": 60_000, "test": 10_000}
_PREFIX = {"train": "train", "test": "t10k"}


def read_mnist(folder: DataFolder, split: str, *, verify: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, 28, 28, 1)` as `uint8` and labels `(n,)` of `"train"` (60,000) or `"test"` (10,000)."""
    n, prefix = _SIZES[split], _PREFIX[split]
    images = read_idx(
        folder,
        name := f"{prefix}-images-idx3-ubyte",
        _MNIST_FOLDERS,
        f"MNIST's {n:,} {split} images, an IDX file of bytes of shape ({n}, 28, 28)",
        dtype="u1",
        shape=(n, 28, 28),
        digest=_OFFICIAL[name] if verify else None,
    )
    labels = read_idx(
        folder,
        name := f"{prefix}-labels-idx1-ubyte",
        _MNIST_FOLDERS,
        f"MNIST's {n:,} {split} labels, an IDX file of bytes of shape ({n},)",
        dtype="u1",
        shape=(n,),
        digest=_OFFICIAL[name] if verify else None,
    )
    return images[..., None], labels.astype(np.int32)


def read_writers(folder: DataFolder, split: str, labels: np.ndarray, *, verify: bool) -> np.ndarray:
    """Writer and NIST series of each MNIST digit, `(n, 2)`.

    QMNIST's first rows are MNIST's digits in MNIST's order; a row holds class, NIST series, writer, index on
    the writer's sheet and four more columns. The classes are compared with `labels`, so a file of another
    order is refused.
    """
    name = f"qmnist-{split}-labels-idx2-int"
    table = read_idx(
        folder,
        name,
        _QMNIST_FOLDERS,
        f"QMNIST's extended {split} labels, an IDX file of 32-bit integers with 8 columns",
        dtype=">i4",
        shape=(None, 8),
        digest=_OFFICIAL[name] if verify else None,
    )
    table = table[: len(labels)]
    if len(table) != len(labels) or not np.array_equal(table[:, 0], labels):
        raise ValueError(
            f"{name} and MNIST's {split} labels disagree: the first {len(labels):,} rows of QMNIST must be "
            f"MNIST's "
            "digits in order. One of the two files is not the official one; docs/data.md describes both."
        )
    return table[:, [2, 1]].astype(np.int32)
