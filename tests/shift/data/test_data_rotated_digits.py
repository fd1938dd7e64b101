"""scikit-learn's digits under rotations."""

import numpy as np
import pytest
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

from mutatis.shift.data import rotated_digits


@pytest.fixture(scope="module")
def data():
    return rotated_digits(seed=3)


def test_form(data):
    assert data.num_classes == 10
    assert data.train.inputs.dtype == np.uint8
    assert data.train.inputs.shape == (2750, 8, 8, 1)
    np.testing.assert_array_equal(data.train.sizes, [400] * 5 + [150] * 5)
    np.testing.assert_array_equal(data.validation.sizes, [297] * 4)
    np.testing.assert_array_equal(data.test.sizes, [500] * 5)
    names = [set(part.names) for part in (data.train, data.validation, data.test)]
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    assert data.test.names == ("rotation 10", "rotation 50", "rotation 90", "rotation 130", "rotation 170")


def test_unrotated_images_are_scikit_learns_and_parts_share_none():
    data = rotated_digits(train_angles=(0,), train_sizes=(3000,), validation_angles=(0,), test_angles=(0,))
    original = np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(1797, -1)
    labels = dict(zip(map(bytes, original), load_digits().target, strict=True))
    parts = []
    for part in (data.train, data.validation, data.test):
        images = [bytes(image) for image in part.inputs.reshape(len(part), -1)]
        assert [labels[image] for image in images] == part.targets.tolist()
        parts.append(set(images))
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert len(parts[1]) + len(parts[2]) == 797


def test_rotation_turns_counter_clockwise():
    data = rotated_digits(train_angles=(0,), train_sizes=(1,), validation_angles=(0, 90, 40), test_angles=(0,))
    upright, quarter, oblique = (data.validation.inputs[rows, ..., 0] for rows in data.validation.members)
    np.testing.assert_array_equal(quarter, np.rot90(upright, axes=(1, 2)))
    one = rotate(upright[5].astype(float), 40, order=1, reshape=False)
    np.testing.assert_allclose(oblique[5], one, atol=1.01)


def test_seed_decides_everything(data):
    again, other = rotated_digits(seed=3), rotated_digits(seed=4)
    for part in ("train", "validation", "test"):
        for name in ("inputs", "targets", "groups"):
            np.testing.assert_array_equal(getattr(getattr(again, part), name), getattr(getattr(data, part), name))
        assert not np.array_equal(getattr(other, part).inputs, getattr(data, part).inputs)


def test_refusals():
    with pytest.raises(ValueError, match="train_sizes has 10 entries for 1 train_angles"):
        rotated_digits(train_angles=(0,))
    with pytest.raises(ValueError, match="leave -1 of the 1797"):
        rotated_digits(train_images=1000, validation_images=798)
