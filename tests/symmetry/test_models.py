"""The rows of the comparison: every one builds, adapts, and is what its name says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis.nn import conv2d, shared_weights
from mutatis.symmetry import LinearProblem, bank_problem, query_risk
from mutatis.symmetry._models import FIRST_RATES, MODELS, PatchMap, plain_layer

KEY = jax.random.key(0)
LINE = LinearProblem(1, key=KEY, inputs=12, support=2, tasks_per_step=16)
PATCHES = bank_problem(4, fields=2, support=4, query=4, tasks_per_step=16)
BY_NAME = {model.name: model for model in MODELS}


def risk(name, problem, tasks=300):
    learner = BY_NAME[name].build(problem, key=KEY)
    context, truth = problem.held_out(jax.random.key(1), tasks)
    adapted = jax.jit(jax.vmap(lambda context: mutatis.materialise(mutatis.adapt(learner, context, key=KEY)).weight))(
        context
    )
    assert adapted.shape == truth.shape
    return float(query_risk(adapted, truth))


@pytest.mark.parametrize("name", BY_NAME)
def test_every_model_adapts_to_patches(name):
    assert np.isfinite(risk(name, PATCHES))


def test_names_are_different():
    assert len(BY_NAME) == len(MODELS)


def test_the_true_symmetry_is_best_and_a_wrong_one_no_better_than_none():
    floor = BY_NAME["true U"].floor(LINE, 1, KEY)
    true, wrong, none = (risk(name, LINE) for name in ("true U", "wrong U", "random U"))
    # The first rate is the best of a grid, so the floor is not quite met; it may lie below by the draw of tasks alone.
    assert 0.8 * floor < true < 1.5 * floor
    assert wrong > 5 * floor and none > 5 * floor
    assert risk("true U, ridge", LINE) < 1e-3 * LINE.signal


def test_a_filter_along_the_line_is_the_true_symmetry_in_other_columns():
    (known,) = shared_weights(BY_NAME["MAML-Conv"].build(LINE, key=KEY).model)
    columns = np.asarray(known.sharing.matrix())
    assert columns.shape == (120, 3) and set(np.unique(columns)) == {0.0, 1.0}
    np.testing.assert_allclose(LINE.truth @ (LINE.truth.T @ columns), columns, atol=1e-6)


def test_locally_connected_uses_what_the_convolution_uses():
    (known,) = shared_weights(BY_NAME["MAML-LC"].build(LINE, key=KEY).model)
    assert known.sharing.filter_shape == (30,)


def test_the_original_starts_small():
    (weight,) = shared_weights(BY_NAME["MSR"].build(LinearProblem(1, key=KEY), key=KEY).model)
    assert np.std(weight.sharing.columns) == pytest.approx(0.01, rel=0.02)
    assert float(BY_NAME["MSR"].build(LINE, key=KEY).rule.learning_rate) == pytest.approx(0.1)


def test_tuned_rates_are_those_of_the_grid_that_fit_best():
    learner = BY_NAME["true U"].build(LINE, key=KEY)
    chosen = float(learner.rule.learning_rate.values)
    assert any(chosen == pytest.approx(rate, rel=1e-5) for rate in FIRST_RATES[1:-1])


def test_a_patch_map_is_a_convolution():
    images = jax.random.normal(KEY, (2, 6, 7, 1), jnp.float32)
    layer = PatchMap(jax.random.normal(KEY, (5, 9), jnp.float32))
    expected = conv2d(images, layer.weight.T.reshape(3, 3, 1, 5), padding=0)
    np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_layers_fit_their_problem():
    assert plain_layer(LINE, KEY)(jnp.ones((4, 12))).shape == (4, 10)
