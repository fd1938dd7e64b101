"""What holds for every structure of the symmetry matrix, and what is special to each."""

import functools
import io
import math
import re
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import mutatis
from mutatis import nn

KEY = jax.random.key(0)


def draw(*shape, seed=0, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


BUILD = {
    "FullSharing": lambda d: {"": nn.FullSharing((4, 3), num_filters=3, key=KEY, dtype=d)},
    "LowRankSharing": lambda d: {"": nn.LowRankSharing((4, 3, 5), num_filters=6, rank=2, key=KEY, dtype=d)},
    "KnownSharing": lambda d: {"": nn.KnownSharing(draw(12, 2, dtype=d), (4, 3))},
    "KroneckerSharing": lambda d: {
        "one term": nn.KroneckerSharing((4, 3), key=KEY, dtype=d),
        "grouped axes": nn.KroneckerSharing((4, 2, 3, 3), axes=((0,), (1,), (2, 3)), terms=3, key=KEY, dtype=d),
        "fewer filters": nn.KroneckerSharing((6, 5), terms=2, filter_shape=(2, 4), key=KEY, dtype=d),
    },
    "DoublyStochasticSharing": lambda d: {
        "": nn.DoublyStochasticSharing((4, 3), num_fields=2, key=KEY, dtype=d),
        "carried": nn.DoublyStochasticSharing(
            (2, 2, 3, 6), num_fields=2, iterations=4, axis=-1, mixes=(0, 1), key=KEY, dtype=d
        ),
    },
}
"""How to build each structure in a precision; a new one needs an entry here."""


def _final_subclasses(kind):
    for child in kind.__subclasses__():
        yield from _final_subclasses(child)
        if not getattr(child, "__abstractmethods__", None) and child.__module__.startswith("mutatis."):
            yield child


def test_every_structure_is_tested():
    assert {kind.__name__ for kind in _final_subclasses(nn.AbstractSharing)} == set(BUILD)


def _cases(dtype):
    return {f"{name} {way}".strip(): one for name, make in BUILD.items() for way, one in make(dtype).items()}


WIDE = _cases(jnp.float64)
every_structure = pytest.mark.parametrize("sharing", WIDE.values(), ids=WIDE)


class Facts(NamedTuple):
    """What the tests below look at, in one program for each structure."""

    matrix: jax.Array
    weights: jax.Array
    sum_of_weights: jax.Array
    weight_of_sum: jax.Array
    first_filters: jax.Array
    first_weight: jax.Array
    stacked: jax.Array
    looped: jax.Array


@eqx.filter_jit
def _facts(sharing, filters, weight):
    first = sharing.first_filters(weight, key=KEY)
    weights = jax.vmap(sharing.weight)(filters)
    moved = jax.tree.map(lambda leaf: leaf + 0.1, sharing)
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), sharing, moved)
    return Facts(
        sharing.matrix(),
        weights,
        2 * weights[0] - 3 * weights[1],
        sharing.weight(2 * filters[0] - 3 * filters[1]),
        first,
        sharing.weight(first),
        jax.vmap(lambda sharing, filters: sharing.weight(filters))(stack, filters),
        jnp.stack([sharing.weight(filters[0]), moved.weight(filters[1])]),
    )


@functools.cache
def facts(name):
    sharing = WIDE[name]
    return Facts(*map(np.asarray, _facts(sharing, draw(2, *sharing.filter_shape), draw(*sharing.shape, seed=1))))


@pytest.mark.parametrize("name", WIDE)
def test_the_weight_is_the_matrix_times_the_filters(name):
    sharing, fact = WIDE[name], facts(name)
    size, number = math.prod(sharing.shape), math.prod(sharing.filter_shape)
    assert fact.matrix.shape == (size, number)
    assert fact.weights.shape == (2, *sharing.shape)
    filters = np.asarray(draw(2, *sharing.filter_shape)).reshape(2, -1)
    np.testing.assert_allclose(fact.weights.reshape(2, -1), filters @ fact.matrix.T, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", WIDE)
def test_the_weight_is_linear_in_the_filters(name):
    fact = facts(name)
    np.testing.assert_allclose(fact.weight_of_sum, fact.sum_of_weights, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", WIDE)
def test_filters_start_at_the_weight_or_at_its_size(name):
    sharing, fact, weight = WIDE[name], facts(name), np.asarray(draw(*WIDE[name].shape, seed=1))
    assert fact.first_filters.shape == sharing.filter_shape
    if isinstance(sharing, nn.KnownSharing):
        nearest = np.linalg.lstsq(fact.matrix, weight.reshape(-1))[0]
        np.testing.assert_allclose(fact.first_filters, nearest, rtol=1e-10)
    else:
        np.testing.assert_allclose(np.linalg.norm(fact.first_weight), np.linalg.norm(weight), rtol=1e-12)


@pytest.mark.parametrize("name", WIDE)
def test_vmap_over_symmetries_and_filters_is_a_loop(name):
    np.testing.assert_allclose(facts(name).stacked, facts(name).looped, rtol=1e-11, atol=1e-13)


@eqx.filter_jit
def _along(sharing, filters, ways, distance):
    """A function of everything, and its first and second derivative, at a distance along a line."""
    params, rest = eqx.partition(sharing, mutatis.trainable(sharing))
    along, filters_along = ways

    def size(params, filters):
        return jnp.sum(jnp.sin(eqx.combine(params, rest).weight(filters)))

    def rise(params, filters):
        slopes = jax.grad(size, argnums=(0, 1))(params, filters)
        return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(ways), strict=True))

    params = jax.tree.map(lambda leaf, way: leaf + distance * way, params, along)
    filters = filters + distance * filters_along
    curves = jax.grad(rise, argnums=(0, 1))(params, filters)
    bend = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(curves), jax.tree.leaves(ways), strict=True))
    return size(params, filters), rise(params, filters), bend


@every_structure
def test_gradients_to_second_order_are_finite_differences(sharing):
    # The rule differentiates by the filters, the outer loop that gradient by everything.
    params = eqx.filter(sharing, mutatis.trainable(sharing))
    along = jax.tree.map(lambda leaf: draw(*leaf.shape, seed=2), params)
    ways, step = (along, draw(*sharing.filter_shape, seed=3)), 1e-5
    behind, here, ahead = (
        np.array(_along(sharing, draw(*sharing.filter_shape), ways, jnp.asarray(distance)))
        for distance in (-step, 0.0, step)
    )
    np.testing.assert_allclose(here[1:], (ahead - behind)[:2] / (2 * step), rtol=1e-6, atol=1e-7)
    assert np.all(np.abs(here[1:]) > 1e-3)


@every_structure
def test_it_survives_a_file(sharing):
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, sharing)
    file.seek(0)
    read = eqx.tree_deserialise_leaves(file, jax.tree.map(np.zeros_like, sharing))
    jax.tree.map(np.testing.assert_array_equal, read, sharing)


def test_single_precision_stays_single():
    def everything():
        for sharing in _cases(jnp.float32).values():
            filters = sharing.first_filters(jnp.ones(sharing.shape, jnp.float32), key=KEY)
            yield eqx.filter(sharing, eqx.is_array), filters, sharing.weight(filters), sharing.matrix()

    shapes = jax.tree.leaves(jax.eval_shape(lambda: list(everything())))
    assert len(shapes) > 4 * len(WIDE)
    assert {leaf.dtype for leaf in shapes} == {jnp.dtype("float32")}


def _largest(program):
    """The number of entries of the largest array in a traced program, loops and calls included."""
    shapes = re.findall(r":f32\[([\d,]*)\]", str(program))
    return max(math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes)


@pytest.mark.parametrize(
    "sharing, most",
    [
        (lambda: nn.LowRankSharing((30, 20), num_filters=50, rank=3, key=KEY), 3 * 600),
        (lambda: nn.KroneckerSharing((30, 20), terms=3, key=KEY), 3 * 30 * 30),
        (lambda: nn.KroneckerSharing((30, 20), terms=2, filter_shape=(8, 8), key=KEY), 2 * 600),
        (lambda: nn.DoublyStochasticSharing((8, 20), num_fields=2, iterations=15, key=KEY), 3 * 20 * 20),
    ],
    ids=["low rank", "Kronecker", "Kronecker with few filters", "doubly stochastic"],
)
def test_neither_weight_nor_gradient_builds_the_matrix(sharing, most):
    sharing = sharing()

    def size(sharing, filters):
        return jnp.sum(jnp.square(sharing.weight(filters)))

    filters = jnp.zeros(sharing.filter_shape, jnp.float32)
    program = jax.make_jaxpr(jax.grad(size, argnums=(0, 1)))(sharing, filters)
    assert most < math.prod(sharing.shape) * filters.size
    assert _largest(program) <= most


# Full, low rank, known


def test_full_and_low_rank_columns_have_length_about_one():
    full = nn.FullSharing((40, 50), num_filters=8, key=KEY)
    np.testing.assert_allclose(np.linalg.norm(full.columns, axis=0), 1, atol=0.1)
    low = np.asarray(nn.LowRankSharing((20, 25), num_filters=100, rank=40, key=KEY).matrix(), np.float64)
    assert np.linalg.matrix_rank(low, tol=1e-4) == 40
    np.testing.assert_allclose(np.mean(np.linalg.norm(low, axis=0)), 1, atol=0.05)
    # The original's start: four standard errors of an estimate from 16,000 draws are 2.3 %.
    narrow = nn.FullSharing((40, 50), num_filters=8, scale=0.01, key=KEY)
    np.testing.assert_allclose(np.std(narrow.columns), 0.01, rtol=0.03)


@pytest.mark.parametrize("filters, count", [(3, 14_283), (6, 28_566), (30, 142_830)])
def test_full_sharing_has_the_published_number_of_parameters(filters, count):
    sharing = jax.eval_shape(lambda: nn.FullSharing((68, 70), num_filters=filters, key=KEY))
    assert sharing.columns.size + filters == count


def test_known_cyclic_group_gives_the_circulant_matrix():
    # Proposition 1: rows (pi(g_j) psi)^T with pi(g_j) the shift by j.
    n = 5
    u = np.concatenate([np.roll(np.eye(n), j, axis=0) for j in range(n)])
    psi = draw(n)
    sharing = nn.KnownSharing(u.astype(int), (n, n))
    circulant = scipy.linalg.circulant(psi).T
    np.testing.assert_allclose(sharing.weight(psi), circulant, rtol=1e-14)
    np.testing.assert_allclose(sharing.first_filters(jnp.asarray(circulant), key=KEY), psi, rtol=1e-12)


def test_nothing_moves_a_known_symmetry():
    sharing = nn.KnownSharing(np.eye(6), (2, 3))
    assert not any(jax.tree.leaves(mutatis.trainable(sharing)))


# Kronecker


def _random_factors(sharing, seed=0):
    leaves = [draw(*factor.shape, seed=seed + number) for number, factor in enumerate(sharing.factors)]
    return eqx.tree_at(lambda s: s.factors, sharing, tuple(leaves))


@pytest.mark.parametrize("filter_shape", [None, (2, 5, 3)])
def test_kronecker_matrix_is_numpys_sum_of_products(filter_shape):
    sharing = nn.KroneckerSharing((4, 3, 2), terms=3, filter_shape=filter_shape, key=KEY, dtype=jnp.float64)
    sharing = _random_factors(sharing)
    a, b, c = map(np.asarray, sharing.factors)
    expected = sum(np.kron(a[t], np.kron(b[t], c[t])) for t in range(3))
    np.testing.assert_allclose(sharing.matrix(), expected, rtol=1e-11, atol=1e-13)


def test_groups_in_another_order_permute_the_rows_and_the_filters():
    # As if the weight were stored (columns, channels, rows), its last two axes being one.
    sharing = nn.KroneckerSharing((4, 3, 2), axes=((1,), (2, 0)), key=KEY, dtype=jnp.float64)
    sharing = _random_factors(sharing)
    a, b = (np.asarray(factor[0]) for factor in sharing.factors)
    rows = np.arange(24).reshape(4, 3, 2).transpose(1, 2, 0).reshape(-1)
    np.testing.assert_allclose(np.asarray(sharing.matrix())[rows], np.kron(a, b), rtol=1e-12, atol=1e-13)
    weight = draw(4, 3, 2)
    v = sharing.first_filters(weight, key=KEY)
    assert sharing.filter_shape == v.shape == (3, 8)
    np.testing.assert_array_equal(v, np.asarray(weight).transpose(1, 2, 0).reshape(3, 8))


@pytest.mark.parametrize("shape, count", [((24, 1, 3, 3), 874), ((48, 1, 3, 3), 2_818)])
def test_one_term_is_the_published_convolution(shape, count):
    # W = A x1 B x2 C x3 on a filter of the kernel's own size.
    sharing = nn.KroneckerSharing(shape, axes=((0,), (1,), (2, 3)), key=KEY, dtype=jnp.float64)
    assert sum(leaf.size for leaf in jax.tree.leaves(sharing)) + math.prod(sharing.filter_shape) == count
    sharing = _random_factors(sharing)
    a, b, c = (np.asarray(factor[0]) for factor in sharing.factors)
    v = draw(*sharing.filter_shape)
    expected = np.einsum("ai,bj,ck,ijk->abc", a, b, c, np.asarray(v)).reshape(shape)
    np.testing.assert_allclose(sharing.weight(v), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("terms", [1, 3])
def test_square_factors_start_as_the_identity(terms):
    sharing = nn.KroneckerSharing((4, 3), terms=terms, key=KEY)
    np.testing.assert_array_equal(sharing.matrix(), np.eye(12))
    # Yet every further term has a way to grow: its last factor receives a gradient at once.
    slopes = jax.grad(lambda s: jnp.sum(jnp.sin(s.weight(jnp.ones((4, 3), jnp.float32)))))(sharing)
    assert np.all(np.any(slopes.factors[-1] != 0, axis=(1, 2)))


def test_a_group_convolution_is_as_many_terms_as_the_group_has_elements():
    shifts = jnp.stack([jnp.roll(jnp.eye(5), j, axis=0) for j in range(5)])
    sharing = nn.KroneckerSharing((5, 5), terms=5, filter_shape=(1, 5), key=KEY, dtype=jnp.float64)
    sharing = eqx.tree_at(lambda s: s.factors, sharing, (jnp.eye(5)[..., None], shifts))
    psi = draw(1, 5)
    np.testing.assert_allclose(sharing.weight(psi), scipy.linalg.circulant(psi[0]).T, rtol=1e-14)


def test_few_filters_start_at_random():
    sharing = nn.KroneckerSharing((30, 40), filter_shape=(5, 40), key=KEY)
    first, second = sharing.factors
    np.testing.assert_allclose(np.linalg.norm(first[0], axis=0), 1, atol=0.5)  # four standard deviations
    np.testing.assert_array_equal(second[0], np.eye(40))


# Doubly stochastic


def test_rows_and_columns_sum_to_one():
    s = nn.sinkhorn(3 * draw(2, 7, 7), 200)
    assert np.all(np.asarray(s) > 0)
    np.testing.assert_allclose(np.sum(s, axis=-1), 1, rtol=1e-10)
    np.testing.assert_allclose(np.sum(s, axis=-2), 1, rtol=1e-12)
    # At the start, the default number of iterations is enough.
    sharing = nn.DoublyStochasticSharing((6, 25), key=KEY)
    s = nn.sinkhorn(sharing.logits, sharing.iterations)
    np.testing.assert_allclose(np.sum(s, axis=-1), 1, atol=1e-5)


def test_sinkhorn_normalises_rows_then_columns():
    # Equation 8 of van der Linden et al. (2024), on the numbers themselves.
    logits = draw(5, 5)
    s = np.exp(logits)
    for _ in range(3):
        s = s / s.sum(1, keepdims=True)
        s = s / s.sum(0, keepdims=True)
    np.testing.assert_allclose(nn.sinkhorn(logits, 3), s, rtol=1e-12)


def test_sinkhorn_of_large_logits_is_a_permutation():
    order = np.random.default_rng(0).permutation(6)
    s = nn.sinkhorn(jnp.asarray(1e3 * np.eye(6, dtype=np.float32)[order]), 20)
    np.testing.assert_array_equal(s, np.eye(6)[order])


def test_four_sharp_copies_are_the_rotations_of_a_filter():
    # Logits that point at the pixels of the rotated kernel: the lifting convolution of the group C4.
    pixels = np.arange(9).reshape(3, 3)
    moved = [np.eye(9)[np.rot90(pixels, turn).reshape(-1)] for turn in range(4)]
    sharing = nn.DoublyStochasticSharing((8, 3, 3), num_fields=2, key=KEY, dtype=jnp.float64)
    sharing = eqx.tree_at(lambda s: s.logits, sharing, jnp.asarray(50 * np.stack(moved[1:])))
    psi = draw(2, 9, 1)
    expected = np.stack([np.rot90(np.asarray(field).reshape(3, 3), turn) for field in psi for turn in range(4)])
    np.testing.assert_allclose(sharing.weight(psi), expected, atol=1e-12)


def test_channels_that_are_not_mixed_are_carried_along():
    sharing = nn.DoublyStochasticSharing(
        (3, 3, 2, 4), num_fields=2, axis=-1, mixes=(0, 1), iterations=9, key=KEY, dtype=jnp.float64
    )
    assert sharing.logits.shape == (1, 9, 9) and sharing.filter_shape == (2, 9, 2)
    v = draw(2, 9, 2)
    s = np.stack([np.eye(9), nn.sinkhorn(sharing.logits, 9)[0]])
    weight = np.asarray(sharing.weight(v))
    for field in range(2):
        for copy in range(2):
            expected = (s[copy] @ np.asarray(v[field])).reshape(3, 3, 2)
            np.testing.assert_allclose(weight[..., 2 * field + copy], expected, rtol=1e-12)


# Errors


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.FullSharing((4, 3), num_filters=0, key=KEY), "num_filters is 0"),
        (lambda: nn.FullSharing((4, 0), num_filters=1, key=KEY), r"shape is \(4, 0\)"),
        (lambda: nn.FullSharing((), num_filters=1, key=KEY), r"shape is \(\)"),
        (lambda: nn.FullSharing((4,), num_filters=1, scale=0.0, key=KEY), "scale is 0.0"),
        (lambda: nn.LowRankSharing((4, 3), num_filters=0, rank=1, key=KEY), "num_filters is 0"),
        (lambda: nn.LowRankSharing((4, 3), num_filters=2, rank=0, key=KEY), "rank is 0"),
        (lambda: nn.KnownSharing(np.eye(5), (2, 3)), r"\(5, 5\).*has 6 entries; pass a \(6, filters\)"),
        (lambda: nn.KnownSharing(np.ones(6), (2, 3)), r"matrix has shape \(6,\)"),
        (lambda: nn.KnownSharing(np.ones((6, 0)), (2, 3)), r"matrix has shape \(6, 0\)"),
        (lambda: nn.KroneckerSharing((4, 3), terms=0, key=KEY), "terms is 0"),
        (lambda: nn.KroneckerSharing((4, 3), axes=((0,),), key=KEY), "name each of the weight's axes 0 to 1"),
        (lambda: nn.KroneckerSharing((4, 3), axes=((0,), (0, 1)), key=KEY), "axes is"),
        (lambda: nn.KroneckerSharing((4, 3), axes=((0,), (1, 2)), key=KEY), "axes is"),
        (lambda: nn.KroneckerSharing((4, 3), axes=((0,), (), (1,)), key=KEY), "axes is"),
        (lambda: nn.KroneckerSharing((4, 3), filter_shape=(2,), key=KEY), r"filter_shape is \(2,\)"),
        (lambda: nn.KroneckerSharing((4, 3), filter_shape=(2, 0), key=KEY), "at least 1"),
        (lambda: nn.DoublyStochasticSharing((4, 3), num_fields=3, key=KEY), "axis 0 .* has 4 entries"),
        (lambda: nn.DoublyStochasticSharing((4, 3), num_fields=4, key=KEY), "proper divisor"),
        (lambda: nn.DoublyStochasticSharing((4, 3), num_fields=0, key=KEY), "num_fields is 0"),
        (lambda: nn.DoublyStochasticSharing((4, 3), iterations=0, key=KEY), "iterations is 0"),
        (lambda: nn.DoublyStochasticSharing((4, 3), axis=2, key=KEY), "axis is 2, but the weight has 2 axes"),
        (lambda: nn.DoublyStochasticSharing((4, 3), mixes=(0,), key=KEY), "mixes is"),
        (lambda: nn.DoublyStochasticSharing((4, 3), mixes=(1, -1), key=KEY), "mixes is"),
        (lambda: nn.DoublyStochasticSharing((4, 3), mixes=(5,), key=KEY), "mixes is"),
        (lambda: nn.DoublyStochasticSharing((4,), key=KEY), "mixes is None"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
