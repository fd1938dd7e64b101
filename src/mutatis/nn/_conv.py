"""Convolutions, channels last and stride 1, that are fast on a CPU core as well.

XLA's own convolution on a CPU, and its gradients above all, are several times slower than its matrix product.
Here a convolution is an operation of its own, linear in the images and in the kernel. Its gradient by the images
is again a convolution, its gradient by the kernel a second operation, and both are differentiable to any order,
forwards and backwards. Each says by itself how it is computed on a CPU (Winograd's filter, or one matrix product)
and elsewhere (XLA's convolution), and what `vmap` does: over images alone there are only more images, over kernels
the tasks follow each other on a CPU.
"""

import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from mutatis.nn import _winograd
from mutatis.nn._winograd import Axis

Pair = tuple[int, int]


def conv2d(
    x: Float[Array, "n h w inputs"], kernel: Float[Array, "kh kw inputs outputs"], *, padding: int
) -> Float[Array, "n h2 w2 outputs"]:
    """Correlates images with a kernel, stride 1, `padding` zeros on each side: h2 = h + 2 padding - kh + 1.

    How it is computed changes only the rounding. On a CPU in float32, Winograd's F(4x4, kh x kw) serves eight or
    more input channels, and one matrix product over unfolded images fewer; elsewhere (accelerators, float64)
    XLA's own convolution. The choice follows from static shapes.

    Winograd's largest error against a float64 sum is about 1e-5 of the largest output (4e-6 of it in the root
    mean square); the two gradients' errors are alike.

    Raises ValueError if the channels disagree or the padded image is smaller than the kernel.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            "x must be (n, h, w, inputs) and kernel (kh, kw, inputs, outputs) with the same inputs; "
            f"got x {x.shape} and kernel {kernel.shape}."
        )
    if any(s + 2 * padding < k for s, k in zip(x.shape[1:3], kernel.shape[:2], strict=True)):
        raise ValueError(
            f"x is {x.shape[1]}x{x.shape[2]}, which with padding={padding} is smaller than the "
            f"{kernel.shape[0]}x{kernel.shape[1]} kernel; pad more or use larger images."
        )
    # The gradient by the images pads by taps - 1 - padding: what exceeds that is padded beforehand.
    inside = tuple(min(padding, taps - 1) for taps in kernel.shape[:2])
    beyond = [(padding - p, padding - p) for p in inside]
    x = jnp.pad(x, [(0, 0), *beyond, (0, 0)]) if any(map(any, beyond)) else x
    dtype = jnp.result_type(x, kernel)
    return _conv_p.bind(x.astype(dtype)[None], kernel.astype(dtype)[None], padding=inside)[0]


# Both operations take stacks: one leading axis for tasks that have a kernel of their own.
_conv_p = Primitive("channels_last_conv")  # x (t, n, h, w, c), kernel (t, kh, kw, c, o) -> (t, n, h2, w2, o)
_kernel_p = Primitive("channels_last_conv_kernel_gradient")  # x, cotangent (t, n, h2, w2, o) -> (t, kh, kw, c, o)


def _axes(x_shape: tuple[int, ...], other: Pair, padding: Pair) -> tuple[Axis, Axis]:
    """The two spatial axes of a convolution of (n, h, w, c), given the kernel's lengths (or, alike, the output's)."""
    rows, columns = (Axis(s, p, length) for s, p, length in zip(x_shape[-3:-1], padding, other, strict=True))
    return rows, columns


def _taps(x_shape: tuple[int, ...], out_shape: tuple[int, ...], padding: Pair) -> Pair:
    rows, columns = (s + 2 * p - o + 1 for s, p, o in zip(x_shape[-3:-1], padding, out_shape[-3:-1], strict=True))
    return rows, columns


def _conv_shape(x, kernel, *, padding):
    rows, columns = _axes(x.shape, kernel.shape[1:3], padding)
    return x.update(shape=(*x.shape[:2], rows.out, columns.out, kernel.shape[4]))


def _kernel_shape(x, cotangent, *, padding):
    return x.update(shape=(x.shape[0], *_taps(x.shape, cotangent.shape, padding), x.shape[4], cotangent.shape[4]))


def _conv_on_cpu(x, kernel, *, padding):
    rows, columns = _axes(x.shape, kernel.shape[1:3], padding)
    if x.dtype != jnp.float32:
        return _conv_by_xla(x, kernel, padding=padding)
    if _winograd.pays(x.shape[4], rows, columns):
        return _each(lambda x, kernel: _winograd.convolve(x, kernel, rows, columns), x, kernel)
    return _each(lambda x, kernel: _unfolded(x, kernel, rows, columns), x, kernel)


def _kernel_on_cpu(x, cotangent, *, padding):
    rows, columns = _axes(x.shape, _taps(x.shape, cotangent.shape, padding), padding)
    if x.dtype != jnp.float32:
        return _kernel_by_xla(x, cotangent, padding=padding)
    if _winograd.pays(x.shape[4], rows, columns):
        return _each(lambda x, slopes: _winograd.kernel_gradient(x, slopes, rows, columns), x, cotangent)
    return _each(lambda x, slopes: _unfolded_gradient(x, slopes, rows, columns), x, cotangent)


def _each(one: Callable[[Array, Array], Array], left: Array, right: Array) -> Array:
    if left.shape[0] == 1:
        return one(left[0], right[0])[None]
    return jax.lax.map(lambda pair: one(*pair), (left, right))


def _patches(x: Array, rows: Axis, columns: Axis) -> Float[Array, "pixels taps*inputs"]:
    x = jnp.pad(x, ((0, 0), (rows.padding,) * 2, (columns.padding,) * 2, (0, 0)))
    shifts = [x[:, i : i + rows.out, j : j + columns.out] for i in range(rows.taps) for j in range(columns.taps)]
    return jnp.concatenate(shifts, -1).reshape(-1, len(shifts) * x.shape[3])


def _unfolded(x: Array, kernel: Array, rows: Axis, columns: Axis) -> Array:
    y = _patches(x, rows, columns) @ kernel.reshape(-1, kernel.shape[3])
    return y.reshape(x.shape[0], rows.out, columns.out, kernel.shape[3])


def _unfolded_gradient(x: Array, cotangent: Array, rows: Axis, columns: Axis) -> Array:
    outputs = cotangent.shape[3]
    kernel = jnp.einsum("zp,zo->po", _patches(x, rows, columns), cotangent.reshape(-1, outputs))
    return kernel.reshape(rows.taps, columns.taps, x.shape[3], outputs)


def _conv_by_xla(x, kernel, *, padding):
    pads = [(p, p) for p in padding]
    one = lambda x, kernel: jax.lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return one(x[0], kernel[0])[None] if x.shape[0] == 1 else jax.vmap(one)(x, kernel)


def _kernel_by_xla(x, cotangent, *, padding):
    shape = (x.shape[0], *_taps(x.shape, cotangent.shape, padding), x.shape[4], cotangent.shape[4])
    by_kernel = functools.partial(_conv_by_xla, x, padding=padding)
    return jax.linear_transpose(by_kernel, jax.ShapeDtypeStruct(shape, x.dtype))(cotangent)[0]


def _conv_transposed(cotangent, kernel, *, padding):
    """The gradient by the images: the cotangent correlated with the turned kernel."""
    turned = jnp.swapaxes(jnp.flip(kernel, (1, 2)), 3, 4)
    back = tuple(taps - 1 - p for taps, p in zip(kernel.shape[1:3], padding, strict=True))
    return _conv_p.bind(cotangent, turned, padding=back)


def _batched(primitive, shared_second: bool, args, dims, *, padding):
    """`vmap`: an axis that only the images have is more images, an axis of both is more tasks."""
    (x, other), (x_dim, other_dim) = args, dims
    size = x.shape[x_dim] if x_dim is not None else other.shape[other_dim]
    x = _leading(x, x_dim, size)
    if shared_second and other_dim is None:
        tasks, n = x.shape[1:3]
        x = jnp.moveaxis(x, 0, 1).reshape(tasks, size * n, *x.shape[3:])
        y = primitive.bind(x, other, padding=padding)
        return y.reshape(tasks, size, n, *y.shape[2:]), 1
    other = _leading(other, other_dim, size)
    tasks = x.shape[1]
    x, other = (a.reshape(size * tasks, *a.shape[2:]) for a in (x, other))
    y = primitive.bind(x, other, padding=padding)
    return y.reshape(size, tasks, *y.shape[1:]), 0


def _leading(x: Array, dim: int | None, size: int) -> Array:
    return jnp.broadcast_to(x[None], (size, *x.shape)) if dim is None else jnp.moveaxis(x, dim, 0)


def _define(primitive, shape_rule, on_cpu, by_xla, shared_second: bool):
    run = jax.jit(primitive.bind, static_argnames="padding")
    primitive.def_impl(run)
    primitive.def_abstract_eval(shape_rule)
    mlir.register_lowering(primitive, mlir.lower_fun(by_xla, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu, multiple_results=False), platform="cpu")
    batching.primitive_batchers[primitive] = functools.partial(_batched, primitive, shared_second)


_define(_conv_p, _conv_shape, _conv_on_cpu, _conv_by_xla, shared_second=True)
_define(_kernel_p, _kernel_shape, _kernel_on_cpu, _kernel_by_xla, shared_second=False)
ad.defbilinear(
    _conv_p,
    lambda ct, x, kernel, *, padding: _conv_transposed(ct, kernel, padding=padding),
    lambda ct, x, kernel, *, padding: _kernel_p.bind(x, ct, padding=padding),
)
ad.defbilinear(
    _kernel_p,
    lambda ct, x, cotangent, *, padding: _conv_transposed(cotangent, ct, padding=padding),
    lambda ct, x, cotangent, *, padding: _conv_p.bind(x, ct, padding=padding),
)


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

    Three maxima of slices: on a CPU, value and gradient take a twentieth of XLA's windowed maximum (5 ms against
    105 ms for 50 x 24 x 24 x 128).
    """
    n, h, w, c = x.shape
    if h < 2 or w < 2:
        raise ValueError(f"x is {h}x{w}; pooling 2x2 blocks needs at least 2x2.")
    blocks = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return jnp.maximum(
        jnp.maximum(blocks[:, :, 0, :, 0], blocks[:, :, 0, :, 1]),
        jnp.maximum(blocks[:, :, 1, :, 0], blocks[:, :, 1, :, 1]),
    )
