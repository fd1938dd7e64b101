"""True symmetry matrices, against other routes to the same spaces and against turned images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal

from mutatis import trainable
from mutatis.symmetry import (
    GroupConvolution,
    channels,
    cyclic,
    dihedral,
    direct_sum,
    equivariant_basis,
    equivariant_maps,
    image_action,
    lifting_bank,
    permutation_action,
    regular,
    ring_action,
    shift,
    symmetric,
    symmetry_matrix,
    transposed_basis,
    trivial,
)

PATCHES = {
    "pixel C4": image_action(3),
    "pixel D4": image_action(3, flip=True),
    "ring C8": ring_action(),
    "ring D8": ring_action(flip=True),
}

PAIRS = {
    "circular": (shift(5), shift(5)),
    "circular, mirrored": (shift(6, flip=True), shift(6, flip=True)),
    "set": (permutation_action(4), permutation_action(4)),
    "set to number": (permutation_action(3), trivial(symmetric(3), 1)),
    "image to image": (image_action(3), image_action(2)),
    "two fields": (channels(shift(3), 2), direct_sum(shift(3), trivial(cyclic(3), 1))),
    "lifting": (image_action(3, flip=True), regular(dihedral(4))),
}


def overlap(one, other):
    """Share of one orthonormal basis in the other's span; 1 if they span the same."""
    assert one.shape == other.shape
    return np.sum(np.square(one.T @ other)) / one.shape[1]


def orthonormal(basis):
    return np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)


@pytest.mark.parametrize("action", PATCHES.values(), ids=PATCHES)
def test_group_convolutions_are_all_equivariant_maps_to_the_regular_action(action):
    sharing = symmetry_matrix(action) / np.sqrt(action.group.order)
    generators = list(action.group.generators)
    solved = equivariant_maps(action.matrices[generators], regular(action.group).matrices[generators])
    assert sharing.shape == solved.shape == (action.group.order * 9, 9)
    assert orthonormal(sharing)
    assert orthonormal(solved)
    assert overlap(sharing, solved) == pytest.approx(1, abs=1e-9)
    assert overlap(sharing, equivariant_basis(action, regular(action.group))) == pytest.approx(1, abs=1e-9)


def test_the_matrix_of_a_group_gives_inner_products_with_the_moved_filter():
    action = ring_action(flip=True)
    random = np.random.default_rng(0)
    filters, x = random.normal(size=(2, 9)), random.normal(size=9)
    weight = (symmetry_matrix(action, fields=2) @ filters.ravel()).reshape(2 * 16, 9)
    expected = [x @ action.apply(g, psi) for psi in filters for g in range(16)]
    assert np.allclose(weight @ x, expected, atol=1e-12)


def test_circular_shifts_give_circular_correlations():
    psi, x = np.random.default_rng(1).normal(size=(2, 8))
    weight = (symmetry_matrix(shift(8)) @ psi).reshape(8, 8)
    assert np.allclose(weight, scipy.linalg.circulant(psi).T, atol=0)
    assert np.allclose(weight @ x, np.fft.ifft(np.fft.fft(x) * np.conj(np.fft.fft(psi))).real, atol=1e-12)


def test_matrices_serve_as_well_as_an_action():
    # An action that permutes no coordinates: quarter turns of the plane. Their commutant is the complex numbers.
    turns = np.stack([np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), j) for j in range(4)])
    sharing = symmetry_matrix(turns) / 2
    solved = equivariant_maps(turns[1], regular(cyclic(4)).matrix(1))
    assert overlap(sharing, solved) == pytest.approx(1, abs=1e-9)
    commutant = equivariant_maps(turns[1], turns[1])
    complex_numbers = np.stack([np.eye(2).ravel(), turns[1].ravel()], axis=1) / np.sqrt(2)
    assert overlap(commutant, complex_numbers) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("action_in", "action_out"), PAIRS.values(), ids=PAIRS)
def test_orbits_singular_values_and_characters_agree(action_in, action_out):
    by_orbits = equivariant_basis(action_in, action_out)
    by_algebra = equivariant_maps(action_in.matrices, action_out.matrices)
    characters = [np.trace(a) * np.trace(b) for a, b in zip(action_in.matrices, action_out.matrices, strict=True)]
    assert by_orbits.shape[1] == round(np.mean(characters))  # dim Hom = <chi_in, chi_out>
    assert orthonormal(by_orbits)
    assert overlap(by_orbits, by_algebra) == pytest.approx(1, abs=1e-9)


def test_maps_of_sets_are_the_identity_and_the_sum():
    basis = equivariant_basis(permutation_action(5), permutation_action(5))
    deep_sets = np.stack([np.eye(5).ravel(), np.ones(25)], axis=1)
    assert overlap(np.linalg.qr(deep_sets)[0], basis) == pytest.approx(1, abs=1e-12)


def test_single_precision_matrices_need_a_wider_tolerance():
    generators = [a.matrix(1) for a in (image_action(3), regular(cyclic(4)))]
    tilt = scipy.linalg.expm(np.diag(np.ones(8), 1) - np.diag(np.ones(8), -1))  # not in a basis of whole numbers
    rho_in = (tilt @ generators[0] @ tilt.T).astype(np.float32)
    assert equivariant_maps(rho_in, generators[1], tolerance=1e-5).shape == (36, 9)


def test_transposing_a_basis_transposes_its_maps():
    basis = equivariant_basis(image_action(3), regular(cyclic(4)))
    maps = basis.T.reshape(-1, 4, 9)
    assert np.array_equal(transposed_basis(basis, (4, 9)).T.reshape(-1, 9, 4), maps.swapaxes(1, 2))


def test_actions_of_different_groups_share_no_maps():
    with pytest.raises(ValueError, match="action_in is of C3, action_out of C4"):
        equivariant_basis(shift(3), shift(4))
    with pytest.raises(ValueError, match="rho_in has 3 elements, rho_out 4"):
        equivariant_maps(shift(3).matrices, shift(4).matrices)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("n", [1, 3, 4, 8])
def test_the_bank_has_six_orthonormal_directions_a_field(n, flip):
    bank = lifting_bank(n, flip=flip, fields=3)
    assert bank.shape == (3 * (n * 9 * (1 + flip)), 18)
    assert orthonormal(bank)
    assert np.linalg.matrix_rank(bank) == 18


@pytest.mark.parametrize("flip", [False, True])
def test_the_bank_is_a_group_convolution_of_its_own_turned_patches(flip):
    # On the ring, with its weights undone, 45 degrees are a step along the border: an exact action of the group.
    action = ring_action(flip=flip)
    weight = np.array(
        [[1 if abs(x) + abs(y) < 2 else np.exp(-((2**0.5 - 1) ** 2) / 0.32) for x in (-1, 0, 1)] for y in (-1, 0, 1)]
    ).ravel()
    acting = weight[None, :, None] * action.matrices / weight[None, None]
    bank = lifting_bank(8, flip=flip)
    all_filters = np.linalg.qr(symmetry_matrix(acting))[0]
    assert np.allclose(all_filters @ (all_filters.T @ bank), bank, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("n", "flip"), [(4, False), (8, False), (4, True), (8, True)])
def test_turned_noise_gives_the_turned_output_with_its_channels_moved_on(n, flip, dtype):
    layer = GroupConvolution(2, n=n, flip=flip, key=jax.random.key(n), dtype=dtype)
    x = jax.random.normal(jax.random.key(0), (2, 9, 9, 1), dtype)
    y = layer(x)
    assert y.shape == (2, 7, 7, 2 * n * (1 + flip))
    assert y.dtype == dtype
    accuracy = {"rtol": 0, "atol": (1e-6 if dtype == jnp.float32 else 1e-12) * jnp.abs(y).max()}
    moves = regular(dihedral(n) if flip else cyclic(n))
    blocks = channels(moves, 2)
    turned = blocks.apply(n // 4, jnp.rot90(y, axes=(1, 2)), axis=3)
    assert jnp.allclose(layer(jnp.rot90(x, axes=(1, 2))), turned, **accuracy)
    assert not jnp.allclose(layer(jnp.rot90(x, axes=(1, 2))), jnp.rot90(y, axes=(1, 2)), atol=0.1)
    if flip:
        assert jnp.allclose(layer(x[:, ::-1]), blocks.apply(n, y[:, ::-1], axis=3), **accuracy)


@pytest.mark.parametrize(("wavelength", "error"), [(32, 0.0016), (16, 0.005), (8, 0.019), (4, 0.060)])
def test_turns_by_45_degrees_are_nearly_exact_for_long_waves(wavelength, error):
    # All plane waves of one length, seen by each filter at the origin: turned wave against turned filter.
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    y, x = np.meshgrid([1, 0, -1], [-1, 0, 1], indexing="ij")
    place = np.stack([x.ravel(), y.ravel()])
    filters = lifting_bank(8).reshape(8, 9, 6)

    def seen(turn, element):
        wave = 2 * np.pi / wavelength * np.stack([np.cos(angle + turn), np.sin(angle + turn)], axis=1)
        return np.exp(1j * wave @ place) @ filters[element]

    straight, turned = seen(0.0, 0), seen(np.pi / 4, 1)
    relative = np.linalg.norm(turned - straight) / np.linalg.norm(straight)
    assert error / 2 < relative < 2 * error


def test_the_layer_correlates_as_scipy_does_and_trains_only_coefficients():
    layer = GroupConvolution(3, key=jax.random.key(1), dtype=jnp.float64)
    image = np.random.default_rng(0).normal(size=(6, 5))
    y = layer(jnp.asarray(image)[None, :, :, None])[0]
    filters = (lifting_bank(fields=3) @ np.asarray(layer.coefficients)).reshape(24, 3, 3)
    expected = [scipy.signal.correlate2d(image, kernel, mode="valid") for kernel in filters]
    assert np.allclose(np.moveaxis(y, 2, 0), expected, atol=1e-12)
    specification = trainable(layer)
    assert specification.coefficients is True
    assert specification.bank is False


def test_a_bank_needs_angles_and_a_layer_fields():
    with pytest.raises(ValueError, match="n is 0"):
        lifting_bank(0)
    with pytest.raises(ValueError, match="fields is 0"):
        GroupConvolution(0, key=jax.random.key(0))
