"""T3A: against an implementation with Python lists, from the paper's algorithm."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.stats

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


def model(inputs=4, hidden=6, classes=3, dtype=jnp.float64) -> nn.Classifier:
    first, second = jax.random.split(jax.random.key(1))
    return nn.Classifier(
        nn.Sequential([nn.Linear(inputs, hidden, key=first, dtype=dtype), nn.Activation(jnp.tanh)]),
        nn.Linear(hidden, classes, key=second, dtype=dtype),
    )


def rows(number: int, seed: int = 2, dtype=jnp.float64):
    return 2 * jax.random.normal(jax.random.key(seed), (number, 4), dtype)


def by_lists(classifier: nn.Classifier, batches, query, supports: int) -> np.ndarray:
    weight, bias = np.asarray(classifier.head.weight), np.asarray(classifier.head.bias)
    entropy = lambda z: scipy.stats.entropy(np.exp(z @ weight + bias))
    kept = [[(entropy(column), column)] for column in weight.T]
    for batch in batches:
        for z in np.asarray(classifier.features(batch)):
            kept[int(np.argmax(z @ weight + bias))].append((entropy(z), z))
        kept = [sorted(members, key=lambda member: member[0])[:supports] for members in kept]
    sums = np.stack([sum(z / np.linalg.norm(z) for _, z in members) for members in kept])
    return np.asarray(classifier.features(query)) @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T


@pytest.mark.parametrize("supports", [1, 5, 20, 200])
def test_agrees_with_the_algorithm_written_with_lists(supports):
    classifier, rule = model(), mutatis.Prototypes(supports)
    batches = [rows(17, seed=3), rows(1, seed=4), rows(40, seed=5)]
    state = rule.init(classifier)
    for batch in batches:
        state = update(rule, classifier, state, batch)
    query = rows(9, seed=6)
    expected = by_lists(classifier, batches, query, supports)
    np.testing.assert_allclose(answers(rule.bind(classifier, state), query), expected, rtol=1e-10, atol=1e-12)


def test_before_any_context_the_prototypes_are_the_heads_directions():
    classifier, rule, x = model(), mutatis.Prototypes(7), rows(5)
    weight = np.asarray(classifier.head.weight)
    expected = np.asarray(classifier.features(x)) @ (weight / np.linalg.norm(weight, axis=0))
    np.testing.assert_allclose(rule.bind(classifier, rule.init(classifier))(x), expected, rtol=1e-12)


def test_with_room_for_all_no_support_is_ever_lost():
    classifier, rule = model(), mutatis.Prototypes(31)
    state = rule.init(classifier)
    for count, seed in enumerate(range(30), start=1):
        state = update(rule, classifier, state, rows(1, seed=seed))
        assert int(jnp.sum(state.filled)) == count + 3


def test_a_class_that_is_never_predicted_keeps_its_weight():
    classifier, rule = model(), mutatis.Prototypes(2)
    x = rows(300)
    x = x[jnp.argmax(classifier(x), axis=1) != 1]
    state = update(rule, classifier, rule.init(classifier), x)
    weight = classifier.head.weight[:, 1]
    np.testing.assert_allclose(
        rule.bind(classifier, state).head.weight[:, 1], weight / jnp.linalg.norm(weight), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_split_or_shuffled_context_equals_the_whole_under_scan_jit_and_vmap(dtype):
    classifier, rule, x = model(dtype=dtype), mutatis.Prototypes(4), rows(24, dtype=dtype)
    whole = update(rule, classifier, rule.init(classifier), x)
    states = jax.jit(lambda x: mutatis.adapt_stream(mutatis.Learner(classifier, rule), x, key=KEY))
    order = jax.random.permutation(jax.random.key(8), 24)
    for pieces in (states(x.reshape(4, 6, 4)), states(x[order].reshape(12, 2, 4))):
        last = jax.tree.map(lambda leaf: leaf[-1], pieces)
        assert last.features.dtype == last.entropy.dtype == dtype
        np.testing.assert_allclose(last.entropy, whole.entropy, rtol=1e-5)
        np.testing.assert_allclose(last.features, whole.features, rtol=1e-5, atol=1e-6)
    learner = mutatis.Learner(classifier, rule)
    together = lambda x: mutatis.adapt(learner, x, key=KEY)(x)
    many, one = jax.jit(jax.vmap(together))(x.reshape(3, 8, 4)), jax.jit(together)(x[8:16])
    np.testing.assert_allclose(many[1], one, rtol=1e-4, atol=1e-5)


def test_helps_where_the_features_have_moved():
    rng = np.random.default_rng(0)
    centres = 4 * np.eye(3)
    turn = scipy.stats.special_ortho_group.rvs(3, random_state=1)
    move = np.real(scipy.linalg.fractional_matrix_power(turn, 0.3))
    labels = rng.integers(0, 3, 600)
    features = jnp.asarray(centres[labels] @ move.T + rng.normal(size=(600, 3)))
    head = nn.Linear(3, 3, key=KEY, dtype=jnp.float64)
    # The best head before the move, but with a bias that was right for another mixture of classes.
    head = nn.Classifier(lambda x: x, head)
    head = eqx.tree_at(
        lambda m: (m.head.weight, m.head.bias), head, (jnp.asarray(centres.T), jnp.array([6.0, 0.0, -6.0]))
    )
    adapted = adapt(mutatis.Learner(head, mutatis.Prototypes(50)), features, key=KEY)
    accuracy = lambda m: float(np.mean(np.argmax(m(features), axis=1) == labels))
    assert accuracy(adapted) > accuracy(head) + 0.05


def test_an_empty_context_changes_nothing_and_a_pair_is_read_by_its_inputs():
    classifier, rule = model(), mutatis.Prototypes(3)
    start = rule.init(classifier)
    after = update(rule, classifier, start, rows(0))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), start, after))
    plain = update(rule, classifier, start, rows(6))
    pair = update(rule, classifier, start, (rows(6), jnp.zeros(6)))
    np.testing.assert_array_equal(plain.features, pair.features)


def test_the_outer_loop_can_train_through_it():
    classifier = model()
    learner = mutatis.Learner(classifier, mutatis.BatchMoments(mutatis.Prototypes(3)))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.sgd(0.1), num_groups=2, key=KEY)
    x = rows(20).reshape(2, 10, 4)
    tasks = mutatis.Task(x, (x, jnp.zeros((2, 10), jnp.int32)), jnp.arange(2))

    def objective(adapted, query):
        return -jnp.mean(jax.nn.log_softmax(adapted(query[0]))[:, 0])

    step = eqx.filter_jit(lambda *given: mutatis.outer_step(*given, objective=objective))
    trained, _, _ = step(learner, state, tasks)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(trained.model))
    assert float(jnp.max(jnp.abs(trained.model.head.weight - classifier.head.weight))) > 1e-4


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="supports is 0"):
        mutatis.Prototypes(0)
    with pytest.raises(ValueError, match=r"nn\.Classifier"):
        mutatis.Prototypes(1).init(nn.mlp((3, 2), key=KEY))
