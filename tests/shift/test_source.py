"""Source moments measured anew are those of the training rows under the final weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import mutatis
from mutatis import nn
from mutatis.shift._groups import Groups
from mutatis.shift._sampling import GroupArrays, GroupSampler
from mutatis.shift._source import measure_source

KEY = jax.random.key(3)


def _sampler():
    rng = np.random.default_rng(0)
    inputs = (4 + 3 * rng.standard_normal((40, 5))).astype(np.float32)
    groups = Groups(inputs, rng.integers(0, 2, 40), np.repeat([0, 1], 20), ("a", "b"))
    return GroupSampler(GroupArrays(groups), groups_per_step=3, support=8, mix_groups=True)


def _model():
    first, second = jax.random.split(KEY)
    layers = [nn.BatchNorm(5), nn.Linear(5, 4, key=first), nn.BatchNorm(4), nn.Activation(nn.relu)]
    return nn.Sequential([*layers, nn.Linear(4, 2, key=second)])


def _learner():
    return mutatis.Learner(_model(), mutatis.BatchMoments(pool_tasks=True))


def _drawn(sampler, steps):
    keys = [jax.random.split(key)[0] for key in jax.random.split(KEY, (1, steps))[0]]
    return [sampler(key).context.reshape(-1, 5) for key in keys]


def test_of_one_step_the_source_model_is_the_model_normalised_by_that_step():
    sampler, learner = _sampler(), _learner()
    settled = measure_source(learner, [sampler], steps=1, key=KEY)
    (rows,) = _drawn(sampler, 1)
    x = np.asarray(rows, np.float64)
    for layer in learner.model.layers:  # batch normalisation by hand
        if isinstance(layer, nn.BatchNorm):
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + layer.eps)
        else:
            x = np.asarray(layer(jnp.asarray(x, jnp.float32)), np.float64)
    np.testing.assert_allclose(settled.model(rows), x, atol=2e-5)
    assert np.max(np.abs(settled.model(rows) - learner.model(rows))) > 0.1


def test_of_many_steps_the_first_layer_has_the_moments_of_all_rows():
    sampler = _sampler()
    settled = measure_source(_learner(), [sampler], steps=7, key=KEY)
    rows = np.concatenate(_drawn(sampler, 7)).astype(np.float64)
    mean, variance = settled.model.layers[0].source.value
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4)


def test_weights_and_the_rule_stay():
    learner = _learner()
    settled = measure_source(learner, [_sampler()], steps=2, key=KEY)
    unmoved = lambda tree: eqx.filter(tree, mutatis.trainable(tree))
    jax.tree.map(np.testing.assert_array_equal, unmoved(settled), unmoved(learner))
    assert settled.rule.momentum == learner.rule.momentum and settled.rule.pool_tasks


def test_a_rule_without_moments_is_left_alone():
    learner = mutatis.Learner(_model(), mutatis.NoAdaptation())
    settled = measure_source(learner, [_sampler()], steps=2, key=KEY)
    jax.tree.map(np.testing.assert_array_equal, *(eqx.filter(one, eqx.is_array) for one in (settled, learner)))
