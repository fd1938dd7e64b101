"""Rotated MNIST and MNIST by writer, on the official files and on damaged ones."""

import gzip
import struct

import numpy as np
import pytest
from scipy.ndimage import rotate

from mutatis._data_files import DataFolder
from mutatis.shift.data import mnist_by_writer, rotated_mnist, writer_series
from mutatis.shift.data._mnist import read_mnist, read_writers
from mutatis.shift.data._rotated_mnist import ANGLES, rotation_map


@pytest.fixture(scope="module")
def train(real_data):
    return read_mnist(DataFolder(real_data), "train", verify=True)


@pytest.fixture(scope="module")
def rotated(real_data):
    return rotated_mnist(real_data, seed=1, test_images_per_group=50)


@pytest.fixture(scope="module")
def by_writer(real_data):
    return mnist_by_writer(real_data, seed=1)


def turn(images, angle):
    flat = np.append(images.reshape(len(images), -1), np.zeros((len(images), 1), np.uint8), axis=1)
    return flat[:, rotation_map(28, 28, angle)].reshape(-1, 28, 28)


@pytest.mark.parametrize("angle", ANGLES)
def test_rotation_map_equals_scipy(train, angle):
    images = train[0][:20, ..., 0]
    expected = np.stack([rotate(image, angle, order=0, reshape=False) for image in images])
    np.testing.assert_array_equal(turn(images, angle), expected)
    np.testing.assert_array_equal(turn(images, angle + 90), np.rot90(turn(images, angle), axes=(1, 2)))


def test_published_pixel_sums(train):
    sums = [int(turn(train[0][:1, ..., 0], angle).sum()) for angle in (0, 10, 40, 70)]
    assert sums == [27525, 27501, 27831, 28494]


def test_rotated_mnist_protocol(rotated):
    assert rotated.train.sizes.tolist() == [7560] * 3 + [2160] * 3 + [648] * 3 + [324] * 3 + [108] * 2
    assert len(rotated.train) == 32_292
    assert rotated.validation.sizes.tolist() == [2000] * 14
    assert rotated.test.sizes.tolist() == [50] * 14
    assert rotated.train.names == tuple(f"rotation {a}" for a in range(0, 140, 10))
    assert rotated.train.inputs.dtype == np.uint8 and rotated.train.inputs.shape[1:] == (28, 28, 1)
    assert (rotated.mean, rotated.std) == ((0.0,), (1.0,))
    assert sorted(rotated.checksums) == [
        "mnist/t10k-images-idx3-ubyte.gz",
        "mnist/t10k-labels-idx1-ubyte.gz",
        "mnist/train-images-idx3-ubyte.gz",
        "mnist/train-labels-idx1-ubyte.gz",
    ]


def pixels_turned_back(part, group):
    """The images of a group of rotation 90, upright again; at 90 degrees nothing is lost."""
    rows = part.members[group]
    return np.rot90(part.inputs[rows], k=-1, axes=(1, 2)), part.targets[rows]


def test_rotated_mnist_labels_and_disjoint_images(rotated, train):
    labels = dict(zip(map(bytes, train[0].reshape(60_000, -1)), train[1], strict=True))
    seen = []
    for part in (rotated.train, rotated.validation):
        images, targets = pixels_turned_back(part, 9)
        images = [bytes(image) for image in np.ascontiguousarray(images).reshape(len(images), -1)]
        assert [labels[image] for image in images] == targets.tolist()
        upright = part.inputs[part.members[0]].reshape(part.sizes[0], -1)
        seen.append({*images, *map(bytes, upright)})
    assert not seen[0] & seen[1]


def test_rotated_mnist_full_test_set_and_thirds(real_data, rotated):
    test_images, test_labels = read_mnist(DataFolder(real_data), "test", verify=True)
    full = rotated_mnist(real_data, seed=1)
    assert full.test.sizes.tolist() == [10_000] * 14
    for group in (0, 13):
        np.testing.assert_array_equal(full.test.targets[full.test.members[group]], test_labels)
    np.testing.assert_array_equal(full.test.inputs[:10_000], test_images)
    np.testing.assert_array_equal(full.train.inputs, rotated.train.inputs)
    thirds = rotated_mnist(real_data, seed=1, reproduce_indexing=True)
    assert thirds.test.sizes.tolist() == [3333] * 14
    assert thirds.validation.sizes.tolist() == [2000] * 14
    for group in range(14):
        expected = test_labels[np.arange(3333 * group, 3333 * (group + 1)) % 10_000]
        np.testing.assert_array_equal(thirds.test.targets[thirds.test.members[group]], expected)
    # Validation thirds return after three groups; drawn validation groups do not.
    by_group = [thirds.validation.targets[rows] for rows in thirds.validation.members]
    np.testing.assert_array_equal(by_group[0], by_group[3])
    drawn = [full.validation.targets[rows] for rows in full.validation.members]
    assert not np.array_equal(drawn[0], drawn[3])
    np.testing.assert_array_equal(thirds.train.inputs, full.train.inputs)


def test_rotated_mnist_seed(real_data, rotated):
    again = rotated_mnist(real_data, seed=1, test_images_per_group=50)
    other = rotated_mnist(real_data, seed=2, test_images_per_group=50)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, part).inputs, getattr(rotated, part).inputs)
        assert not np.array_equal(getattr(other, part).inputs, getattr(rotated, part).inputs)
    with pytest.raises(ValueError, match="test_images_per_group=0"):
        rotated_mnist(real_data, test_images_per_group=0)


def test_writers(by_writer, train):
    assert len(by_writer.train.names) == 479 and len(by_writer.validation.names) == 60
    assert len(by_writer.train) + len(by_writer.validation) == 60_000
    assert len(by_writer.test.names) == 297 and len(by_writer.test) == 10_000
    names = [set(part.names) for part in (by_writer.train, by_writer.validation, by_writer.test)]
    assert len(names[0] | names[1] | names[2]) == 539 + 297
    sizes = np.concatenate([by_writer.train.sizes, by_writer.validation.sizes])
    assert np.percentile(sizes, [0, 25, 50, 75, 100]).tolist() == [19, 103, 116, 123, 131]
    assert np.percentile(by_writer.test.sizes, [0, 50, 75, 100]).tolist() == [8, 21, 25, 130]
    for least, count in ((10, 295), (15, 273), (20, 185), (25, 79)):
        assert (by_writer.test.sizes >= least).sum() == count
    assert len(by_writer.checksums) == 6


def test_writers_keep_their_digits(by_writer, real_data, train):
    writers = read_writers(DataFolder(real_data), "train", train[1], verify=True)
    # The first training digit, a 5, is by writer 2154 of series 4.
    part = by_writer.train if "writer 2154 (series 4)" in by_writer.train.names else by_writer.validation
    rows = part.members[part.names.index("writer 2154 (series 4)")]
    expected = np.flatnonzero(writers[:, 0] == 2154)
    assert expected[0] == 0
    np.testing.assert_array_equal(part.inputs[rows], train[0][expected])
    np.testing.assert_array_equal(part.targets[rows], train[1][expected])


def test_series(by_writer, rotated):
    series = writer_series(by_writer.test)
    assert [(series == s).sum() for s in (0, 4)] == [48, 249]
    assert by_writer.test.sizes[series == 0].sum() == 4999
    with pytest.raises(ValueError, match="no series for 'rotation 0'"):
        writer_series(rotated.test)


def test_writer_seed(by_writer, real_data):
    again = mnist_by_writer(real_data, seed=1)
    assert again.validation.names == by_writer.validation.names
    assert mnist_by_writer(real_data, seed=2).validation.names != by_writer.validation.names
    for wrong in (0, 539):
        with pytest.raises(ValueError, match=f"validation_writers={wrong} must lie in 1 .. 538"):
            mnist_by_writer(real_data, validation_writers=wrong)


def write_mnist(root, rng):
    for prefix, n in (("train", 60_000), ("t10k", 10_000)):
        images = bytes([0, 0, 8, 3]) + struct.pack(">3I", n, 28, 28) + bytes(n * 784)
        labels = bytes([0, 0, 8, 1]) + struct.pack(">I", n) + rng.integers(0, 10, n, np.uint8).tobytes()
        (root / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images, 1))
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


def test_flat_folder_with_other_content(tmp_path):
    write_mnist(tmp_path, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz .*differs from the official file's"):
        rotated_mnist(tmp_path)
    data = rotated_mnist(tmp_path, verify=False, test_images_per_group=2)
    assert sorted(data.checksums) == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte",
    ]
    with pytest.raises(FileNotFoundError, match=r"qmnist-train-labels-idx2-int\.gz is missing"):
        mnist_by_writer(tmp_path, verify=False)
    table = bytes([0, 0, 0x0C, 2]) + struct.pack(">2I", 60_000, 8) + bytes(60_000 * 32)
    (tmp_path / "qmnist-train-labels-idx2-int").write_bytes(table)
    with pytest.raises(ValueError, match="MNIST's train labels disagree"):
        mnist_by_writer(tmp_path, verify=False)


def test_missing_mnist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz is missing"):
        rotated_mnist(tmp_path)
