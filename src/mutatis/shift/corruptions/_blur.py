"""Blurs: gaussian, defocus, glass, motion and zoom."""

from functools import cache

import numpy as np
from scipy import ndimage, sparse

from ._pixels import gaussian, to_bytes, to_unit, zoom_operator
from ._streams import Streams


def gaussian_blur(images: np.ndarray, streams: Streams, sigma: float) -> np.ndarray:
    """Convolve with a Gaussian of `sigma` pixels, cut at 4 sigma, edges replicated."""
    return to_bytes(gaussian(to_unit(images), sigma))


@cache
def disc_kernel(radius: float, softness: float) -> np.ndarray:
    """A disc of `radius` pixels smoothed by a 3 x 3 Gaussian of sigma `softness`; odd size, sums to 1."""
    reach = int(radius) + 1
    at = np.arange(-reach, reach + 1)
    disc = (at[:, None] ** 2 + at[None, :] ** 2 <= radius**2).astype(float)
    side = np.exp(-1 / (2 * softness**2))
    taps = np.array([side, 1, side]) / (1 + 2 * side)
    smooth = ndimage.convolve(disc / disc.sum(), taps[:, None] * taps[None, :], mode="constant")
    return smooth.astype(np.float32)


def defocus_blur(images: np.ndarray, streams: Streams, radius: float, softness: float) -> np.ndarray:
    """Convolve with a softened disc (`disc_kernel`), as a lens out of focus does.

    The image continues beyond its edges as its mirror image about the edge pixels.
    """
    kernel = disc_kernel(radius, softness)
    reach = len(kernel) // 2
    height, width = images.shape[1:3]
    around = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = np.pad(to_unit(images), around, mode="reflect")
    blurred = np.zeros(images.shape, np.float32)
    for row, column in np.argwhere(kernel > 0):
        blurred += kernel[row, column] * padded[:, row : row + height, column : column + width]
    return to_bytes(blurred)


def glass_blur(images: np.ndarray, streams: Streams, sigma: float, reach: int, passes: int) -> np.ndarray:
    """Blur, replace pixels by near neighbours `passes` times, blur again, as seen through frosted glass.

    A pass visits the pixels from the bottom right and overwrites each with one at a random offset in
    `-reach .. reach - 1` down and across (see `neighbour_sources`). Both blurs are Gaussian with `sigma`
    pixels, and the first is truncated to bytes.

    **Deviations:** none in law. The published code means to swap the two pixels but copies one over the
    other, since both sides of its assignment are views of one array; this does the same, deliberately.
    """
    blurred = to_bytes(gaussian(to_unit(images), sigma))
    n, height, width, channels = images.shape
    for _ in range(passes):
        offsets = streams.integers(-reach, reach, 2, height - 2 * reach, width - 2 * reach)
        sources = neighbour_sources(offsets, height, width, reach)
        flat = blurred.reshape(n, height * width, channels)
        blurred = np.take_along_axis(flat, sources[..., None], axis=1).reshape(images.shape)
    return to_bytes(gaussian(to_unit(blurred), sigma))


def neighbour_sources(offsets: np.ndarray, height: int, width: int, reach: int) -> np.ndarray:
    """Raster index that each pixel's value comes from after one pass of copying neighbours, `(n, H W)`.

    Pixels `reach + 1 .. size - reach` of each axis are visited in decreasing raster order; the one at `p`
    takes the *current* value of its neighbour `q`. If `q` comes after `p` it has been overwritten already, so
    the value is `q`'s own source: a chain, followed for all pixels of all images at once by doubling its
    links.

    **Arguments:** `offsets`, `(n, 2, height - 2 reach, width - 2 reach)`: down, across.
    """
    n, pixels = len(offsets), height * width
    raster = np.arange(pixels).reshape(height, width)
    inner = slice(reach + 1, None if reach == 1 else 1 - reach)
    # Links at or above `pixels` are ends of chains: link - pixels is the source.
    links = np.broadcast_to(raster + pixels, (n, height, width)).copy()
    visited = raster[inner, inner]
    neighbour = visited[None] + offsets[:, 0] * width + offsets[:, 1]
    links[:, inner, inner] = np.where(neighbour > visited[None], neighbour, neighbour + pixels)
    links = links.reshape(n, pixels)
    while (open_links := links < pixels).any():
        following = np.take_along_axis(links, np.where(open_links, links, 0), axis=1)
        links = np.where(open_links, following, links)
    return links - pixels


def motion_blur(images: np.ndarray, streams: Streams, radius: int, sigma: float) -> np.ndarray:
    """Smear each image along its own angle, uniform in -45 to 45 degrees (see `smear`), rounded to bytes."""
    angles = -45 + 90 * streams.uniform()
    return np.rint(smear(images.astype(np.float32), angles, int(radius), sigma)).astype(np.uint8)


def smear(images: np.ndarray, angles: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """One-sided motion blur of `(n, H, W, C)` along `angles (n,)` in degrees: a sum of shifted images.

    `y(p) = sum_i w_i x(p + o_i)` with `w_i` proportional to `exp(-i^2 / (2 sigma^2))`, `i = 0 .. 2 radius`,
    and whole-pixel offsets `o_i = (ceil(i cos a - 1/2), ceil(i sin a - 1/2))` across and down; edges
    replicated.

    **Source:** the kernel of ImageMagick's motion blur, which the benchmark calls.

    **Deviations:** weights below float32's resolution are left out.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    reach = int(np.flatnonzero(weights > 1e-7)[-1])
    radians = np.deg2rad(angles.astype(np.float64))
    n, height, width, channels = images.shape
    around = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = np.pad(images, around, mode="edge")
    by_image, by_row, by_column, by_value = padded.strides
    shifted = np.lib.stride_tricks.as_strided(
        padded,
        (n, 2 * reach + 1, 2 * reach + 1, height, width * channels),
        (by_image, by_row, by_column, by_row, by_value),
        writeable=False,
    )
    blurred = np.zeros((n, height, width * channels), np.float32)
    for step in range(reach + 1):
        across = np.ceil(step * np.cos(radians) - 0.5).astype(int) + reach
        down = np.ceil(step * np.sin(radians) - 0.5).astype(int) + reach
        blurred += weights[step] * shifted[np.arange(n), down, across]
    return blurred.reshape(images.shape)


def zoom_blur(images: np.ndarray, streams: Streams, end: float) -> np.ndarray:
    """Mean of the image and its central zooms by 1, 1.01, 1.02, ... below `end`, linearly interpolated.

    **Deviations:** none. The number of zooms is that of a floating-point range, which sometimes includes its
    end.
    """
    n, height, width, channels = images.shape
    planes = np.ascontiguousarray(to_unit(images).transpose(1, 2, 0, 3)).reshape(height * width, n * channels)
    blurred = _zoom_blur_operator(height, width, end) @ planes
    return to_bytes(np.ascontiguousarray(blurred.reshape(height, width, n, channels).transpose(2, 0, 1, 3)))


def zoom_factors(end: float) -> np.ndarray:
    """The zooms of one image of `zoom_blur`."""
    return np.arange(1, end, 0.01)


@cache
def _zoom_blur_operator(height: int, width: int, end: float) -> sparse.csr_array:
    # A zoom is linear in the pixels, so is the mean of all of them: one sparse matrix, (H W, H W).
    factors = zoom_factors(end)
    total = sparse.eye_array(height * width, format="csr", dtype=np.float64)
    for factor in factors:
        down = zoom_operator(height, factor).astype(np.float64)
        across = zoom_operator(width, factor).astype(np.float64)
        total = total + sparse.kron(sparse.csr_array(down), sparse.csr_array(across), format="csr")
    return sparse.csr_array(total / (len(factors) + 1), dtype=np.float32)
