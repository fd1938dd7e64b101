"""Digital changes: brightness, contrast, saturation, resolution, compression and warping."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from ._pixels import gaussian, to_bytes, to_unit
from ._streams import Streams


def brightness(images: np.ndarray, streams: Streams, rise: float) -> np.ndarray:
    """Raise the value V of hue-saturation-value by `rise`.

    With hue and saturation kept, that multiplies the three channels by `V' / V`, `V' = min(V + rise, 1)`;
    black becomes the grey `V'`.
    """
    pixels = to_unit(images)
    value = pixels.max(axis=3, keepdims=True)
    risen = np.minimum(value + np.float32(rise), 1)
    ratio = risen / np.where(value > 0, value, 1)
    return to_bytes(np.where(value > 0, pixels * ratio, risen))


def contrast(images: np.ndarray, streams: Streams, share: float) -> np.ndarray:
    """Shrink every channel towards its mean over the image: `(x - mean) share + mean`."""
    pixels = to_unit(images)
    count = images.shape[1] * images.shape[2]
    # The sum of bytes is exact, so the mean cannot depend on the order of summation.
    mean = (images.sum(axis=(1, 2), dtype=np.int64, keepdims=True) / (255 * count)).astype(np.float32)
    return to_bytes((pixels - mean) * np.float32(share) + mean)


def saturate(images: np.ndarray, streams: Streams, gain: float, shift: float) -> np.ndarray:
    """Change the saturation S of hue-saturation-value to `gain S + shift`, clipped to [0, 1].

    With hue and value V kept, each channel moves to `V - (V - x) S' / S`. A grey pixel has hue 0 (red) by
    convention, so a positive `shift` makes it reddish.
    """
    pixels = to_unit(images)
    value = pixels.max(axis=3, keepdims=True)
    depth = value - pixels.min(axis=3, keepdims=True)
    saturation = depth / np.where(value > 0, value, 1)
    changed = np.clip(np.float32(gain) * saturation + np.float32(shift), 0, 1)
    grey = depth == 0
    toward = value - (value - pixels) * changed / np.where(grey, 1, saturation)
    red = np.concatenate([value, value * (1 - changed), value * (1 - changed)], axis=3)
    return to_bytes(np.where(grey, red, toward))


def pixelate(images: np.ndarray, streams: Streams, share: float) -> np.ndarray:
    """Resize to `int(size * share)` pixels a side and back, both by box averaging in bytes (Pillow)."""
    height, width = images.shape[1:3]
    small = int(width * share), int(height * share)

    def change(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    return _by_pillow(images, change)


def jpeg_compression(images: np.ndarray, streams: Streams, quality: int) -> np.ndarray:
    """Write as JPEG of this `quality` with colour at half resolution (Pillow's default), and read back."""

    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _by_pillow(images, change)


def _by_pillow(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    changed = np.empty_like(images)
    for row, image in zip(changed, np.ascontiguousarray(images), strict=True):
        row[...] = np.asarray(change(Image.fromarray(image)))
    return changed


def elastic_transform(
    images: np.ndarray, streams: Streams, amplitude: float, sigma: float, jitter: float
) -> np.ndarray:
    """Map by a random affine map, then displace every pixel by smooth noise.

    The affine map is the one that moves three corners of the central square (side 2/3) by independent
    `U(-jitter, jitter)` pixels, mirrored about the edge pixels. The displacement is `amplitude` times uniform
    noise in [-1, 1] blurred by `sigma` pixels (cut at 3 sigma), down and across, mirrored about the edges.
    Both interpolate linearly.

    **Source:** Simard, Steinkraus and Platt (2003) for the displacement; the benchmark's constants, in
    pixels.

    **Deviations:** coordinates of the affine map are not rounded to 1/32 pixel, as OpenCV's are.
    """
    pixels = to_unit(images)
    height, width = images.shape[1:3]
    rows, columns = affine_coordinates(2 * streams.uniform(3, 2) - 1, height, width, jitter)
    pixels = sample_linear(pixels, rows, columns, mirror_about_pixel)
    if amplitude > 0:
        noise = (2 * streams.uniform(2, height, width) - 1).reshape(-1, height, width)
        moved = np.float32(amplitude) * gaussian(noise, sigma, "reflect", 3.0)
        down, across = np.moveaxis(moved.reshape(-1, 2, height, width), 1, 0)
        rows = np.arange(height, dtype=np.float32)[None, :, None] + down
        columns = np.arange(width, dtype=np.float32)[None, None, :] + across
        pixels = sample_linear(pixels, rows, columns, mirror_about_edge)
    return to_bytes(pixels)


def affine_coordinates(moves: np.ndarray, height: int, width: int, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns `(n, H, W)` at which to read an image so that three corners of its middle move.

    **Arguments:** `moves`, `(n, 3, 2)` in [-1, 1]: the corners' moves (across, down) in units of `jitter`
    pixels.
    """
    centre = np.array([width // 2, height // 2], float)
    side = min(height, width) // 3
    corners = centre + side * np.array([[1, 1], [1, -1], [-1, -1]])
    targets = corners[None] + jitter * moves.astype(float)
    homogeneous = np.concatenate([targets, np.ones((len(moves), 3, 1))], axis=2)
    inverse = np.linalg.solve(homogeneous, np.broadcast_to(corners, targets.shape))
    across, down = np.arange(width), np.arange(height)
    a, b, c = (inverse[:, k, :, None, None] for k in range(3))
    source = a * across[None, None, None, :] + b * down[None, None, :, None] + c
    return source[:, 1].astype(np.float32), source[:, 0].astype(np.float32)


def mirror_about_pixel(index: np.ndarray, size: int) -> np.ndarray:
    """Fold indices into `0 .. size - 1`, the edge pixels not repeated: c b | a b c | b a."""
    index = np.abs(index) % (2 * size - 2)
    return np.minimum(index, 2 * size - 2 - index)


def mirror_about_edge(index: np.ndarray, size: int) -> np.ndarray:
    """Fold indices into `0 .. size - 1`, the edge pixels repeated: b a | a b c | c b."""
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def sample_linear(
    images: np.ndarray, rows: np.ndarray, columns: np.ndarray, fold: Callable[[np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """Read `(n, H, W, C)` at fractional `rows` and `columns`, `(n, H, W)`, by linear interpolation.

    `fold` continues the image beyond its border: it maps an index and a size to an index inside.
    """
    n, height, width, channels = images.shape
    start = (np.arange(n) * height * width)[:, None, None]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, across = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    upper, lower = (start + width * fold(top + k, height) for k in (0, 1))
    first, second = fold(left, width), fold(left + 1, width)
    sampled = np.empty(images.shape, np.float32)
    for channel in range(channels):  # whole planes: three channels make too short an inner loop
        plane = np.ascontiguousarray(images[..., channel]).reshape(-1)
        above = (1 - across) * plane.take(upper + first) + across * plane.take(upper + second)
        below = (1 - across) * plane.take(lower + first) + across * plane.take(lower + second)
        sampled[..., channel] = (1 - down) * above + down * below
    return sampled
