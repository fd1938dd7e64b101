import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matrices import ZOO, weigh

import mutatis
from mutatis import QFair

RATE = 0.1
outer_step = eqx.filter_jit(mutatis.outer_step)


def _exact(q, rate=RATE):
    return QFair(jnp.asarray(q, jnp.float64), jnp.asarray(rate, jnp.float64))


def _published_server_update(w, local, losses, q, rate):
    """Algorithm 2 of Li et al. 2020: sums of F^q dw over sums of h, dw = L (w - w_k), L = 1 / rate."""
    lipschitz = 1 / rate
    numerator, denominator = np.zeros_like(w), 0.0
    for w_k, loss in zip(local, losses, strict=True):
        dw = lipschitz * (w - w_k)
        safe = loss + 1e-10
        numerator += safe**q * dw
        denominator += q * safe ** (q - 1) * np.sum(dw**2) + lipschitz * safe**q
    return w - numerator / denominator


@pytest.mark.parametrize("q", [0.0, 0.001, 0.5, 1.0, 2.0, 5.0, 15.0])
def test_is_the_published_server_update(q):
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, losses = rng.standard_normal(6), np.exp(rng.standard_normal(5) * 2)
        local = w + rng.standard_normal((5, 6)) * np.exp(rng.standard_normal((5, 1)))
        rows = w - local
        weights, _ = weigh(_exact(q), rows, losses=losses)
        expected = _published_server_update(w, local, losses, q, RATE)
        np.testing.assert_allclose(w - np.asarray(weights) @ rows, expected, rtol=1e-13, atol=1e-14)


def test_q_zero_is_exactly_the_average():
    for dtype in (jnp.float32, jnp.float64):
        for name, matrix in ZOO.items():
            fair, _ = weigh(QFair(0.0, RATE), matrix, dtype=dtype)
            average, _ = weigh(mutatis.Average(), matrix, dtype=dtype)
            np.testing.assert_array_equal(fair, average, err_msg=name)


def test_clients_with_a_vanished_loss_do_no_harm():
    weights, _ = weigh(_exact(2.0), np.eye(3), losses=[0.0, 1.0, 2.0])
    assert np.all(np.isfinite(weights)) and weights[0] < 1e-15 < weights[1] < weights[2]


def test_huge_losses_and_powers_do_not_overflow():
    weights, _ = weigh(QFair(15.0, RATE), np.eye(3), losses=[1e4, 2e4, 3e4], dtype=jnp.float32)
    assert np.all(np.isfinite(weights)) and np.all(weights >= 0) and weights[2] > 0


def test_federated_training_is_the_published_one_end_to_end():
    # Clients run local gradient steps on least squares; the server's new point is computed by hand.
    rng = np.random.default_rng(1)
    inputs, targets = rng.standard_normal((4, 10, 3)), rng.standard_normal((4, 10))
    w, q, rate, steps = rng.standard_normal(3), 1.5, 0.05, 4

    def loss(w, x, y):
        return np.mean((x @ w - y) ** 2)

    local = []
    for x, y in zip(inputs, targets, strict=True):
        w_k = w.copy()
        for _ in range(steps):
            w_k -= rate * 2 * x.T @ (x @ w_k - y) / len(y)
        local.append(w_k)
    losses = [loss(w, x, y) for x, y in zip(inputs, targets, strict=True)]
    expected = _published_server_update(w, local, losses, q, rate)

    def objective(model, data):
        return jnp.mean(jnp.square(data[0] @ model - data[1]))

    data = (jnp.asarray(inputs), jnp.asarray(targets))
    rule = mutatis.GradientSteps(objective, mutatis.Fixed(jnp.asarray(rate)), steps=steps)
    learner = mutatis.Learner(jnp.asarray(w), rule)
    state = mutatis.outer_init(learner, _exact(q, rate), optax.sgd(1.0), num_groups=4, key=jax.random.key(0))
    tasks = mutatis.Task(data, data, jnp.arange(4))
    after, *_ = outer_step(learner, state, tasks, objective=objective, direction=mutatis.Displacement())
    np.testing.assert_allclose(after.model, expected, rtol=1e-12)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="q is"):
        QFair(-1.0, RATE)
    with pytest.raises(ValueError, match="local_rate"):
        QFair(1.0, 0.0)
