"""MNIST by writer: digits of people who were not among those learned from."""

import os
import re

import numpy as np

from mutatis._data_files import DataFolder
from mutatis.shift._groups import GroupedData, Groups
from mutatis.shift.data._mnist import read_mnist, read_writers


def mnist_by_writer(
    data_dir: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    validation_writers: int = 60,
    verify: bool = True,
) -> GroupedData:
    """MNIST with one group per writer: 539 writers to learn from, 297 others to be judged on.

    No writer is in both of MNIST's parts. `validation_writers` of the 539 are held out at random, with all
    their digits, to choose by. Group names carry the NIST series, `"writer 2103 (series 4)"`: of the test
    writers 48 are series 0 (staff, about 104 digits each) and 249 series 4 (students, about 20 each);
    `writer_series` gives it as numbers.

    **Arguments:**

    - `data_dir`: holds MNIST's four files and QMNIST's two tables; else `MUTATIS_DATA`.
    - `seed`: of the choice of validation writers.
    - `verify`: whether the files must have the official content.

    **Returns:** `GroupedData`, inputs `uint8 (n, 28, 28, 1)`, 10 classes, scaled by 1/255 only; groups in
    ascending order of writer number.

    **Raises:** `FileNotFoundError`, `ValueError` for missing and damaged files, or if `validation_writers`
    leaves none to learn from.

    Source: Y. LeCun et al. (1998), MNIST; C. Yadav and L. Bottou, Cold Case: the Lost MNIST Digits (NeurIPS
    2019), QMNIST's writer column.
    """
    folder = DataFolder(data_dir)
    images, labels = read_mnist(folder, "train", verify=verify)
    test_images, test_labels = read_mnist(folder, "test", verify=verify)
    writers = read_writers(folder, "train", labels, verify=verify)
    test_writers = read_writers(folder, "test", test_labels, verify=verify)
    known = np.unique(writers[:, 0])
    if not 1 <= validation_writers < len(known):
        raise ValueError(
            f"validation_writers={validation_writers} must lie in 1 .. {len(known) - 1}: there are "
            f"{len(known)} "
            "writers to learn from and some must be left."
        )
    overlap = np.intersect1d(known, test_writers[:, 0])
    if len(overlap):
        raise ValueError(
            f"Writers {overlap[:5].tolist()} are in both of QMNIST's parts; the files are not the official."
        )
    chosen = np.random.default_rng(seed).permutation(known)[:validation_writers]
    held_out = np.isin(writers[:, 0], chosen)
    return GroupedData(
        _by_writer(images[~held_out], labels[~held_out], writers[~held_out]),
        _by_writer(images[held_out], labels[held_out], writers[held_out]),
        _by_writer(test_images, test_labels, test_writers),
        num_classes=10,
        checksums=folder.checksums,
        description=(
            f"MNIST by writer: {len(known) - validation_writers} writers to learn from, {validation_writers} "
            f"to choose "
            f"by, {len(np.unique(test_writers[:, 0]))} new ones to be judged on."
        ),
    )


def writer_series(groups: Groups) -> np.ndarray:
    """NIST series of each group's writer, `(groups,)`: 0 for staff, 4 for students.

    With about 20 digits a writer the minimum over all writers is mostly sampling noise; the minimum over the
    groups of series 0, of about 100 digits each, is less so.

    **Raises:** `ValueError` if the groups are not writers.
    """
    series = [re.search(r"\(series (\d+)\)$", name) for name in groups.names]
    if None in series:
        unnamed = groups.names[series.index(None)]
        raise ValueError(f"groups has no series for {unnamed!r}; pass the groups that mnist_by_writer returns.")
    return np.array([int(match[1]) for match in series if match])


def _by_writer(images: np.ndarray, labels: np.ndarray, writers: np.ndarray) -> Groups:
    ids, first, groups = np.unique(writers[:, 0], return_index=True, return_inverse=True)
    names = tuple(f"writer {i} (series {s})" for i, s in zip(ids, writers[first, 1], strict=True))
    return Groups(images, labels, groups.astype(np.int32), names)
