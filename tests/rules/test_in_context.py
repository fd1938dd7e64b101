"""The rule that reads its context as a sequence, and that it learns to use it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mutatis
from mutatis import nn

KEY = jax.random.key(0)


@eqx.filter_jit
def answers(adapted, x):
    return adapted(x)


@eqx.filter_jit
def stream(adapted, x):
    return adapted.stream(x)


adapt = eqx.filter_jit(mutatis.adapt)


def model(dtype=jnp.float64, **sizes) -> nn.InContextClassifier:
    sizes = {"width": 8, "depth": 2, "heads": 2, **sizes}
    encoder = nn.mlp((2, 6), key=jax.random.key(1), dtype=dtype)
    return nn.InContextClassifier(encoder, 6, 2, key=jax.random.key(2), dtype=dtype, **sizes)


def rows(number: int, seed: int = 3, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(seed), (number, 2), dtype)


def test_without_context_each_row_is_the_first_of_its_own_sequence():
    net, x, rule = model(), rows(5), mutatis.InContext(capacity=4)
    adapted = rule.bind(net, rule.init(net))
    np.testing.assert_allclose(answers(adapted, x), answers(net, x), rtol=1e-12)
    for row in range(5):
        alone = stream(adapted, x[row : row + 1])
        np.testing.assert_allclose(answers(adapted, x)[row], alone[0], rtol=1e-10)
    empty = rule.update(net, rule.init(net), rows(0), key=KEY)
    np.testing.assert_allclose(answers(rule.bind(net, empty), x), answers(net, x), rtol=1e-12)


def test_after_a_context_rows_continue_the_stream():
    net, x, rule = model(), rows(12), mutatis.InContext(capacity=5)
    whole = stream(rule.bind(net, rule.init(net)), x)
    adapted = adapt(mutatis.Learner(net, rule), (x[:7], None), key=KEY)
    np.testing.assert_allclose(stream(adapted, x[7:]), whole[7:], rtol=1e-9)
    np.testing.assert_allclose(answers(adapted, x[7:])[0], whole[7], rtol=1e-9)
    np.testing.assert_allclose(stream(adapted.forget(), x), whole, rtol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_context_in_pieces_equals_the_whole_under_scan_jit_and_vmap(dtype):
    net, x = model(dtype), rows(24, dtype=dtype)
    learner = mutatis.Learner(net, mutatis.InContext(capacity=7))
    states = jax.jit(lambda x: mutatis.adapt_stream(learner, x, key=KEY))(x.reshape(8, 3, 2))
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    whole = jax.jit(lambda x: learner.rule.update(net, learner.rule.init(net), x, key=KEY))(x)
    assert last.keys.dtype == dtype
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-12
    np.testing.assert_allclose(last.keys, whole.keys, atol=tolerance)
    np.testing.assert_allclose(last.values, whole.values, atol=tolerance)
    one = lambda x: mutatis.adapt(learner, x, key=KEY)(x)
    many = jax.jit(jax.vmap(one))(x.reshape(3, 8, 2))
    np.testing.assert_allclose(many[1], jax.jit(one)(x[8:16]), atol=tolerance)


def test_the_objective_is_the_mean_over_all_positions_and_forgets_the_context():
    net, x = model(depth=1), rows(4)
    targets = jnp.array([0, 1, 1, 0])
    adapted = adapt(mutatis.Learner(net, mutatis.InContext()), rows(20, seed=7), key=KEY)
    rule = mutatis.InContext()

    @eqx.filter_jit
    def one_by_one(net, x):
        known = [rule.update(net, rule.init(net), x[:j], key=KEY) for j in range(4)]
        logits = [rule.bind(net, state)(x[j : j + 1]) for j, state in enumerate(known)]
        return optax.softmax_cross_entropy_with_integer_labels(jnp.concatenate(logits), targets)

    expected = jnp.mean(one_by_one(net, x))
    np.testing.assert_allclose(eqx.filter_jit(mutatis.causal_cross_entropy)(adapted, (x, targets)), expected, rtol=1e-9)


class MovedGroups(eqx.Module):
    """Two classes at -1 and 1 on a line, moved by a distance of the group's own; a second axis is noise.

    Without the group's other points the best answer is right about two times out of three; with them nearly always.
    """

    tasks: int = eqx.field(static=True, default=8)
    points: int = eqx.field(static=True, default=24)

    def __call__(self, key):
        moves_key, label_key, noise_key, index_key = jax.random.split(key, 4)
        moves = 3 * jax.random.normal(moves_key, (self.tasks, 1), jnp.float32)
        labels = jax.random.bernoulli(label_key, shape=(self.tasks, self.points)).astype(jnp.int32)
        noise = jax.random.normal(noise_key, (self.tasks, self.points, 2), jnp.float32)
        first = moves + 2 * labels.astype(jnp.float32) - 1 + 0.3 * noise[..., 0]
        x = jnp.stack([first, noise[..., 1]], axis=-1)
        return mutatis.Task(x, (x, labels), jax.random.randint(index_key, (self.tasks,), 0, 4))


def cross_entropy(adapted, query):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(adapted(query[0]), query[1]))


def trained(rule, objective, steps=400):
    encoder = nn.mlp((2, 32, 32), key=jax.random.key(1))
    net = nn.InContextClassifier(encoder, 32, 2, key=jax.random.key(2), width=32, depth=2, heads=4)
    learner = mutatis.Learner(net, rule)
    state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(2e-3), num_groups=4, key=KEY)
    return mutatis.outer_scan(learner, state, MovedGroups(), steps=steps, objective=objective)[0]


def test_it_learns_to_use_unlabelled_points_of_the_group():
    adapts = trained(mutatis.InContext(capacity=24), mutatis.causal_cross_entropy)
    plain = trained(mutatis.NoAdaptation(), cross_entropy)
    tasks = MovedGroups(tasks=60, points=48)(jax.random.key(11))
    x, labels = tasks.query

    def accuracy(learner, context):
        one = lambda c, q: mutatis.adapt(learner, c, key=KEY)(q)
        logits = jax.jit(jax.vmap(one))(x[:, :context], x[:, 24:])
        return float(jnp.mean(jnp.argmax(logits, -1) == labels[:, 24:]))

    without = accuracy(plain, 0)
    assert without < 0.75
    assert accuracy(adapts, 24) > without + 0.18
    # No context is one of the lengths it was trained for.
    assert accuracy(adapts, 0) > without - 0.05
    logits = jax.jit(jax.vmap(lambda q: mutatis.adapt(adapts, q[:0], key=KEY).stream(q)))(x)
    right = jnp.mean(jnp.argmax(logits, -1) == labels, axis=0)
    assert float(jnp.mean(right[12:])) > float(jnp.mean(right[:2])) + 0.15


def test_batch_norm_in_the_encoder_is_pooled_in_training_and_remembered_at_test():
    make = lambda norm: nn.in_context_net(
        (8, 8, 1), 3, key=jax.random.key(1), encoder_width=4, kernel_size=3, norm=norm, width=8, depth=1, heads=2
    )
    net = make(nn.BatchNorm)
    learner = mutatis.Learner(net, mutatis.BatchMoments(mutatis.InContext(6), pool_tasks=True, momentum=1.0))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-3), num_groups=2, key=KEY)
    x = 1 + 2 * jax.random.normal(jax.random.key(4), (2, 6, 8, 8, 1), jnp.float32)
    tasks = mutatis.Task(x, (x, jnp.zeros((2, 6), jnp.int32)), jnp.arange(2))
    step = eqx.filter_jit(lambda *given: mutatis.outer_step(*given, objective=mutatis.causal_cross_entropy))
    after, _, losses = step(learner, state, tasks)

    first = net.encoder.layers[0](x.reshape(12, 8, 8, 1))
    mean, variance = after.model.encoder.layers[1].source.value
    np.testing.assert_allclose(mean, jnp.mean(first, (0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, jnp.var(first, (0, 1, 2)), rtol=1e-4)

    # The loss is that of the model under the moments of both tasks together: those just remembered.
    held = eqx.tree_at(
        lambda m: [norm.source for norm in nn.batch_norms(m)],
        net,
        [norm.source for norm in nn.batch_norms(after.model)],
    )
    for task in range(2):
        known = mutatis.InContext(6).bind(held, held.empty_cache(6))
        expected = eqx.filter_jit(mutatis.causal_cross_entropy)(known, (x[task], tasks.query[1][task]))
        np.testing.assert_allclose(losses[task], expected, rtol=1e-4)

    # At test, the plain rule: remembered moments, and no row sees a later one.
    adapted = adapt(mutatis.Learner(after.model, mutatis.InContext(6)), x[0][:3], key=KEY)
    changed = stream(adapted, x[1].at[4].add(5.0))
    np.testing.assert_allclose(changed[:4], stream(adapted, x[1])[:4], rtol=1e-5, atol=1e-6)
    assert not nn.batch_norms(make(nn.LayerNorm))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="capacity is 0"):
        mutatis.InContext(0)
    with pytest.raises(ValueError, match="in_context_net"):
        mutatis.InContext().init(nn.mlp((2, 2), key=KEY))
