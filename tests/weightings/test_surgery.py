import itertools

import jax
import jax.numpy as jnp
import numpy as np
from matrices import ZOO, weigh

import mutatis
from mutatis import PCGrad


def _project_full_gradients(rows, orders):
    """Algorithm 1 of Yu et al. 2020 on the gradients themselves."""
    projected = rows.copy()
    for i, order in enumerate(orders):
        for j in order:
            product = projected[i] @ rows[j]
            if j != i and product < 0:
                projected[i] -= product / (rows[j] @ rows[j]) * rows[j]
    return projected


def test_is_the_algorithm_on_full_gradients_for_some_orders():
    # The orders are hidden in the key, so the answer must be among those of all combinations of orders.
    rows = np.array([[1.0, 0.2, 0.0], [-1.0, 1.0, 0.1], [0.3, -1.0, 1.0]])
    possible = [
        _project_full_gradients(rows, orders).mean(0)
        for orders in itertools.product(itertools.permutations(range(3)), repeat=3)
    ]
    distinct = np.unique(np.round(possible, 12), axis=0)
    assert len(distinct) > 1
    met = set()
    for seed in range(60):
        step = np.asarray(weigh(PCGrad(), rows, seed=seed)[0]) @ rows
        distances = np.abs(distinct - step).max(1)
        assert distances.min() < 1e-11
        met.add(int(distances.argmin()))
    assert met == set(range(len(distinct)))


def test_without_conflict_is_the_mean():
    for name in ("agreeing", "orthogonal", "zero (4, 3)"):
        weights, _ = weigh(PCGrad(), ZOO[name])
        np.testing.assert_array_equal(weights, weigh(mutatis.Average(), ZOO[name])[0], err_msg=name)


def test_two_tasks_are_projected_off_each_other():
    rows = ZOO["conflicting"]
    a, b = rows
    expected = ((a - a @ b / (b @ b) * b) + (b - a @ b / (a @ a) * a)) / 2
    np.testing.assert_allclose(weigh(PCGrad(), rows)[0] @ rows, expected, rtol=1e-13)


def test_two_tasks_never_conflict_with_the_step():
    for seed in range(20):
        rows = np.random.default_rng(seed).standard_normal((2, 5))
        step = np.asarray(weigh(PCGrad(), rows)[0]) @ rows
        assert np.all(rows @ step > -1e-12)


def test_does_not_depend_on_the_scale_of_all_gradients():
    for name, matrix in ZOO.items():
        small, large = (weigh(PCGrad(), scale * matrix)[0] for scale in (1.0, 2.0**30))
        np.testing.assert_array_equal(small, large, err_msg=name)


def test_the_key_alone_decides_the_orders():
    matrix = ZOO["normal (9, 11, 9)"]
    again = [weigh(PCGrad(), matrix, seed=seed)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(again[0], again[1])
    assert jnp.max(jnp.abs(again[0] - again[2])) > 1e-3


def test_on_the_gramian_equals_on_full_gradients_in_single_precision():
    rows = jax.random.normal(jax.random.key(0), (2, 1000), jnp.float32)
    rows = rows.at[1].add(-rows[0])
    exact = _project_full_gradients(np.asarray(rows, np.float64), [[1], [0]]).mean(0)
    step = np.asarray(weigh(PCGrad(), rows, dtype=np.float32)[0]) @ np.asarray(rows)
    np.testing.assert_allclose(step, exact, atol=1e-6)
