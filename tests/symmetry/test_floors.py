"""Floors, against closed forms, published figures, brute force over many draws, and dense tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.symmetry import (
    LinearProblem,
    convolution_problem,
    data_floor,
    factor_of,
    gradient_floor,
    patch_problems,
    scalar_rate_floor,
    shift,
    steps_floor,
)

KEY = jax.random.key(0)
SHAPE = (3, 4)
RANDOM = np.random.default_rng(0)
FACTOR = RANDOM.normal(size=(12, 3)) * np.array([[2.0, 1.0, 0.5]])
"""Of a small family whose directions are neither orthogonal nor equally likely."""
BASIS = np.linalg.qr(RANDOM.normal(size=(12, 5)))[0]


def line(rank, seed=0):
    return LinearProblem(rank, key=jax.random.key(seed), dtype=jnp.float64)


def simulated(draws, examples):
    """Weights, and the gradients of a squared error at W = 0, of many tasks of the small family."""
    random = np.random.default_rng(1)
    weights = (random.normal(size=(draws, 3)) @ FACTOR.T).reshape(draws, *SHAPE)
    x = random.normal(size=(draws, examples, SHAPE[1]))
    gradients = np.einsum("noi,nsi,nsj->noj", weights, x, x) / examples
    return weights.reshape(draws, -1), gradients.reshape(draws, -1)


@pytest.mark.parametrize("examples", [1, 3])
@pytest.mark.parametrize("basis", [BASIS, None], ids=["subspace", "any"])
def test_the_gradient_floor_is_what_brute_force_finds(basis, examples):
    weights, gradients = simulated(400_000, examples)
    inside = np.eye(12) if basis is None else basis
    features, targets = gradients @ inside, weights @ inside
    best = np.linalg.lstsq(features, targets, rcond=None)[0]
    risks = np.sum(np.square(features @ best @ inside.T - weights), axis=1) / SHAPE[0]
    floor = gradient_floor(FACTOR, SHAPE, examples=examples, basis=basis)
    assert abs(risks.mean() - floor) < 4 * risks.std() / len(risks) ** 0.5


def test_the_second_moment_of_gradients_is_isserlis_written_out():
    # E[g g^T] of one example = C + T + G, entry by entry.
    moment = (FACTOR @ FACTOR.T).reshape(*SHAPE, *SHAPE)
    traced = np.einsum("icjc,ab->iajb", moment, np.eye(SHAPE[1]))
    swapped = np.einsum("ibja->iajb", moment)
    gradients = (moment + (traced + swapped) / 2).reshape(12, 12)
    plain = FACTOR @ FACTOR.T
    floor = np.trace(plain - plain @ np.linalg.solve(gradients, plain)) / SHAPE[0]
    assert gradient_floor(FACTOR, SHAPE, examples=2) == pytest.approx(floor, rel=1e-9)
    assert gradient_floor(FACTOR, SHAPE, examples=2, basis=np.eye(12)) == pytest.approx(floor, rel=1e-9)


def test_one_rate_is_worse_than_a_matrix_of_them_and_found_by_brute_force():
    weights, gradients = simulated(400_000, 1)
    step = gradients @ BASIS @ BASIS.T
    rate = np.sum(step * weights) / np.sum(step * step)
    risks = np.sum(np.square(rate * step - weights), axis=1) / SHAPE[0]
    floor = scalar_rate_floor(FACTOR, SHAPE, examples=1, basis=BASIS)
    assert abs(risks.mean() - floor) < 4 * risks.std() / len(risks) ** 0.5
    assert floor > gradient_floor(FACTOR, SHAPE, examples=1, basis=BASIS)


@pytest.mark.parametrize("examples", [1, 2, 10])
def test_rank_one_has_a_closed_form(examples):
    problem = line(1)
    floor = scalar_rate_floor(problem.factor, problem.shape, examples=examples, basis=problem.truth)
    assert floor == pytest.approx(12 / (68 * examples + 4), rel=1e-9)


def test_rank_one_has_the_published_floors():
    problem = line(1)
    assert problem.signal == pytest.approx(3)
    assert gradient_floor(problem.factor, problem.shape, examples=1, basis=problem.truth) == pytest.approx(
        0.1663, abs=5e-5
    )
    assert gradient_floor(problem.factor, problem.shape, examples=1) == pytest.approx(0.1437, abs=5e-5)


@pytest.mark.parametrize(
    ("rank", "subspace", "one_rate", "share"),
    [(2, (0.194, 0.2112), (0.212, 0.2228), 0.89), (5, (0.1724, 0.234), (0.2186, 0.270), 0.915)],
)
def test_higher_ranks_have_floors_in_the_published_ranges(rank, subspace, one_rate, share):
    # The figures are of four draws of C; eight others must have their mean in the range.
    problems = [line(rank, seed) for seed in range(8)]
    families = [(problem.factor, problem.shape, problem.truth) for problem in problems]
    inside = [gradient_floor(factor, shape, examples=1, basis=basis) for factor, shape, basis in families]
    scalar = [scalar_rate_floor(factor, shape, examples=1, basis=basis) for factor, shape, basis in families]
    assert subspace[0] < np.mean(inside) < subspace[1]
    assert one_rate[0] < np.mean(scalar) < one_rate[1]
    assert gradient_floor(*families[0][:2], examples=1) / inside[0] == pytest.approx(share, abs=0.015)


def test_a_single_precision_problem_has_the_same_floor():
    single = LinearProblem(5, key=KEY)
    factor = np.asarray(single.factor, np.float64)
    exact = gradient_floor(factor, single.shape, examples=1, basis=np.linalg.svd(factor, full_matrices=False)[0])
    floor = gradient_floor(single.factor, single.shape, examples=1, basis=single.truth)
    assert floor == pytest.approx(exact, rel=1e-12)


def test_more_support_lowers_the_floor_to_nothing():
    problem = line(2)
    floors = [gradient_floor(problem.factor, problem.shape, examples=k, basis=problem.truth) for k in (1, 10, 1000)]
    assert floors[0] > floors[1] > floors[2]
    assert floors[2] < 1e-3 * problem.signal


@pytest.mark.parametrize(
    ("steps", "examples", "published"),
    [(1, 1, 0.167), (2, 1, 0.024), (3, 1, 0.0055), (5, 1, 0.0006), (1, 10, 0.0175), (2, 10, 0.0003)],
)
def test_several_steps_have_the_published_floors(steps, examples, published):
    # Means over a heavy tail: one unlucky support in a thousand decides the fifth step.
    problem = line(1)
    floor = steps_floor(
        problem.factor, problem.shape, examples=examples, steps=steps, basis=problem.truth, key=KEY, draws=4000
    )
    assert floor == pytest.approx(published, rel=0.15, abs=2e-4)


def test_several_steps_are_gradient_descent_at_the_best_rate():
    problem = convolution_problem(shift(5), fields=1, dtype=jnp.float64)
    floor = steps_floor(problem.factor, problem.shape, examples=6, steps=3, basis=problem.truth, key=KEY, draws=4000)
    random = np.random.default_rng(2)
    maps = problem.truth.T.reshape(-1, *problem.shape)
    filters, x = problem.signal**0.5 * random.normal(size=(4000, 5)), random.normal(size=(4000, 6, 5))
    seen = np.einsum("foi,nsi->nsof", maps, x).reshape(4000, 30, 5)
    risks = []
    for rate in np.linspace(0.02, 0.4, 39):
        moved = np.zeros_like(filters)
        for _ in range(3):
            missing = seen @ (filters - moved)[:, :, None]
            moved += rate * (seen.swapaxes(1, 2) @ missing)[:, :, 0]
        risks.append(np.mean(np.sum(np.square(moved - filters), axis=1)) / 5)
    assert 0 < np.argmin(risks) < 38
    assert min(risks) == pytest.approx(floor, rel=0.07)


SCARCE = {"pixel C4": (5, 1, 0), "pixel D4": (2, 1, 0), "ring C8": (1, 0, 0), "ring D8": (1, 0, 0)}
SCARCE |= {"bank C8": (1, 0, 0), "bank D8": (1, 0, 0)}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("number", "patches"), [(0, 1), (1, 2), (2, 4)])
def test_scarce_patches_leave_what_the_irreducible_representations_say(number, patches, dtype):
    for name, problem in patch_problems(support=patches, dtype=dtype).items():
        floor = data_floor(problem.factor, problem.shape, examples=patches, key=KEY, draws=2)
        unknowns = 6 if name.startswith("bank") else 9
        assert floor == pytest.approx(SCARCE[name][number] / unknowns, abs=1e-6)


@pytest.mark.parametrize("patches", [1, 2, 4, 9])
def test_without_sharing_every_unseen_direction_is_lost(patches):
    alone = np.eye(24 * 9) / 9**0.5
    assert data_floor(alone, (24, 9), examples=patches, key=KEY, draws=1) == pytest.approx((9 - patches) / 9, abs=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_one_example_on_a_line_leaves_nothing_unknown(rank):
    problem = line(rank)
    assert data_floor(problem.factor, problem.shape, examples=1, key=KEY) == pytest.approx(0, abs=1e-12)


def test_the_data_floor_is_the_error_of_the_posterior_mean():
    # Two outputs from one of six inputs seen; four Gaussian filters of different sizes.
    shape, draws = (2, 6), 4000
    random = np.random.default_rng(3)
    factor = random.normal(size=(12, 4)) * np.array([[3.0, 1.0, 1.0, 0.3]])
    z, x = random.normal(size=(draws, 4)), random.normal(size=(draws, 6))
    seen = np.einsum("oif,ni->nof", factor.reshape(2, 6, 4), x)
    found = np.einsum("nfo,no->nf", np.linalg.pinv(seen), np.einsum("nof,nf->no", seen, z))
    risks = np.sum(np.square((found - z) @ factor.T), axis=1) / 2
    floor = data_floor(factor, shape, examples=1, key=KEY, draws=4000)
    assert abs(floor - risks.mean()) < 5 * risks.std() / draws**0.5


def test_a_second_moment_is_factored():
    moment = FACTOR @ FACTOR.T
    factor = factor_of(moment)
    assert factor.shape == (12, 3)
    assert np.allclose(factor @ factor.T, moment, atol=1e-12)
    assert gradient_floor(factor, SHAPE, examples=1, basis=BASIS) == pytest.approx(
        gradient_floor(FACTOR, SHAPE, examples=1, basis=BASIS)
    )


def test_mistakes_are_refused_by_name():
    with pytest.raises(ValueError, match="second_moment is no second moment"):
        factor_of(np.diag([1.0, -1.0]))
    with pytest.raises(ValueError, match="second_moment is no second moment"):
        factor_of(np.array([[1.0, 2.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="one row per entry"):
        gradient_floor(np.ones((5, 1)), (2, 3), examples=1)
