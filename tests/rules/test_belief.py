"""The product of Gaussians against NumPy, its divergence against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import mutatis
from mutatis import nn

KEY = jax.random.key(0)


def rule(latent=2):
    return mutatis.Belief(nn.mlp((3, 8, 2 * latent), key=KEY, dtype=jnp.float64), latent, jnp.float64)


def test_belief_is_the_normalised_product_of_all_factors():
    made, rows = rule(latent=1), np.random.default_rng(0).normal(size=(4, 3))
    adapted = mutatis.adapt(mutatis.Learner(lambda x: x, made), jnp.array(rows), key=KEY)
    outputs = np.asarray(made.net(jnp.array(rows)))
    z = np.linspace(-8, 8, 40_001)
    density = stats.norm.pdf(z)
    for mean, raw in outputs:
        density = density * stats.norm.pdf(z, mean, np.sqrt(np.log1p(np.exp(raw))))
    density /= integrate.simpson(density, x=z)
    mean = integrate.simpson(z * density, x=z)
    assert float(adapted.mean[0]) == pytest.approx(mean, abs=1e-9)
    assert float(adapted.variance[0]) == pytest.approx(integrate.simpson((z - mean) ** 2 * density, x=z), abs=1e-9)
    divergence = integrate.simpson(density * np.log(density / stats.norm.pdf(z)), x=z)
    assert float(adapted.divergence()) == pytest.approx(divergence, abs=1e-8)


def test_without_context_it_is_the_prior_and_rows_can_be_left_out():
    made, rows = rule(), jnp.array(np.random.default_rng(0).normal(size=(4, 3)))
    nothing = made.bind(None, made.init(None))
    np.testing.assert_array_equal(nothing.mean, 0)
    np.testing.assert_array_equal(nothing.variance, 1)
    assert float(nothing.divergence()) == 0
    some = made.weigh(rows, jnp.array([1.0, 0.0, 1.0, 0.0]))
    for left, right in zip(some, made.measure(None, rows[::2], key=KEY), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_draws_are_of_the_belief_and_the_model_sees_the_mean():
    made = mutatis.Believing(lambda x: x, jnp.array([1.0, -2.0]), jnp.array([0.25, 4.0]))
    drawn = jax.vmap(made.draw)(jax.random.split(KEY, 20_000))
    np.testing.assert_allclose(drawn.mean(axis=0), made.mean, atol=0.05)
    np.testing.assert_allclose(drawn.var(axis=0), made.variance, rtol=0.05)
    np.testing.assert_array_equal(made(jnp.zeros((2, 1))), [[0, 1, -2], [0, 1, -2]])


def test_a_net_of_another_size_is_refused():
    with pytest.raises(ValueError, match="a belief of 3 needs twice that"):
        mutatis.Belief(nn.mlp((3, 4), key=KEY), 3).measure(None, jnp.zeros((2, 3)), key=KEY)
