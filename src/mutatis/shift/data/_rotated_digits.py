"""scikit-learn's small digits under rotations: the data set that needs no download."""

from collections.abc import Sequence

import numpy as np

from mutatis._data_files import optional
from mutatis.shift._groups import GroupedData, Groups


def rotated_digits(
    *,
    seed: int = 0,
    train_angles: Sequence[float] = tuple(range(0, 181, 20)),
    train_sizes: Sequence[int] = (400,) * 5 + (150,) * 5,
    validation_angles: Sequence[float] = (30, 70, 110, 150),
    test_angles: Sequence[float] = (10, 50, 90, 130, 170),
    train_images: int = 1000,
    validation_images: int = 297,
) -> GroupedData:
    """Handwritten digits of 8 x 8 pixels; a group is one rotation, those of the test never trained on.

    The 1,797 images are divided at random into `train_images`, `validation_images` and the rest for testing.
    A training group is drawn with replacement from the training images (rotations of large angle are rare:
    the shift); a validation or test group is *all* images of its part at one angle, so groups differ by the
    rotation alone. Across half a turn a 6 becomes a 9: a model must find out the rotation from the other
    images of the group to tell them apart.

    **Arguments:**

    - `seed`: of the division and the draws.
    - `train_angles`, `validation_angles`, `test_angles`: degrees counter-clockwise.
    - `train_sizes`: number of images of each training angle.

    **Returns:** `GroupedData`, inputs `uint8 (n, 8, 8, 1)`, 10 classes.

    **Raises:** `ValueError` if sizes and angles do not fit; `ImportError` without the `studies` extra.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), the test part,
    as embedded in scikit-learn. Bilinear rotation about the centre, zeros outside.
    """
    if len(train_sizes) != len(train_angles):
        raise ValueError(
            f"train_sizes has {len(train_sizes)} entries for {len(train_angles)} train_angles; pass one size per angle."
        )
    digits = optional("sklearn.datasets").load_digits()
    images, labels = digits.images * (255 / 16), digits.target.astype(np.int32)
    parts = train_images, validation_images, len(images) - train_images - validation_images
    if min(parts) < 1:
        raise ValueError(
            f"train_images={train_images} and validation_images={validation_images} leave {parts[2]} of the "
            f"{len(images)} images for testing; each part needs at least one."
        )
    rng = np.random.default_rng(seed)
    train, validation, test = np.split(rng.permutation(len(images)), np.cumsum(parts[:-1]))
    drawn = [rng.choice(train, size) for size in train_sizes]
    return GroupedData(
        _rotations(images, labels, train_angles, drawn),
        _rotations(images, labels, validation_angles, [validation] * len(validation_angles)),
        _rotations(images, labels, test_angles, [test] * len(test_angles)),
        num_classes=10,
        description=(
            f"scikit-learn's digits under rotation: {len(train_angles)} training angles of unequal "
            f"frequency, "
            f"{len(test_angles)} held-out test angles with {len(test)} held-out images each."
        ),
    )


def _rotations(images: np.ndarray, labels: np.ndarray, angles: Sequence[float], rows: list[np.ndarray]) -> Groups:
    rotate = optional("scipy.ndimage").rotate
    turned = [
        rotate(images[r], angle, axes=(2, 1), order=1, reshape=False) for angle, r in zip(angles, rows, strict=True)
    ]
    inputs = np.clip(np.rint(np.concatenate(turned)), 0, 255).astype(np.uint8)[..., None]
    groups = np.repeat(np.arange(len(angles), dtype=np.int32), [len(r) for r in rows])
    return Groups(inputs, labels[np.concatenate(rows)], groups, tuple(f"rotation {angle:g}" for angle in angles))
