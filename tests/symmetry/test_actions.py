"""Actions, against NumPy's own turns, flips and rolls, and against products of matrices."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from mutatis.symmetry import (
    Action,
    channels,
    cyclic,
    dihedral,
    direct_sum,
    image_action,
    outer,
    permutation_action,
    reflection,
    regular,
    restrict,
    ring_action,
    shift,
    symmetric,
    tensor,
    trivial,
)

ACTIONS = {
    "shift": shift(7),
    "shift flip": shift(6, flip=True),
    "reflection": reflection(5),
    "regular": regular(symmetric(3)),
    "trivial": trivial(dihedral(3), 4),
    "set": permutation_action(4),
    "image C4": image_action(4),
    "image D4": image_action(3, flip=True),
    "image C2": image_action((3, 5), n=2),
    "image D2": image_action((2, 3), n=2, flip=True),
    "image flip": image_action((3, 4), n=1, flip=True),
    "ring C8": ring_action(),
    "ring D8": ring_action(flip=True),
    "ring D4": ring_action(n=4, flip=True),
    "channels": channels(shift(4), 3),
    "sum": direct_sum(shift(5), trivial(cyclic(5), 2)),
    "tensor": tensor(shift(4, flip=True), regular(dihedral(4))),
    "outer": outer(shift(3), shift(4, flip=True)),
    "restricted": restrict(ring_action(flip=True), [2, 8]),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_an_action_is_a_homomorphism_into_permutation_matrices(action):
    matrices = action.matrices
    table = action.group.table
    assert np.array_equal(matrices[:, None] @ matrices[None], matrices[table])
    assert np.array_equal(matrices @ matrices.swapaxes(1, 2), np.tile(np.eye(action.size), (len(table), 1, 1)))
    assert np.array_equal(np.stack([action.matrix(g) for g in range(len(table))]), matrices)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_the_contract_of_the_permutations_and_apply(action):
    x = np.random.default_rng(0).normal(size=(2, action.size, 3))
    for g in {0, 1 % action.group.order, action.group.order - 1}:
        moved = action.apply(g, x, axis=1)
        assert np.array_equal(moved[:, action.permutations[g]], x)
        assert np.allclose(moved, np.einsum("ij,njk->nik", action.matrix(g), x), atol=0)
        assert np.array_equal(action.apply(g, jnp.asarray(x), axis=1), moved)


def test_a_line_is_rolled_and_reversed():
    x = np.arange(6.0)
    action = shift(6, flip=True)
    for j in range(6):
        assert np.array_equal(action.apply(j, x), np.roll(x, j))
        assert np.array_equal(action.apply(6 + j, x), np.roll(np.roll(x[::-1], 1), j))  # the mirror keeps place 0
    assert np.array_equal(reflection(6).apply(1, x), x[::-1])


@pytest.mark.parametrize("size", [3, 4])
def test_an_image_is_turned_as_numpy_turns_it(size):
    image = np.random.default_rng(1).normal(size=(size, size))
    action = image_action(size, flip=True)
    for j in range(4):
        assert np.array_equal(action.apply(j, image.ravel()), np.rot90(image, j).ravel())
        assert np.array_equal(action.apply(4 + j, image.ravel()), np.rot90(np.flipud(image), j).ravel())


def test_half_turns_and_mirrors_need_no_square():
    image = np.random.default_rng(1).normal(size=(2, 3))
    action = image_action((2, 3), n=2, flip=True)
    expected = [image, np.rot90(image, 2), np.flipud(image), np.fliplr(image)]
    assert all(np.array_equal(action.apply(g, image.ravel()), e.ravel()) for g, e in enumerate(expected))


def test_two_steps_on_the_ring_are_a_quarter_turn():
    assert restrict(ring_action(), [2]) == image_action(3)
    assert restrict(ring_action(flip=True), [2, 8]) == image_action(3, flip=True)
    assert ring_action(n=4) == image_action(3)


def test_a_set_is_reordered():
    action = permutation_action(3)
    g = action.group.names.index("(0 1 2)")
    assert list(action.apply(g, np.array(["a", "b", "c"]))) == ["c", "a", "b"]  # 0 goes to 1, 1 to 2, 2 to 0


def test_sums_and_products_are_those_of_matrices():
    a, b = shift(4, flip=True), regular(dihedral(4))
    for g in (1, 4, 7):
        assert np.array_equal(direct_sum(a, b).matrix(g), scipy.linalg.block_diag(a.matrix(g), b.matrix(g)))
        assert np.array_equal(tensor(a, b).matrix(g), np.kron(a.matrix(g), b.matrix(g)))
        assert np.array_equal(channels(a, 3).matrix(g), np.kron(np.eye(3), a.matrix(g)))
    both = outer(shift(3), a)
    assert np.array_equal(both.matrix(2 * 8 + 5), np.kron(shift(3).matrix(2), a.matrix(5)))
    image = np.random.default_rng(2).normal(size=(3, 4))
    moved = outer(shift(3), shift(4)).apply(1 * 4 + 2, image.ravel())
    assert np.array_equal(moved.reshape(3, 4), np.roll(image, (1, 2), axis=(0, 1)))


@pytest.mark.parametrize("n", [4, 5, 6])
def test_orbits_are_counted_by_burnside(n):
    # The orbits of D_n on pairs of places are the distances 0 ... n // 2 along the circle.
    pairs = tensor(shift(n, flip=True), shift(n, flip=True))
    fixed = (pairs.permutations == np.arange(n * n)[None]).sum(axis=1)
    assert fixed.mean() == n // 2 + 1
    assert len({tuple(sorted(set(column))) for column in pairs.permutations.T}) == n // 2 + 1


def test_equal_actions_are_equal_by_value():
    assert shift(5) == shift(5) == regular(cyclic(5))
    assert hash(shift(5)) == hash(regular(cyclic(5)))
    assert shift(5) != trivial(cyclic(5), 5)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: Action(cyclic(2), np.array([[0, 1, 2]])), "one row for each of the 2 elements"),
        (lambda: Action(cyclic(2), np.array([[0, 1], [1, 1]])), "once in every row"),
        (lambda: Action(cyclic(3), np.array([[0, 1], [1, 0], [0, 1]])), "no action of C3"),
        (lambda: image_action((3, 4)), "n is 4 for an image of 3 x 4"),
        (lambda: image_action(5, n=8), "n is 8"),
        (lambda: ring_action(n=6), "n is 6"),
        (lambda: direct_sum(shift(3), shift(4)), "different groups, C3 and C4"),
        (lambda: tensor(shift(3), shift(4)), "use outer"),
    ],
)
def test_what_is_no_action_is_refused(make, cause):
    with pytest.raises(ValueError, match=cause):
        make()
