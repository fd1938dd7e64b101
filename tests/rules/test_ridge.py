"""Ridge regression: against numpy, scikit-learn, finite differences and the exact risk where the truth is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.linear_model import Ridge as Peer

import mutatis
from core_problems import assert_close, draw, mean_square, smooth_net
from mutatis import nn
from mutatis.rules._rates import Positive
from mutatis.rules._ridge import Ridge
from mutatis.rules._ridge_head import RidgeHead

KEY = jax.random.key(0)
adapt = eqx.filter_jit(mutatis.adapt)


class Shared(eqx.Module):
    """x @ unvec(U v)."""

    U: jax.Array
    v: jax.Array
    inputs: int = eqx.field(static=True)

    @property
    def weight(self):
        return (self.U @ self.v).reshape(self.inputs, -1)

    def __call__(self, x):
        return x @ self.weight


def still(model):
    return jax.tree.map(lambda _: False, model)


def filters(model):
    return eqx.tree_at(lambda m: m.v, still(model), True)


def head(model):
    return eqx.tree_at(lambda m: (m.head.weight, m.head.bias), still(model), (True, True))


def shared(inputs=4, outputs=3, k=5, seed=0):
    return Shared(draw(inputs * outputs, k, seed=seed), draw(k, seed=seed + 1), inputs)


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)


def data(rows, inputs=4, outputs=3, seed=10):
    return draw(rows, inputs, seed=seed), draw(rows, outputs, seed=seed + 1)


def with_ones(x):
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def linear(rule, x, y):
    """Weights and bias of an adapted linear layer, as one matrix."""
    model = nn.Linear(4, 3, key=KEY, dtype=jnp.float64)
    moved = adapt(mutatis.Learner(model, rule), (x, y), key=KEY)
    start, after = (np.vstack([m.weight, m.bias]) for m in (model, moved))
    return start, after


@pytest.mark.parametrize("rows", [2, 40])  # one derivative for each output, one for each number that moves
@pytest.mark.parametrize("towards_start", [True, False])
def test_a_linear_layer_is_scikit_learns_ridge(rows, towards_start):
    x, y = data(rows)
    start, after = linear(Ridge(mutatis.trainable, jnp.asarray(0.3), towards_start=towards_start), x, y)
    design = with_ones(x)
    peer = Peer(alpha=0.3 * np.sum(design**2) / (5 * rows), fit_intercept=False)  # of 15 diagonal entries, 5 differ
    prior = start if towards_start else np.zeros_like(start)
    np.testing.assert_allclose(after - prior, peer.fit(design, y - design @ prior).coef_.T, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("k", [5, 9])
def test_a_small_penalty_gives_the_least_squares_nearest_to_the_start(rows, k):
    model, (x, y) = shared(k=k), data(rows)
    moved = adapt(mutatis.Learner(model, Ridge(filters, 1e-8)), (x, y), key=KEY)
    design = np.einsum("ni,iok->nok", x, model.U.reshape(4, 3, k)).reshape(-1, k)
    step, _, rank, _ = np.linalg.lstsq(design, np.ravel(y - model(x)), rcond=None)  # of all solutions the shortest
    assert rank == min(k, 3 * rows)
    np.testing.assert_allclose(moved.v - model.v, step, rtol=1e-5, atol=1e-6)


def test_penalties_range_from_the_prior_to_the_data():
    model, (x, y) = shared(), data(4)
    far = lambda rule: adapt(mutatis.Learner(model, rule), (x, y), key=KEY).v
    np.testing.assert_allclose(far(Ridge(filters, 1e12)), model.v, rtol=1e-9)
    np.testing.assert_allclose(far(Ridge(filters, 1e12, towards_start=False)), 0, atol=1e-9)
    same = (far(Ridge(filters, 1e-12, towards_start=way)) for way in (True, False))
    np.testing.assert_allclose(*same, rtol=1e-8)


@pytest.mark.parametrize("towards_start", [True, False])
@pytest.mark.parametrize("context", ["no sums", "no rows", "blank rows"])
def test_where_there_is_nothing_to_learn_the_model_stays_with_finite_slopes(context, towards_start):
    model = shared()
    given = {"no rows": data(0), "blank rows": (jnp.zeros((3, 4)), draw(3, 3))}.get(context)
    query = data(6, seed=30)

    def adapted(learner):
        rule, model = learner.rule, learner.model
        state = rule.init(model) if given is None else rule.update(model, rule.init(model), given, key=KEY)
        return rule.bind(model, state)

    @eqx.filter_jit
    def filters_and_slopes(params, static):
        loss = lambda params: mean_square(adapted(eqx.combine(params, static)), query)
        return adapted(eqx.combine(params, static)).v, jax.grad(loss)(params), jax.grad(mean_square)(model, query).v

    learner = mutatis.Learner(model, Ridge(filters, jnp.asarray(0.1), towards_start=towards_start))
    v, slopes, plain = filters_and_slopes(*eqx.partition(learner, mutatis.trainable(learner)))
    np.testing.assert_array_equal(v, model.v)
    np.testing.assert_allclose(slopes.model.v, plain, rtol=1e-10)
    assert slopes.rule.log_penalty == 0
    assert np.all(np.isfinite(slopes.model.U))


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("towards_start", [True, False])
def test_derivatives_are_finite_differences(rows, towards_start):
    context, query = data(rows), data(7, seed=20)

    @jax.jit
    def loss(U, v, penalty, x, y):
        model = Shared(U, v, 4)
        rule = Ridge(filters, penalty, towards_start=towards_start)
        return mean_square(mutatis.adapt(mutatis.Learner(model, rule), (x, y), key=KEY), query)

    model = shared()
    check_grads(loss, (model.U, model.v, jnp.asarray(0.5), *context), order=1, modes=["rev"], rtol=1e-5, atol=1e-6)


def locally_connected(outputs, taps=3, basis=5, seed=0):
    """The true U of the rank problems: outputs filters of some taps, mixed from a few by a row softmax."""
    mix = jax.nn.softmax(draw(outputs, basis, seed=seed), axis=1)
    U = np.zeros((outputs + taps - 1, outputs, basis, taps))
    for output in range(outputs):
        for tap in range(taps):
            U[output + tap, output, :, tap] = mix[output]
    return U.reshape(-1, basis * taps)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_one_noise_free_example_gives_the_map_in_single_precision(scale):
    outputs, tasks = 34, 200
    U = jnp.asarray(locally_connected(outputs), jnp.float32)
    truth = draw(tasks, U.shape[1], seed=3).astype(jnp.float32)
    x = draw(tasks, 1, outputs + 2, seed=4).astype(jnp.float32)
    model = Shared(U * scale, jnp.zeros(U.shape[1], jnp.float32), outputs + 2)  # the same layers in another scale

    @eqx.filter_jit
    def risk(learner, x, truth):
        true = Shared(U, truth, outputs + 2)
        adapted = mutatis.adapt(learner, (x, true(x)), key=KEY)
        assert adapted.v.dtype == jnp.float32
        return jnp.sum(jnp.square(adapted.weight - true.weight)) / outputs  # for x ~ N(0, I)

    risks = jax.vmap(risk, in_axes=(None, 0, 0))(mutatis.Learner(model, Ridge(filters, 1e-6)), x, truth)
    assert np.max(risks) < 1e-5
    assert np.median(risks) < 1e-8


def test_few_outputs_for_many_filters_are_solved_as_in_double_precision():
    model, (x, y) = shared(k=11), data(2)
    wide, single = (
        adapt(mutatis.Learner(*cast((model, Ridge(filters, jnp.asarray(1e-3))), dtype)), cast((x, y), dtype), key=KEY).v
        for dtype in (jnp.float64, jnp.float32)
    )
    np.testing.assert_allclose(single, wide, atol=1e-3 * float(np.linalg.norm(wide - model.v)))


@pytest.mark.parametrize("copies", [2, 12])
def test_filters_that_say_the_same_share_the_work_in_single_precision(copies):
    one, (x, y) = cast((shared(k=3), data(5)), jnp.float32)
    many = Shared(jnp.tile(one.U, (1, copies)), jnp.tile(one.v / copies, copies), 4)
    # n copies of a filter move n times as far together, so that an n times larger penalty holds them as much.
    alone, together = (
        adapt(mutatis.Learner(model, Ridge(filters, penalty)), (x, y), key=KEY)
        for model, penalty in ((one, jnp.float32(0.1)), (many, jnp.float32(0.1 * copies)))
    )
    np.testing.assert_allclose(together.weight, alone.weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together.v.reshape(copies, 3), jnp.tile(together.v[None, :3], (copies, 1)), rtol=1e-4)
    bare = adapt(mutatis.Learner(many, Ridge(filters, 0.0)), (x, y), key=KEY)
    assert np.all(np.isfinite(bare.v))


def test_the_best_penalty_is_that_of_the_noise():
    # y = v + noise, v ~ N(0, 1): the posterior mean of v divides y by 1 + the variance of the noise.
    noise, tasks = 0.6, 20_000
    v, y = draw(tasks, seed=1), draw(tasks, seed=1) + noise * draw(tasks, seed=2)
    model = Shared(jnp.ones((1, 1)), jnp.zeros(1), 1)

    @jax.jit
    def slope(penalty):
        def risk(log_penalty):
            learner = mutatis.Learner(model, Ridge(filters, jnp.exp(log_penalty)))
            solve = lambda y: mutatis.adapt(learner, (jnp.ones((1, 1)), y.reshape(1, 1)), key=KEY).v[0]
            return jnp.mean(jnp.square(jax.vmap(solve)(y) - v))

        return jax.grad(risk)(jnp.log(penalty))

    below, at, above = (float(slope(jnp.asarray(factor * noise**2))) for factor in (0.5, 1.0, 2.0))
    assert below < -0.02 and above > 0.02
    assert abs(at) < 0.004


def test_sums_of_two_machines_are_merged_by_adding():
    model, (x, y) = shared(), data(9)
    rule = Ridge(filters, 0.2)
    measure = eqx.filter_jit(lambda x, y: rule.measure(model, (x, y), key=KEY))
    merged = jax.tree.map(jnp.add, measure(x[:4], y[:4]), measure(x[4:], y[4:]))
    assert merged.rows == 9
    assert_close(rule.bind(model, merged).v, rule.bind(model, measure(x, y)).v, rtol=1e-10)


class Scanned(eqx.Module):
    v: jax.Array

    def __call__(self, x):
        return jax.lax.map(lambda row: jnp.einsum("i,ij->j", row, self.v), x)


class Squared(eqx.Module):
    v: jax.Array

    def __call__(self, x):
        return x @ (self.v * self.v)


def layers(*more):
    return nn.Sequential([nn.Linear(4, 3, key=KEY, dtype=jnp.float64), *more])


def first(model):
    return eqx.tree_at(lambda m: m.layers[0].weight, still(model), True)


AFFINE = {
    "last layer": (nn.Classifier(smooth_net(4, 6), nn.Linear(6, 3, key=KEY, dtype=jnp.float64)), head),
    "linear layers behind": (layers(nn.Linear(3, 3, key=KEY, dtype=jnp.float64)), first),
    "fixed norm behind": (layers(nn.BatchNorm(3, dtype=jnp.float64)), first),
    "scan": (Scanned(draw(4, 3)), filters),
    "checkpoint": (layers(jax.checkpoint(jnp.negative)), first),
    "convolution": (
        nn.Sequential(
            [
                lambda x: x.reshape(-1, 2, 2, 1),
                nn.Conv2d(1, 3, 2, key=KEY, dtype=jnp.float64),
                lambda x: x.reshape(-1, 3),
            ]
        ),
        lambda m: eqx.tree_at(lambda t: (t.layers[1].weight, t.layers[1].bias), still(m), (True, True)),
    ),
}
BENT = {
    "an activation behind": (layers(nn.Activation(jnp.tanh)), first),
    "a kink behind": (layers(nn.Activation(nn.relu)), first),
    "two layers": (layers(nn.Linear(3, 3, key=KEY, dtype=jnp.float64)), mutatis.trainable),
    "a square": (Squared(draw(4, 3)), filters),
    "U and v": (shared(), mutatis.trainable),
}


@pytest.mark.parametrize("name", AFFINE)
def test_one_solve_is_the_minimum_for_affine_outputs(name):
    model, where = AFFINE[name]
    context = data(20)
    moved = adapt(mutatis.Learner(model, Ridge(where, 0.0)), context, key=KEY)
    slopes = eqx.filter_grad(mean_square)(moved, context)
    before = eqx.filter_grad(mean_square)(model, context)
    size = lambda tree: max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(eqx.filter(tree, where(model))))
    assert size(slopes) < 1e-9 < 1e-3 < size(before)


@pytest.mark.parametrize("name", BENT)
def test_outputs_that_are_not_affine_are_refused(name):
    model, where = BENT[name]
    with pytest.raises(ValueError, match="not affine in the leaves that where= selects"):
        adapt(mutatis.Learner(model, Ridge(where, 0.1)), data(4), key=KEY)


@pytest.mark.parametrize(
    "run, complaint",
    [
        (lambda: Ridge(filters, -1.0), "penalty is -1.0"),
        (lambda: RidgeHead(-1.0), "penalty is -1.0"),
        (lambda: RidgeHead(scale=-2.0), "scale is -2.0"),
        (lambda: Ridge(still, 1.0).init(shared()), "where= selects no leaf"),
        (lambda: Ridge(filters, 1.0).measure(shared(), draw(3, 4), key=KEY), "needs a pair"),
        (lambda: Ridge(filters, 1.0).measure(shared(), data(3, outputs=1), key=KEY), r"shape \(3, 1\)"),
        (lambda: RidgeHead().init(shared()), "whose last layer is unknown"),
        (lambda: RidgeHead().measure(classifier(), draw(3, 4), key=KEY), "needs a pair"),
        (lambda: RidgeHead().measure(classifier(), data(3, outputs=2), key=KEY), r"shape \(3, 2\)"),
    ],
)
def test_wrong_uses_are_refused(run, complaint):
    with pytest.raises(ValueError, match=complaint):
        run()


def classifier(dtype=jnp.float64):
    return nn.Classifier(smooth_net(4, 6, dtype=dtype), nn.Linear(6, 3, key=KEY, dtype=dtype))


def labelled(rows, seed=40):
    return draw(rows, 4, seed=seed), jnp.asarray(np.random.default_rng(seed).integers(0, 3, rows))


def head_matrix(model):
    return np.vstack([model.head.weight, model.head.bias])


@pytest.mark.parametrize("rows", [3, 30])
def test_a_head_is_scikit_learns_ridge_and_the_papers_formula(rows):
    model, (x, labels) = classifier(), labelled(rows)
    rule = RidgeHead(jnp.asarray(0.7), scale=jnp.asarray(2.5), offset=jnp.asarray(-0.4))
    solved = head_matrix(adapt(mutatis.Learner(model, rule), (x, labels), key=KEY))
    design, targets = with_ones(model.features(x)), np.eye(3)[labels]
    alpha = 0.7 * np.sum(design**2) / (7 * rows)
    offset = np.vstack([np.zeros((6, 3)), np.full((1, 3), -0.4)])
    peer = Peer(alpha=alpha, fit_intercept=False).fit(design, targets)
    np.testing.assert_allclose(solved, 2.5 * peer.coef_.T + offset, rtol=1e-8, atol=1e-10)
    # Bertinetto et al. 2019 write the same by the Woodbury identity, with a system of the size of the rows.
    dual = design.T @ np.linalg.solve(design @ design.T + alpha * np.eye(rows), targets)
    np.testing.assert_allclose(solved, 2.5 * dual + offset, rtol=1e-8, atol=1e-10)


def test_a_head_is_the_general_rule_for_less_work():
    model, (x, y) = classifier(), data(12)
    general = Ridge(head, jnp.asarray(0.3), towards_start=False)
    solved = [adapt(mutatis.Learner(model, rule), (x, y), key=KEY) for rule in (RidgeHead(jnp.asarray(0.3)), general)]
    np.testing.assert_allclose(*map(head_matrix, solved), rtol=1e-8, atol=1e-10)


def test_a_head_without_rows_stays_as_it_is():
    model, rule = classifier(), RidgeHead(scale=5.0, offset=2.0)
    assert_close(rule.bind(model, rule.init(model)), model, rtol=0)
    nobody = rule.update(model, rule.init(model), (jnp.zeros((0, 4)), jnp.zeros(0, int)), key=KEY)
    assert_close(rule.bind(model, nobody), model, rtol=0)


def test_everything_around_a_head_is_trained():
    model, context, query = classifier(), labelled(5), labelled(8, seed=41)

    @jax.jit
    def loss(arrays, settings):
        rule = RidgeHead(settings[0], scale=settings[1], offset=settings[2])
        learner = mutatis.Learner(eqx.combine(arrays, static), rule)
        return mutatis.cross_entropy(mutatis.adapt(learner, context, key=KEY), query)

    arrays, static = eqx.partition(model, mutatis.trainable(model))
    settings = jnp.asarray(0.5), jnp.asarray(4.0), draw(3, seed=6)
    check_grads(loss, (arrays, settings), order=1, modes=["rev"], rtol=1e-6)
    slopes, _ = jax.grad(loss, argnums=(0, 1))(arrays, settings)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slopes.features)) > 1e-3


def test_a_head_of_many_features_and_few_rows_is_finite_in_single_precision():
    model = nn.Classifier(nn.Activation(lambda x: x), nn.Linear(200, 3, key=KEY))
    x = draw(5, 200).astype(jnp.float32)
    moved = adapt(mutatis.Learner(model, RidgeHead(1e-6)), (x, jnp.arange(5) % 3), key=KEY)
    np.testing.assert_allclose(moved(x), np.eye(3)[np.arange(5) % 3], atol=1e-3)


def test_trained_settings_are_not_compiled_again_after_the_first_step():
    # A weakly typed scalar turns strong as soon as an optimiser has moved it.
    weak = jnp.array(0.1)
    assert weak.weak_type
    rules = Ridge(filters, weak), RidgeHead(weak, scale=weak, offset=weak), Positive([weak])
    assert [leaf.weak_type for leaf in jax.tree.leaves(rules)] == [False] * 5


def test_a_head_cites_its_source():
    assert "bertinetto2019r2d2" in mutatis.citation(RidgeHead())
