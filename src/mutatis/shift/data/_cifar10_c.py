"""CIFAR-10-C: photographs under corruptions that were not among those learned from."""

import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from mutatis._data_files import DataFolder
from mutatis.shift._groups import GroupedData, Groups
from mutatis.shift.data._cifar10 import (
    BATCH_SIZE,
    read_cifar10,
    read_cifar10_test,
    read_published,
    read_published_labels,
)
from mutatis.shift.data._corrupted import (
    CIFAR10_C,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Condition,
    CorruptionSplit,
    corrupted,
    draws,
    stacked,
)

_VALIDATION_SHARE = 10
_HELD_OUT_SHARE = 5


def cifar10_c(
    data_dir: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    batches: Sequence[int] = (1, 2, 3, 4, 5),
    published: bool = False,
    test_batch: bool = False,
    images_per_group: int = 1000,
    validation_images_per_group: int = 1000,
    test_images_per_group: int | None = None,
    conditions: CorruptionSplit = CIFAR10_C,
) -> GroupedData:
    """CIFAR-10 with one group per corruption and severity: 56 to learn from, 17 to choose by, 22 new ones.

    Training and validation groups are made here from CIFAR-10's training batches. The images of the three
    sets are disjoint: a tenth of those read is for validation, and (where the test images come from the same
    batches) a fifth for testing. Within a set each group draws its own images without replacement.

    **Arguments:**

    - `data_dir`: holds CIFAR-10's binary version and, if `published`, CIFAR-10-C; else `MUTATIS_DATA`.
    - `seed`: of the division, of the draws and of the corruptions' randomness.
    - `batches`: which training batches to read; 10,000 images each.
    - `published`: take the test groups from CIFAR-10-C's published files (comparable with published
      figures).
    - `test_batch`: make the test groups from CIFAR-10's test batch. If neither: from training images held
      out.
    - `images_per_group`, `validation_images_per_group`: the sizes of those groups.
    - `test_images_per_group`: so many drawn for each test group; `None`: all, the same in each group.
    - `conditions`: which corruptions belong to which set; fewer make a smaller study.

    **Returns:** `GroupedData`, inputs `uint8 (n, 32, 32, 3)`, 10 classes, ImageNet's channel moments. A test
    set of 10,000 images in each of 22 groups takes 0.7 GB.

    **Raises:** `FileNotFoundError` (naming the batches that are there), `ValueError`; `ImportError` without
    `studies`.

    Source: D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness (ICLR 2019), the
    corruptions; M. Zhang et al., Adaptive Risk Minimization (NeurIPS 2021), the groups and their order.

    **Deviations:** which images the authors corrupted is not published; ours follow `seed`. See
    `mutatis.shift.corruptions` for how the corruptions differ.
    """
    if published and test_batch:
        raise ValueError("published and test_batch both say where the test images come from; pass one of them.")
    from mutatis.shift.corruptions import CIFAR

    make = partial(corrupted, table=CIFAR, seed=seed)
    folder, rng = DataFolder(data_dir), np.random.default_rng(seed)
    images, labels, places = training = read_cifar10(folder, batches)
    held_out = 0 if published or test_batch else len(images) // _HELD_OUT_SHARE
    cuts = held_out, held_out + len(images) // _VALIDATION_SHARE
    test_pool, validation_pool, train_pool = map(np.sort, np.split(rng.permutation(len(images)), cuts))
    train_rows = draws(rng, train_pool, images_per_group, len(conditions.train), "images_per_group")
    validation_rows = draws(
        rng,
        validation_pool,
        validation_images_per_group,
        len(conditions.validation),
        "validation_images_per_group",
    )
    if published or test_batch:
        test_pool = np.arange(BATCH_SIZE)
    test_rows = draws(rng, test_pool, test_images_per_group, len(conditions.test), "test_images_per_group")
    # The test first: it is where files may be missing, and that should be said before the long work.
    if published:
        test = _published_groups(folder, conditions.test, test_rows)
    else:
        test = make(*(read_cifar10_test(folder) if test_batch else training), conditions.test, test_rows)
    return GroupedData(
        make(images, labels, places, conditions.train, train_rows),
        make(images, labels, places, conditions.validation, validation_rows),
        test,
        num_classes=10,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        checksums=folder.checksums,
        description=(
            f"CIFAR-10-C: {len(conditions.train)} corruptions to learn from, {len(conditions.test)} new "
            f"ones; "
            f"training images of batches {', '.join(map(str, batches))}, test images "
            f"{_TEST_SOURCES[published, test_batch]}."
        ),
    )


_TEST_SOURCES = {
    (False, False): "held out of the same batches",
    (False, True): "from CIFAR-10's test batch",
    (True, False): "as published",
}


def _published_groups(folder: DataFolder, conditions: Sequence[Condition], rows: Sequence[np.ndarray]) -> Groups:
    labels = read_published_labels(folder)
    files = {corruption: read_published(folder, corruption) for corruption, _ in conditions}
    blocks = (files[c][severity - 1][r] for (c, severity), r in zip(conditions, rows, strict=True))
    return stacked(blocks, [labels[r] for r in rows], conditions, (32, 32, 3))
