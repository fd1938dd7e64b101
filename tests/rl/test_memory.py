"""The recurrent memory against Equinox' cell of the same weights, and what is not real."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis import rl

KEY = jax.random.key(0)


def memory():
    """One whose biases are not zero."""
    made = rl.GRU(5, 7, key=KEY)
    biases = lambda gru: (gru.rows.bias, gru.bias)
    return eqx.tree_at(biases, made, (jax.random.normal(KEY, (21,)), jax.random.normal(KEY, (7,))))


def test_is_the_cell_of_equinox():
    made, rows = memory(), jax.random.normal(KEY, (9, 5))
    cell = eqx.nn.GRUCell(5, 7, key=KEY)
    weights = lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias, cell.bias_n)
    cell = eqx.tree_at(weights, cell, (made.rows.weight.T, made.state.T, made.rows.bias, made.bias))
    state = made.start()
    last, said = made.read(state, rows, jnp.ones(9, bool))
    for row, found in zip(rows, said, strict=True):
        state = cell(row, state)
        np.testing.assert_allclose(found, state, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last, said[-1])


def test_weights_of_the_state_are_orthogonal_for_each_gate():
    for gate in jnp.split(rl.GRU(5, 7, key=KEY).state, 3, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(7), atol=1e-5)


def test_rows_that_are_not_real_leave_no_trace():
    made, rows = memory(), jax.random.normal(KEY, (6, 5))
    real = jnp.array([True, False, True, True, False, True])
    last, said = made.read(made.start(), rows, real)
    only, kept = made.read(made.start(), rows[real], jnp.ones(4, bool))
    np.testing.assert_allclose(last, only, rtol=1e-6)
    np.testing.assert_allclose(said[real], kept, rtol=1e-6)


def test_the_largest_so_far_is_that_of_each_feature():
    made, rows = rl.LargestSoFar(5, 7, key=KEY), jax.random.normal(KEY, (6, 5))
    real = jnp.array([True, False, True, True, False, True])
    shown = np.where(np.asarray(real)[:, None], np.maximum(made.embed(rows), 0), 0)
    last, said = made.read(made.start(), rows, real)
    np.testing.assert_allclose(said, np.maximum.accumulate(shown, axis=0), rtol=1e-6)
    half, first = made.read(made.start(), rows[:2], real[:2])
    on, second = made.read(half, rows[2:], real[2:])
    np.testing.assert_array_equal(on, last)
    np.testing.assert_array_equal(jnp.concatenate([first, second]), said)


def test_the_largest_so_far_knows_neither_order_nor_how_often():
    made, rows = rl.LargestSoFar(5, 7, key=KEY), jax.random.normal(KEY, (6, 5))
    of = lambda rows: made.read(made.start(), rows, jnp.ones(len(rows), bool))[0]
    np.testing.assert_allclose(of(rows), of(rows[jnp.array([3, 1, 1, 5, 0, 4, 2, 2])]), rtol=1e-12)
    assert jnp.abs(of(rows) - of(rows[:3])).max() > 1e-3
