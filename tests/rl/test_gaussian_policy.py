"""Diagonal Gaussians, against scipy and quadrature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from reach_toy import tanh_net

from core_problems import draw
from mutatis.rl._gaussian import Gaussian, GaussianPolicy


def some(seed):
    return Gaussian(draw(5, 3, seed=seed), 0.5 * draw(5, 3, seed=seed + 1))


def test_log_density_and_entropy_are_those_of_scipy():
    gaussian, x = some(0), draw(5, 3, seed=9)
    for row in range(5):
        other = scipy.stats.multivariate_normal(gaussian.mean[row], np.diag(np.exp(2 * gaussian.log_std[row])))
        np.testing.assert_allclose(gaussian.log_prob(x)[row], other.logpdf(x[row]), rtol=1e-12)
        np.testing.assert_allclose(gaussian.entropy()[row], other.entropy(), rtol=1e-12)


def test_divergence_is_the_integral():
    one, two = some(0), some(4)

    def integral(m, s, n, t):
        p, q = scipy.stats.norm(m, s), scipy.stats.norm(n, t)
        return scipy.integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), m - 12 * s, m + 12 * s)[0]

    numbers = zip(one.mean, np.exp(one.log_std), two.mean, np.exp(two.log_std), strict=True)
    expected = [sum(integral(*each) for each in zip(*row, strict=True)) for row in numbers]
    np.testing.assert_allclose(one.kl(two), expected, rtol=1e-8)
    np.testing.assert_array_equal(one.kl(one), 0)


def test_a_small_divergence_keeps_its_digits():
    # (e^2d - 1) / 2 - d = d^2 + O(d^3) loses all digits in single precision unless expm1 is used.
    narrow = Gaussian(jnp.zeros(1, jnp.float32), jnp.zeros(1, jnp.float32))
    wide = Gaussian(narrow.mean, jnp.full(1, 1e-3, jnp.float32))
    np.testing.assert_allclose(wide.kl(narrow), 1e-6, rtol=2e-2)


def test_draws_follow_the_density():
    gaussian = Gaussian(jnp.full((20_000, 1), 1.5), jnp.full((20_000, 1), -0.7))
    draws = np.ravel(gaussian.sample(key=jax.random.key(0)))
    assert scipy.stats.kstest(draws, scipy.stats.norm(1.5, np.exp(-0.7)).cdf).pvalue > 0.01


class Net(eqx.Module):
    net: object

    def __call__(self, x, task):
        return (task + 1) * self.net(x)


def test_a_policy_gives_each_task_its_own_deviation():
    net = Net(tanh_net(4, 3, 2, key=jax.random.key(0), dtype=jnp.float64))
    policy = GaussianPolicy(net, 2, num_tasks=3, std=0.5, dtype=jnp.float64)
    policy = eqx.tree_at(lambda p: p.log_std, policy, draw(3, 2))
    x = draw(3, 7, 4)
    every = jax.vmap(policy)(x, jnp.arange(3))
    for task in range(3):
        np.testing.assert_allclose(every.mean[task], (task + 1) * net.net(x[task]))
        np.testing.assert_array_equal(every.log_std[task], np.tile(policy.log_std[task], (7, 1)))


def test_deviations_stay_within_bounds():
    net = Net(tanh_net(4, 2, key=jax.random.key(0)))
    policy = GaussianPolicy(net, 2, std=1.0, min_std=0.5, max_std=1.5)
    policy = eqx.tree_at(lambda p: p.log_std, policy, jnp.array([[-9.0, 9.0]], jnp.float32))
    gaussian = policy(jnp.zeros((1, 4), jnp.float32), jnp.asarray(1))
    np.testing.assert_allclose(np.exp(gaussian.log_std[0]), [0.5, 1.5], rtol=1e-6)
    assert gaussian.log_std.dtype == jnp.float32


@pytest.mark.parametrize("bounds", [{"min_std": 0}, {"min_std": 2.0}, {"max_std": 0.5}])
def test_bounds_that_exclude_the_start_are_refused(bounds):
    with pytest.raises(ValueError, match="min_std"):
        GaussianPolicy(lambda x, task: x, 2, **bounds)
