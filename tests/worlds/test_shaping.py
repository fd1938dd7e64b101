"""The soft indicators of the rewards against those of the original."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("metaworld", reason="the original's rewards are not installed: pip install 'mutatis[worlds]'")

from metaworld.utils.reward_utils import hamacher_product, tolerance

from mutatis.worlds._shaping import both, gaussian, long_tail

SIGMOIDS = {"long_tail": long_tail, "gaussian": gaussian}
POINTS = np.array([-3.0, -0.31, -0.2, -1e-9, 0.0, 1e-9, 0.05, 0.1, 0.1000001, 0.15, 0.3, 2.0])
BOUNDS = [(0.0, 0.1), (-0.2, 0.05), (0.0, 0.0), (-np.inf, 0.1), (0.1, np.inf)]
MARGINS = (0.0, 1e-6, 0.05, 0.3, 4.0)

real = st.floats(-10, 10, allow_subnormal=False)
unit = st.just(0.0) | st.floats(1e-12, 1)


def expected(x, bounds, margin, sigmoid):
    return np.array([tolerance(float(each), bounds, float(margin), sigmoid) for each in x])


@pytest.mark.parametrize("sigmoid", SIGMOIDS)
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("xp", [np, jnp])
def test_soft_indicators_on_a_grid(sigmoid, bounds, margin, xp):
    ours = SIGMOIDS[sigmoid](xp.asarray(POINTS), *bounds, margin)
    np.testing.assert_allclose(ours, expected(POINTS, bounds, margin, sigmoid), rtol=1e-13, atol=1e-40)


@pytest.mark.parametrize("sigmoid", SIGMOIDS)
@pytest.mark.parametrize("xp", [np, jnp])
def test_soft_indicators_with_a_margin_for_each_world(sigmoid, xp):
    x, margins = (grid.reshape(-1) for grid in np.meshgrid(POINTS, MARGINS))
    ours = SIGMOIDS[sigmoid](xp.asarray(x), 0.0, 0.1, xp.asarray(margins))
    theirs = [expected([each], (0.0, 0.1), margin, sigmoid)[0] for each, margin in zip(x, margins, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-40)


@pytest.mark.parametrize("sigmoid", SIGMOIDS)
def test_bounds_for_each_world(sigmoid):
    lower, upper = np.array([0.0, -1.0, 0.5]), np.array([0.1, -0.5, 0.5])
    x = np.array([0.3, 0.0, 0.5])
    theirs = [tolerance(*row[:1], tuple(row[1:]), 0.2, sigmoid) for row in np.column_stack([x, lower, upper]).tolist()]
    np.testing.assert_allclose(SIGMOIDS[sigmoid](x, lower, upper, 0.2), theirs, rtol=1e-13)


@given(x=real, lower=real, width=st.floats(0, 5), margin=st.floats(1e-3, 5))
def test_soft_indicators_anywhere(x, lower, width, margin):
    bounds = (lower, lower + width)
    for sigmoid, ours in SIGMOIDS.items():
        value = ours(np.array([x]), *bounds, margin)[0]
        assert 0 <= value <= 1
        np.testing.assert_allclose(value, tolerance(x, bounds, margin, sigmoid), rtol=1e-9, atol=1e-40)


@pytest.mark.parametrize("ours", SIGMOIDS.values())
def test_at_a_margin_s_distance_a_tenth_is_left(ours):
    np.testing.assert_allclose(ours(np.array([-0.3, 0.7]), 0.0, 0.4, 0.3), 0.1, rtol=1e-12)


@pytest.mark.parametrize("ours", SIGMOIDS.values())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_margin_gives_an_indicator_in_any_precision(ours, dtype):
    x = jnp.array([-0.5, 0.05, 0.5], dtype)
    for margin in (0.0, jnp.zeros(3, dtype)):
        value = ours(x, 0.0, 0.1, margin)
        assert value.dtype == dtype
        np.testing.assert_allclose(value, [0, 1, 0], rtol=0, atol=1e-40)


@pytest.mark.parametrize("xp", [np, jnp])
def test_both_on_a_grid(xp):
    a, b = (grid.reshape(-1) for grid in np.meshgrid(np.linspace(0, 1, 21), [0.0, 1e-12, 0.3, 0.97, 1.0]))
    theirs = [hamacher_product(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(both(xp.asarray(a), xp.asarray(b)), theirs, rtol=1e-14)


@given(a=unit, b=unit)
def test_both_is_a_soft_and(a, b):
    value = both(np.array([a]), np.array([b]))[0]
    assert value == both(np.array([b]), np.array([a]))[0]
    assert 0 <= value <= min(a, b) * (1 + 1e-12)
    np.testing.assert_allclose(value, hamacher_product(a, b), rtol=1e-12)
    np.testing.assert_allclose(both(np.array([a]), np.ones(1)), [a], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_of_nothing_is_nothing(dtype):
    value = both(jnp.zeros(2, dtype), jnp.array([0, 0.5], dtype))
    np.testing.assert_array_equal(value, np.zeros(2, dtype), strict=True)
