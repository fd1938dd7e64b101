"""Noise: gaussian, shot, impulse and speckle."""

import numpy as np

from ._pixels import to_bytes, to_unit
from ._streams import Streams


def gaussian_noise(images: np.ndarray, streams: Streams, scale: float) -> np.ndarray:
    """Add independent normal noise to every channel value: `x + N(0, scale^2)`."""
    return to_bytes(to_unit(images) + np.float32(scale) * streams.normal(*images.shape[1:]))


def shot_noise(images: np.ndarray, streams: Streams, photons: float) -> np.ndarray:
    """Count `photons` at full brightness: `Poisson(photons x) / photons`, of variance `x / photons`."""
    return to_bytes(streams.poisson(to_unit(images) * np.float32(photons)) / np.float32(photons))


def impulse_noise(images: np.ndarray, streams: Streams, share: float) -> np.ndarray:
    """Set a `share` of the channel values to 0 or 1 ("salt and pepper"), half of them to each."""
    chance = streams.uniform(*images.shape[1:])
    black, hit = chance < np.float32(share / 2), chance < np.float32(share)
    return np.where(black, np.uint8(0), np.where(hit, np.uint8(255), images))


def speckle_noise(images: np.ndarray, streams: Streams, scale: float) -> np.ndarray:
    """Multiply every channel value by normal noise: `x + x N(0, scale^2)`."""
    values = to_unit(images)
    return to_bytes(values + np.float32(scale) * values * streams.normal(*images.shape[1:]))
