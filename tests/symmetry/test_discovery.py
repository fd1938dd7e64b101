import itertools
import time

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from mutatis.symmetry._candidate_lists import (
    image_candidates,
    line_candidates,
    permutation_candidates,
    ring_candidates,
)
from mutatis.symmetry._candidates import Candidate, Together, best_orthogonal, best_permutation
from mutatis.symmetry._commuting import commuting_pairs
from mutatis.symmetry._discovery import any_space, discover, holm, same_energy
from mutatis.symmetry._symmetry_error import shared_directions, symmetry_error

KEY = jax.random.key(0)
NOISE = 0.01  # one less the overlap that training reaches


# Symmetric weights, built from scratch. A move is where each coordinate goes; weights are flattened row by row.


def orthonormal(columns):
    return np.linalg.svd(columns, full_matrices=False)[0]


def permutation_matrix(move):
    matrix = np.zeros((len(move), len(move)))
    matrix[move, np.arange(len(move))] = 1
    return matrix


def commutant(*pairs):
    """All W with rho_out W = W rho_in for every (rho_in, rho_out): a null space."""
    conditions = []
    for move_in, move_out in pairs:
        left, right = permutation_matrix(move_out), permutation_matrix(move_in)
        conditions.append(np.kron(left, np.eye(len(right))) - np.kron(np.eye(len(left)), right.T))
    return scipy.linalg.null_space(np.vstack(conditions), rcond=1e-9)


def moved_as(transform, size=3):
    """Where the pixels of an image go, from what a NumPy function does to the image of their numbers."""
    return np.argsort(transform(np.arange(size * size).reshape(size, size)).ravel())


def taps(n_out, n_in, offsets, circular=False, coefficients=None):
    """One matrix of ones along each diagonal, or its products with columns of coefficients for each row."""
    columns = []
    for row_weights in np.ones((1, n_out)) if coefficients is None else coefficients.T:
        for offset in offsets:
            weight = np.zeros((n_out, n_in))
            for row in range(n_out):
                column = (row + offset) % n_in if circular else row + offset
                if 0 <= column < n_in:
                    weight[row, column] = row_weights[row]
            columns.append(weight.ravel())
    return np.stack(columns, axis=1)


def locally_connected(rank, n_out, rng):
    logits = np.exp(rng.normal(size=(n_out, rank)))
    return taps(n_out, n_out + 2, range(3), coefficients=logits / logits.sum(axis=1, keepdims=True))


def lifted(moves):
    """W(psi), whose row g is psi moved by element g, for every psi: U of proposition 1 of Zhou et al. (2021)."""
    return np.concatenate([permutation_matrix(move) for move in moves])


def learned(truth, rng, noise=NOISE):
    """A space of overlap 1 - noise with the true one, in a random basis of columns."""
    truth = orthonormal(truth)
    other = rng.normal(size=truth.shape)
    other = orthonormal(other - truth @ (truth.T @ other))
    return (np.sqrt(1 - noise) * truth + np.sqrt(noise) * other) @ scipy.stats.ortho_group.rvs(
        truth.shape[1], random_state=rng
    )


ROTATE, TURN = moved_as(np.rot90), moved_as(lambda x: np.rot90(x, 2))
MIRROR, DOWN = moved_as(np.fliplr), moved_as(np.flipud)
RING = np.arange(9)
RING[[0, 1, 2, 5, 8, 7, 6, 3]] = [3, 0, 1, 2, 5, 8, 7, 6]  # anticlockwise: the corner at 0 goes to 3
RING_TURNS = [np.arange(9)]
for _ in range(7):
    RING_TURNS.append(RING[RING_TURNS[-1]])
RING_ALL = RING_TURNS + [DOWN[turn] for turn in RING_TURNS]
GRID_ROWS = moved_as(lambda x: np.roll(x, 1, axis=0), 4)
GRID_COLUMNS = moved_as(lambda x: np.roll(x, 1, axis=1), 4)


def swap(i, j, n=6):
    move = np.arange(n)
    move[[i, j]] = j, i
    return move


def shuffled(truth, outputs, rng):
    """The same layers with their outputs in another order."""
    return truth.reshape(outputs, -1)[rng.permutation(outputs)].reshape(truth.shape)


def local(rng, n_out=12, columns=3):
    return rng.normal(size=(n_out * (n_out + 2), columns)) * (taps(n_out, n_out + 2, range(3)).sum(1) > 0)[:, None]


LINE = "shift by one, circular", "shift by one, not circular", "shift by two, circular", "shift by two, not circular"
IMAGE = "quarter turn", "half turn", "upside-down flip", "left-right flip", "diagonal flip"
SHIFTS = tuple(f"shift by one {axis}, {kind}circular" for axis in ("row", "column") for kind in ("", "not "))
SWAPS = tuple(f"swap of {i} and {i + 1}" for i in range(5))


def verdicts(names, yes=(), partly=(), unsure=()):
    right = {name: {"no"} for name in names}
    for wanted, these in (({"yes"}, yes), ({"partly"}, partly), ({"partly", "no"}, unsure)):
        right.update(dict.fromkeys(these, wanted))
    return right


# name: columns from a generator, shape, candidates, right verdicts. "partly" where some of the layers, though not all,
# have the symmetry: a filter may be its own mirror image. There "no" is right too if the entries are too few to tell.
GRID = {
    "circular convolution": (
        lambda rng: taps(12, 12, range(-1, 2), circular=True),
        (12, 12),
        line_candidates(12, 12),
        verdicts([*LINE, "reflection"], yes=LINE, partly=["reflection"]),
    ),
    "convolution": (
        lambda rng: taps(20, 22, range(3)),
        (20, 22),
        line_candidates(22, 20),
        verdicts([*LINE, "reflection"], yes=LINE[1::2], partly=["reflection"]),
    ),
    "convolution with zeros at the ends": (
        lambda rng: taps(12, 12, range(-1, 2)),
        (12, 12),
        line_candidates(12, 12),
        verdicts([*LINE, "reflection"], yes=LINE[1::2], partly=[*LINE[::2], "reflection"]),
    ),
    "circular convolution by symmetric filters": (
        lambda rng: taps(12, 12, range(-1, 2), circular=True) @ np.array([[0, 1, 0], [1, 0, 1]]).T,
        (12, 12),
        line_candidates(12, 12),
        verdicts([*LINE, "reflection"], yes=[*LINE, "reflection"]),
    ),
    "shift by two only": (
        lambda rng: commutant((np.roll(np.arange(12), -2), np.roll(np.arange(12), -2))),
        (12, 12),
        line_candidates(12, 12),
        verdicts([*LINE, "reflection"], yes=LINE[2:]),
    ),
    "locally connected, rank 2": (
        lambda rng: locally_connected(2, 20, rng),
        (20, 22),
        line_candidates(22, 20),
        verdicts([*LINE, "reflection"], partly=LINE[1::2], unsure=["reflection"]),
    ),
    "locally connected, rank 5": (
        lambda rng: locally_connected(5, 68, rng),
        (68, 70),
        line_candidates(70, 68)[:2],
        verdicts(LINE[:2], partly=LINE[1:2]),
    ),
    "C4 on pixels": (
        lambda rng: commutant((ROTATE, ROTATE)),
        (9, 9),
        image_candidates(3),
        verdicts([*IMAGE, *SHIFTS], yes=IMAGE[:2], partly=IMAGE[2:]),
    ),
    "D4 on pixels": (
        lambda rng: commutant((ROTATE, ROTATE), (MIRROR, MIRROR)),
        (9, 9),
        image_candidates(3),
        verdicts([*IMAGE, *SHIFTS], yes=IMAGE),
    ),
    "half turn only": (
        lambda rng: commutant((TURN, TURN)),
        (9, 9),
        image_candidates(3),
        verdicts([*IMAGE, *SHIFTS], yes=IMAGE[1:2]),
    ),
    "C8 on the ring": (
        lambda rng: shuffled(lifted(RING_TURNS), 8, rng),
        (8, 9),
        ring_candidates(),
        verdicts(
            ["turn by 45 degrees", "quarter turn", "half turn", "flip"],
            yes=["turn by 45 degrees", "quarter turn", "half turn"],
            unsure=["flip"],
        ),
    ),
    "D8 on the ring": (
        lambda rng: shuffled(lifted(RING_ALL), 16, rng),
        (16, 9),
        ring_candidates(),
        verdicts(
            ["turn by 45 degrees", "quarter turn", "half turn", "flip"],
            yes=["turn by 45 degrees", "quarter turn", "half turn", "flip"],
        ),
    ),
    "sets": (
        lambda rng: np.stack([np.eye(6).ravel(), np.ones(36)], axis=1),
        (6, 6),
        permutation_candidates(6),
        verdicts(["any order", *SWAPS], yes=["any order", *SWAPS]),
    ),
    "two sets of three": (
        lambda rng: commutant(*[(swap(i, i + 1), swap(i, i + 1)) for i in (0, 1, 3, 4)]),
        (6, 6),
        permutation_candidates(6),
        verdicts(["any order", *SWAPS], yes=[SWAPS[i] for i in (0, 1, 3, 4)]),
    ),
    "circular shifts in two dimensions": (
        lambda rng: commutant((GRID_ROWS, GRID_ROWS), (GRID_COLUMNS, GRID_COLUMNS)),
        (16, 16),
        image_candidates(4)[5:],
        verdicts(SHIFTS, yes=SHIFTS),
    ),
    "dense random": (
        lambda rng: rng.normal(size=(144, 3)),
        (12, 12),
        line_candidates(12, 12),
        verdicts([*LINE, "reflection"]),
    ),
    "random local": (lambda rng: local(rng), (12, 14), line_candidates(14, 12), verdicts([*LINE, "reflection"])),
    "random channels": (
        lambda rng: rng.normal(size=(72, 9)),
        (8, 9),
        ring_candidates(),
        verdicts(["turn by 45 degrees", "quarter turn", "half turn", "flip"]),
    ),
}


@pytest.mark.parametrize("name", GRID)
def test_verdicts_on_known_symmetries(name):
    columns, shape, candidates, expected = GRID[name]
    rng = np.random.default_rng(7)
    found = discover(learned(columns(rng), rng), shape, candidates, key=KEY)
    assert [finding.name for finding in found.table] == list(expected)
    assert all(finding.verdict in expected[finding.name] for finding in found.table), str(found)


def test_answer_in_plain_words():
    columns = taps(20, 22, range(3))
    found = discover(columns, (20, 22), line_candidates(22, 20)[:2], key=KEY)
    assert str(found) == (
        "Weights of 20 x 22 with 3 shared directions, beside 199 random spaces:\n"
        f"  shift by one, circular: no, error 1 (p = {found.table[0].p_value:.2g})\n"
        "  shift by one, not circular: yes, error 0 (p = 0.01)"
    )
    assert found["shift by one, not circular"].directions == 3
    with pytest.raises(KeyError, match="'turn' was not a candidate; there are"):
        found["turn"]


def test_error_is_the_dense_formula_in_every_gauge():
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(30, 3))
    move_in, move_out = np.roll(np.arange(6), 2), rng.permutation(5)
    rho_in, rho_out = permutation_matrix(move_in), permutation_matrix(move_out)
    bases = orthonormal(columns).T.reshape(3, 5, 6)
    dense = sum(np.sum((rho_out @ M - M @ rho_in) ** 2) for M in bases) / 6
    turned = columns @ rng.normal(size=(3, 3)) * 1e-6
    for pair in ((move_in, move_out), (rho_in, rho_out), (move_in, rho_out)):
        error = symmetry_error(Candidate("pair", *pair), shared_directions(turned, (5, 6), 3)[None])
        np.testing.assert_allclose(error, dense, rtol=1e-9)


def test_error_of_a_shift_without_wrapping():
    weight = np.random.default_rng(2).normal(size=(7, 9))
    later, before = weight[1:, 1:], weight[:-1, :-1]
    candidate = line_candidates(9, 7)[1]
    maps = shared_directions(weight.reshape(-1, 1), (7, 9))
    expected = np.sum((later - before) ** 2) / (np.sum(later**2) + np.sum(before**2))
    np.testing.assert_allclose(symmetry_error(candidate, maps[None]), expected, rtol=1e-12)
    # The same by a matrix on one side, which a shift without wrapping has no inverse for.
    mixed = Candidate("mixed", candidate.rho_in, permutation_matrix(np.roll(np.arange(7), -1)))
    rows = np.roll(weight, 1, axis=0)[:, :-1], weight[:, 1:]
    expected = np.sum((rows[0] - rows[1]) ** 2) / (np.sum(rows[0] ** 2) + np.sum(rows[1] ** 2))
    np.testing.assert_allclose(symmetry_error(mixed, maps[None]), expected, rtol=1e-12)


def test_weights_without_any_structure_have_error_one():
    # The space of all weights: entries tied to themselves are left out, or a swap would always seem half true.
    maps = shared_directions(np.eye(36), (6, 6), 36)
    for candidate in [*permutation_candidates(6), *line_candidates(6, 6)]:
        np.testing.assert_allclose(symmetry_error(candidate, maps[None]), 1, rtol=1e-12)


def test_circular_is_judged_at_the_edge():
    # Zeros at the ends: the two off-diagonals fail where they wrap, and so does 2/11 of them against 2/12 that holds.
    maps = shared_directions(taps(12, 12, range(-1, 2)), (12, 12))
    np.testing.assert_allclose(
        [symmetry_error(candidate, maps[None])[0] for candidate in line_candidates(12, 12)[:2]],
        [(4 / 11) / (4 / 11 + 2 / 12), 0],
        atol=1e-12,
    )


def test_directions_are_counted_as_by_burnside():
    # Weights that commute with a group of moves are as many as its orbits on the entries: 21 for C4, 15 for D4. One of
    # them, the centre pixel alone, is tied to itself by all and so not judged; noise must not judge it either.
    maps = commutant((ROTATE, ROTATE))
    for columns in (maps, learned(maps, np.random.default_rng(13))):
        found = discover(columns, (9, 9), image_candidates(3)[:5], key=KEY, dimension=21)
        assert {finding.moved for finding in found.table} == {20}
        assert [finding.directions for finding in found.table] == [20, 20, 14, 14, 14]


def test_best_permutation_is_the_best_of_all():
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(5, 4, 2))
    rho_in = rng.permutation(4)
    moved = np.einsum("acr,cb->abr", maps, permutation_matrix(rho_in))

    def cost(move):
        return np.sum((maps - moved[list(move)]) ** 2)  # row a of the maps becomes row move[a]

    best = min(itertools.permutations(range(5)), key=cost)
    np.testing.assert_array_equal(best_permutation(maps, rho_in), best)


def test_best_orthogonal_is_scipys_procrustes_and_finds_a_hidden_basis():
    rng = np.random.default_rng(4)
    hidden = scipy.stats.ortho_group.rvs(8, random_state=rng)
    columns = np.stack([(hidden @ M.reshape(8, 8)).ravel() for M in taps(8, 8, range(3), circular=True).T], axis=1)
    turn = np.roll(np.arange(8), -1)
    maps = shared_directions(columns, (8, 8))
    moved = maps[:, turn]
    expected = scipy.linalg.orthogonal_procrustes(maps.reshape(8, -1).T, moved.reshape(8, -1).T)[0].T
    np.testing.assert_allclose(best_orthogonal(maps, turn), expected, atol=1e-9)
    by_permutation, by_matrix = (Candidate(s.__name__, turn, s) for s in (best_permutation, best_orthogonal))
    found = discover(learned(columns, rng), (8, 8), [by_permutation, by_matrix], key=KEY)
    assert [finding.verdict for finding in found.table] == ["no", "yes"]
    action = found["best_orthogonal"].actions[0][1]
    np.testing.assert_allclose(action, hidden @ permutation_matrix(turn) @ hidden.T, atol=0.15)


def test_a_hidden_order_of_the_outputs_is_found():
    order = np.random.default_rng(5).permutation(8)
    columns = lifted(RING_TURNS).reshape(8, -1)[order].reshape(72, 9)
    found = discover(columns, (8, 9), ring_candidates()[:1], key=KEY)
    place = np.argsort(order)  # where the row of each turn is now
    np.testing.assert_array_equal(found.table[0].actions[0][1][place], np.roll(place, -1))


def test_ready_made_candidates_are_the_moves_they_say():
    for candidate, transform in zip(
        image_candidates(4)[:5],
        (np.rot90, lambda x: np.rot90(x, 2), np.flipud, np.fliplr, np.transpose),
        strict=True,
    ):
        np.testing.assert_array_equal(candidate.rho_in, moved_as(transform, 4))
        np.testing.assert_array_equal(candidate.rho_out, moved_as(transform, 4))
    eighth, quarter, half, flip = (candidate.rho_in for candidate in ring_candidates())
    np.testing.assert_array_equal(eighth, RING)
    np.testing.assert_array_equal(quarter, ROTATE)
    np.testing.assert_array_equal(eighth[eighth], ROTATE)
    np.testing.assert_array_equal(half, TURN)
    np.testing.assert_array_equal(flip, DOWN)
    edge = line_candidates(4, 3)[0].parts[1]
    np.testing.assert_array_equal(edge.rho_in, [1, 2, 3, 0])
    assert edge.where.sum() == 4 + 3 - 1
    inside = image_candidates(3)[-1]
    np.testing.assert_array_equal(inside.rho_in, [1, 2, -1, 4, 5, -1, 7, 8, -1])
    two = ring_candidates(channels=2)[1].rho_in
    np.testing.assert_array_equal(two, np.concatenate([ROTATE, ROTATE + 9]))


def test_several_input_channels_move_alike():
    rng = np.random.default_rng(6)
    columns = np.concatenate([lifted(RING_TURNS).reshape(8, 9, 9)] * 2, axis=1)
    columns = np.concatenate([columns * mask for mask in (np.arange(18)[:, None] < 9, np.arange(18)[:, None] >= 9)], 2)
    found = discover(learned(columns.reshape(144, 18), rng), (8, 2, 3, 3), ring_candidates(channels=2), key=KEY)
    assert [finding.verdict for finding in found.table][:3] == ["yes"] * 3


def test_filters_that_training_left_unused_do_not_count():
    rng = np.random.default_rng(8)
    used, unused = orthonormal(taps(20, 22, range(3))), orthonormal(rng.normal(size=(440, 3)))
    columns = np.concatenate([7.5 * used, 0.8 * unused], axis=1) @ scipy.stats.ortho_group.rvs(6, random_state=rng)

    class Sharing:
        def matrix(self):
            return columns

    candidates = line_candidates(22, 20)[1:2]
    found = discover(Sharing(), (20, 22), candidates, key=KEY)
    assert (found.dimension, found.table[0].verdict) == (3, "yes")
    every = discover(columns, (20, 22), candidates, key=KEY, dimension=6)
    assert (every.table[0].directions, every.table[0].verdict) == (3, "partly")


def test_holm_against_a_worked_example():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


def test_p_values_are_uniform_without_symmetry():
    # 19 draws: p is 1/20, ..., 20/20, each equally likely if U and its sign-flipped copies are exchangeable.
    candidates = line_candidates(6, 6)[1:2]
    ranks = [
        discover(
            np.random.default_rng(seed).normal(size=(36, 2)), (6, 6), candidates, key=jax.random.key(seed), draws=19
        )
        for seed in range(400)
    ]
    counts = np.bincount([round(20 * found.table[0].p_value) - 1 for found in ranks], minlength=20)
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def false_positives(name, seeds):
    """Of the seeds, how many had any verdict but "no", and how many any "yes"."""
    columns, shape, candidates, _ = GRID[name]
    found = [
        discover(columns(np.random.default_rng(seed)), shape, candidates, key=jax.random.key(seed), draws=99)
        for seed in seeds
    ]
    verdicts_of = [{finding.verdict for finding in one.table} for one in found]
    return sum(one != {"no"} for one in verdicts_of), sum("yes" in one for one in verdicts_of)


FREE = "dense random", "random local", "random channels"


@pytest.mark.parametrize("name", FREE[:2])
def test_false_positives_over_fifty_seeds(name):
    wrong, yes = false_positives(name, range(50))
    assert wrong <= scipy.stats.binom.isf(0.001, 50, 0.05)
    assert yes == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FREE)
def test_false_positives_over_many_seeds(name):
    wrong, yes = false_positives(name, range(100, 1100))
    assert wrong <= scipy.stats.binom.isf(0.001, 1000, 0.05)
    assert yes == 0


def test_locality_alone_is_not_sharing():
    # Against all spaces the shares of a band are "significant" too often; against spaces of the same band they are not.
    candidates = line_candidates(32, 30)[1:2]
    low = {"any": 0, "same": 0}
    for seed in range(40):
        columns = local(np.random.default_rng(seed), n_out=30)
        for name, null in (("any", any_space), ("same", same_energy)):
            found = discover(columns, (30, 32), candidates, key=KEY, draws=99, null=null)
            low[name] += found.table[0].p_value <= 0.05
    assert low["any"] >= 10
    assert low["same"] <= scipy.stats.binom.isf(0.001, 40, 0.05)


def test_a_layer_of_the_original_size_takes_seconds():
    columns = np.random.default_rng(9).normal(size=(68 * 70, 3))
    candidates = [*line_candidates(70, 68), Candidate("reflection, any outputs", np.arange(70)[::-1], best_permutation)]
    seconds = []
    for _ in range(3):  # the least, for the machine may have other work
        start = time.process_time()
        found = discover(columns, (68, 70), candidates, key=KEY, draws=199)
        seconds.append(time.process_time() - start)
    assert len(found.table) == 6
    assert min(seconds) < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": []}, "candidates is empty"),
        ({"shape": (3, 5)}, "shape is .3, 5.; a weight of that shape needs .* with 15 rows"),
        ({"sharing": np.zeros((36, 2))}, "sharing is zero or not finite"),
        ({"sharing": np.full((36, 2), np.nan)}, "sharing is zero or not finite"),
        ({"dimension": 3}, "dimension is 3; the columns of sharing span 2"),
        ({"draws": 10}, "draws is 10; corrected for 6 candidates .* fewer than 119 draws"),
        ({"candidates": line_candidates(7, 6)}, "acts on weights of 6 x 7, but these are 6 x 6"),
    ],
)
def test_mistakes_are_named(change, message):
    sharing = np.random.default_rng(10).normal(size=(36, 2))
    arguments = {"sharing": sharing, "shape": (6, 6), "candidates": permutation_candidates(6), "key": KEY} | change
    with pytest.raises(ValueError, match=message):
        discover(**arguments)


@pytest.mark.parametrize("bad", [np.array([0, 0, 1]), np.array([0, 1, 3]), np.ones(3), np.ones((2, 3))])
def test_actions_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="rho_in of candidate 'turn' has shape"):
        Candidate("turn", bad, np.arange(3))


def test_candidates_that_ask_nothing_are_refused():
    with pytest.raises(ValueError, match="'stay' moves no entry"):
        Candidate("stay", np.arange(3), np.arange(2))
    with pytest.raises(ValueError, match="where of candidate 'turn' needs integer actions"):
        Candidate("turn", np.eye(3), np.eye(2), where=np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="n is 1; a set of fewer than 2"):
        permutation_candidates(1)


def test_the_worst_pair_speaks_for_all():
    maps = shared_directions(GRID["two sets of three"][0](None), (6, 6))
    every, *swaps = permutation_candidates(6)
    each = [symmetry_error(candidate, maps[None])[0] for candidate in swaps]
    np.testing.assert_allclose(symmetry_error(every, maps[None]), max(each))
    assert symmetry_error(Together("those that hold", swaps[:2]), maps[None]) < 1e-12 < max(each)


# All commuting pairs, against group theory and against the null space that they are.


@pytest.mark.parametrize(
    ("columns", "shape", "dimension"),
    [
        (taps(12, 12, range(3), circular=True), (12, 12), 12),  # the powers of the shift
        (commutant((ROTATE, ROTATE)), (9, 9), 4),  # the group algebra of C4
        (commutant((ROTATE, ROTATE), (MIRROR, MIRROR)), (9, 9), 7),  # of D4: 8, less the sign of turns, absent on 3 x 3
        (lifted(RING_TURNS), (8, 9), 8),
        (taps(10, 12, range(3)), (10, 12), 1),  # a shift that does not wrap is no pair of matrices
        (np.random.default_rng(11).normal(size=(72, 4)), (8, 9), 1),
    ],
)
def test_number_of_commuting_pairs(columns, shape, dimension):
    found = commuting_pairs(columns, shape, key=KEY, dimension=columns.shape[1], threshold=1e-9)
    assert (found.dimension, found.always, found.excess) == (dimension, 1, dimension - 1)
    maps = orthonormal(columns).T.reshape(-1, *shape)
    for rho_in, rho_out in zip(found.rho_in, found.rho_out, strict=True):
        np.testing.assert_allclose(rho_out @ maps, maps @ rho_in, atol=1e-7)
        np.testing.assert_allclose(np.sum((maps @ rho_in) ** 2), len(maps), rtol=1e-9)


def test_two_maps_commute_with_more_and_it_is_said():
    # Any pair of maps M1, M2 commutes with the powers of M1^-1 M2: six. Sets have all (n - 1)^2 + 1 = 26.
    found = commuting_pairs(GRID["sets"][0](None), (6, 6), key=KEY, dimension=2, threshold=1e-9)
    assert (found.dimension, found.always, found.excess) == (26, 6, 20)
    assert "26 independent pairs of actions commute" in str(found)
    assert "of which 6 always: 20 in excess" in str(found)


def test_commuting_pairs_under_the_noise_of_training():
    for seed, (columns, shape, dimension) in enumerate(
        [(commutant((ROTATE, ROTATE)), (9, 9), 4), (lifted(RING_TURNS), (8, 9), 8), (np.eye(72)[:, :9], (8, 9), None)]
    ):
        rng = np.random.default_rng(seed)
        columns = rng.normal(size=columns.shape) if dimension is None else learned(columns, rng)
        found = commuting_pairs(columns, shape, key=KEY, dimension=columns.shape[1])
        assert found.excess == (0 if dimension is None else dimension - 1)


def test_the_actions_of_the_group_are_combinations_of_what_is_found():
    found = commuting_pairs(commutant((ROTATE, ROTATE)), (9, 9), key=KEY, dimension=21)
    pairs = np.concatenate([found.rho_out.reshape(4, -1), found.rho_in.reshape(4, -1)], axis=1)
    turn = permutation_matrix(ROTATE).ravel()
    both = np.concatenate([turn, turn])
    rest = both - pairs.T @ np.linalg.lstsq(pairs.T, both)[0]
    np.testing.assert_allclose(rest, 0, atol=1e-9)


def test_errors_of_pairs_are_those_of_the_quadratic_form():
    rng = np.random.default_rng(12)
    maps = orthonormal(rng.normal(size=(20, 4))).T.reshape(4, 4, 5)
    by_out = np.concatenate([np.kron(np.eye(4), M.T) for M in maps])
    by_in = np.concatenate([np.kron(M, np.eye(5)) for M in maps])
    form = np.concatenate([by_out, -by_in], axis=1)
    size = scipy.linalg.block_diag(by_out.T @ by_out, by_in.T @ by_in)
    expected = scipy.linalg.eigh(form.T @ form, size, eigvals_only=True)
    found = commuting_pairs(maps.reshape(4, -1).T, (4, 5), key=KEY, dimension=4)
    np.testing.assert_allclose(found.errors, expected[: len(found.errors)], atol=1e-9)
