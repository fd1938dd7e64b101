"""Convolutions that are fast on a CPU core, channels last: Winograd's minimal filter, or one matrix product.

Correlating n = m + r - 1 numbers with r taps gives m outputs. By Cook and Toom's interpolation through n
points (one of them infinity) this takes n products instead of m r:

    y = A^T [(G g) * (B^T d)]            in two dimensions   Y = A^T [(G g G^T) * (B^T d B)] A

Over channels the elementwise products become n^2 matrix products (tiles x inputs) (inputs x outputs). For 5x5
kernels and m = 4 that is 64 products for every 400 of the plain sum. XLA's own convolution on a CPU, and its
gradients above all, are several times slower than its matrix product; this file uses the latter alone.

Sources: Winograd (1980), Arithmetic Complexity of Computations; Lavin and Gray (2016), Fast Algorithms for
Convolutional Neural Networks; Cook-Toom: Blahut (2010), Fast Algorithms for Signal Processing, chapter 5.
The points 0, +-1, +-2, +-1/2 lose the fewest digits (searched over fractions between 1/4 and 4).
"""

import functools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

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


def conv2d(
    x: Float[Array, "n h w inputs"], kernel: Float[Array, "kh kw inputs outputs"], *, padding: int
) -> Float[Array, "n h2 w2 outputs"]:
    """Correlates images with a kernel, stride 1, `padding` zeros on each side: h2 = h + 2 padding - kh + 1.

    How it is computed changes only the rounding. On a CPU in float32, Winograd's F(4x4, kh x kw) serves
    eight or more input channels, and one matrix product over unfolded images fewer; elsewhere (accelerators,
    float64) XLA's own convolution. The choice is made from static shapes when the function is traced. It is
    differentiable to any order in both arguments, and `vmap` over kernels stays a batched matrix product.

    Winograd's largest error against a float64 sum is about 1e-5 of the largest output (4e-6 of it in the root
    mean square); the two gradients' errors are alike.

    Raises ValueError if the channels disagree or the padded image is smaller than the kernel.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            "x must be (n, h, w, inputs) and kernel (kh, kw, inputs, outputs) with the same inputs; "
            f"got x {x.shape} and kernel {kernel.shape}."
        )
    out_h, out_w = (s + 2 * padding - k + 1 for s, k in zip(x.shape[1:3], kernel.shape[:2], strict=True))
    if out_h < 1 or out_w < 1:
        raise ValueError(
            f"x is {x.shape[1]}x{x.shape[2]}, which with padding={padding} is smaller than the "
            f"{kernel.shape[0]}x{kernel.shape[1]} kernel; pad more or use larger images."
        )
    if jax.default_backend() != "cpu" or x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
        pads = [(padding, padding)] * 2
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    if _winograd_pays(kernel.shape, out_h, out_w):
        return _winograd(x, kernel, padding=padding, out_h=out_h, out_w=out_w)
    return _unfolded(x, kernel, padding=padding, out_h=out_h, out_w=out_w)


def _step(taps: int) -> int:
    return min(_LARGEST_STEP, _LONGEST_TILE + 1 - taps)


def _winograd_pays(shape: Sequence[int], out_h: int, out_w: int) -> bool:
    kh, kw, inputs, _ = shape
    if inputs < _FEW_CHANNELS or min(_step(kh), _step(kw)) < 2:
        return False
    tiles = math.ceil(out_h / _step(kh)) * math.ceil(out_w / _step(kw))
    per_tile = (_step(kh) + kh - 1) * (_step(kw) + kw - 1)
    return 2 * tiles * per_tile <= out_h * out_w * kh * kw


# Compiled calls: a repeated convolution of the same arrays is then one traced program, which the outer step
# recognises and runs once (see `mutatis._share`); a fresh loop or checkpoint would not be.
@functools.partial(jax.jit, static_argnames=("padding", "out_h", "out_w"))
def _unfolded(x: Array, kernel: Array, padding: int, out_h: int, out_w: int) -> Array:
    kh, kw, inputs, outputs = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    # Channels first: with few of them, each copied run is then a row of pixels and not a handful of channels.
    x = jnp.moveaxis(x, 3, 0)
    shifts = [x[None, :, :, i : i + out_h, j : j + out_w] for i in range(kh) for j in range(kw)]
    patches = jnp.concatenate(shifts).reshape(kh * kw * inputs, -1)
    y = jnp.einsum("pz,po->zo", patches, kernel.reshape(-1, outputs))
    return y.reshape(x.shape[1], out_h, out_w, outputs)


@functools.partial(jax.jit, static_argnames=("padding", "out_h", "out_w"))
def _winograd(x: Array, kernel: Array, padding: int, out_h: int, out_w: int) -> Array:
    kh, kw, inputs, outputs = kernel.shape
    (mh, mw), n = (_step(kh), _step(kw)), x.shape[0]
    down, across = math.ceil(out_h / mh), math.ceil(out_w / mw)
    points = (mh + kh - 1) * (mw + kw - 1)
    chunks = math.ceil(n * down * across * points * max(inputs, outputs) * x.dtype.itemsize / _CHUNK_BYTES)
    size = math.ceil(n / min(chunks, n))
    chunks = math.ceil(n / size)

    x = jnp.pad(
        x,
        (
            (0, chunks * size - n),
            _whole_blocks(x.shape[1], padding, down, mh, kh),
            _whole_blocks(x.shape[2], padding, across, mw, kw),
            (0, 0),
        ),
    )
    (ah, gh, bh), (aw, gw, bw) = (
        tuple(jnp.asarray(matrix, x.dtype) for matrix in cook_toom(m, k)) for m, k in ((mh, kh), (mw, kw))
    )
    taps = jnp.einsum("bj,ajz->baz", gw, (gh @ kernel.reshape(kh, -1)).reshape(gh.shape[0], kw, -1))
    taps = taps.reshape(points, inputs, outputs)
    leave = jnp.kron(aw, ah)

    # Transformed tiles are several times as large as the images: the backward pass computes them again.
    @jax.checkpoint
    def chunk(images: Array) -> Array:
        rows = _transformed(bh, images, mh, down)
        tiles = _transformed(bw, rows.reshape(-1, rows.shape[-2], inputs)[..., None, :], mw, across)
        products = jnp.einsum("ptc,pco->pto", tiles.reshape(points, -1, inputs), taps)
        blocks = (leave @ products.reshape(points, -1)).reshape(mw, mh, size, down, across, outputs)
        return jnp.transpose(blocks, (2, 3, 1, 4, 0, 5)).reshape(size, mh * down, mw * across, outputs)

    y = chunk(x) if chunks == 1 else jax.lax.map(chunk, x.reshape(chunks, size, *x.shape[1:]))
    return y.reshape(chunks * size, mh * down, mw * across, outputs)[:n, :out_h, :out_w]


def _whole_blocks(size: int, padding: int, tiles: int, m: int, taps: int) -> tuple[int, int]:
    """The padding that makes an image a whole number of blocks of m: every tile is then a union of blocks."""
    blocks = tiles - 1 + math.ceil((m + taps - 1) / m)
    return padding, blocks * m - size - padding


def _transformed(
    matrix: Float[Array, "points points"], x: Float[Array, "n size width channels"], m: int, tiles: int
) -> Float[Array, "points n tiles width channels"]:
    """Multiplies every overlapping tile of the second axis by `matrix`."""
    points = matrix.shape[0]
    blocks = jnp.moveaxis(x.reshape(x.shape[0], -1, m, *x.shape[2:]), 2, 0)
    tile = jnp.concatenate(
        [blocks[: points - first, :, first // m : first // m + tiles] for first in range(0, points, m)]
    )
    return (matrix @ tile.reshape(points, -1)).reshape(tile.shape)


class Conv2d(eqx.Module):
    """A convolution of images, channels last, stride 1: `conv2d(x, weight, padding) + bias`.

    Both start from U(-b, b), b = 1 / sqrt(inputs * kernel_size^2), as in PyTorch.
    """

    weight: Float[Array, "kh kw inputs outputs"]
    bias: Float[Array, " outputs"]
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        padding: int = 0,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        for name, value in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("kernel_size", kernel_size),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if padding < 0:
            raise ValueError(f"padding must not be negative, got {padding}.")
        weight_key, bias_key = jax.random.split(key)
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        bound = 1 / math.sqrt(in_channels * kernel_size**2)
        self.weight = jax.random.uniform(weight_key, shape, dtype, -bound, bound)
        self.bias = jax.random.uniform(bias_key, (out_channels,), dtype, -bound, bound)
        self.padding = padding

    def __call__(self, x: Float[Array, "n h w inputs"]) -> Float[Array, "n h2 w2 outputs"]:
        """Maps a batch of images to a batch of feature maps."""
        return conv2d(x, self.weight, padding=self.padding) + self.bias[None, None, None, :]


def max_pool2(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """The largest value of every 2x2 block; an odd last row or column is dropped, as in PyTorch.

    Written with `max` over reshaped blocks, several times as fast as XLA's windowed reduction on a CPU.
    """
    n, h, w, c = x.shape
    if h < 2 or w < 2:
        raise ValueError(f"x is {h}x{w}; pooling 2x2 blocks needs at least 2x2.")
    blocks = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return jnp.maximum(
        jnp.maximum(blocks[:, :, 0, :, 0], blocks[:, :, 0, :, 1]),
        jnp.maximum(blocks[:, :, 1, :, 0], blocks[:, :, 1, :, 1]),
    )
