"""Convolutions against their definition in float64, in every derivative, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun
from scipy.signal import correlate
from scipy.stats import kstest

from mutatis.nn import Conv2d, _winograd, conv2d, max_pool2
from mutatis.nn._winograd import Axis, cook_toom, pays

# (n, h, w, inputs, outputs, kernel height and width, padding), and whether Winograd's filter serves it.
CASES = [
    ((2, 28, 28, 32, 24, 5, 5, 0), True),
    ((7, 9, 13, 8, 12, 5, 5, 2), True),
    ((3, 12, 12, 32, 8, 3, 3, 1), True),
    ((2, 10, 11, 9, 4, 7, 7, 3), True),
    ((4, 11, 9, 8, 6, 3, 5, 1), True),
    ((5, 8, 8, 3, 16, 5, 5, 2), False),
    ((2, 28, 28, 1, 16, 5, 5, 2), False),
    ((2, 5, 5, 16, 7, 5, 5, 0), False),
    ((2, 6, 6, 16, 8, 1, 1, 0), False),
    ((2, 9, 8, 12, 4, 9, 8, 3), False),
    ((2, 4, 4, 2, 3, 3, 3, 4), False),
]


def direct(x, kernel, padding):
    """The definition: one matrix product for each place of the kernel."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    kh, kw = kernel.shape[:2]
    h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    shifts = jnp.stack([x[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)])
    return jnp.einsum("snhwc,sco->nhwo", shifts, kernel.reshape(-1, *kernel.shape[2:]))


def by_definition(x, kernel, slope, padding):
    """The value and the gradients of `sum(conv(x, kernel) * slope)`, written out in NumPy's float64."""
    x, kernel, slope = (np.asarray(array, np.float64) for array in (x, kernel, slope))
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y, x_gradient, kernel_gradient = np.zeros(slope.shape), np.zeros(x.shape), np.zeros(kernel.shape)
    h, w = slope.shape[1:3]
    for i, j in np.ndindex(*kernel.shape[:2]):
        here = np.s_[:, i : i + h, j : j + w]
        y += x[here] @ kernel[i, j]
        x_gradient[here] += slope @ kernel[i, j].T
        kernel_gradient[i, j] = np.tensordot(x[here], slope, ((0, 1, 2), (0, 1, 2)))
    inside = np.s_[:, padding : x.shape[1] - padding, padding : x.shape[2] - padding]
    return y, (x_gradient[inside], kernel_gradient)


def drawn(case, dtype=jnp.float32, seed=0):
    n, h, w, inputs, outputs, kh, kw, padding = case
    x_key, kernel_key, slope_key = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(x_key, (n, h, w, inputs), dtype)
    kernel = jax.random.normal(kernel_key, (kh, kw, inputs, outputs), dtype) / np.sqrt(kh * kw * inputs)
    out = (n, h + 2 * padding - kh + 1, w + 2 * padding - kw + 1, outputs)
    return x, kernel.astype(dtype), jax.random.normal(slope_key, out, dtype), padding


def with_gradients(conv):
    """The convolution and the gradients of `sum(conv(x, kernel) * slope)`, compiled."""

    @jax.jit
    def both(x, kernel, slope):
        y, pullback = jax.vjp(conv, x, kernel)
        return y, pullback(slope)

    return both


def error(value, reference):
    """Largest error in units of the reference's largest value."""
    assert value.shape == reference.shape
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    return float(np.max(np.abs(value - reference)) / np.max(np.abs(reference)))


def doubled(*arrays):
    return [array.astype(jnp.float64) for array in arrays]


@pytest.mark.parametrize(("m", "r"), [(m, r) for m in range(1, 9) for r in range(1, 10 - m)])
def test_cook_toom_is_a_correlation(m, r):
    at, g, bt = cook_toom(m, r)
    rng = np.random.default_rng(m * 10 + r)
    data, taps = rng.standard_normal(m + r - 1), rng.standard_normal(r)
    np.testing.assert_allclose(at @ ((g @ taps) * (bt @ data)), correlate(data, taps, "valid"), atol=1e-12)


@pytest.mark.parametrize(("m", "r"), [(0, 3), (3, 0), (5, 5)])
def test_cook_toom_refuses_what_it_cannot_do_accurately(m, r):
    with pytest.raises(ValueError, match="cook_toom"):
        cook_toom(m, r)


@pytest.mark.parametrize(("case", "by_winograd"), CASES)
def test_value_and_both_gradients_against_float64(case, by_winograd):
    x, kernel, slope, padding = drawn(case)
    _, h, w, inputs, _, kh, kw, _ = case
    inside = min(padding, kh - 1), min(padding, kw - 1)
    assert pays(inputs, Axis(h, inside[0], kh), Axis(w, inside[1], kw)) is by_winograd

    ours = with_gradients(lambda x, kernel: conv2d(x, kernel, padding=padding))
    y, gradients = ours(x, kernel, slope)
    expected, references = by_definition(x, kernel, slope, padding)
    assert y.dtype == jnp.float32
    assert error(y, expected) < 1.5e-5
    for gradient, exact in zip(gradients, references, strict=True):
        assert gradient.dtype == jnp.float32
        assert error(gradient, exact) < 2e-5


def test_typical_error_at_the_original_width():
    x, kernel, slope, padding = drawn((1, 28, 28, 128, 128, 5, 5, 0))
    exact, _ = by_definition(x, kernel, slope, padding)
    wrong = np.asarray(conv2d(x, kernel, padding=padding), np.float64) - exact
    assert np.sqrt(np.mean(wrong**2) / np.mean(exact**2)) < 6e-6


def second_order(conv):
    """The loss after a gradient step that depends on both arguments, as in meta-learning."""

    def inner(x, kernel):
        return jnp.sum(jnp.tanh(conv(x, kernel)) ** 2)

    def outer(x, kernel):
        x_slope, kernel_slope = jax.grad(inner, (0, 1))(x, kernel)
        rate = jnp.asarray(0.01, x.dtype)
        return jnp.sum(jnp.sin(conv(x - rate * x_slope, kernel - rate * kernel_slope)))

    return outer


@pytest.mark.parametrize("case", [(2, 11, 12, 12, 8, 5, 5, 2), (3, 9, 8, 2, 4, 3, 3, 1)])
def test_second_derivatives_reverse_over_reverse(case):
    x, kernel, _, padding = drawn(case)
    ours = jax.jit(jax.grad(second_order(lambda x, k: conv2d(x, k, padding=padding)), (0, 1)))(x, kernel)
    exact = jax.jit(jax.grad(second_order(lambda x, k: direct(x, k, padding)), (0, 1)))(*doubled(x, kernel))
    for gradient, reference in zip(ours, exact, strict=True):
        assert error(gradient, reference) < 3e-5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_hessian_vector_product_forward_over_reverse(dtype):
    x, kernel, _, padding = drawn((2, 11, 12, 12, 8, 5, 5, 1), dtype)
    direction = jnp.ones_like(kernel)

    def product(conv, x, kernel, direction):
        loss = lambda kernel: jnp.sum(jnp.tanh(conv(x, kernel, padding)) ** 2)
        return jax.jvp(jax.grad(loss), (kernel,), (direction,))[1]

    ours = product(lambda x, k, p: conv2d(x, k, padding=p), x, kernel, direction)
    assert ours.dtype == dtype
    tolerance = 3e-5 if dtype == jnp.float32 else 1e-12
    assert error(ours, product(direct, *doubled(x, kernel, direction))) < tolerance


@pytest.mark.parametrize("inputs", [2, 16])
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 2)])
def test_vmap_over_images_and_kernels_with_gradients(inputs, axes):
    x, kernel, slope, padding = drawn((3, 10, 9, inputs, 8, 5, 5, 2))
    stack = lambda array, axis: array if axis is None else jnp.stack([array, 2 * array, -array], axis)
    args = stack(x, axes[0]), stack(kernel, axes[1])

    ours = with_gradients(lambda x, kernel: conv2d(x, kernel, padding=padding))
    value, gradients = jax.jit(jax.vmap(ours, (*axes, None)))(*args, slope)
    scales = [tuple(1.0 if axis is None else s for axis in axes) for s in (1.0, 2.0, -1.0)]
    each = [by_definition(a * x, b * kernel, slope, padding) for a, b in scales]
    expected, references = jax.tree.map(lambda *parts: np.stack(parts), *each)
    assert error(value, expected) < 1.5e-5
    for gradient, reference in zip(gradients, references, strict=True):
        assert error(gradient, reference) < 2e-5


def test_nested_vmap_keeps_the_order_of_axes():
    x = jax.random.normal(jax.random.key(0), (2, 3, 2, 9, 9, 8), jnp.float32)
    kernel = jax.random.normal(jax.random.key(1), (2, 5, 5, 8, 4), jnp.float32)
    inner = jax.vmap(lambda x, k: conv2d(x, k, padding=0), (0, None))
    y = jax.jit(jax.vmap(inner))(x, kernel)
    slope = np.ones(y.shape[2:])
    for task, group in np.ndindex(2, 3):
        assert error(y[task, group], by_definition(x[task, group], kernel[task], slope, 0)[0]) < 1.5e-5


def test_vmap_over_images_adds_no_kernels():
    kernel = jnp.ones((5, 5, 8, 4), jnp.float32)
    mapped = jax.make_jaxpr(jax.vmap(lambda x: conv2d(x, kernel, padding=0)))(jnp.ones((6, 3, 9, 9, 8), jnp.float32))
    shapes = [eqn.invars[0].aval.shape for eqn in mapped.eqns if eqn.primitive.name == "channels_last_conv"]
    assert shapes == [(1, 18, 9, 9, 8)]


def test_no_convolution_of_xla_is_left_on_a_cpu():
    x, kernel, _, padding = drawn((3, 10, 9, 16, 8, 5, 5, 2))
    loss = lambda x, kernel: jnp.sum(conv2d(x, kernel, padding=padding) ** 2)
    stacked = jax.jit(jax.vmap(jax.grad(loss, (0, 1)))).lower(jnp.stack([x] * 2), jnp.stack([kernel] * 2))
    assert "stablehlo.convolution" not in stacked.as_text()


def test_other_platforms_use_their_own_convolution():
    x, kernel, _, padding = drawn((3, 10, 9, 16, 8, 5, 5, 2))
    gradients = jax.grad(lambda x, kernel: jnp.sum(conv2d(x, kernel, padding=padding) ** 2), (0, 1))
    text = jax.export.export(jax.jit(gradients), platforms=["cuda"])(x, kernel).mlir_module()
    assert text.count("stablehlo.convolution") == 3


def test_the_traced_program_runs_again_and_survives_scan():
    x, kernel, _, padding = drawn((3, 10, 9, 16, 8, 5, 5, 2))
    expected = conv2d(x, kernel, padding=padding)
    traced = jax.make_jaxpr(lambda x, k: conv2d(x, k, padding=padding))(x, kernel)
    np.testing.assert_array_equal(jaxpr_as_fun(traced)(x, kernel)[0], expected)
    _, scanned = jax.lax.scan(lambda none, x: (none, conv2d(x[None], kernel, padding=padding)[0]), None, x)
    np.testing.assert_allclose(scanned, expected, atol=1e-4)


def test_images_in_chunks_of_two_with_one_left(monkeypatch):
    n = 7
    x, kernel, slope, _ = drawn((n, 9, 10, 12, 8, 5, 5, 2))
    rows, columns = Axis(9, 2, 5), Axis(10, 2, 5)
    expected, (_, kernel_gradient) = by_definition(x, kernel, slope, 2)
    two_images = 2 * rows.tiles * columns.tiles * 64 * 12 * 4
    monkeypatch.setattr(_winograd, "_CHUNK_BYTES", two_images)
    assert _winograd._chunk_size(n, rows, columns, 12) == 2
    assert error(_winograd.convolve(x, kernel, rows, columns), expected) < 1.5e-5
    assert error(_winograd.kernel_gradient(x, slope, rows, columns), kernel_gradient) < 2e-5


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "padding", "message"),
    [
        ((2, 8, 8, 3), (5, 5, 4, 2), 0, "same inputs"),
        ((8, 8, 3), (5, 5, 3, 2), 0, "same inputs"),
        ((2, 3, 8, 3), (5, 5, 3, 2), 0, "smaller than the 5x5 kernel"),
    ],
)
def test_conv2d_refuses_bad_shapes(x_shape, kernel_shape, padding, message):
    with pytest.raises(ValueError, match=message):
        conv2d(jnp.ones(x_shape), jnp.ones(kernel_shape), padding=padding)


def test_layer_starts_as_in_pytorch_and_adds_its_bias():
    layer = Conv2d(16, 64, 5, padding=2, key=jax.random.key(0))
    assert layer.weight.shape == (5, 5, 16, 64)
    assert layer.bias.shape == (64,)
    assert layer.weight.dtype == layer.bias.dtype == jnp.float32
    bound = 1 / np.sqrt(16 * 25)
    for values in (layer.weight, layer.bias):
        assert kstest(np.asarray(values).ravel(), "uniform", (-bound, 2 * bound)).pvalue > 0.01
    x = jax.random.normal(jax.random.key(1), (3, 8, 8, 16), jnp.float32)
    y, _ = by_definition(x, layer.weight, np.ones((3, 8, 8, 64)), 2)
    assert error(layer(x), y + np.asarray(layer.bias)) < 1.5e-5


@pytest.mark.parametrize("wrong", [{"in_channels": 0}, {"kernel_size": 0}, {"padding": -1}])
def test_layer_refuses_bad_sizes(wrong):
    sizes = {"in_channels": 3, "out_channels": 4, "kernel_size": 5, "padding": 0, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Conv2d(**sizes, key=jax.random.key(0))


@pytest.mark.parametrize(("h", "w"), [(8, 8), (7, 9), (2, 3)])
def test_max_pool_against_a_windowed_maximum(h, w):
    x = jax.random.normal(jax.random.key(0), (3, h, w, 5), jnp.float64)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x), (2, 2), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_array_equal(max_pool2(x), windows.max((-1, -2)))


def test_max_pool_gradient_goes_to_the_largest():
    x = jax.random.normal(jax.random.key(0), (3, 7, 8, 5), jnp.float64)
    slope = jax.random.normal(jax.random.key(1), (3, 3, 4, 5), jnp.float64)
    gradient = jax.vjp(max_pool2, x)[1](slope)[0]
    window = lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    np.testing.assert_array_equal(gradient, jax.vjp(window, x)[1](slope)[0])


def test_max_pool_refuses_a_single_row():
    with pytest.raises(ValueError, match="at least 2x2"):
        max_pool2(jnp.ones((2, 1, 4, 3)))
