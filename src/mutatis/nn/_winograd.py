"""Convolution by Winograd's minimal filter: interpolate, multiply, interpolate back.

Correlating n = m + r - 1 numbers with r taps gives m outputs. By Cook and Toom's interpolation through n
points (one of them infinity) this takes n products instead of m r:

    y = A^T [(G g) * (B^T d)]            in two dimensions   Y = A^T [(G g G^T) * (B^T d B)] A

Over channels the elementwise products become n^2 matrix products (tiles x inputs) (inputs x outputs). For 5x5
kernels and m = 4 that is 64 products for every 400 of the plain sum. The gradient by the kernel is the same
filter transposed, G^T [sum over tiles of (B^T d B)^T (A Y' A^T)] G.

Sources: Winograd (1980), Arithmetic Complexity of Computations; Lavin and Gray (2016), Fast Algorithms for
Convolutional Neural Networks; Cook-Toom: Blahut (2010), Fast Algorithms for Signal Processing, chapter 5.
The points 0, +-1, +-2, +-1/2 lose the fewest digits (searched over fractions between 1/4 and 4).
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
_LONGEST_TILE = len(_POINTS) + 1
_LARGEST_STEP = 4
# Transformed tiles of one chunk of images: a few megabytes stay in the caches between the products.
_CHUNK_BYTES = 8 * 2**20
# Below this many inputs the transforms cost more than the products they save.
_FEW_CHANNELS = 8


@functools.cache
def cook_toom(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices A^T (m, n), G (n, r) and B^T (n, n) of the minimal filter F(m, r), n = m + r - 1.

    `A^T [(G g) * (B^T d)]` is the correlation `y_i = sum_k g_k d_(i+k)`, i < m. In float64.
    Raises ValueError if n is above 8: float32 would then lose more digits than `conv2d` promises.
    """
    n = m + r - 1
    if m < 1 or r < 1 or n > _LONGEST_TILE:
        raise ValueError(f"cook_toom(m={m}, r={r}) needs m >= 1, r >= 1 and m + r - 1 <= {_LONGEST_TILE}.")
    points = np.array(_POINTS[: n - 1])
    powers = lambda width: np.vander(points, width, increasing=True)
    at, g, bt = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    at[:, :-1], at[-1, -1] = powers(m).T, 1.0
    for i, point in enumerate(points):
        others = np.delete(points, i)
        g[i] = powers(r)[i] / np.prod(point - others)
        bt[i, :-1] = np.atleast_1d(np.poly(others))[::-1]
    g[-1, -1] = 1.0
    bt[-1] = np.atleast_1d(np.poly(points))[::-1]
    return at, g, bt


class Axis(NamedTuple):
    """One spatial axis of a convolution: `size` inputs, `padding` zeros on each side, `taps` weights."""

    size: int
    padding: int
    taps: int

    @property
    def out(self) -> int:
        """Length of the output."""
        return self.size + 2 * self.padding - self.taps + 1

    @property
    def step(self) -> int:
        """Outputs of one tile, m."""
        return min(_LARGEST_STEP, _LONGEST_TILE + 1 - self.taps)

    @property
    def points(self) -> int:
        """Inputs of one tile, n."""
        return self.step + self.taps - 1

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.ceil(self.out / self.step)

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros that make the input whole blocks of m, so that every tile is a union of blocks."""
        blocks = self.tiles - 1 + math.ceil(self.points / self.step)
        return self.padding, blocks * self.step - self.size - self.padding


def pays(inputs: int, rows: Axis, columns: Axis) -> bool:
    """Whether the filter saves at least half of the products and has channels enough to repay its transforms."""
    if inputs < _FEW_CHANNELS or max(rows.taps, columns.taps) >= _LONGEST_TILE:
        return False
    products = rows.tiles * rows.points * columns.tiles * columns.points
    return 2 * products <= rows.out * rows.taps * columns.out * columns.taps


def convolve(
    x: Float[Array, "n h w inputs"], kernel: Float[Array, "kh kw inputs outputs"], rows: Axis, columns: Axis
) -> Float[Array, "n h2 w2 outputs"]:
    """The correlation of images with a kernel."""
    taps = jnp.einsum("ai,bj,ijco->baco", _matrix(1, rows, x), _matrix(1, columns, x), kernel)
    taps = taps.reshape(-1, *kernel.shape[2:])
    leave = jnp.kron(_matrix(0, columns, x), _matrix(0, rows, x))

    def chunk(images: Array) -> Array:
        products = jnp.einsum("ptc,pco->pto", _input_tiles(images, rows, columns), taps)
        blocks = leave @ products.reshape(leave.shape[1], -1)
        shape = (columns.step, rows.step, images.shape[0], rows.tiles, columns.tiles, taps.shape[2])
        y = jnp.transpose(blocks.reshape(shape), (2, 3, 1, 4, 0, 5))
        y = y.reshape(images.shape[0], rows.tiles * rows.step, columns.tiles * columns.step, taps.shape[2])
        return y[:, : rows.out, : columns.out]

    size = _chunk_size(x.shape[0], rows, columns, max(kernel.shape[2:]))
    return _unsplit(jax.lax.map(chunk, _split(x, size)), x.shape[0])


def kernel_gradient(
    x: Float[Array, "n h w inputs"], cotangent: Float[Array, "n h2 w2 outputs"], rows: Axis, columns: Axis
) -> Float[Array, "kh kw inputs outputs"]:
    """The gradient of `sum(convolve(x, kernel) * cotangent)` by the kernel."""
    inputs, outputs = x.shape[3], cotangent.shape[3]
    spread = jnp.kron(_matrix(0, columns, x), _matrix(0, rows, x)).T

    def chunk(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        images, slopes = pair
        ends = ((0, 0), *((0, axis.tiles * axis.step - axis.out) for axis in (rows, columns)), (0, 0))
        shape = (-1, rows.tiles, rows.step, columns.tiles, columns.step, outputs)
        blocks = jnp.transpose(jnp.pad(slopes, ends).reshape(shape), (4, 2, 0, 1, 3, 5))
        slopes = (spread @ blocks.reshape(spread.shape[1], -1)).reshape(spread.shape[0], -1, outputs)
        return total + jnp.einsum("ptc,pto->pco", _input_tiles(images, rows, columns), slopes), None

    size = _chunk_size(x.shape[0], rows, columns, max(inputs, outputs))
    total = jnp.zeros((spread.shape[0], inputs, outputs), x.dtype)
    total, _ = jax.lax.scan(chunk, total, (_split(x, size), _split(cotangent, size)))
    total = total.reshape(columns.points, rows.points, inputs, outputs)
    return jnp.einsum("ai,bj,baco->ijco", _matrix(1, rows, x), _matrix(1, columns, x), total)


def _matrix(which: int, axis: Axis, like: Array) -> Array:
    return jnp.asarray(cook_toom(axis.step, axis.taps)[which], like.dtype)


def _input_tiles(images: Array, rows: Axis, columns: Axis) -> Float[Array, "points tiles inputs"]:
    inputs = images.shape[3]
    images = jnp.pad(images, ((0, 0), rows.pads, columns.pads, (0, 0)))
    lines = _transformed(_matrix(2, rows, images), images, rows)
    lines = lines.reshape(-1, *lines.shape[3:])
    tiles = _transformed(_matrix(2, columns, images), lines, columns)
    return tiles.reshape(rows.points * columns.points, -1, inputs)


def _transformed(
    matrix: Float[Array, "points points"], x: Float[Array, "n length *rest"], axis: Axis
) -> Float[Array, "points n tiles *rest"]:
    """Multiplies every overlapping tile of the second axis by `matrix`."""
    blocks = jnp.moveaxis(x.reshape(x.shape[0], -1, axis.step, *x.shape[2:]), 2, 0)
    later = range(0, axis.points, axis.step)
    tile = [blocks[: axis.points - i, :, i // axis.step : i // axis.step + axis.tiles] for i in later]
    tile = jnp.concatenate(tile)
    return (matrix @ tile.reshape(axis.points, -1)).reshape(tile.shape)


def _chunk_size(n: int, rows: Axis, columns: Axis, channels: int) -> int:
    bytes_each = rows.tiles * rows.points * columns.tiles * columns.points * channels * 4
    most = min(n, max(1, _CHUNK_BYTES // bytes_each))
    even = next((size for size in range(most, most // 2, -1) if n % size == 0), None)
    return even or math.ceil(n / math.ceil(n / most))


def _split(x: Array, size: int) -> Array:
    chunks = math.ceil(x.shape[0] / size)
    x = jnp.pad(x, ((0, chunks * size - x.shape[0]), *((0, 0),) * (x.ndim - 1)))
    return x.reshape(chunks, size, *x.shape[1:])


def _unsplit(x: Array, n: int) -> Array:
    return x.reshape(-1, *x.shape[2:])[:n]
