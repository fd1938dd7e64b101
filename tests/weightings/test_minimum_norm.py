import numpy as np
import pytest
import scipy.optimize
from matrices import ZOO, weigh

import mutatis
from mutatis import MGDA

SIZE = {name: max(np.abs(matrix).max(), 1e-300) for name, matrix in ZOO.items()}
NAMES = list(ZOO)


def _combination(name):
    scaled = ZOO[name] / SIZE[name]
    weights = np.asarray(weigh(MGDA(), ZOO[name])[0])
    return weights, weights @ scaled, scaled


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_on_the_simplex(name):
    weights, _, _ = _combination(name)
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_the_step_conflicts_with_no_row_and_no_row_is_nearer(name):
    # The condition of optimality: <g_t, d> >= |d|^2 for all t. It implies both non-conflict and least norm.
    _, step, rows = _combination(name)
    assert np.all(rows @ step >= step @ step - 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_norm_is_that_of_an_independent_solver(name):
    # min |A^T x|^2 + (sum x - 1)^2 over x >= 0 by scipy, which works on the rows and not on their Gramian.
    _, step, rows = _combination(name)
    stacked = np.vstack([rows.T, np.ones(len(rows))])
    x, _ = scipy.optimize.nnls(stacked, np.append(np.zeros(rows.shape[1]), 1.0))
    other = (x / x.sum()) @ rows
    assert step @ step <= other @ other + 1e-12
    np.testing.assert_allclose(step, other, atol=2e-6)  # a square root of 1e-12


@pytest.mark.parametrize("name", [name for name in NAMES if "stationary" in name and "not" not in name])
def test_finds_that_nothing_can_be_improved(name):
    _, step, _ = _combination(name)
    assert np.linalg.norm(step) < 1e-6


def test_two_rows_in_closed_form():
    a, b = ZOO["conflicting"]
    share = np.clip((b - a) @ b / ((b - a) @ (b - a)), 0, 1)
    np.testing.assert_allclose(weigh(MGDA(), np.stack([a, b]))[0], [share, 1 - share], rtol=1e-12)


def test_orthogonal_rows_weigh_inversely_to_their_squares():
    inverse = 1 / np.array([1.0, 4.0, 0.25, 1.0])
    np.testing.assert_allclose(weigh(MGDA(), ZOO["orthogonal"])[0], inverse / inverse.sum(), rtol=1e-12)


def test_the_shortest_row_wins_where_it_is_nearest():
    np.testing.assert_allclose(weigh(MGDA(), np.array([[1e-10, 0.0], [1e10, 1e10]]))[0], [1, 0], atol=1e-15)


def test_single_precision_is_close_to_double():
    for name, matrix in ZOO.items():
        if not 1e-9 < SIZE[name] < 1e12 or len(matrix) not in (4, 9):
            continue
        exact = np.asarray(weigh(MGDA(), matrix)[0]) @ matrix / SIZE[name]
        weights = np.asarray(weigh(MGDA(), matrix, dtype="float32")[0], np.float64)
        single = weights / weights.sum() @ matrix / SIZE[name]
        np.testing.assert_allclose(single, exact, atol=5e-3, err_msg=name)  # a square root of float32's 1e-7, times T


def test_equal_orthogonal_tasks_are_averaged():
    np.testing.assert_allclose(weigh(MGDA(), np.eye(4))[0], weigh(mutatis.Average(), np.eye(4))[0], rtol=1e-12)
