"""CAGrad: the best step for the worst-served task within a ball around the mean gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from matrices import SCALES, ZOO, weigh

import mutatis
from mutatis import CAGrad
from mutatis.weightings._conflict_averse import conflict_averse_weights
from mutatis.weightings._simplex import relative

RADII = (0.1, 0.4, 0.9, 1.0, 1.5)
SIZE = {name: max(np.abs(matrix).max(), 1e-300) for name, matrix in ZOO.items()}


def _exact(c):
    return CAGrad(jnp.asarray(c, jnp.float64))


def _direction(name, c):
    """d, for rows of size one: the method's step without its division by 1 + c^2."""
    rows = ZOO[name] / SIZE[name]
    return np.asarray(weigh(_exact(c), ZOO[name])[0]) @ rows * (1 + c**2), rows


def _dual(v, rows, c):
    mean = rows.mean(0)
    return v @ rows @ mean + c * np.linalg.norm(mean) * np.linalg.norm(v @ rows)


@pytest.mark.parametrize("c", RADII)
@pytest.mark.parametrize("name", list(ZOO))
def test_primal_and_dual_optimum_agree(name, c):
    # Weak duality: in the ball nothing serves the worst task better than the dual value of any v. Equality proves both.
    rows = ZOO[name] / SIZE[name]
    weights = np.asarray(weigh(_exact(c), ZOO[name])[0]) * (1 + c**2)
    mean, d, extra = rows.mean(0), weights @ rows, weights - 1 / len(rows)
    v = extra / extra.sum() if extra.sum() > 1e-12 else np.full(len(rows), 1 / len(rows))  # where the mean vanishes
    assert np.all(v >= -1e-9)
    assert np.linalg.norm(d - mean) <= c * np.linalg.norm(mean) + 1e-8
    np.testing.assert_allclose(np.min(rows @ d), _dual(v, rows, c), atol=1e-7)


@pytest.mark.parametrize("c", RADII)
@pytest.mark.parametrize("name", ["normal (4, 3, 3)", "normal (9, 11, 5)", "not_stationary (20, 10, 10)", "agreeing"])
def test_the_worst_task_is_served_as_well_as_by_an_independent_solver(name, c):
    d, rows = _direction(name, c)
    mean = rows.mean(0)
    # Scipy maximises t over (d, t) with <g, d> >= t in the ball.
    found = scipy.optimize.minimize(
        lambda x: -x[-1],
        np.append(mean, np.min(rows @ mean)),
        jac=lambda x: -np.eye(len(x))[-1],
        constraints=[
            {"type": "ineq", "fun": lambda x: rows @ x[:-1] - x[-1], "jac": lambda x: np.c_[rows, -np.ones(len(rows))]},
            {
                "type": "ineq",
                "fun": lambda x: c**2 * mean @ mean - np.sum((x[:-1] - mean) ** 2),
                "jac": lambda x: np.append(-2 * (x[:-1] - mean), 0),
            },
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    )
    np.testing.assert_allclose(np.min(rows @ d), -found.fun, atol=1e-6)
    np.testing.assert_allclose(d, found.x[:-1], atol=1e-3)


@pytest.mark.parametrize("name", list(ZOO))
def test_no_radius_is_the_average(name):
    weights, _ = weigh(_exact(0.0), ZOO[name])
    np.testing.assert_allclose(weights, weigh(mutatis.Average(), ZOO[name])[0], atol=1e-8)


@pytest.mark.parametrize("c", [0.0, *RADII])
def test_one_task_in_closed_form(c):
    weights, _ = weigh(_exact(c), np.array([[3.0, -1.0]]))
    np.testing.assert_allclose(weights, [(1 + c) / (1 + c**2)], rtol=1e-10)


def test_gradients_that_agree_in_everything_get_the_same_step_as_one():
    for c in RADII:
        step = np.asarray(weigh(_exact(c), np.tile([[3.0, -1.0]], (4, 1)))[0]) @ np.tile([[3.0, -1.0]], (4, 1))
        np.testing.assert_allclose(step, np.array([3.0, -1.0]) * (1 + c) / (1 + c**2), rtol=1e-10)


@pytest.mark.parametrize("name", list(ZOO))
def test_from_radius_one_on_the_step_conflicts_with_no_row(name):
    for c in (1.0, 1.5, 5.0):
        d, rows = _direction(name, c)
        assert np.all(rows @ d >= -1e-7)


@pytest.mark.parametrize("name", ["normal (9, 11, 9)", "conflicting", "orthogonal", "not_stationary (20, 100, 19)"])
def test_a_large_ball_turns_the_step_to_that_of_mgda(name):
    cosines = []
    for c in (1.0, 10.0, 1000.0):
        d, rows = _direction(name, c)
        shortest = np.asarray(weigh(mutatis.MGDA(), rows)[0]) @ rows
        cosines.append(d @ shortest / np.linalg.norm(d) / np.linalg.norm(shortest))
    assert cosines[0] <= cosines[1] + 1e-12 and cosines[2] > 1 - 1e-5


@pytest.mark.parametrize("name", [name for name in ZOO if "times" not in name])
def test_does_not_depend_on_the_scale_of_all_gradients(name):
    reference = np.asarray(weigh(_exact(0.4), ZOO[name])[0]) @ ZOO[name]
    for scale in (2.0**40, *SCALES):
        step = np.asarray(weigh(_exact(0.4), scale * ZOO[name])[0]) @ ZOO[name]
        np.testing.assert_allclose(step, reference, atol=1e-6 * SIZE[name])


def test_many_tasks_are_solved_within_the_trials_allowed():
    solve = jax.jit(conflict_averse_weights)
    rng = np.random.default_rng(0)
    for c in RADII:
        rows = rng.standard_normal((50, 60)) * np.exp(rng.standard_normal((50, 1)))
        rows /= np.linalg.norm(rows, axis=1).max()
        extra = np.asarray(solve(relative(jnp.asarray(rows @ rows.T)), jnp.asarray(c))) - 1 / 50
        v = extra / extra.sum()
        primal = np.min(rows @ ((extra + 1 / 50) @ rows))
        np.testing.assert_allclose(primal, _dual(v, rows, c), rtol=1e-9)


def test_single_precision_serves_the_worst_task_nearly_as_well():
    for name, matrix in ZOO.items():
        if not 1e-9 < SIZE[name] < 1e12 or len(matrix) not in (4, 9):
            continue
        d, rows = _direction(name, 0.4)
        weights = np.asarray(weigh(CAGrad(0.4), matrix, dtype="float32")[0], np.float64)
        single = weights @ rows * (1 + 0.4**2)
        assert np.min(rows @ single) >= np.min(rows @ d) - 1e-5, name


def test_a_negative_radius_is_named():
    with pytest.raises(ValueError, match="c is"):
        CAGrad(-0.1)
