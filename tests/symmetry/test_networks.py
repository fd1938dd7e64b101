"""Conv4 against SciPy, and as a model that rules adapt."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import correlate

import mutatis
from mutatis import nn
from mutatis.nn._kronecker import KroneckerSharing
from mutatis.nn._reparameterised import materialise, reparameterise, shared_weights
from mutatis.symmetry._networks import conv4, conv4_weights, normalise

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
X = RNG.random((10, 8, 8, 1))
Y = jnp.asarray(np.arange(10) % 5)
TASK = mutatis.Task((jnp.asarray(X[:5]), Y[:5]), (jnp.asarray(X[5:]), Y[5:]), jnp.asarray(0))


def small(dtype=jnp.float64):
    return conv4(1, 3, 5, key=KEY, image_size=8, dtype=dtype)


def by_scipy(model, x):
    """The same network, a channel at a time."""
    for block in model.features.layers[:4]:
        kernel = np.asarray(block.weight)
        y = np.zeros((*x.shape[:3], kernel.shape[3]))
        for out in range(kernel.shape[3]):
            for row in range(len(x)):
                y[row, :, :, out] = sum(
                    correlate(x[row, :, :, c], kernel[:, :, c, out], mode="constant") for c in range(x.shape[3])
                )
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)
        x = np.maximum(y * np.asarray(block.scale) + np.asarray(block.shift), 0)
        if x.shape[1] > 1:
            x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))
    return x.reshape(len(x), -1) @ np.asarray(model.head.weight) + np.asarray(model.head.bias)


def test_conv4_is_scipys():
    model = small()
    shaken = jax.tree.map(lambda leaf: leaf + 0.1 * RNG.standard_normal(leaf.shape), model)
    np.testing.assert_allclose(shaken(jnp.asarray(X)), by_scipy(shaken, X), atol=1e-12)


@pytest.mark.parametrize(("side", "features"), [(28, 4), (84, 100), (8, 4), (1, 4)])
def test_sizes(side, features):
    model = conv4(2, 4, 7, key=KEY, image_size=side)
    logits = eqx.filter_eval_shape(model, jax.ShapeDtypeStruct((3, side, side, 2), jnp.float32))
    assert logits.shape == (3, 7) and logits.dtype == jnp.float32
    assert isinstance(model, nn.Classifier) and model.head.weight.shape == (features, 7)
    assert [weight.shape for weight in conv4_weights(model)] == [(3, 3, 2, 4), *[(3, 3, 4, 4)] * 3, (features, 7)]


def test_normalise_uses_the_batch_and_nothing_else():
    x = jnp.asarray(RNG.standard_normal((6, 4, 4, 3)) * 5 + 2)
    y = normalise(x, jnp.full(3, 2.0), jnp.full(3, -1.0))
    np.testing.assert_allclose(y.mean((0, 1, 2)), -1, atol=1e-12)
    np.testing.assert_allclose(y.std((0, 1, 2)), 2, rtol=1e-5)
    # So a brighter batch is the same batch, up to the 1e-5 beside the variance.
    model = small()
    np.testing.assert_allclose(model(jnp.asarray(100 * X)), model(jnp.asarray(1000 * X)), rtol=1e-6)


def test_reparameterised_weights_start_where_they_were():
    model = small()
    shared = reparameterise(model, conv4_weights, KroneckerSharing, key=KEY)
    assert len(shared_weights(shared)) == 5
    plain = materialise(shared)
    assert jax.tree.structure(plain) == jax.tree.structure(model)
    np.testing.assert_allclose(shared(jnp.asarray(X)), model(jnp.asarray(X)), atol=1e-6)


def test_second_order_gradient_is_the_finite_difference():
    learner = mutatis.Learner(small(), mutatis.GradientSteps(mutatis.cross_entropy, jnp.asarray(0.4)))
    params, static = eqx.partition(learner, mutatis.trainable(learner))

    @jax.jit
    def loss(params):
        adapted = mutatis.adapt(eqx.combine(params, static), TASK.context, key=KEY)
        return mutatis.cross_entropy(adapted, TASK.query)

    direction = jax.tree.map(lambda leaf: jnp.asarray(RNG.standard_normal(leaf.shape)), params)
    at = lambda step: loss(jax.tree.map(lambda p, d: p + step * d, params, direction))
    slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, jax.grad(loss)(params), direction)))
    np.testing.assert_allclose(slope, (at(1e-6) - at(-1e-6)) / 2e-6, rtol=1e-6)


def test_tasks_one_after_the_other_give_the_step_of_tasks_side_by_side():
    tasks = jax.tree.map(lambda *leaves: jnp.stack(leaves), TASK, mutatis.Task(TASK.query, TASK.context, TASK.index))
    learner = mutatis.Learner(small(), mutatis.GradientSteps(mutatis.cross_entropy, 0.4))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.sgd(1.0), num_groups=1, key=KEY)
    step = eqx.filter_jit(
        lambda map_tasks: (
            mutatis.outer_step(learner, state, tasks, objective=mutatis.cross_entropy, map_tasks=map_tasks)[0].model
        )
    )
    for one, other in zip(*(jax.tree.leaves(step(map_tasks)) for map_tasks in (True, False)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_images_without_a_side():
    with pytest.raises(ValueError, match="image_size is 0"):
        conv4(key=KEY, image_size=0)
