"""Tiny ImageNet-C: 200 classes of photographs under corruptions that were not among those learned from."""

import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from mutatis._data_files import DataFolder
from mutatis.shift._groups import GroupedData, Groups
from mutatis.shift.data._corrupted import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    TINY_IMAGENET_C,
    Condition,
    CorruptionSplit,
    corrupted,
    draws,
    name_of,
    stacked,
)
from mutatis.shift.data._tiny_imagenet import (
    SIZE,
    Listing,
    list_published,
    list_train,
    list_validation,
    read_images,
)

_VALIDATION_SHARE = 10
# Places of Tiny ImageNet's validation images follow those of its 100,000 training images.
_TEST_PLACE = 100_000


def tiny_imagenet_c(
    data_dir: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    published: bool = False,
    images_per_group: int = 2000,
    validation_images_per_group: int = 2000,
    test_images_per_group: int | None = None,
    conditions: CorruptionSplit = TINY_IMAGENET_C,
    verify: bool = True,
) -> GroupedData:
    """Tiny ImageNet with a group per corruption and severity: 51 to learn from, 17 to choose by, 22 new.

    Training and validation groups are made here from the 100,000 training images, a tenth of which is for
    validation; test groups from the 10,000 images of Tiny ImageNet's `val` folder. Within a set each group
    draws its own images without replacement.

    **Arguments:**

    - `data_dir`: holds `tiny-imagenet-200/` and, if `published`, `Tiny-ImageNet-C/`; else `MUTATIS_DATA`.
    - `seed`: of the division, of the draws and of the corruptions' randomness.
    - `published`: take the test groups from Tiny ImageNet-C's published folders.
    - `images_per_group`, `validation_images_per_group`: the sizes of those groups.
    - `test_images_per_group`: so many drawn for each test group; `None`: all.
    - `conditions`: which corruptions belong to which set; fewer make a smaller study.
    - `verify`: whether there must be 200 classes of 500 training and 50 test images each.

    **Returns:** `GroupedData`, inputs `uint8 (n, 64, 64, 3)`, ImageNet's channel moments; a class is the rank
    of its name among the sorted names.

    **Raises:** `FileNotFoundError`, `ValueError` for missing and damaged files; `ImportError` without
    `studies`.

    Source: D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness (ICLR 2019), the
    corruptions; M. Zhang et al., Adaptive Risk Minimization (NeurIPS 2021), the groups and their order.

    **Deviations:** which images the authors corrupted is not published; ours follow `seed`. See
    `mutatis.shift.corruptions` for how the corruptions differ.
    """
    from mutatis.shift.corruptions import TINY_IMAGENET

    folder, rng = DataFolder(data_dir), np.random.default_rng(seed)
    classes, training = list_train(folder, verify=verify)
    cut = [len(training[0]) // _VALIDATION_SHARE]
    validation_pool, train_pool = map(np.sort, np.split(rng.permutation(len(training[0])), cut))
    make = partial(_made, folder, table=TINY_IMAGENET, seed=seed)
    plans = (
        (conditions.train, train_pool, images_per_group, "images_per_group"),
        (conditions.validation, validation_pool, validation_images_per_group, "validation_images_per_group"),
    )
    rows = [draws(rng, pool, count, len(of), argument) for of, pool, count, argument in plans]
    # The test first: it is where files may be missing, and that should be said before the long work.
    if published:
        listings = [list_published(folder, c, classes, verify=verify) for c in conditions.test]
        pools = [np.arange(len(paths)) for paths, _ in listings]
        test_rows = [draws(rng, p, test_images_per_group, 1, "test_images_per_group")[0] for p in pools]
        test = _published_groups(folder, conditions.test, listings, test_rows)
    else:
        listing = list_validation(folder, classes, verify=verify)
        pool = np.arange(len(listing[0]))
        test_rows = draws(rng, pool, test_images_per_group, len(conditions.test), "test_images_per_group")
        test = make(listing, conditions.test, test_rows, first_place=_TEST_PLACE, under="tiny-imagenet-200 test")
    return GroupedData(
        make(training, conditions.train, rows[0], under="tiny-imagenet-200 train"),
        make(training, conditions.validation, rows[1], under="tiny-imagenet-200 validation"),
        test,
        num_classes=len(classes),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        checksums=folder.checksums,
        description=(
            f"Tiny ImageNet-C: {len(conditions.train)} corruptions to learn from, {len(conditions.test)} new "
            f"ones; "
            f"test images {'as published' if published else 'corrupted here'}."
        ),
    )


def _made(
    folder: DataFolder,
    listing: Listing,
    conditions: Sequence[Condition],
    rows: Sequence[np.ndarray],
    *,
    under: str,
    table,
    seed: int,
    first_place: int = 0,
) -> Groups:
    # Only the images that some group draws are decoded, each once.
    used, inverse = np.unique(np.concatenate(rows), return_inverse=True)
    images = read_images(folder, [listing[0][i] for i in used], under)
    local = np.split(inverse, np.cumsum([len(r) for r in rows])[:-1])
    return corrupted(images, listing[1][used], used + first_place, conditions, local, table=table, seed=seed)


def _published_groups(
    folder: DataFolder,
    conditions: Sequence[Condition],
    listings: Sequence[Listing],
    rows: Sequence[np.ndarray],
) -> Groups:
    chosen = zip(conditions, listings, rows, strict=True)
    blocks = (
        read_images(folder, [listing[0][i] for i in r], f"Tiny-ImageNet-C {name_of(condition)}")
        for condition, listing, r in chosen
    )
    labels = [listing[1][r] for listing, r in zip(listings, rows, strict=True)]
    return stacked(blocks, labels, conditions, (SIZE, SIZE, 3))
