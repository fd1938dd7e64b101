"""Squeezed Gaussians against numerical integration and the change of variables written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from mutatis.rl import TanhGaussian


def density(a, mean, std):
    """Of tanh(u), u Gaussian, by the change of variables."""
    return scipy.stats.norm.pdf(np.arctanh(a), mean, std) / (1 - a**2)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.5, 0.5), (2.0, -2.0)])
def test_log_density_of_samples_is_that_of_the_change_of_variables(mean, log_std):
    policy = TanhGaussian(jnp.full((100, 1), mean), jnp.full((100, 1), log_std))
    action, log_prob = policy.sample(jax.random.key(0))
    expected = np.log(density(np.asarray(action[:, 0]), mean, np.exp(log_std)))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.5, 0.5)])
def test_mean_log_density_is_the_negative_entropy(mean, log_std):
    rows = 200_000
    policy = TanhGaussian(jnp.full((rows, 1), mean), jnp.full((rows, 1), log_std))
    _, log_prob = policy.sample(jax.random.key(1))
    std = np.exp(log_std)
    integrand = lambda u: scipy.stats.norm.pdf(u, mean, std) * np.log(density(np.tanh(u), mean, std))
    negative_entropy, _ = scipy.integrate.quad(integrand, mean - 6 * std, mean + 6 * std)
    error = float(jnp.std(log_prob)) / rows**0.5
    assert abs(float(log_prob.mean()) - negative_entropy) < 4 * error


def test_coordinates_are_independent_and_actions_stay_inside():
    means, log_stds = jnp.array([[0.3, -0.4, 3.0]]), jnp.array([[-1.0, 0.2, 1.0]])
    key = jax.random.key(2)
    action, log_prob = TanhGaussian(means, log_stds).sample(key)
    expected = sum(
        np.log(density(np.asarray(action[0, k]), float(means[0, k]), np.exp(float(log_stds[0, k])))) for k in range(3)
    )
    np.testing.assert_allclose(log_prob[0], expected, rtol=1e-9)
    assert jnp.all(jnp.abs(action) < 1)


def test_far_out_the_density_stays_finite():
    policy = TanhGaussian(jnp.full((1, 2), 400.0), jnp.full((1, 2), -20.0))
    _, log_prob = policy.sample(jax.random.key(0))
    gradient = jax.grad(lambda mean: TanhGaussian(mean, policy.log_std).sample(jax.random.key(0))[1].sum())(policy.mean)
    assert jnp.isfinite(log_prob).all() and jnp.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, 2.0)  # d/du of -2 (log 2 - u - softplus(-2u)) where tanh is 1


def test_outputs_become_means_and_bounded_deviations():
    policy = TanhGaussian.of(jnp.array([[1.0, -2.0, 5.0, -30.0]]))
    assert policy.mean.tolist() == [[1.0, -2.0]] and policy.log_std.tolist() == [[2.0, -20.0]]
    np.testing.assert_allclose(policy.mode, np.tanh([[1.0, -2.0]]))
