import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis import nn

KEY = jax.random.key(0)
X = np.random.default_rng(0).standard_normal((7, 4))


def test_linear_is_numpys():
    layer = nn.Linear(4, 3, key=KEY, dtype=jnp.float64)
    expected = X @ np.asarray(layer.weight) + np.asarray(layer.bias)
    np.testing.assert_allclose(layer(jnp.asarray(X)), expected, rtol=1e-13)


def test_linear_starts_uniform_within_the_fan_in():
    layer = nn.Linear(100, 200, key=KEY)
    for values in (layer.weight, layer.bias):
        assert values.dtype == jnp.float32
        assert np.max(np.abs(values)) <= 0.1
    # The variance of U(-b, b) is b^2 / 3; four standard errors of an estimate from 20,000 draws are 2.5 %.
    np.testing.assert_allclose(np.var(layer.weight), 0.01 / 3, rtol=0.03)
    assert abs(np.mean(layer.weight)) < 0.002


def test_relu_and_its_derivative():
    x = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_array_equal(nn.relu(x), [0, 0, 3])
    np.testing.assert_array_equal(jax.vmap(jax.grad(nn.relu))(x), [0, 0, 1])
    assert nn.relu(x.astype(jnp.float32)).dtype == jnp.float32


def test_mlp_is_linear_layers_with_relu_between():
    net = nn.mlp((4, 5, 6, 2), key=KEY, dtype=jnp.float64)
    x = X
    for number in (0, 2, 4):
        x = x @ np.asarray(net.layers[number].weight) + np.asarray(net.layers[number].bias)
        x = np.maximum(x, 0) if number < 4 else x
    assert len(net.layers) == 5
    np.testing.assert_allclose(net(jnp.asarray(X)), x, rtol=1e-12)
    assert not np.array_equal(net.layers[0].bias, net.layers[2].bias[:5])  # every layer has a key of its own


def test_sequential_runs_in_order():
    layers = nn.Sequential([nn.Activation(lambda x: x + 1), nn.Activation(lambda x: x * 2)])
    np.testing.assert_array_equal(layers(jnp.ones((1, 1))), [[4.0]])
    np.testing.assert_array_equal(nn.Sequential([])(X), X)


def test_a_module_for_one_example_serves_a_batch():
    module = eqx.nn.MLP(4, 3, 8, 2, key=KEY)
    answer = nn.PerExample(module)(jnp.asarray(X, jnp.float32))
    assert answer.shape == (7, 3)
    np.testing.assert_allclose(answer[2], module(jnp.asarray(X[2], jnp.float32)), rtol=1e-5)


def test_classifier_is_its_head_on_its_features():
    classifier = nn.Classifier(nn.Activation(jnp.tanh), nn.Linear(4, 3, key=KEY, dtype=jnp.float64))
    np.testing.assert_allclose(classifier(jnp.asarray(X)), classifier.head(jnp.tanh(X)), rtol=1e-13)


@pytest.mark.parametrize("kernel_size, side", [(5, 16), (3, 10)])
def test_conv_net_has_the_published_form(kernel_size, side):
    net = nn.conv_net(1, 10, width=4, hidden=6, kernel_size=kernel_size, key=KEY)
    answer = eqx.filter_jit(net)(jnp.zeros((2, side, side, 1), jnp.float32))
    assert answer.shape == (2, 10)
    assert len(nn.batch_norms(net)) == 3


@pytest.mark.parametrize(
    "channels, classes, first_layer, count", [(1, 10, True, 851_362), (1, 62, True, 861_814), (3, 10, True, 857_762)]
)
def test_conv_net_has_the_published_number_of_parameters(channels, classes, first_layer, count):
    net = eqx.filter_eval_shape(nn.conv_net, channels, classes, key=KEY, first_layer=first_layer)
    norms = nn.batch_norms(net)
    arrays = sum(leaf.size for leaf in jax.tree.leaves(net) if hasattr(leaf, "size"))
    moments = sum(2 * norm.weight.size for norm in norms)
    assert arrays - moments == count


def test_context_and_prediction_nets_of_arm_cml_have_the_published_number_of_parameters():
    context = eqx.filter_eval_shape(nn.context_net, 1, 12, key=KEY)
    prediction = eqx.filter_eval_shape(nn.conv_net, 13, 10, key=KEY, first_layer=False)
    loss = eqx.filter_eval_shape(nn.loss_net, 10, key=KEY)
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(net) if hasattr(leaf, "size"))
        - sum(2 * norm.weight.size for norm in nn.batch_norms(net))
        for net in (context, prediction, loss)
    ]
    assert counts == [123_596, 479_778, 2_497]
