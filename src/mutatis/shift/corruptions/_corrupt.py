"""One function for all corruptions: check the request, cut the images into batches, and dispatch by name."""

import difflib
import operator
from collections.abc import Callable

import numpy as np

from . import _blur, _digital, _noise, _weather
from ._streams import Streams
from ._tables import CIFAR, CORRUPTIONS, CorruptionTable

_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian_noise": _noise.gaussian_noise,
    "shot_noise": _noise.shot_noise,
    "impulse_noise": _noise.impulse_noise,
    "speckle_noise": _noise.speckle_noise,
    "gaussian_blur": _blur.gaussian_blur,
    "defocus_blur": _blur.defocus_blur,
    "glass_blur": _blur.glass_blur,
    "motion_blur": _blur.motion_blur,
    "zoom_blur": _blur.zoom_blur,
    "snow": _weather.snow,
    "frost": _weather.frost,
    "fog": _weather.fog,
    "spatter": _weather.spatter,
    "brightness": _digital.brightness,
    "contrast": _digital.contrast,
    "saturate": _digital.saturate,
    "pixelate": _digital.pixelate,
    "jpeg_compression": _digital.jpeg_compression,
    "elastic_transform": _digital.elastic_transform,
}
# Channel values worked on at a time: large enough to hide Python's overhead, small enough for a processor's
# cache.
_BATCH_VALUES = 400_000
# The widest mirrored border is that of the defocus disc, 4 pixels; 16 leaves every constant meaningful.
_SMALLEST = 16


def corrupt(
    images: np.ndarray,
    corruption: str,
    severity: int,
    *,
    table: CorruptionTable = CIFAR,
    seed: int,
    positions: np.ndarray | None = None,
) -> np.ndarray:
    """Corrupt images; the same `seed` gives the same bytes.

    An image's randomness depends on `(seed, corruption, severity, position)` alone, so corrupting a subset
    with its `positions` gives that subset of the corrupted whole.

    **Arguments:**

    - `images`: `(n, H, W, 3)` of `uint8`; not changed.
    - `corruption`: one of `CORRUPTIONS`.
    - `severity`: 1 (mild) to 5.
    - `table`: the constants, `CIFAR` or `TINY_IMAGENET`; use the one made for the images' size.
    - `seed`: a non-negative integer.
    - `positions`: `(n,)` non-negative integers, each image's place in its data set; `0 .. n - 1` if not
      given.

    **Returns:** `(n, H, W, 3)` of `uint8`.

    **Raises:** `ValueError` if an argument is not of the form above.

    **Source:** Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions
    and perturbations".

    **Deviations:** the published files were made without a fixed seed, so no implementation reproduces them
    bit by bit. Values within 1/1000 of a level below a whole level count as whole when truncated to bytes.
    Frost and spatter's water replace material and code the benchmark takes from elsewhere; see those
    functions.
    """
    images = _checked_images(images)
    parameters = table.levels[_checked_name(corruption)][_checked_severity(severity) - 1]
    seed = _whole(seed, "seed")
    if seed < 0:
        raise ValueError(f"seed is {seed}; pass a non-negative integer.")
    at = _checked_positions(positions, len(images))
    batch = max(1, _BATCH_VALUES // images[:1].size) if len(images) else 1
    corrupted = np.empty_like(images)
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        streams = Streams(at[part], seed=seed, corruption=corruption, severity=int(severity))
        corrupted[part] = _FUNCTIONS[corruption](images[part], streams, *parameters)
    return corrupted


def _checked_images(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"images has dtype {images.dtype}; pass uint8 values 0 .. 255 (not yet scaled).")
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images has shape {images.shape}; pass (n, height, width, 3), colour channels last.")
    if min(images.shape[1:3]) < _SMALLEST:
        raise ValueError(f"images are {images.shape[1]} x {images.shape[2]} pixels; at least 16 a side are needed.")
    return images


def _checked_name(corruption: str) -> str:
    if corruption not in CORRUPTIONS:
        near = difflib.get_close_matches(str(corruption), CORRUPTIONS, n=3, cutoff=0.4) or CORRUPTIONS
        raise ValueError(f"corruption {corruption!r} is not known; the nearest names: {', '.join(near)}.")
    return corruption


def _checked_severity(severity: int) -> int:
    if _whole(severity, "severity") not in range(1, 6):
        raise ValueError(f"severity is {severity}; pass 1, 2, 3, 4 or 5.")
    return int(severity)


def _checked_positions(positions: np.ndarray | None, count: int) -> np.ndarray:
    at = np.arange(count) if positions is None else np.asarray(positions)
    if at.shape != (count,):
        raise ValueError(f"positions has shape {at.shape}; pass one position for each of the {count} images.")
    if count and (not np.issubdtype(at.dtype, np.integer) or at.min() < 0):
        raise ValueError("positions must be non-negative integers, each image's row in its data set.")
    return at


def _whole(value: int, argument: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{argument} is {value!r}; pass an integer.") from None
