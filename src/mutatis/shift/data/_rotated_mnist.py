"""Rotated MNIST: fourteen rotations, the larger the rarer."""

import os

import numpy as np

from mutatis._data_files import DataFolder, optional
from mutatis.shift._groups import GroupedData, Groups
from mutatis.shift.data._mnist import read_mnist

ANGLES = tuple(range(0, 140, 10))
TRAIN_SIZES = (7560,) * 3 + (2160,) * 3 + (648,) * 3 + (324,) * 3 + (108,) * 2
_TRAIN_IMAGES = 54_000
_VALIDATION_SIZE = 2_000
_THIRD_OF_TEST = 3_333


def rotated_mnist(
    data_dir: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    reproduce_indexing: bool = False,
    test_images_per_group: int | None = None,
    verify: bool = True,
) -> GroupedData:
    """MNIST under 14 rotations (0 to 130 degrees by 10, counter-clockwise) with skewed training frequencies.

    54,000 training images, 6,000 for validation, 10,000 for testing. Training group sizes are 7560 (0-20
    degrees), 2160 (30-50), 648 (60-80), 324 (90-110) and 108 (120-130), 32,292 in all, drawn with
    replacement; a validation group is 2,000 images drawn without replacement; a test group is all 10,000 test
    images at one angle. All three sets have the same 14 rotations: the shift is in how often each occurs.

    **Arguments:**

    - `data_dir`: holds MNIST's four files (in `mnist/`, `MNIST/raw/` or directly); else `MUTATIS_DATA`.
    - `seed`: of the division into training and validation images and of all draws.
    - `reproduce_indexing`: as in the authors' code, test group `g` holds only images `3333 g` to `3333 (g +
      1)`, modulo 10,000, and validation group `g` images `2000 g` to `2000 (g + 1)`, modulo 6,000: groups
      then differ by images as well as by rotation.
    - `test_images_per_group`: at most so many per test group, drawn at random for each group;
      `None`: all.
    - `verify`: whether the files must have the official content; `False` admits others of the same form
      (Fashion-MNIST).

    **Returns:** `GroupedData`, inputs `uint8 (n, 28, 28, 1)`, 10 classes, scaled by 1/255 only. The full test
    set takes 110 MB.

    **Raises:** `FileNotFoundError`, `ValueError` for missing and damaged files; `ImportError` without
    `studies`.

    Source: M. Zhang et al., Adaptive Risk Minimization (NeurIPS 2021), the final protocol. Rotation by
    nearest neighbour, so a turn by d + 90 degrees is exactly `numpy.rot90` of a turn by d.

    **Deviations:** test groups are all test images, as the authors document (their code takes thirds, see
    `reproduce_indexing`); draws follow `seed` where the authors' are equal for every seed.
    """
    if test_images_per_group is not None and test_images_per_group < 1:
        raise ValueError(f"test_images_per_group={test_images_per_group} must be at least 1, or None for all.")
    folder = DataFolder(data_dir)
    images, labels = read_mnist(folder, "train", verify=verify)
    test_images, test_labels = read_mnist(folder, "test", verify=verify)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    train, validation = order[:_TRAIN_IMAGES], order[_TRAIN_IMAGES:]
    everything = np.arange(len(test_images))
    train_rows = [rng.choice(train, size) for size in TRAIN_SIZES]
    if reproduce_indexing:
        validation_rows = [_window(validation, g, _VALIDATION_SIZE) for g in range(len(ANGLES))]
        test_rows = [_window(everything, g, _THIRD_OF_TEST) for g in range(len(ANGLES))]
    else:
        validation_rows = [rng.choice(validation, _VALIDATION_SIZE, replace=False) for _ in ANGLES]
        test_rows = [everything for _ in ANGLES]
    if test_images_per_group is not None:
        test_rows = [rng.permutation(rows)[:test_images_per_group] for rows in test_rows]
    return GroupedData(
        _rotated(images, labels, train_rows),
        _rotated(images, labels, validation_rows),
        _rotated(test_images, test_labels, test_rows),
        num_classes=10,
        checksums=folder.checksums,
        description="Rotated MNIST: 14 rotations from 0 to 130 degrees, the larger the rarer in training"
        + (", test groups indexed by thirds as in the authors' code." if reproduce_indexing else "."),
    )


def _window(rows: np.ndarray, group: int, size: int) -> np.ndarray:
    return rows[(np.arange(size) + group * size) % len(rows)]


def _rotated(images: np.ndarray, labels: np.ndarray, rows: list[np.ndarray]) -> Groups:
    height, width = images.shape[1:3]
    # One black pixel more, for the places that the rotation brings in from outside.
    flat = np.zeros((len(images), height * width + 1), np.uint8)
    flat[:, :-1] = images.reshape(len(images), -1)
    inputs = np.empty((sum(map(len, rows)), height * width), np.uint8)
    start = 0
    for angle, chosen in zip(ANGLES, rows, strict=True):
        inputs[start : start + len(chosen)] = flat[chosen[:, None], rotation_map(height, width, angle)]
        start += len(chosen)
    groups = np.repeat(np.arange(len(ANGLES), dtype=np.int32), [len(r) for r in rows])
    names = tuple(f"rotation {angle}" for angle in ANGLES)
    return Groups(inputs.reshape(-1, height, width, 1), labels[np.concatenate(rows)], groups, names)


def rotation_map(height: int, width: int, angle: float) -> np.ndarray:
    """For each pixel of an image turned by `angle` degrees, the pixel it is taken from, `(height * width,)`.

    -1 stands for places outside the image. Rotating the table of pixel numbers by nearest neighbour once
    gives the gather that rotates every image.
    """
    numbers = np.arange(height * width, dtype=np.float64).reshape(height, width)
    turned = optional("scipy.ndimage").rotate(numbers, angle, order=0, reshape=False, cval=-1.0)
    return turned.astype(np.int64).reshape(-1)
