"""Any weight of any module as vec(W) = U v: the same outputs, and a rule that moves exactly what it should."""

import io
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mutatis
from core_problems import draw, gradient_of, mean_square, start, tasks_of
from mutatis import nn

KEY = jax.random.key(0)


def narrow(*shape, seed=0):
    return draw(*shape, seed=seed).astype(jnp.float32)


def _attention():
    module = eqx.nn.MultiheadAttention(2, 6, dtype=jnp.float32, key=KEY)
    where = lambda m: [m.query_proj.weight, m.key_proj.weight, m.value_proj.weight, m.output_proj.weight]
    return module, where, (narrow(5, 6), narrow(5, 6, seed=1), narrow(5, 6, seed=2), jnp.tril(jnp.ones((5, 5), bool)))


MODULES = {
    "Linear": lambda: (nn.Linear(6, 4, key=KEY), lambda m: m.weight, (narrow(3, 6),)),
    "Conv2d": lambda: (nn.Conv2d(2, 4, 3, key=KEY), lambda m: m.weight, (narrow(2, 5, 5, 2),)),
    "equinox Linear": lambda: (
        eqx.nn.Linear(6, 4, dtype=jnp.float32, key=KEY),
        lambda m: (m.weight, m.bias),
        (narrow(6),),
    ),
    "equinox Conv2d": lambda: (
        eqx.nn.Conv2d(2, 4, 3, use_bias=False, dtype=jnp.float32, key=KEY),
        lambda m: m.weight,
        (narrow(2, 5, 5),),
    ),
    "equinox MultiheadAttention": _attention,
}
every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
call = eqx.filter_jit(lambda module, *args, **kwargs: module(*args, **kwargs))


@every_module
def test_the_plain_module_comes_back_with_the_same_outputs(make):
    module, where, inputs = make()
    shared = nn.reparameterise(module, where, num_filters=3, key=KEY)
    plain = nn.materialise(shared)
    assert jax.tree.structure(plain) == jax.tree.structure(module)
    for before, after in zip(jax.tree.leaves(module), jax.tree.leaves(plain), strict=True):
        assert not eqx.is_array(before) or (before.shape, before.dtype) == (after.shape, after.dtype)
    answer = call(shared, *inputs)
    assert answer.dtype == jnp.float32
    np.testing.assert_allclose(call(plain, *inputs), answer, rtol=1e-6, atol=1e-6)
    assert np.max(np.abs(answer - call(module, *inputs))) > 1e-3  # three random filters are another layer


@every_module
def test_a_kronecker_product_starts_as_the_module_itself(make):
    module, where, inputs = make()
    shared = nn.reparameterise(module, where, nn.KroneckerSharing, key=KEY)
    jax.tree.map(
        np.testing.assert_array_equal, *(eqx.filter(m, eqx.is_array) for m in (nn.materialise(shared), module))
    )
    np.testing.assert_array_equal(call(shared, *inputs), call(module, *inputs))


@pytest.mark.parametrize(
    "sharing, settings",
    [
        (nn.LowRankSharing, {"num_filters": 3, "rank": 2}),
        (nn.DoublyStochasticSharing, {"num_fields": 2, "axis": -1}),
        (nn.KnownSharing(np.eye(216)[:, :200], (3, 3, 4, 6)), {}),
    ],
    ids=["low rank", "doubly stochastic", "known"],
)
def test_every_structure_serves_a_convolution(sharing, settings):
    layer, images = nn.Conv2d(4, 6, 3, padding=1, key=KEY), narrow(2, 5, 5, 4)
    shared = nn.reparameterise(layer, lambda m: m.weight, sharing, key=KEY, **settings)
    (weight,) = nn.shared_weights(shared)
    plain = nn.materialise(shared)
    assert plain.weight.dtype == weight.filters.dtype == jnp.float32
    expected = np.asarray(weight.sharing.matrix()) @ np.asarray(weight.filters).reshape(-1)
    np.testing.assert_allclose(plain.weight.reshape(-1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(call(plain, images), call(shared, images), rtol=1e-6, atol=1e-6)


def test_positional_and_keyword_arguments_pass_through():
    module, where, (query, key, value, mask) = _attention()
    module = eqx.tree_at(lambda m: m.dropout, module, eqx.nn.Dropout(0.5))
    shared = nn.reparameterise(module, where, nn.KroneckerSharing, key=KEY)
    for settings in ({"key": KEY}, {"inference": True}):
        expected = call(module, query, key_=key, value=value, mask=mask, **settings)
        np.testing.assert_array_equal(call(shared, query, key_=key, value=value, mask=mask, **settings), expected)


def test_shared_weights_are_found_and_replaced_anywhere_in_a_tree():
    first, second = (nn.Linear(4, 4, key=key) for key in jax.random.split(KEY))
    shared = nn.reparameterise(second, lambda m: m.weight, num_filters=2, key=KEY)
    net = nn.Sequential([first, nn.Activation(jnp.tanh), shared])
    assert [weight.filters.shape for weight in nn.shared_weights(net)] == [(2,)]
    plain = nn.materialise(net)
    assert jax.tree.structure(plain) == jax.tree.structure(nn.Sequential([first, nn.Activation(jnp.tanh), second]))
    np.testing.assert_array_equal(plain.layers[2].weight, nn.shared_weights(net)[0].value())
    np.testing.assert_array_equal(plain.layers[0].weight, first.weight)
    assert nn.materialise(jnp.tanh) is jnp.tanh and nn.shared_weights(first) == []


def test_weights_of_one_module_may_have_different_structures():
    net = nn.mlp((4, 5, 3), key=KEY)
    once = nn.reparameterise(net, lambda m: m.layers[0].weight, nn.KroneckerSharing, key=KEY)
    twice = nn.reparameterise(once, lambda m: m.module.layers[2].weight, num_filters=2, key=KEY)
    kinds = [type(weight.sharing) for weight in nn.shared_weights(twice)]
    assert kinds == [nn.KroneckerSharing, nn.FullSharing]
    plain = nn.materialise(twice)
    assert jax.tree.structure(plain) == jax.tree.structure(net)
    np.testing.assert_array_equal(plain.layers[0].weight, net.layers[0].weight)


def test_every_weight_draws_a_symmetry_of_its_own():
    net = nn.mlp((4, 4, 4), key=KEY)
    shared = nn.reparameterise(net, lambda m: [m.layers[0].weight, m.layers[2].weight], num_filters=2, key=KEY)
    first, second = nn.shared_weights(shared)
    assert not np.any(first.sharing.columns == second.sharing.columns)
    assert not np.any(first.filters == second.filters)


def test_it_survives_a_file():
    make = lambda seed: nn.reparameterise(
        nn.Linear(4, 3, key=jax.random.key(seed)), lambda m: m.weight, num_filters=2, key=jax.random.key(seed)
    )
    saved, file = make(0), io.BytesIO()
    eqx.tree_serialise_leaves(file, saved)
    file.seek(0)
    read = eqx.tree_deserialise_leaves(file, make(1))
    jax.tree.map(np.testing.assert_array_equal, read, saved)


# What moves


def _layer(sharing=nn.FullSharing, **settings):
    """3 inputs and 2 outputs, in double precision; by default a full symmetry of 4 filters."""
    layer = nn.Linear(3, 2, key=KEY, dtype=jnp.float64)
    settings |= {"num_filters": 4} if sharing is nn.FullSharing else {}
    return nn.reparameterise(layer, lambda m: m.weight, sharing, key=KEY, **settings)


DATA = draw(5, 3), draw(5, 2, seed=1)


def _marked(spec, model):
    return [id(leaf) for leaf in jax.tree.leaves(eqx.filter(model, spec))]


def test_symmetry_filters_and_the_rest_are_apart_and_together_everything():
    net = nn.Sequential([_layer(), nn.BatchNorm(2, dtype=jnp.float64), nn.Linear(2, 2, key=KEY)])
    (weight,) = nn.shared_weights(net)
    symmetry, filters, rest = (_marked(where(net), net) for where in (nn.is_symmetry, nn.is_filter, mutatis.trainable))
    assert symmetry == [id(weight.sharing.columns)]
    assert filters == [id(weight.filters)]
    assert len(rest) == 7  # columns, filters, bias; scale and shift; weight and bias
    left = _marked(nn.not_(nn.is_symmetry)(net), net)
    assert left == [leaf for leaf in rest if leaf not in symmetry]
    assert _marked(nn.not_(nn.not_(nn.is_symmetry))(net), net) == symmetry
    assert _marked(nn.not_(mutatis.trainable)(net), net) == []


def test_what_is_fixed_is_marked_by_nobody():
    shared = _layer(nn.KnownSharing(np.eye(6), (3, 2)))
    model = [shared, mutatis.Fixed(_layer())]
    (weight,) = nn.shared_weights(shared)
    assert _marked(nn.is_symmetry(model), model) == []
    assert _marked(nn.is_filter(model), model) == [id(weight.filters)]
    assert _marked(nn.not_(nn.is_symmetry)(model), model) == [id(weight.filters), id(shared.module.bias)]


@pytest.mark.parametrize(
    "where, moving",
    [(nn.not_(nn.is_symmetry), {"filters", "bias"}), (nn.is_filter, {"filters"}), (nn.is_symmetry, {"columns"})],
    ids=["not symmetry", "filter", "symmetry"],
)
def test_gradient_steps_move_exactly_those_leaves(where, moving):
    model = _layer()
    learner = mutatis.Learner(model, mutatis.GradientSteps(mean_square, 0.1, steps=2, where=where))
    adapted = eqx.filter_jit(mutatis.adapt)(learner, DATA, key=KEY)
    leaves = lambda m: {
        "columns": m.module.weight.sharing.columns,
        "filters": m.module.weight.filters,
        "bias": m.module.bias,
    }
    changed = {name for name, leaf in leaves(adapted).items() if not np.array_equal(leaf, leaves(model)[name])}
    assert changed == moving


def test_a_step_on_the_filters_is_the_weights_gradient_seen_through_the_symmetry():
    # Zhou et al. (2021), section 4.3: v' = v - rate dL/dv with dL/dv = U^T vec(dL/dW).
    model = _layer()
    learner = mutatis.Learner(model, mutatis.GradientSteps(mean_square, 0.1, where=nn.is_filter))
    adapted = eqx.filter_jit(mutatis.adapt)(learner, DATA, key=KEY)
    (x, y), plain = map(np.asarray, DATA), nn.materialise(model)
    residual = x @ np.asarray(plain.weight) + np.asarray(plain.bias) - y
    slope = 2 * x.T @ residual / residual.size
    (before,), (after,) = nn.shared_weights(model), nn.shared_weights(adapted)
    expected = np.asarray(before.filters) - 0.1 * np.asarray(before.sharing.matrix()).T @ slope.reshape(-1)
    np.testing.assert_allclose(after.filters, expected, rtol=1e-6)  # the rate is a float32


def test_the_outer_gradient_of_the_symmetry_is_a_finite_difference():
    rule = mutatis.GradientSteps(mean_square, 0.5, steps=2, where=nn.not_(nn.is_symmetry))
    learner = mutatis.Learner(_layer(), rule)
    pairs = [(draw(3, 5, 3, seed=seed), draw(3, 5, 2, seed=seed + 50)) for seed in (0, 1)]
    tasks = tasks_of(*pairs)
    columns = lambda tree: tree.model.module.weight.sharing.columns
    slope, _ = gradient_of(learner, tasks)
    step = 1e-5 * draw(6, 4, seed=3)
    (ahead, behind) = (
        jnp.mean(gradient_of(eqx.tree_at(columns, learner, columns(learner) + sign * step), tasks)[1])
        for sign in (1, -1)
    )
    np.testing.assert_allclose(jnp.vdot(columns(slope), 2 * step), ahead - behind, rtol=1e-6)


def test_equal_specifications_do_not_compile_again():
    assert nn.not_(nn.is_symmetry) == nn.not_(nn.is_symmetry) != nn.not_(nn.is_filter)
    assert hash(nn.not_(nn.is_symmetry)) == hash(nn.not_(nn.is_symmetry))
    traces = []

    def objective(model, data):
        traces.append(None)
        return mean_square(model, data)

    adapt, counts = eqx.filter_jit(mutatis.adapt), []
    for rate in (0.1, 0.2, 0.3):
        rule = mutatis.GradientSteps(objective, rate, where=nn.not_(nn.is_symmetry))
        adapt(mutatis.Learner(_layer(), rule), DATA, key=KEY)
        counts.append(len(traces))
    assert counts[0] > 0 and counts == [counts[0]] * 3


def test_the_outer_loop_learns_the_symmetry_and_leaves_a_known_one():
    tasks = tasks_of(*((draw(3, 5, 3, seed=seed), draw(3, 5, 2, seed=seed + 50)) for seed in (0, 1)))
    known = nn.KnownSharing(np.eye(6)[:, :4], (3, 2))
    rule = mutatis.GradientSteps(mean_square, 0.1, where=nn.not_(nn.is_symmetry))
    for model, moves in ((_layer(), True), (_layer(known), False)):
        learner = mutatis.Learner(model, rule)
        state = start(learner, optim=optax.adamw(1e-2))
        after, _, _ = eqx.filter_jit(mutatis.outer_step)(learner, state, tasks, objective=mean_square)
        before, now = (np.asarray(nn.shared_weights(tree)[0].sharing.matrix()) for tree in (learner, after))
        assert np.all(before != now) if moves else np.array_equal(before, now)
        assert np.all(nn.shared_weights(after)[0].filters != nn.shared_weights(learner)[0].filters)


def test_moments_are_measured_inside_a_reparameterised_network():
    net = nn.Sequential([nn.Linear(3, 4, key=KEY), nn.BatchNorm(4), nn.Activation(jnp.tanh), nn.Linear(4, 2, key=KEY)])
    shared = nn.reparameterise(net, lambda m: [m.layers[0].weight, m.layers[3].weight], nn.KroneckerSharing, key=KEY)
    rule, x = mutatis.BatchMoments(), narrow(6, 3)
    answers = [eqx.filter_jit(mutatis.adapt)(mutatis.Learner(m, rule), x, key=KEY)(x) for m in (net, shared)]
    np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-6)
    assert np.max(np.abs(answers[0] - net(x))) > 0.01


def test_it_cites_its_sources():
    keys = lambda part: re.findall(r"@\w+\{(\w+),", mutatis.citation(part))
    assert keys(mutatis.Learner(_layer(), mutatis.NoAdaptation())) == ["mutatis", "zhou2021msr"]
    soft = _layer(nn.DoublyStochasticSharing, axis=1)
    assert keys(soft) == ["mutatis", "zhou2021msr", "vanderlinden2024wscnn", "sinkhorn1967doubly"]


# Errors

LINEAR = nn.Linear(3, 2, key=KEY)
BARE = eqx.nn.Linear(3, 2, use_bias=False, key=KEY)
DONE = nn.reparameterise(LINEAR, lambda m: m.weight, num_filters=2, key=KEY)
KNOWN = nn.KnownSharing(np.eye(6), (3, 2))


@pytest.mark.parametrize(
    "module, where, sharing, settings, message",
    [
        (LINEAR, lambda m: [], nn.FullSharing, {}, "where names no weight"),
        (LINEAR, lambda m: m, nn.FullSharing, {}, "where names a Linear"),
        (BARE, lambda m: m.bias, nn.FullSharing, {}, "where names a NoneType"),
        ([jnp.arange(3)], lambda m: m[0], nn.FullSharing, {}, "where names an array of int"),
        (DONE, lambda m: m.module.weight, nn.FullSharing, {}, "reparameterised already"),
        (DONE, lambda m: m.module.weight.filters, nn.FullSharing, {}, "a part of a reparameterised one"),
        (LINEAR, lambda m: [m.weight, m.weight], nn.FullSharing, {}, "names a weight twice"),
        (LINEAR, lambda m: m.weight, nn.FullSharing, {"num_filters": 0}, "num_filters is 0"),
        (LINEAR, lambda m: m.weight, KNOWN, {"num_filters": 2}, "a finished KnownSharing, which takes no num_filters"),
        (LINEAR, lambda m: [m.weight, m.bias], KNOWN, {}, "where names 2 weights"),
        (BARE, lambda m: m.weight, KNOWN, {}, r"shape \(3, 2\), but where names one of \(2, 3\)"),
    ],
)
def test_wrong_uses_are_named(module, where, sharing, settings, message):
    settings = {"num_filters": 2, **settings} if sharing is nn.FullSharing else settings
    with pytest.raises(ValueError, match=message):
        nn.reparameterise(module, where, sharing, key=KEY, **settings)


@pytest.mark.parametrize("where", [None, DONE, True], ids=["None", "a model", "a value"])
def test_not_takes_a_function(where):
    with pytest.raises(ValueError, match=r"such as not_\(is_symmetry\)"):
        nn.not_(where)
