"""Pictures of frost, computed."""

from functools import cache

import numpy as np

from ._blur import smear
from ._plasma import plasma

# Mean red, green and blue of the five photographs that the benchmark draws from (the second and third are
# practically one picture), and our grey standard deviations over a whole picture.
_MEANS = ((78, 149, 166), (201, 205, 214), (201, 205, 214), (138, 153, 165), (112, 123, 135))
_SPREADS = (24.0, 22.0, 22.0, 26.0, 24.0)
TEXTURE_COUNT = len(_MEANS)
_SIZE = 256
_NEEDLE_ANGLES = (-80.0, -35.0, 10.0, 55.0)


@cache
def frost_textures() -> np.ndarray:
    """Five pictures `(5, 256, 256, 3)` of bytes, the same in every process, whose opposite edges meet.

    Veins are the ridges `(1 - |2 n - 1|)^3` of fractal noise `n`; needles are the brightest points of white
    noise, smeared along four angles. A picture is the larger of the two, standardised, times a standard
    deviation, plus the photograph's mean colour.
    """
    pictures = []
    for number, (mean, spread) in enumerate(zip(_MEANS, _SPREADS, strict=True)):
        rng = np.random.Generator(np.random.Philox(key=number))
        layer = np.maximum(_veins(rng), _needles(rng))
        layer = (layer - layer.mean()) / layer.std()
        pictures.append(np.array(mean) + spread * layer[..., None])
    return np.clip(np.rint(np.stack(pictures)), 0, 255).astype(np.uint8)


def _veins(rng: np.random.Generator) -> np.ndarray:
    noise = rng.uniform(-1, 1, (1, _SIZE, _SIZE)).astype(np.float32)
    return (1 - np.abs(2 * plasma(noise, 1.5)[0] - 1)) ** 3


def _needles(rng: np.random.Generator) -> np.ndarray:
    angles = np.array(_NEEDLE_ANGLES)
    points = rng.random((len(angles), _SIZE, _SIZE)) > 0.99
    wrapped = np.pad(points, ((0, 0), (20, 20), (20, 20)), mode="wrap")[..., None]
    lines = smear(wrapped.astype(np.float32), angles, 10, 6.0)[:, 20:-20, 20:-20, 0]
    return np.minimum(6 * lines.max(axis=0), 1)
