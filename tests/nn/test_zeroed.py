"""Heads that are zero until they adapt."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import mutatis
from mutatis import nn

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).standard_normal((9, 4)))
Y = jnp.asarray(np.random.default_rng(1).standard_normal((9, 2)))


def squared(model, context):
    inputs, targets = context
    return jnp.mean((model(inputs) - targets) ** 2)


def network():
    return nn.ZeroedHead(nn.mlp((4, 6, 5), key=KEY, dtype=jnp.float64), 5, 2, dtype=jnp.float64)


def test_a_step_from_zero_is_the_products_of_features_and_targets():
    """Of a mean square its gradient is -2 / (rows x outputs) Z'Y: what Kao et al. 2022 call memorising the context."""
    model, rate = network(), 0.3
    np.testing.assert_array_equal(model(X), np.zeros((9, 2)))
    rule = mutatis.GradientSteps(squared, learning_rate=rate, where=nn.zeroed_heads)
    adapted = mutatis.adapt(mutatis.Learner(model, rule), (X, Y), key=KEY)
    features = np.asarray(model.body(X))
    weight, bias = 2 * rate / Y.size * features.T @ Y, 2 * rate / Y.size * Y.sum(axis=0)
    np.testing.assert_allclose(adapted(X), np.asarray(features @ weight) + np.asarray(bias), rtol=1e-6)


def test_the_outer_loop_trains_the_body_and_leaves_the_head_at_zero():
    rule = mutatis.GradientSteps(squared, learning_rate=0.3, where=nn.zeroed_heads)
    learner = mutatis.Learner(network(), rule)
    params, static = eqx.partition(learner, mutatis.trainable(learner))

    def loss(params):
        learner = eqx.combine(params, static)
        return squared(mutatis.adapt(learner, (X, Y), key=KEY), (X, Y))

    gradient = jax.grad(loss)(params).model
    assert jax.tree.leaves(gradient.head) == []
    assert all(float(jnp.abs(leaf).max()) > 1e-3 for leaf in jax.tree.leaves(gradient.body))


def test_heads_are_found_wherever_they_are_and_nothing_else():
    model = {"policy": [nn.UntoldTask(network()), jnp.zeros(3)], "name": "x"}
    chosen = eqx.filter(model, nn.zeroed_heads(model))
    assert [leaf.shape for leaf in jax.tree.leaves(chosen)] == [(5, 2), (2,)]
    assert jax.tree.leaves(eqx.filter(jnp.ones(2), nn.zeroed_heads(jnp.ones(2)))) == []
