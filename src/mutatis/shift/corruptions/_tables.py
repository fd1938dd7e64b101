"""The published constants: one tuple of parameters per corruption and severity."""

from collections.abc import Mapping
from dataclasses import dataclass

CORRUPTIONS: tuple[str, ...] = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
)
"""Names in the benchmark's own order: its fifteen corruptions, then its four extra ones."""

Levels = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class CorruptionTable:
    """Parameters of every corruption at severities 1 to 5, for one size of image.

    **Arguments:**

    - `name`: what the constants were made for.
    - `levels`: corruption name to five tuples; each holds the arguments of that corruption's function, in
      order.

    **Source:** Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions
    and perturbations", and the constants of their published generators for CIFAR-10-C and Tiny ImageNet-C.

    **Raises:** `ValueError` if a corruption is missing or does not have five severities.
    """

    name: str
    levels: Mapping[str, Levels]

    def __post_init__(self):
        if set(self.levels) != set(CORRUPTIONS):
            wrong = sorted(set(self.levels) ^ set(CORRUPTIONS))
            raise ValueError(f"levels must name each of the {len(CORRUPTIONS)} corruptions; check {wrong}.")
        for corruption, rows in self.levels.items():
            if len(rows) != 5:
                raise ValueError(f"levels[{corruption!r}] has {len(rows)} severities; give five.")


def _each(*values: float) -> Levels:
    return tuple((value,) for value in values)


# Largest zoom, exclusive. The steps come from a floating-point range, as published, so that the first two
# ranges include their end: 7, 12, 16, 21 and 26 zooms.
_ZOOMS = _each(1.06, 1.11, 1.16, 1.21, 1.26)

CIFAR = CorruptionTable(
    "CIFAR, 32 x 32",
    {
        "gaussian_noise": _each(0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": _each(500, 250, 100, 75, 50),
        "impulse_noise": _each(0.01, 0.02, 0.03, 0.05, 0.07),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": _ZOOMS,
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": _each(0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": _each(0.75, 0.5, 0.4, 0.3, 0.15),
        "elastic_transform": (
            (0, 0, 2.56),
            (1.6, 6.4, 2.24),
            (2.56, 1.92, 1.92),
            (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
        "pixelate": _each(0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": _each(80, 65, 58, 50, 40),
        "speckle_noise": _each(0.06, 0.10, 0.12, 0.16, 0.20),
        "gaussian_blur": _each(0.4, 0.6, 0.7, 0.8, 1),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    },
)
"""The constants of CIFAR-10-C and CIFAR-100-C, for images of 32 x 32 pixels."""

TINY_IMAGENET = CorruptionTable(
    "Tiny ImageNet, 64 x 64",
    {
        "gaussian_noise": _each(0.04, 0.08, 0.12, 0.15, 0.18),
        "shot_noise": _each(250, 100, 50, 30, 15),
        "impulse_noise": _each(0.01, 0.02, 0.05, 0.08, 0.14),
        "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "zoom_blur": _ZOOMS,
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        "frost": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        "brightness": _each(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _each(0.4, 0.3, 0.2, 0.1, 0.05),
        "elastic_transform": (
            (0, 0, 5.12),
            (3.2, 19.2, 3.84),
            (6.4, 5.12, 3.84),
            (6.4, 1.92, 1.92),
            (10.24, 1.92, 1.28),
        ),
        "pixelate": _each(0.9, 0.8, 0.7, 0.6, 0.5),
        "jpeg_compression": _each(65, 58, 50, 40, 25),
        "speckle_noise": _each(0.15, 0.20, 0.25, 0.30, 0.35),
        "gaussian_blur": _each(0.5, 0.75, 1, 1.25, 1.5),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.6, False),
            (0.65, 0.1, 0.8, 0.7, 0.6, False),
            (0.65, 0.3, 1, 0.69, 0.6, False),
            (0.65, 0.1, 0.7, 0.68, 0.6, True),
            (0.65, 0.1, 0.5, 0.67, 0.6, True),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    },
)
"""The constants of Tiny ImageNet-C, for images of 64 x 64 pixels."""
