"""Weather: snow, frost, fog and spatter."""

import numpy as np

from ._blur import smear
from ._frost import TEXTURE_COUNT, frost_textures
from ._pixels import gaussian, grey, separable, to_bytes, to_unit, zoom_operator
from ._plasma import plasma
from ._relief import water_relief
from ._streams import Streams

_WATER = np.array([175, 238, 238], np.float32) / 255
_MUD = np.array([63, 42, 20], np.float32) / 255


def snow(
    images: np.ndarray,
    streams: Streams,
    mean: float,
    scale: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    share: float,
) -> np.ndarray:
    """Whiten the image and add flakes that fall along a random angle.

    The flakes are a layer of grey noise `N(mean, scale^2)`, enlarged by `zoom`, set to zero below
    `threshold`, and smeared (`radius`, `sigma`) along an angle uniform in -135 to -45 degrees. The result is
    `share x + (1 - share) max(x, 1.5 grey(x) + 0.5) + layer + layer turned by 180 degrees`.
    """
    height, width = images.shape[1:3]
    layer = np.float32(mean) + np.float32(scale) * streams.normal(height, width)
    layer = separable(zoom_operator(height, zoom), zoom_operator(width, zoom), layer)
    flakes = to_bytes(np.where(layer < threshold, 0, layer))[..., None].astype(np.float32)
    angles = -135 + 90 * streams.uniform()
    layer = np.rint(smear(flakes, angles, int(radius), sigma)) / np.float32(255)
    pixels = to_unit(images)
    white = np.maximum(pixels, 1.5 * grey(pixels)[..., None] + 0.5)
    whitened = np.float32(share) * pixels + np.float32(1 - share) * white
    return to_bytes(whitened + layer + layer[:, ::-1, ::-1])


def frost(images: np.ndarray, streams: Streams, share: float, ice: float) -> np.ndarray:
    """Lay a random crop of one of five frost pictures over the image: `share x + ice frost`.

    **Deviations:** the benchmark crops photographs, which are not part of this library. The pictures here are
    computed (`frost_textures`), with the photographs' mean colours and about their contrast and smoothness in
    a crop, at one scale for every image size. A crop may wrap round the picture, whose edges meet.
    """
    height, width = images.shape[1:3]
    textures = frost_textures()
    size = textures.shape[1]
    which = streams.integers(0, TEXTURE_COUNT)
    corner = streams.integers(0, size, 2)
    rows = (corner[:, :1] + np.arange(height)) % size
    columns = (corner[:, 1:] + np.arange(width)) % size
    crops = textures[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return to_bytes(np.float32(share) * to_unit(images) + np.float32(ice) * to_unit(crops))


def fog(images: np.ndarray, streams: Streams, density: float, decay: float) -> np.ndarray:
    """Add patchy fog, then scale back: `(x + density P) M / (M + density)`, `M` the image's maximum.

    `P` in [0, 1] is fractal noise (`plasma`) on the next power of two pixels, cropped; `decay` sets how
    smooth it is.
    """
    height, width = images.shape[1:3]
    size = 1 << (max(height, width) - 1).bit_length()
    pixels = to_unit(images)
    thickness = plasma(2 * streams.uniform(size, size) - 1, decay)[:, :height, :width, None]
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    foggy = pixels + np.float32(density) * thickness
    return to_bytes(foggy * brightest / (brightest + np.float32(density)))


def spatter(
    images: np.ndarray,
    streams: Streams,
    mean: float,
    scale: float,
    sigma: float,
    threshold: float,
    strength: float,
    mud: bool,
) -> np.ndarray:
    """Splash water or mud on the lens where smooth noise exceeds a threshold.

    The liquid is noise `N(mean, scale^2)` blurred by `sigma`, zero below `threshold`. *Water* adds pale
    turquoise times the liquid times a relief of its edges (`water_relief`), scaled so that its maximum is
    `strength`. *Mud* blurs the liquid's mask by `strength` pixels, drops what is below 0.8, and mixes brown
    in by what remains.

    **Deviations:** see `water_relief`.
    """
    liquid = np.float32(mean) + np.float32(scale) * streams.normal(*images.shape[1:3])
    liquid = gaussian(liquid, sigma)
    wet = liquid >= np.float32(threshold)
    pixels = to_unit(images)
    if mud:
        mask = gaussian(wet.astype(np.float32), strength)
        mask = np.where(mask < 0.8, 0, mask)[..., None]
        return to_bytes(pixels * (1 - mask) + mask * _MUD)
    layer = np.where(wet, to_bytes(liquid), 0).astype(np.uint8)
    shine = layer * water_relief(layer)
    highest = shine.max(axis=(1, 2), keepdims=True)
    shine = np.float32(strength) * shine / np.where(highest > 0, highest, 1)
    return to_bytes(pixels + shine[..., None] * _WATER)
