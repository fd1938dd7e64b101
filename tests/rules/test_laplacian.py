"""LAME: against the iteration written densely in numpy with scikit-learn's neighbours."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from sklearn.neighbors import kneighbors_graph

import mutatis
from mutatis import nn

KEY = jax.random.key(0)


@eqx.filter_jit
def update(rule, classifier, state, context):
    return rule.update(classifier, state, context, key=KEY)


@eqx.filter_jit
def answers(adapted, x):
    return adapted(x)


adapt = eqx.filter_jit(mutatis.adapt)


def model(dtype=jnp.float64) -> nn.Classifier:
    first, second = jax.random.split(jax.random.key(1))
    return nn.Classifier(
        nn.Sequential([nn.Linear(4, 6, key=first, dtype=dtype), nn.Activation(jnp.tanh)]),
        nn.Linear(6, 3, key=second, dtype=dtype),
    )


def rows(number: int, seed: int = 2, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(seed), (number, 4), dtype)


def exact(**settings) -> mutatis.LaplacianAdjustment:
    return mutatis.LaplacianAdjustment(**{"capacity": 40, "tolerance": 0.0, "iterations": 5000, **settings})


def in_numpy(classifier, x, neighbours: int, repeats: int) -> np.ndarray:
    features = np.asarray(classifier.features(x))
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    affinity = kneighbors_graph(features, neighbours, include_self=False).toarray()
    log_source = scipy.special.log_softmax(np.asarray(classifier(x)), axis=1)
    z = np.exp(log_source)
    for _ in range(repeats):
        z = scipy.special.softmax(log_source + affinity @ z, axis=1)
    return z


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_agrees_with_the_dense_iteration(neighbours, iterations):
    classifier, x = model(), rows(30)
    rule = exact(neighbours=neighbours, iterations=iterations, tolerance=0.0)
    state = update(rule, classifier, rule.init(classifier), x)
    np.testing.assert_allclose(state.adjusted[:30], in_numpy(classifier, x, neighbours, iterations), rtol=1e-9)
    np.testing.assert_allclose(state.adjusted[30:], 1 / 3, rtol=1e-9)


@pytest.mark.parametrize("capacity", [30, 64])
def test_the_contexts_own_rows_get_their_converged_answers(capacity):
    classifier, x, rule = model(), rows(30), exact(capacity=capacity)
    state = update(rule, classifier, rule.init(classifier), x)
    final = jnp.exp(answers(rule.bind(classifier, state), x))
    np.testing.assert_allclose(final, state.adjusted[:30], atol=1e-7)
    np.testing.assert_allclose(final, in_numpy(classifier, x, 5, 5000), atol=1e-7)
    # One step from the source is not the answer: the fixed point is elsewhere.
    assert float(np.max(np.abs(final - in_numpy(classifier, x, 5, 1)))) > 1e-3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_default_tolerance_is_near_the_fixed_point_in_both_precisions(dtype):
    classifier, rule = jax.tree.map(lambda leaf: leaf.astype(dtype), model()), mutatis.LaplacianAdjustment()
    state = update(rule, classifier, rule.init(classifier), rows(30).astype(dtype))
    assert state.adjusted.dtype == state.features.dtype == dtype
    np.testing.assert_allclose(state.adjusted[:30], in_numpy(model(), rows(30), 5, 5000), atol=2e-3)


def test_a_new_row_takes_one_step_towards_its_neighbours():
    classifier, x, query, rule = model(), rows(25), rows(6, seed=9), exact(neighbours=3)
    state = update(rule, classifier, rule.init(classifier), x)
    unit = lambda z: np.asarray(z) / np.linalg.norm(z, axis=1, keepdims=True)
    features, context = unit(classifier.features(query)), unit(classifier.features(x))
    nearest = np.argsort(np.linalg.norm(features[:, None] - context[None], axis=2), axis=1)[:, :3]
    pull = np.asarray(state.adjusted)[nearest].sum(axis=1)
    expected = scipy.special.log_softmax(np.asarray(classifier(query)) + pull, axis=1)
    np.testing.assert_allclose(answers(rule.bind(classifier, state), query), expected, rtol=1e-9)


def test_without_neighbours_or_context_it_is_the_source_model():
    classifier, x = model(), rows(12)
    source = jax.nn.log_softmax(classifier(x))
    none = adapt(mutatis.Learner(classifier, exact(neighbours=0)), x, key=KEY)
    np.testing.assert_allclose(answers(none, x), source, rtol=1e-12)
    rule = exact()
    for state in (rule.init(classifier), update(rule, classifier, rule.init(classifier), rows(0))):
        np.testing.assert_allclose(answers(rule.bind(classifier, state), x), source, rtol=1e-12)
    alone = adapt(mutatis.Learner(classifier, exact()), x[:1], key=KEY)
    np.testing.assert_allclose(answers(alone, x[:1]), source[:1], rtol=1e-12)


def test_a_longer_stream_leaves_the_latest_rows():
    classifier, x, query = model(), rows(50), rows(7, seed=4)
    rule = exact(capacity=16)
    state = rule.init(classifier)
    for piece in jnp.split(x, [5, 21, 42]):
        state = update(rule, classifier, state, piece)
    fresh = update(rule, classifier, rule.init(classifier), x[-16:])
    both = [answers(rule.bind(classifier, s), query) for s in (state, fresh)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-7)
    once = update(rule, classifier, rule.init(classifier), x)
    np.testing.assert_allclose(answers(rule.bind(classifier, once), query), both[1], atol=1e-7)


def test_of_equal_rows_one_is_left_out():
    classifier = model()
    x = jnp.concatenate([rows(10), rows(3), rows(3)])
    rule = exact(neighbours=2)
    state = update(rule, classifier, rule.init(classifier), x)
    np.testing.assert_allclose(jnp.exp(answers(rule.bind(classifier, state), x)), state.adjusted[:16], atol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_under_scan_jit_and_vmap(dtype):
    classifier = jax.tree.map(lambda leaf: leaf.astype(dtype), model())
    x = rows(24, dtype=dtype)
    learner = mutatis.Learner(classifier, mutatis.LaplacianAdjustment(capacity=32))
    states = jax.jit(lambda x: mutatis.adapt_stream(learner, x, key=KEY))(x.reshape(4, 6, 4))
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    whole = update(learner.rule, classifier, learner.rule.init(classifier), x)
    np.testing.assert_allclose(last.adjusted, whole.adjusted, atol=1e-3 if dtype == jnp.float32 else 1e-9)
    together = lambda x: mutatis.adapt(learner, x, key=KEY)(x)
    many, one = jax.jit(jax.vmap(together))(x.reshape(3, 8, 4)), jax.jit(together)(x[8:16])
    assert many.dtype == dtype
    np.testing.assert_allclose(many[1], one, atol=1e-3 if dtype == jnp.float32 else 1e-9)


def test_helps_where_features_are_better_than_the_head():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    features = 6 * np.eye(3)[labels] + rng.normal(size=(200, 3))
    noise = rng.normal(size=(200, 3))
    x = jnp.asarray(np.concatenate([features, np.eye(3)[labels] + noise], axis=1))

    # The head is poor: it reads the second half, which is noisy and small among the features.
    weight = jnp.concatenate([jnp.zeros((3, 3)), 20 * jnp.eye(3)])
    head = nn.Linear(6, 3, key=KEY, dtype=jnp.float64)
    head = eqx.tree_at(lambda layer: (layer.weight, layer.bias), head, (weight, jnp.zeros(3)))
    scale = jnp.concatenate([jnp.ones(3), jnp.full(3, 0.05)])
    classifier = nn.Classifier(lambda x: x * scale[None], head)
    adapted = adapt(mutatis.Learner(classifier, mutatis.LaplacianAdjustment()), x, key=KEY)
    accuracy = lambda m: float(np.mean(np.argmax(m(x), axis=1) == labels))
    assert accuracy(adapted) > accuracy(classifier) + 0.1


def test_the_outer_loop_trains_the_model_under_it():
    learner = mutatis.Learner(model(), mutatis.BatchMoments(mutatis.LaplacianAdjustment(capacity=16)))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.sgd(0.1), num_groups=2, key=KEY)
    x = rows(20).reshape(2, 10, 4)
    tasks = mutatis.Task(x, (x, jnp.zeros((2, 10), jnp.int32)), jnp.arange(2))

    def objective(adapted, query):
        return -jnp.mean(adapted(query[0])[:, 0])

    step = eqx.filter_jit(lambda *given: mutatis.outer_step(*given, objective=objective))
    trained, _, losses = step(learner, state, tasks)
    _, _, after = step(trained, state, tasks)
    assert float(jnp.sum(after)) < float(jnp.sum(losses))


def test_bad_arguments_are_refused():
    for wrong in ({"capacity": 0}, {"iterations": 0}, {"neighbours": -1}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            mutatis.LaplacianAdjustment(**wrong)
    with pytest.raises(ValueError, match=r"nn\.Classifier"):
        mutatis.LaplacianAdjustment().init(nn.mlp((3, 2), key=KEY))
