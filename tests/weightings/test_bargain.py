"""Nash-MTL: the tasks bargain."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from matrices import SCALES, ZOO, weigh

from mutatis import NashMTL

SOLVABLE = [name for name in ZOO if not name.startswith(("normal (4, 3, 1)", "strongly", "only", "opposite", "zero"))]
"""Elsewhere some combination of the rows with non-negative weights vanishes, and there is no bargain."""

WHOLE = NashMTL(jnp.inf)


@pytest.mark.parametrize("name", [name for name in SOLVABLE if name != "one row zero"])
def test_weights_solve_the_equation_of_the_paper(name):
    rows = ZOO[name]
    weights = np.asarray(weigh(WHOLE, rows)[0])
    assert np.all(weights > 0)
    np.testing.assert_allclose(weights * (rows @ (weights @ rows)), 1, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(weights @ rows), len(rows) ** 0.5, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in SOLVABLE if "times" not in name and "zero" not in name])
def test_no_step_of_that_length_has_a_greater_product_of_gains(name):
    # Scipy maximises sum log <g, d> over the ball itself, and starts where we end.
    rows = ZOO[name] / np.linalg.norm(ZOO[name], axis=1, keepdims=True)
    d = np.asarray(weigh(NashMTL(), rows)[0]) @ rows
    np.testing.assert_allclose(np.linalg.norm(d), 1, rtol=1e-12)

    def loss(direction):
        gains = rows @ direction / np.linalg.norm(direction)
        return -np.sum(np.log(gains)) if np.all(gains > 0) else 1e9

    found = scipy.optimize.minimize(loss, d, method="Nelder-Mead", options={"fatol": 1e-13, "xatol": 1e-9})
    assert loss(d) <= found.fun + 1e-9


@pytest.mark.parametrize("name", SOLVABLE)
def test_rescaling_one_task_changes_no_tasks_part(name):
    rows = ZOO[name]
    parts = np.asarray(weigh(WHOLE, rows)[0])[:, None] * rows
    for factor in (1e-3, 7.0, 1e4):
        scaled = rows.copy()
        scaled[0] *= factor
        moved = np.asarray(weigh(WHOLE, scaled)[0])[:, None] * scaled
        np.testing.assert_allclose(moved, parts, rtol=1e-8, atol=1e-10)


def test_orthogonal_rows_weigh_inversely_to_their_lengths():
    np.testing.assert_allclose(weigh(WHOLE, ZOO["orthogonal"])[0], [1.0, 0.5, 2.0, 1.0], rtol=1e-12)


def test_two_tasks_in_closed_form():
    # With lengths one and cosine k both weights are 1 / sqrt(1 + k).
    for k in (-0.99, -0.5, 0.0, 0.7, 1.0):
        rows = np.array([[1.0, 0.0], [k, (1 - k**2) ** 0.5]])
        np.testing.assert_allclose(weigh(WHOLE, rows)[0], (1 + k) ** -0.5, rtol=1e-10)


@pytest.mark.parametrize("name", list(ZOO))
def test_the_step_is_no_longer_than_allowed_and_conflicts_with_no_row(name):
    rows = ZOO[name]
    lengths = np.linalg.norm(rows, axis=1)
    for limit in (1.0, 0.01):
        step = np.asarray(weigh(NashMTL(limit), rows)[0]) @ rows
        assert np.linalg.norm(step) <= limit * (1 + 1e-6)
        assert np.all(rows @ step >= -1e-5 * lengths)  # where there is no bargain, what huge weights leave


def test_does_not_depend_on_the_scale_of_all_gradients():
    for name in SOLVABLE:
        reference = np.asarray(weigh(NashMTL(), ZOO[name])[0]) @ ZOO[name]
        for scale in SCALES:
            step = np.asarray(weigh(NashMTL(), scale * ZOO[name])[0]) @ ZOO[name] * scale
            np.testing.assert_allclose(step, reference, rtol=1e-8, atol=1e-10, err_msg=name)


def test_a_task_without_gradient_takes_no_part():
    rows = ZOO["one row zero"]
    weights = np.asarray(weigh(WHOLE, rows)[0])
    kept = [0, 2, 3]
    assert weights[1] == 0
    np.testing.assert_allclose(weights[kept], weigh(WHOLE, rows[kept])[0], rtol=1e-12)


def test_tasks_that_block_each_other_are_not_moved():
    weights = np.asarray(weigh(NashMTL(), np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0]]))[0])
    step = weights @ np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(step, [0, 1], atol=1e-6)


def test_single_precision_is_close_to_double():
    for name in SOLVABLE:
        matrix = ZOO[name]
        if not 1e-9 < np.abs(matrix).max() < 1e12 or len(matrix) not in (4, 9):
            continue
        exact = np.asarray(weigh(NashMTL(), matrix)[0]) @ matrix
        single = np.asarray(weigh(NashMTL(), matrix, dtype="float32")[0], np.float64) @ matrix
        np.testing.assert_allclose(single, exact, atol=1e-3, err_msg=name)


def test_a_limit_that_is_not_positive_is_named():
    with pytest.raises(ValueError, match="max_norm"):
        NashMTL(0.0)
