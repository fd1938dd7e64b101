import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from mutatis.symmetry import _measure as measure

RNG = np.random.default_rng(0)
OUT, IN = 68, 70


def orthonormal(columns):
    return np.linalg.qr(columns)[0]


def turned(truth, overlap, rng):
    """A space whose principal angles to the true one all have the same cosine, the root of the overlap."""
    other = rng.normal(size=truth.shape)
    other = orthonormal(other - truth @ (truth.T @ other))
    return np.sqrt(overlap) * truth + np.sqrt(1 - overlap) * other


def convolution(filters, out=OUT):
    return np.stack([np.pad(filters, (i, out - 1 - i)) for i in range(out)])


def permutation_matrix(move):
    return np.eye(len(move))[:, move]


# The cyclic group of 6, acting on 6 inputs by rotation and on 3 outputs by the rotation modulo 3.
ELEMENTS = np.arange(6)
ROTATE_IN = (np.arange(6)[None] + ELEMENTS[:, None]) % 6
ROTATE_OUT = (np.arange(3)[None] + ELEMENTS[:, None]) % 3
MATRICES_IN, MATRICES_OUT = (np.stack([permutation_matrix(g) for g in moves]) for moves in (ROTATE_IN, ROTATE_OUT))
COMMUTANT = scipy.linalg.null_space(np.kron(MATRICES_OUT[1], np.eye(6)) - np.kron(np.eye(3), MATRICES_IN[1].T))
FREE = RNG.normal(size=(4, 3, 6))
EQUIVARIANT = (RNG.normal(size=(4, COMMUTANT.shape[1])) @ COMMUTANT.T).reshape(4, 3, 6)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.99, 1.0])
def test_overlap_and_cosine_of_spaces_at_a_known_angle(overlap):
    truth = orthonormal(RNG.normal(size=(200, 4)))
    matrix = turned(truth, overlap, RNG) @ RNG.normal(size=(4, 4))  # another basis of the same space
    np.testing.assert_allclose(measure.subspace_overlap(matrix, 5 * truth), overlap, atol=1e-12)
    np.testing.assert_allclose(measure.smallest_cosine(matrix, 5 * truth), np.sqrt(overlap), atol=1e-12)


def test_overlap_and_cosine_agree_with_principal_angles_of_scipy():
    matrix, truth = RNG.normal(size=(30, 8)), RNG.normal(size=(30, 5))
    cosines = np.cos(scipy.linalg.subspace_angles(matrix, truth))
    np.testing.assert_allclose(measure.subspace_overlap(matrix, truth), np.mean(cosines**2), rtol=1e-12)
    np.testing.assert_allclose(measure.smallest_cosine(matrix, truth), cosines.min(), rtol=1e-9)


def test_columns_that_repeat_each_other_span_no_more():
    truth = orthonormal(RNG.normal(size=(50, 3)))
    matrix = np.concatenate([truth[:, :2], truth[:, :2] @ RNG.normal(size=(2, 4))], axis=1)
    np.testing.assert_allclose(measure.subspace_overlap(matrix, truth), 2 / 3, rtol=1e-12)
    np.testing.assert_allclose(measure.smallest_cosine(matrix, truth), 0, atol=1e-12)
    assert measure.smallest_cosine(matrix[:, :2], truth) == 0


def test_overlap_by_chance_is_filters_over_size():
    truth = orthonormal(RNG.normal(size=(60, 3)))
    chance = [measure.subspace_overlap(RNG.normal(size=(60, 6)), truth) for _ in range(300)]
    np.testing.assert_allclose(np.mean(chance), 6 / 60, rtol=0.06)


@pytest.mark.parametrize("values", [[1.0, 1, 1], [2.0, 1, 0.5], [3.0, 0, 0]])
def test_effective_dimension_of_known_singular_values(values):
    square = np.array(values) ** 2
    matrix = orthonormal(RNG.normal(size=(40, 3))) * values @ orthonormal(RNG.normal(size=(3, 3)))
    np.testing.assert_allclose(measure.effective_dimension(matrix), square.sum() ** 2 / np.sum(square**2), rtol=1e-12)


def test_top_directions_leave_out_what_training_left_small():
    truth = orthonormal(RNG.normal(size=(500, 3)))
    rest = RNG.normal(size=(500, 5)) * 0.01
    matrix = np.concatenate([truth * [3.0, 2, 1], rest], axis=1) @ orthonormal(RNG.normal(size=(8, 8)))
    top = measure.top_directions(matrix, 3)
    np.testing.assert_allclose(top.T @ top, np.eye(3), atol=1e-12)
    assert measure.subspace_overlap(top, truth) > 0.95
    with pytest.raises(ValueError, match="count is 9; matrix has 8 columns"):
        measure.top_directions(matrix, 9)


def test_capture_of_weights_that_u_can_and_cannot_express():
    matrix = RNG.normal(size=(12, 2))
    inside = (RNG.normal(size=(5, 2)) @ matrix.T).reshape(5, 3, 4)
    np.testing.assert_allclose(measure.weight_capture(matrix, inside), 1, rtol=1e-12)
    outside = scipy.linalg.null_space(matrix.T)[:, 0].reshape(1, 3, 4)
    np.testing.assert_allclose(measure.weight_capture(matrix, outside), 0, atol=1e-12)
    both = np.concatenate([inside[:1] / np.linalg.norm(inside[0]), 3 * outside])
    np.testing.assert_allclose(measure.weight_capture(matrix, both), 1 / 10, rtol=1e-12)


def test_query_risk_is_the_mean_error_over_inputs_of_unit_covariance():
    adapted, truth = RNG.normal(size=(2, 7, 5, 4))
    inputs = 2 * np.eye(4)  # four inputs of mean square one, uncorrelated
    errors = np.einsum("toi,si->tso", adapted - truth, inputs) ** 2
    np.testing.assert_allclose(measure.query_risk(adapted, truth), errors.mean(), rtol=1e-12)


def test_excess_of_the_floor_and_of_doing_nothing():
    assert measure.floor_excess(jnp.array(0.25), jnp.array(0.25), jnp.array(3.0)) == 0
    np.testing.assert_allclose(measure.floor_excess(jnp.array(3.0), jnp.array(0.3), jnp.array(3.0)), 0.9)


def test_drawn_weights_have_the_covariance_of_u():
    matrix = RNG.normal(size=(12, 3))
    weights = measure.draw_weights(matrix, (3, 2, 2), 20_000, key=jax.random.key(1))
    assert weights.shape == (20_000, 3, 4)
    flat = np.asarray(weights).reshape(-1, 12)
    np.testing.assert_allclose(flat.T @ flat / 20_000, matrix @ matrix.T, atol=0.15)


@pytest.mark.parametrize("actions", [(ROTATE_IN, ROTATE_OUT), (MATRICES_IN, MATRICES_OUT)], ids=["moves", "matrices"])
def test_equivariance_error_and_projection_by_permutations_and_by_matrices(actions):
    dense = [
        np.linalg.norm(MATRICES_OUT[g] @ W - W @ MATRICES_IN[g]) / np.linalg.norm(W) for g in ELEMENTS for W in FREE
    ]
    np.testing.assert_allclose(measure.equivariance_error(FREE, *actions), np.mean(dense), rtol=1e-12)
    np.testing.assert_allclose(measure.equivariance_error(EQUIVARIANT, *actions), 0, atol=1e-12)
    # The mean over the group is the orthogonal projection onto the null space of the conditions.
    projected = (FREE.reshape(4, -1) @ COMMUTANT @ COMMUTANT.T).reshape(FREE.shape)
    np.testing.assert_allclose(measure.reynolds(FREE, *actions), projected, atol=1e-12)
    left = [np.sum((W - P) ** 2) / np.sum(W**2) for W, P in zip(FREE, projected, strict=True)]
    np.testing.assert_allclose(measure.projection_residual(FREE, *actions), np.mean(left), rtol=1e-12)
    np.testing.assert_allclose(measure.projection_residual(EQUIVARIANT, *actions), 0, atol=1e-12)


def test_moves_follow_the_convention_of_a_left_action():
    move = np.array([[2, 0, 1, 3]])
    x = np.arange(4.0)
    moved = np.empty(4)
    moved[move[0]] = x
    weights = np.eye(4)[None]
    # rho_out W = W rho_in holds for the identity exactly if both actions are one and the same.
    assert measure.equivariance_error(weights, move, move) == 0
    assert measure.equivariance_error(weights, move, np.argsort(move, axis=1)) > 1
    np.testing.assert_array_equal(permutation_matrix(move[0]) @ x, moved)
    np.testing.assert_allclose(measure.equivariance_error(weights, move, permutation_matrix(move[0])[None]), 0)


def test_actions_of_different_groups_are_refused():
    with pytest.raises(ValueError, match="rho_in has 6 elements, rho_out 5"):
        measure.equivariance_error(FREE, ROTATE_IN, ROTATE_OUT[:5])


def test_a_convolution_has_no_error_under_shifts():
    weight = convolution(np.array([1.0, -2, 0.5]))
    assert measure.shift_error(weight) == 0
    assert measure.toeplitz_residual(weight) == 0
    assert measure.band_energy(weight, 3) == 1
    np.testing.assert_allclose(measure.band_energy(weight, 1, lowest=1), 4 / 5.25)


def test_independent_entries_have_the_values_of_an_untrained_u():
    # Measured at step 0 of the original's rank-1 problem: 1.39, .971, .042.
    weights = RNG.normal(size=(50, OUT, IN))
    np.testing.assert_allclose(measure.shift_error(weights), np.sqrt(2 * (OUT - 1) * (IN - 1) / (OUT * IN)), rtol=2e-3)
    np.testing.assert_allclose(measure.toeplitz_residual(weights), 1 - (OUT + IN - 1) / (OUT * IN), rtol=1e-3)
    np.testing.assert_allclose(measure.band_energy(weights, 3), 3 * OUT / (OUT * IN), rtol=0.03)


def test_toeplitz_residual_is_what_the_mean_of_each_diagonal_leaves():
    weight = RNG.normal(size=(4, 6))
    rest = weight - scipy.linalg.toeplitz(
        [np.diagonal(weight, -i).mean() for i in range(4)], [np.diagonal(weight, i).mean() for i in range(6)]
    )
    np.testing.assert_allclose(
        measure.toeplitz_residual(np.stack([weight, 2 * weight])), np.sum(rest**2) / np.sum(weight**2), rtol=1e-12
    )


MATRIX, TRUTH = RNG.normal(size=(18, 4)), RNG.normal(size=(18, 4))
LOGGED = {
    "subspace_overlap": (measure.subspace_overlap, (MATRIX, TRUTH)),
    "smallest_cosine": (measure.smallest_cosine, (MATRIX, TRUTH)),
    "effective_dimension": (measure.effective_dimension, (MATRIX,)),
    "top_directions": (functools.partial(measure.top_directions, count=2), (MATRIX,)),
    "weight_capture": (measure.weight_capture, (MATRIX, FREE)),
    "query_risk": (measure.query_risk, (FREE, EQUIVARIANT)),
    "floor_excess": (measure.floor_excess, tuple(np.array([0.3, 0.2, 2.0]))),
    "draw_weights": (lambda U: measure.draw_weights(U, (3, 6), 2, key=jax.random.key(0)), (MATRIX,)),
    "equivariance_error": (lambda W: measure.equivariance_error(W, ROTATE_IN, ROTATE_OUT), (FREE,)),
    "projection_residual": (lambda W: measure.projection_residual(W, MATRICES_IN, MATRICES_OUT), (FREE,)),
    "shift_error": (measure.shift_error, (FREE,)),
    "toeplitz_residual": (measure.toeplitz_residual, (FREE,)),
    "band_energy": (lambda W: measure.band_energy(W, 3), (FREE,)),
}


@pytest.mark.parametrize("name", LOGGED)
def test_single_precision_inside_a_compiled_step(name):
    function, arguments = LOGGED[name]
    single = [jnp.asarray(argument, jnp.float32) for argument in arguments]
    logged = jax.jit(function)(*single)
    assert logged.dtype == jnp.float32
    expected = function(*(np.float64(argument) for argument in single))
    if name == "draw_weights":  # other random numbers in another precision
        assert logged.shape == expected.shape
    elif name == "top_directions":  # up to the sign
        np.testing.assert_allclose(logged @ logged.T, expected @ expected.T, atol=1e-5)
    else:
        np.testing.assert_allclose(logged, expected, rtol=1e-4)
