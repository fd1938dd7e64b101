"""From bytes to numbers in [0, 1] and back, and the linear maps that several corruptions share."""

from functools import cache

import numpy as np
from scipy import ndimage

# The benchmark truncates to bytes, so a value that should be a whole number of levels loses one level when
# rounding leaves it a hair below. This much (in levels, above float32's error and far below one level) makes
# results the same on every machine.
_GUARD = 1e-3


def to_unit(images: np.ndarray) -> np.ndarray:
    """Bytes to float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Numbers clipped to [0, 1], times 255, truncated."""
    return (np.clip(values, 0, 1) * np.float32(255) + np.float32(_GUARD)).astype(np.uint8)


def grey(images: np.ndarray) -> np.ndarray:
    """Luma of `(n, H, W, 3)` (ITU-R BT.601 weights), `(n, H, W)`."""
    return images @ np.array([0.299, 0.587, 0.114], np.float32)


@cache
def gaussian_operator(size: int, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> np.ndarray:
    """Matrix `(size, size)` that blurs a row of pixels by `sigma` pixels, beyond its ends as `mode` says."""
    identity = np.eye(size)
    if sigma > 0:
        identity = ndimage.gaussian_filter1d(identity, sigma, axis=0, mode=mode, truncate=truncate)
    return identity.astype(np.float32)


@cache
def zoom_operator(size: int, factor: float) -> np.ndarray:
    """Matrix `(size, size)` that enlarges the middle of a row of pixels by `factor` >= 1.

    The central `ceil(size / factor)` pixels are linearly stretched, corner to corner, over `round(crop *
    factor)` pixels, of which the middle `size` are kept.
    """
    crop = int(np.ceil(size / factor))
    stretched = round(crop * factor)
    top, trim = (size - crop) // 2, (stretched - size) // 2
    at = (np.arange(size) + trim) * ((crop - 1) / (stretched - 1))
    below = np.minimum(np.floor(at).astype(int), crop - 2)
    operator = np.zeros((size, size), np.float32)
    operator[np.arange(size), top + below] = 1 - (at - below)
    operator[np.arange(size), top + below + 1] = at - below
    return operator


def separable(down: np.ndarray, across: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Apply `down (H, H)` to the columns and `across (W, W)` to the rows of `(n, H, W)` or `(n, H, W, C)`."""
    if images.ndim == 3:
        return down @ images @ across.T
    planes = np.ascontiguousarray(np.moveaxis(images, 3, 1))
    return np.ascontiguousarray(np.moveaxis(down @ planes @ across.T, 1, 3))


def gaussian(images: np.ndarray, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> np.ndarray:
    """Gaussian blur of each image, `sigma` in pixels."""
    height, width = images.shape[1:3]
    down = gaussian_operator(height, sigma, mode, truncate)
    return separable(down, gaussian_operator(width, sigma, mode, truncate), images)
