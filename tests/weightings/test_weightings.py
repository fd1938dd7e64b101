"""What holds for every weighting."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matrices import ZOO, weigh

import mutatis
from mutatis import AbstractWeighting

GROUPS = 30
outer_step = eqx.filter_jit(mutatis.outer_step)

BUILD = {
    "AlignedMTL": lambda: [mutatis.AlignedMTL()],
    "Average": lambda: [mutatis.Average()],
    "CAGrad": lambda: [mutatis.CAGrad(), mutatis.CAGrad(1.5)],
    "FAMO": lambda: [mutatis.FAMO(), mutatis.FAMO(0.5, 0.1, jnp.linspace(-3.0, 0.0, GROUPS))],
    "GradNorm": lambda: [mutatis.GradNorm(), mutatis.GradNorm(1.5, 0.5)],
    "GroupDRO": lambda: [
        mutatis.GroupDRO(0.5, 2.0, jnp.arange(1, GROUPS + 1), normalise_losses=True),
        mutatis.GroupDRO(1.0, renormalise=False, absent_count_as_zero=True),
    ],
    "IMTLG": lambda: [mutatis.IMTLG()],
    "MGDA": lambda: [mutatis.MGDA()],
    "NashMTL": lambda: [mutatis.NashMTL(), mutatis.NashMTL(jnp.inf)],
    "PCGrad": lambda: [mutatis.PCGrad()],
    "QFair": lambda: [mutatis.QFair(0.0, 0.1), mutatis.QFair(5.0, 0.1)],
    "RandomWeights": lambda: [mutatis.RandomWeights()],
    "UncertaintyWeights": lambda: [mutatis.UncertaintyWeights(), mutatis.UncertaintyWeights(0.5)],
}
"""How to build each weighting; a new one needs an entry here."""

REMEMBERS = (mutatis.FAMO, mutatis.GradNorm, mutatis.GroupDRO, mutatis.UncertaintyWeights)
"""Their state is in single precision."""

DRAWS = (mutatis.PCGrad, mutatis.RandomWeights)
"""They draw something for every slot."""


def _final_subclasses(kind):
    for child in kind.__subclasses__():
        yield from _final_subclasses(child)
        if not getattr(child, "__abstractmethods__", None) and child.__module__.startswith("mutatis."):
            yield child


def test_every_weighting_is_tested():
    assert {kind.__name__ for kind in _final_subclasses(AbstractWeighting)} == set(BUILD)


WEIGHTINGS = [pytest.param(built, id=f"{name}-{i}") for name, make in BUILD.items() for i, built in enumerate(make())]
PRECISIONS = [np.float32, np.float64]


def _tasks(count, dtype, seed=0):
    rows = jax.random.normal(jax.random.key(seed), (count, 7), dtype)
    losses = jnp.linspace(0.1, 3.0, count, dtype=dtype)
    return losses, rows @ rows.T


def _structure(state):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_are_finite_on_the_whole_zoo(weighting, dtype):
    state = weighting.init(GROUPS)
    for name, matrix in ZOO.items():
        if dtype == np.float32 and (np.abs(matrix).max() > 1e12 or len(matrix) not in (4, 9)):
            continue  # a Gramian close to overflow; and each number of tasks is compiled, so two must do
        weights, after = weigh(weighting, matrix, state=state, index=np.arange(len(matrix)), dtype=dtype)
        assert weights.shape == (len(matrix),), name
        assert weights.dtype == dtype, name
        assert jnp.all(jnp.isfinite(weights)), name
        assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(after)), name
        assert _structure(after) == _structure(state), name


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_groups_may_repeat_within_a_step(weighting):
    state = weighting.init(GROUPS)
    weights, state = weigh(weighting, ZOO["a task drawn twice"], index=[3, 3, 0, GROUPS - 1], state=state)
    assert jnp.all(jnp.isfinite(weights))
    assert _structure(state) == _structure(weighting.init(GROUPS))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_one_task_alone_points_its_own_way(weighting):
    weights, _ = weigh(weighting, np.array([[1.4]]), losses=[1.3], index=[4], state=weighting.init(GROUPS))
    longest = (1 + 2**0.5) / 2 if isinstance(weighting, mutatis.CAGrad) else 1  # of (1 + c) / (1 + c^2)
    assert 0 < float(weights[0]) <= longest + 1e-12


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_vmap_and_scan_give_what_single_calls_give(weighting):
    index = jnp.array([0, 5, 5, 2])
    several = [_tasks(4, jnp.float64, seed) for seed in range(3)]
    losses, gramians = (jnp.stack(parts) for parts in zip(*several, strict=True))
    keys = jax.random.split(jax.random.key(1), 3)
    state = weighting.init(GROUPS)

    def weigh_one(losses, gramian, state, key):
        return weighting.weigh(losses, gramian, index, state, key=key)

    step, carried, jitted, chain = jax.jit(weigh_one), state, [], []
    for one in zip(losses, gramians, keys, strict=True):
        jitted.append(step(*one[:2], state, one[2])[0])
        weights, carried = step(*one[:2], carried, one[2])
        chain.append(weights)
    mapped = jax.jit(jax.vmap(weigh_one, in_axes=(0, 0, None, 0)))(losses, gramians, state, keys)[0]
    last, scanned = jax.lax.scan(
        lambda carry, one: weigh_one(one[0], one[1], carry, one[2])[::-1], state, (losses, gramians, keys)
    )
    exact = {"rtol": 1e-6 if isinstance(weighting, REMEMBERS) else 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(mapped, jitted, **exact)
    np.testing.assert_allclose(scanned, chain, **exact)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), last, carried)


@pytest.mark.parametrize("weighting", [w for w in WEIGHTINGS if not isinstance(w.values[0], DRAWS)])
def test_renumbering_the_slots_renumbers_the_weights(weighting):
    losses, gramian = _tasks(5, jnp.float64)
    index, order = jnp.array([1, 2, 3, 1, 7]), jnp.array([4, 2, 0, 3, 1])
    step = jax.jit(lambda *given: weighting.weigh(*given, weighting.init(GROUPS), key=jax.random.key(0)))
    weights, after = step(losses, gramian, index)
    moved, moved_after = step(losses[order], gramian[order][:, order], index[order])
    tolerance = 1e-6 if isinstance(weighting, REMEMBERS) else 1e-9
    np.testing.assert_allclose(moved, weights[order], rtol=tolerance)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved_after, after)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_outer_step_follows_the_weighted_rows(weighting):
    # Rows of a linear loss are its coefficients, so one SGD step of rate 1 shows the weighted sum itself.
    rows = jnp.array([[1.0, 2.0, 0.5], [-1.0, 0.4, 0.3], [0.2, -1.5, 1.0], [0.1, 0.1, 0.1]])
    point = jnp.array([0.3, 0.2, 0.9])
    index = jnp.array([4, 1, 4, 0])
    tasks = mutatis.Task(rows, rows, index)

    def objective(model, row):
        return jnp.vdot(model, row) + 5

    learner = mutatis.Learner(point, mutatis.NoAdaptation())
    state = mutatis.outer_init(learner, weighting, optax.sgd(1.0), num_groups=GROUPS, key=jax.random.key(3))
    mapped = isinstance(weighting, mutatis.MGDA | mutatis.PCGrad)  # one path or the other; they are compared elsewhere
    after, state_after, losses = outer_step(learner, state, tasks, objective=objective, map_tasks=mapped)
    weighting_key = jax.random.split(state.key, 3)[2]
    weights, memory = weigh(
        weighting, rows, losses=rows @ point + 5, index=index, state=state.weighting_state, key=weighting_key
    )
    np.testing.assert_allclose(losses, rows @ point + 5, rtol=1e-12)
    np.testing.assert_allclose(after.model, point - weights @ rows, rtol=1e-7)
    if weighting.needs_losses_after:
        memory = weighting.observe(losses, rows @ after.model + 5, index, memory)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state_after.weighting_state, memory)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_what_the_step_did_is_observed_as_safely_as_it_is_weighed(weighting):
    state = weighting.init(GROUPS)
    index, losses = jnp.array([3, 3, 0]), jnp.array([1.0, 2.0, 3.0])
    after = jax.jit(lambda *given: weighting.observe(*given))(losses, 0.9 * losses, index, state)
    assert _structure(after) == _structure(state)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(after))
    assert weighting.needs_losses_after or jax.tree.all(jax.tree.map(jnp.array_equal, after, state))


def test_average_is_one_over_the_number_of_tasks():
    np.testing.assert_array_equal(weigh(mutatis.Average(), np.eye(4))[0], np.full(4, 0.25))


def test_random_weights_are_on_the_simplex_and_the_average_on_average():
    weights = np.array([weigh(mutatis.RandomWeights(), np.eye(4), seed=seed)[0] for seed in range(2000)])
    assert np.all(weights > 0)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(weights.mean(0), 0.25, atol=4 * weights.std() / 2000**0.5)
    ratios = np.log(weights[:, 0] / weights[:, 1])  # a difference of two standard normal numbers
    np.testing.assert_allclose(ratios.std(), 2**0.5, rtol=0.1)
