"""Pictures of frost, computed."""

from functools import cache

import numpy as np
from scipy import ndimage

from ._blur import smear
from ._plasma import plasma

# Mean red, green and blue of the five photographs that the benchmark draws from (the second and third are
# practically one picture), and our grey standard deviations over a whole picture.
_MEANS = ((78, 149, 166), (201, 205, 214), (201, 205, 214), (138, 153, 165), (112, 123, 135))
_SPREADS = (24.0, 20.0, 20.0, 25.0, 23.0)
TEXTURE_COUNT = len(_MEANS)
_SIZE = 256
# Chosen so that a crop of 32 x 32 has about the photographs' contrast and correlation of neighbours.
_DECAY, _HILL, _SOFTNESS = 1.4, 16.0, 0.8
_NEEDLE_ANGLES = (-160.0, -115.0, -80.0, -35.0, 10.0, 55.0, 100.0, 145.0)
_NEEDLE_RADIUS, _NEEDLE_SHARE = 12, 0.003


@cache
def frost_textures() -> np.ndarray:
    """Five pictures `(5, 256, 256, 3)` of bytes, the same in every process, whose opposite edges meet.

    Veins are the ridges `(1 - |2 n - 1|)^3` of fractal noise `n` without its broadest hills; needles are the
    brightest points of white noise, smeared along eight angles. A picture is the larger of the two, softened,
    standardised, times a standard deviation, plus the photograph's mean colour.
    """
    pictures = []
    for number, (mean, spread) in enumerate(zip(_MEANS, _SPREADS, strict=True)):
        rng = np.random.Generator(np.random.Philox(key=number))
        layer = ndimage.gaussian_filter(np.maximum(_veins(rng), _needles(rng)), _SOFTNESS, mode="wrap")
        layer = (layer - layer.mean()) / layer.std()
        pictures.append(np.array(mean) + spread * layer[..., None])
    return np.clip(np.rint(np.stack(pictures)), 0, 255).astype(np.uint8)


def _veins(rng: np.random.Generator) -> np.ndarray:
    noise = rng.uniform(-1, 1, (1, _SIZE, _SIZE)).astype(np.float32)
    height = plasma(noise, _DECAY)[0]
    height -= ndimage.gaussian_filter(height, _HILL, mode="wrap")
    height = np.clip(0.5 + height / (4 * height.std()), 0, 1)
    return (1 - np.abs(2 * height - 1)) ** 3


def _needles(rng: np.random.Generator) -> np.ndarray:
    angles = np.array(_NEEDLE_ANGLES)
    points = rng.random((len(angles), _SIZE, _SIZE)) > 1 - _NEEDLE_SHARE
    margin = ((0, 0), (2 * _NEEDLE_RADIUS,) * 2, (2 * _NEEDLE_RADIUS,) * 2)
    wrapped = np.pad(points, margin, mode="wrap")[..., None].astype(np.float32)
    inner = slice(2 * _NEEDLE_RADIUS, -2 * _NEEDLE_RADIUS)
    lines = smear(wrapped, angles, _NEEDLE_RADIUS, _NEEDLE_RADIUS / 1.5)[:, inner, inner, 0]
    return np.minimum(lines.max(axis=0) / (0.4 * lines.max()), 1)
