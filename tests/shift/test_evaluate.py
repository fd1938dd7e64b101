"""Judging: each row predicted once, from the batch it belongs to and nothing else."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis.shift._evaluate import predict_batches, predict_source, predict_stream
from mutatis.shift._groups import Groups


class Compare(eqx.Module):
    """Class 1 where a row is above the threshold."""

    threshold: jnp.ndarray

    def __call__(self, x):
        return jnp.stack([jnp.zeros(x.shape[0], x.dtype), x[:, 0] - self.threshold], -1)


class MeanThreshold(mutatis.AbstractStatistic):
    """The threshold becomes the mean of the context."""

    def init(self, model):
        return jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)

    def measure(self, model, context, *, key):
        return jnp.asarray(context.shape[0], jnp.float32), jnp.sum(context)

    def bind(self, model, state):
        return Compare(jnp.where(state[0] > 0, state[1] / jnp.maximum(state[0], 1), model.threshold))


@pytest.fixture
def groups():
    """Two groups with far-away means: within each, the upper half is class 1."""
    rng = np.random.default_rng(0)
    inputs = np.concatenate([rng.normal(-100, 1, 41), rng.normal(100, 1, 63)]).astype(np.float32)[:, None]
    group = np.repeat([0, 1], [41, 63])
    centre = np.array([inputs[group == g].mean() for g in (0, 1)])
    targets = (inputs[:, 0] > centre[group]).astype(np.int32)
    return Groups(inputs, targets, group, ("low", "high"))


LEARNER = mutatis.Learner(Compare(jnp.zeros((), jnp.float32)), MeanThreshold())


def test_the_whole_group_as_context(groups):
    np.testing.assert_array_equal(predict_batches(LEARNER, groups, 63), groups.targets)


def test_without_adaptation_the_threshold_is_zero(groups):
    np.testing.assert_array_equal(predict_source(LEARNER, groups), groups.groups)


def test_batches_have_the_size_asked_for_and_are_predicted_from_themselves(groups):
    predicted = predict_batches(LEARNER, groups, 20, seed=3)
    rng = np.random.default_rng(3)  # the documented order: groups in turn, shuffled, cut; the last one reaches back
    for members in groups.members:
        order = rng.permutation(members)
        expected = {}
        for stop in [*range(20, len(order), 20), len(order)]:
            part = order[stop - 20 : stop]
            x = groups.inputs[part, 0]
            expected |= dict(zip(part.tolist(), x > x.mean(), strict=True))
        assert len(expected) == len(members)
        np.testing.assert_array_equal(predicted[members], [expected[row] for row in members.tolist()])


def test_a_group_smaller_than_the_support_is_one_batch(groups):
    few = groups.take(np.arange(7))
    np.testing.assert_array_equal(predict_batches(LEARNER, few, 20), few.inputs[:, 0] > few.inputs.mean())


def test_one_row_is_a_context(groups):
    assert set(predict_batches(LEARNER, groups, 1)) <= {0, 1}


def test_a_stream_sees_its_past_and_its_chunk(groups):
    predicted = predict_stream(LEARNER, groups, 10, seed=5, longest=4)
    rng = np.random.default_rng(5)
    for members in groups.members:
        order = rng.permutation(members)[: min(len(members) // 10, 4) * 10]
        for start in range(0, len(order), 10):
            known, chunk = groups.inputs[order[: start + 10], 0], order[start : start + 10]
            np.testing.assert_array_equal(predicted[chunk], groups.inputs[chunk, 0] > known.mean())
    assert np.sum(predicted >= 0) == 80


def test_bad_support(groups):
    with pytest.raises(ValueError, match="support is 0"):
        predict_batches(LEARNER, groups, 0)
    with pytest.raises(ValueError, match="chunk is 0"):
        predict_stream(LEARNER, groups, 0)
