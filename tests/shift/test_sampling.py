"""Tasks drawn from groups: the right rows, in the right proportions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.shift._groups import Groups
from mutatis.shift._sampling import GroupArrays, GroupSampler, scaled

SIZES = (40, 10, 2)


@pytest.fixture
def groups():
    """Three groups of unequal size; a row's input tells its number, its target its group."""
    group = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], SIZES))
    return Groups(np.arange(52.0, dtype=np.float32)[:, None], group.astype(np.int32), group, ("a", "b", "c"))


def draw(groups, number=2000, **settings):
    sampler = GroupSampler(GroupArrays(groups), **{"groups_per_step": 2, "support": 5} | settings)
    return jax.vmap(sampler)(jax.random.split(jax.random.key(1), number))


def test_a_task_holds_rows_of_its_group_alone(groups):
    tasks = draw(groups)
    inputs, targets = tasks.query
    assert inputs.shape == (2000, 2, 5, 1)
    np.testing.assert_array_equal(targets, np.broadcast_to(tasks.index[..., None], targets.shape))
    np.testing.assert_array_equal(groups.targets[np.asarray(inputs[..., 0], int)], targets)
    np.testing.assert_array_equal(tasks.context, inputs)


@pytest.mark.parametrize(
    ("mix_groups", "balanced", "expected"),
    [
        (False, True, (1 / 3, 1 / 3, 1 / 3)),
        (False, False, np.array(SIZES) / 52),
        (True, True, (1 / 3, 1 / 3, 1 / 3)),
        (True, False, np.array(SIZES) / 52),
    ],
)
def test_proportions_of_groups(groups, mix_groups, balanced, expected):
    tasks = draw(groups, mix_groups=mix_groups, balanced=balanced)
    drawn = np.asarray(tasks.query[1]).reshape(-1)
    share = np.bincount(drawn, minlength=3) / drawn.size
    independent = drawn.size if mix_groups else drawn.size / 5
    spread = np.sqrt(np.array(expected) * (1 - np.array(expected)) / independent)
    assert np.all(np.abs(share - expected) < 4.5 * spread)


def test_every_row_of_a_group_is_equally_likely(groups):
    tasks = draw(groups, number=4000)
    rows = np.asarray(tasks.query[0]).reshape(-1).astype(int)
    counts = np.bincount(rows, minlength=52)
    for group in range(3):
        inside = counts[groups.targets == group]
        assert np.sum((inside - inside.mean()) ** 2 / inside.mean()) < 2.5 * len(inside) + 10  # chi-square


def test_a_mixed_task_mixes(groups):
    targets = np.asarray(draw(groups, mix_groups=True).query[1])
    assert np.mean(targets.min(-1) != targets.max(-1)) > 0.9


def test_labelled_context_is_the_query(groups):
    tasks = draw(groups, labelled_context=True)
    np.testing.assert_array_equal(tasks.context[1], tasks.query[1])


def test_bytes_are_scaled_by_channel():
    x = jnp.asarray(np.full((2, 1, 1, 3), 255, np.uint8))
    np.testing.assert_allclose(scaled(x, (0.5, 0.0, 1.0), (0.5, 2.0, 1.0))[0, 0, 0], [1.0, 0.5, 0.0], rtol=1e-6)
    np.testing.assert_allclose(scaled(jnp.ones((2, 3)), (0.0,), (1.0,)), 1.0)


def test_what_cannot_be_drawn_is_refused(groups):
    with pytest.raises(ValueError, match="groups without any row cannot be drawn: d"):
        GroupArrays(Groups(groups.inputs, groups.targets, groups.groups, ("a", "b", "c", "d")))
    with pytest.raises(ValueError, match="support is 0"):
        GroupSampler(GroupArrays(groups), groups_per_step=1, support=0)
