"""CIFAR-10-C: the groups, the files, and who sees which image."""

import numpy as np
import pytest

from mutatis.shift.corruptions import CIFAR, CORRUPTIONS, corrupt
from mutatis.shift.data import CIFAR10_C, CorruptionSplit, cifar10_c

SMALL = CorruptionSplit(
    train=(("brightness", 1), ("contrast", 2)), validation=(("saturate", 3),), test=(("fog", 2), ("fog", 5))
)
SIZES = {"images_per_group": 30, "validation_images_per_group": 20, "test_images_per_group": 10}


def write_batch(path, seed):
    """Images that carry their batch and row in two pixels, which mild corruptions leave legible."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(records.tobytes())
    return records


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar")
    for name, seed in (("data_batch_2", 2), ("data_batch_4", 4), ("test_batch", 9)):
        write_batch(root / "cifar-10-batches-bin" / f"{name}.bin", seed)
    return root


def originals(seed):
    records = np.random.default_rng(seed).integers(0, 256, (10_000, 3073), np.uint8)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def test_groups_are_those_of_the_paper():
    assert [len(part) for part in (CIFAR10_C.train, CIFAR10_C.validation, CIFAR10_C.test)] == [56, 17, 22]
    assert CIFAR10_C.train[:6] == (
        *(("spatter", s) for s in (1, 2, 3)),
        *(("jpeg_compression", s) for s in (1, 2, 3)),
    )
    full = " ".join(c for c, s in CIFAR10_C.train[6:] if s == 1)
    assert full == (
        "gaussian_noise shot_noise defocus_blur glass_blur zoom_blur snow frost brightness contrast pixelate"
    )
    assert [s for _, s in CIFAR10_C.train[6:]] == [1, 2, 3, 4, 5] * 10
    assert CIFAR10_C.validation[:2] == (("spatter", 4), ("jpeg_compression", 5))
    assert [c for c, s in CIFAR10_C.validation[2:] if s == 1] == [
        "speckle_noise",
        "gaussian_blur",
        "saturate",
    ]
    assert CIFAR10_C.test[:2] == (("spatter", 5), ("jpeg_compression", 4))
    assert [c for c, s in CIFAR10_C.test[2:] if s == 5] == [
        "impulse_noise",
        "motion_blur",
        "fog",
        "elastic_transform",
    ]
    every = {*CIFAR10_C.train, *CIFAR10_C.validation, *CIFAR10_C.test}
    assert every == {(c, s) for c in CORRUPTIONS for s in range(1, 6)}


def test_split_refusals():
    with pytest.raises(ValueError, match="'fog 2' is listed twice"):
        CorruptionSplit(train=(("fog", 2),), validation=(("snow", 1),), test=(("fog", 2),))
    with pytest.raises(ValueError, match="validation has no conditions"):
        CorruptionSplit(train=(("fog", 2),), validation=(), test=(("fog", 1),))


def places(part, group, corruption, severity, clean, first):
    """Where the images of a group stand in the clean data, found by corrupting all of it alike."""
    at = np.arange(len(clean)) + first
    table = {bytes(image): row for row, image in zip(at, corrupt_all(clean, corruption, severity, at), strict=True)}
    return [table[bytes(image)] for image in part.inputs[part.members[group]]]


def corrupt_all(clean, corruption, severity, at):
    return corrupt(clean, corruption, severity, table=CIFAR, seed=5, positions=at)


def test_images_labels_and_disjointness(root):
    data = cifar10_c(root, batches=(2,), seed=5, conditions=SMALL, **SIZES)
    assert data.train.names == ("brightness 1", "contrast 2") and data.test.names == ("fog 2", "fog 5")
    assert [part.sizes.tolist() for part in (data.train, data.validation, data.test)] == [
        [30] * 2,
        [20],
        [10] * 2,
    ]
    assert data.train.inputs.dtype == np.uint8 and data.train.inputs.shape[1:] == (32, 32, 3)
    assert data.num_classes == 10 and data.mean == (0.485, 0.456, 0.406) and data.std == (0.229, 0.224, 0.225)
    clean, seen = originals(2), []
    for part, conditions in (
        (data.train, SMALL.train),
        (data.validation, SMALL.validation),
        (data.test, SMALL.test),
    ):
        rows = []
        for group, condition in enumerate(conditions):
            found = places(part, group, *condition, clean, 10_000)
            assert len(set(found)) == len(found)
            assert part.targets[part.members[group]].tolist() == [place % 10 for place in found]
            rows += found
        seen.append(set(rows))
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_default_sizes_of_the_pools(root):
    data = cifar10_c(
        root,
        batches=(4, 2),
        conditions=SMALL,
        images_per_group=14_000,
        validation_images_per_group=2_000,
    )
    assert data.train.sizes.tolist() == [14_000] * 2 and data.test.sizes.tolist() == [4_000] * 2
    with pytest.raises(ValueError, match=r"images_per_group=14001 must lie in 1 \.\. 14000"):
        cifar10_c(root, batches=(4, 2), conditions=SMALL, images_per_group=14_001)


def test_seed(root):
    make = lambda seed: cifar10_c(root, batches=(2,), seed=seed, conditions=SMALL, **SIZES)
    one, again, other = make(0), make(0), make(1)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(one, part).inputs, getattr(again, part).inputs)
        assert not np.array_equal(getattr(one, part).inputs, getattr(other, part).inputs)


def test_test_batch(root):
    data = cifar10_c(root, batches=(2,), seed=5, conditions=SMALL, test_batch=True, **SIZES)
    places(data.test, 0, "fog", 2, originals(9), 50_000)
    assert sorted(data.checksums) == [
        "cifar-10-batches-bin/data_batch_2.bin",
        "cifar-10-batches-bin/test_batch.bin",
    ]
    with pytest.raises(ValueError, match="pass one of them"):
        cifar10_c(root, batches=(2,), published=True, test_batch=True)


def write_published(root, corruption, seed):
    images = np.random.default_rng(seed).integers(0, 256, (50_000, 32, 32, 3), np.uint8)
    np.save(root / f"{corruption}.npy", images)
    return images


def test_published(root, tmp_path):
    (tmp_path / "cifar-10-batches-bin").symlink_to(root / "cifar-10-batches-bin")
    ask = lambda: cifar10_c(tmp_path, batches=(2,), conditions=SMALL, published=True, **SIZES)
    with pytest.raises(FileNotFoundError, match=r"labels\.npy is missing"):
        ask()
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    labels = np.random.default_rng(0).integers(0, 10, 10_000)
    np.save(folder / "labels.npy", np.tile(labels, 5))
    with pytest.raises(FileNotFoundError, match=r"fog\.npy is missing"):
        ask()
    images = write_published(folder, "fog", 7)
    data = ask()
    assert "CIFAR-10-C/fog.npy" in data.checksums and "as published" in data.description
    for group, severity in ((0, 2), (1, 5)):
        block = images[(severity - 1) * 10_000 : severity * 10_000]
        row = {bytes(image): index for index, image in enumerate(block)}
        found = [row[bytes(image)] for image in data.test.inputs[data.test.members[group]]]
        np.testing.assert_array_equal(data.test.targets[data.test.members[group]], labels[found])
    # Nothing is held out of the training batches when the test comes from elsewhere.
    with pytest.raises(ValueError, match=r"must lie in 1 \.\. 9000"):
        cifar10_c(tmp_path, batches=(2,), conditions=SMALL, published=True, images_per_group=9_001)
    np.save(folder / "fog.npy", images[:40_000])
    with pytest.raises(ValueError, match=r"fog\.npy is damaged .*\(40000, 32, 32, 3\)"):
        ask()
    with (folder / "fog.npy").open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(ValueError, match=r"fog\.npy is damaged"):
        ask()
    np.save(folder / "labels.npy", np.arange(50_000) % 7 + np.arange(50_000) // 10_000)
    with pytest.raises(ValueError, match="five blocks differ"):
        ask()


def test_missing_and_damaged_batches(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin is missing") as error:
        cifar10_c(root)
    message = str(error.value)
    assert "asked for: data_batch_1.bin, data_batch_3.bin, data_batch_5.bin" in message
    assert "pass batches=(2, 4)" in message and "docs/data.md" in message
    with pytest.raises(FileNotFoundError, match=r"test_batch\.bin is missing"):
        (tmp_path / "data_batch_2.bin").symlink_to(root / "cifar-10-batches-bin" / "data_batch_2.bin")
        cifar10_c(tmp_path, batches=(2,), test_batch=True)
    content = (root / "cifar-10-batches-bin" / "data_batch_4.bin").read_bytes()
    (tmp_path / "data_batch_4.bin").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"data_batch_4\.bin is damaged .*30,729,999 bytes where 30,730,000"):
        cifar10_c(tmp_path, batches=(4,))
    (tmp_path / "data_batch_4.bin").write_bytes(b"\xff" + content[1:])
    with pytest.raises(ValueError, match="a label 255"):
        cifar10_c(tmp_path, batches=(4,))
    for batches in ((), (1, 1), (0,), (6,)):
        with pytest.raises(ValueError, match="distinct numbers from 1 to 5"):
            cifar10_c(root, batches=batches)


def test_real_batches(real_data):
    data = cifar10_c(
        real_data,
        batches=(1, 2),
        images_per_group=4,
        validation_images_per_group=4,
        test_images_per_group=4,
    )
    assert [len(part.names) for part in (data.train, data.validation, data.test)] == [56, 17, 22]
    assert data.train.names[0] == "spatter 1" and data.test.names[-1] == "elastic_transform 5"
    # Natural photographs: neighbouring pixels agree, and the three colours are near each other.
    clean = data.train.inputs[data.train.groups == data.train.names.index("brightness 1")].astype(float)
    assert np.corrcoef(clean[:, 1:].ravel(), clean[:, :-1].ravel())[0, 1] > 0.8
    assert np.corrcoef(clean[..., 0].ravel(), clean[..., 1].ravel())[0, 1] > 0.7
