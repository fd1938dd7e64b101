"""Groups of corrupted images: which corruptions belong to which set, and how a set is made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mutatis.shift._groups import Groups

Condition = tuple[str, int]
"""A corruption and its severity, 1 to 5."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class CorruptionSplit:
    """The conditions, `(corruption, severity)`, of each of the three sets; each condition is one group.

    **Raises:** `ValueError` if a set is empty or a condition is listed twice: the groups of the test must be
    new ones.
    """

    train: tuple[Condition, ...]
    validation: tuple[Condition, ...]
    test: tuple[Condition, ...]

    def __post_init__(self):
        for name in ("train", "validation", "test"):
            if not getattr(self, name):
                raise ValueError(f"{name} has no conditions; list at least one (corruption, severity).")
        every = [*self.train, *self.validation, *self.test]
        if twice := sorted({condition for condition in every if every.count(condition) > 1}):
            raise ValueError(f"{name_of(twice[0])!r} is listed twice; each condition belongs to one set, once.")


def _conditions(weather: str, weather_levels, jpeg_levels, full: Sequence[str]) -> tuple[Condition, ...]:
    return (
        *((weather, level) for level in weather_levels),
        *(("jpeg_compression", level) for level in jpeg_levels),
        *((corruption, level) for corruption in full for level in range(1, 6)),
    )


def _split(weather: str, train: Sequence[str]) -> CorruptionSplit:
    return CorruptionSplit(
        train=_conditions(weather, (1, 2, 3), (1, 2, 3), train),
        validation=_conditions(weather, (4,), (5,), ("speckle_noise", "gaussian_blur", "saturate")),
        test=_conditions(weather, (5,), (4,), ("impulse_noise", "motion_blur", "fog", "elastic_transform")),
    )


_NOISE_AND_BLUR = ("gaussian_noise", "shot_noise", "defocus_blur", "glass_blur", "zoom_blur")
_LIGHT = ("brightness", "contrast", "pixelate")

CIFAR10_C = _split("spatter", (*_NOISE_AND_BLUR, "snow", "frost", *_LIGHT))
"""56 training, 17 validation and 22 test conditions (Zhang et al. 2021)."""

TINY_IMAGENET_C = _split("frost", (*_NOISE_AND_BLUR, "snow", *_LIGHT))
"""51 training, 17 validation and 22 test conditions (Zhang et al. 2021)."""


def name_of(condition: Condition) -> str:
    """A group's name, `"fog 3"`."""
    return f"{condition[0]} {condition[1]}"


def corrupted(
    images: np.ndarray,
    labels: np.ndarray,
    positions: np.ndarray,
    conditions: Sequence[Condition],
    rows: Sequence[np.ndarray],
    *,
    table,
    seed: int,
) -> Groups:
    """One group per condition: the images of `rows[g]` under `conditions[g]`.

    `positions` are the images' places in the whole data set: an image under one condition has the same noise
    whichever others are corrupted with it.
    """
    from mutatis.shift.corruptions import corrupt

    blocks = (
        corrupt(images[r], corruption, severity, table=table, seed=seed, positions=positions[r])
        for (corruption, severity), r in zip(conditions, rows, strict=True)
    )
    return stacked(blocks, [labels[r] for r in rows], conditions, images.shape[1:])


def stacked(blocks, labels: Sequence[np.ndarray], conditions: Sequence[Condition], shape) -> Groups:
    """One group per block of images, filled one after another so that only one block is held twice."""
    sizes = [len(block) for block in labels]
    inputs = np.empty((sum(sizes), *shape), np.uint8)
    start = 0
    for block in blocks:
        inputs[start : start + len(block)] = block
        start += len(block)
    groups = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return Groups(inputs, np.concatenate(labels), groups, tuple(map(name_of, conditions)))


def draws(
    rng: np.random.Generator, pool: np.ndarray, count: int | None, groups: int, argument: str
) -> list[np.ndarray]:
    """For each group `count` members of `pool` without replacement, or all of it if `count` is `None`."""
    if count is None:
        return [pool] * groups
    if not 1 <= count <= len(pool):
        raise ValueError(
            f"{argument}={count} must lie in 1 .. {len(pool)}: there are {len(pool):,} to draw from; "
            "lower it, or read more files."
        )
    return [np.sort(rng.choice(pool, count, replace=False)) for _ in range(groups)]
