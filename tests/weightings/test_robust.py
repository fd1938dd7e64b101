import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mutatis
from mutatis import GroupDRO

LOSSES = np.array([[0.3, 1.2, 2.5, 0.9], [0.2, 1.9, 2.0, 0.1], [1.0, 1.0, 3.0, 0.5]])
EVERY = jnp.arange(4)
SIZES = np.array([400, 25, 100, 9])


def _steps(weighting, losses, index=EVERY, groups=4):
    state, seen, weigh = weighting.init(groups), [], eqx.filter_jit(weighting.weigh)
    for row in losses:
        weights, state = weigh(jnp.asarray(row), None, index, state, key=jax.random.key(0))
        seen.append(weights)
    return np.array(seen), np.exp(state)


def _published(losses, eta, adjustment=0.0, normalise=False):
    """Algorithm 1 with the adjustment of section 3.3, all groups present, written out in float64."""
    q, seen = np.full(losses.shape[1], 1 / losses.shape[1]), []
    for row in losses:
        adjusted = row + adjustment / np.sqrt(SIZES)
        if normalise:
            adjusted = adjusted / adjusted.sum()
        q = q * np.exp(eta * adjusted)
        q = q / q.sum()
        seen.append(q)
    return np.array(seen)


def _exact(**settings):
    return {name: jnp.asarray(value, jnp.float64) for name, value in settings.items()}


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("absent_count_as_zero", [True, False])
@pytest.mark.parametrize("normalise_losses", [True, False])
@pytest.mark.parametrize("adjustment", [0.0, 3.0])
def test_is_the_published_update_where_all_groups_are_present(
    adjustment, normalise_losses, absent_count_as_zero, renormalise
):
    weighting = GroupDRO(
        **_exact(step_size=0.2, adjustment=adjustment),
        group_sizes=SIZES,
        normalise_losses=normalise_losses,
        absent_count_as_zero=absent_count_as_zero,
        renormalise=renormalise,
    )
    weights, q = _steps(weighting, LOSSES)
    expected = _published(LOSSES, 0.2, adjustment, normalise_losses)
    np.testing.assert_allclose(weights, expected, rtol=1e-13)
    np.testing.assert_allclose(q, expected[-1], rtol=1e-13)


def test_step_size_zero_is_uniform():
    np.testing.assert_allclose(_steps(GroupDRO(0.0), LOSSES)[0], np.full((3, 4), 0.25), rtol=1e-7)


def test_a_large_step_size_follows_the_worst_group():
    np.testing.assert_allclose(_steps(GroupDRO(100.0), LOSSES)[0][-1], [0, 0, 1, 0], atol=1e-12)


def test_converges_to_the_minimax_solution():
    # Two groups with losses (x - 1)^2 and 2 (x + 1)^2: the largest loss is least where they are equal.
    def largest(x):
        return np.maximum((x - 1) ** 2, 2 * (x + 1) ** 2)

    grid = np.linspace(-1, 1, 200_001)
    best = grid[np.argmin(largest(grid))]

    def objective(x, query):
        scale, centre = query
        return scale * jnp.square(x - centre)

    query = (jnp.array([1.0, 2.0]), jnp.array([1.0, -1.0]))
    tasks = mutatis.Task(None, query, jnp.arange(2))
    learner = mutatis.Learner(jnp.array(0.8), mutatis.NoAdaptation())
    optim = optax.sgd(optax.linear_schedule(0.02, 0.0, 4000))
    state = mutatis.outer_init(learner, GroupDRO(0.02), optim, num_groups=2, key=jax.random.key(0))
    learner, *_ = mutatis.outer_scan(learner, state, lambda _: tasks, steps=4000, objective=objective)
    assert abs(float(learner.model) - best) < 2e-3
    assert abs(float(learner.model) - (1 - 2) / 3) > 0.1  # and not to the minimum of the mean


def test_a_group_drawn_twice_counts_once():
    once, q = _steps(GroupDRO(0.5), [[1.0, 3.0, 2.0]], jnp.array([0, 1, 2]))
    twice, q_twice = _steps(GroupDRO(0.5), [[1.0, 2.5, 3.5, 2.0]], jnp.array([0, 1, 1, 2]))
    np.testing.assert_allclose(q_twice, q, rtol=1e-6)
    np.testing.assert_allclose(twice[0, 1], twice[0, 2], rtol=1e-12)
    np.testing.assert_allclose([twice[0, 0], twice[0, 1:3].sum(), twice[0, 3]], once[0], rtol=1e-6)


def test_absent_groups_keep_their_weight():
    _, q = _steps(GroupDRO(0.5), [[1.0, 3.0], [2.0, 3.0]], jnp.array([5, 2]), groups=8)
    np.testing.assert_allclose(np.delete(q, [2, 5]), np.full(6, 1 / 8), rtol=1e-6)
    np.testing.assert_allclose(q[2] + q[5], 2 / 8, rtol=1e-6)
    assert q[2] > 1 / 8 > q[5]


def test_as_published_absent_groups_lose_weight():
    eta, losses = 0.5, np.array([1.0, 3.0])
    weights, q = _steps(
        GroupDRO(**_exact(step_size=eta), renormalise=False, absent_count_as_zero=True),
        [losses],
        jnp.array([5, 2]),
        groups=8,
    )
    factor = np.ones(8)
    factor[[5, 2]] = np.exp(eta * losses)
    np.testing.assert_allclose(q, factor / factor.sum(), rtol=1e-13)
    np.testing.assert_allclose(weights[0], q[[5, 2]], rtol=1e-13)
    assert weights.sum() < 1


def test_weights_sum_to_one_over_the_present_groups_by_default():
    weights, q = _steps(GroupDRO(0.5), LOSSES[:, :2], jnp.array([100, 200]), groups=262)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(weights[-1], q[[100, 200]] / q[[100, 200]].sum(), rtol=1e-5)


def test_the_weight_belongs_to_the_group_and_not_to_the_slot():
    weighting = GroupDRO(0.5)
    _, first = weighting.weigh(jnp.array([1.0, 4.0]), None, jnp.array([2, 7]), weighting.init(9), key=jax.random.key(0))
    swapped, _ = weighting.weigh(jnp.array([1.0, 1.0]), None, jnp.array([7, 2]), first, key=jax.random.key(0))
    assert swapped[0] > swapped[1]


def test_q_stays_on_the_simplex_through_extreme_losses():
    weights, q = _steps(GroupDRO(1.0), [[1e-30, 1e30, 1.0, 0.0], [1e30, 0.0, 1e30, 1e-30]] * 50)
    assert np.all(np.isfinite(weights)) and np.all(weights >= 0)
    np.testing.assert_allclose(q.sum(), 1, rtol=1e-6)


def test_an_unknown_group_is_not_silently_another_one():
    weighting = GroupDRO()
    weights, _ = weighting.weigh(jnp.ones(2), None, jnp.array([0, 4]), weighting.init(4), key=jax.random.key(0))
    assert np.isnan(weights).any()


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="step_size"):
        GroupDRO(-0.1)
    with pytest.raises(ValueError, match="group_sizes is missing"):
        GroupDRO(adjustment=1.0)
    with pytest.raises(ValueError, match="without examples"):
        GroupDRO(adjustment=1.0, group_sizes=np.array([3, 0]))
    with pytest.raises(ValueError, match="4 groups"):
        GroupDRO(adjustment=1.0, group_sizes=SIZES[:3]).init(4)
