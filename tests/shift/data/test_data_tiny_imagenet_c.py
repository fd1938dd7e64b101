"""Tiny ImageNet-C on small folders of its form."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from mutatis.shift.corruptions import TINY_IMAGENET, corrupt
from mutatis.shift.data import CIFAR10_C, TINY_IMAGENET_C, CorruptionSplit, tiny_imagenet_c

CLASSES = ("n01443537", "n01629819", "n01641577")
SMALL = CorruptionSplit(
    train=(("brightness", 1), ("contrast", 2)), validation=(("saturate", 3),), test=(("fog", 2), ("fog", 5))
)
SIZES = {"images_per_group": 20, "validation_images_per_group": 3, "test_images_per_group": 4}


def save(path, rng, size=64, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path, "JPEG")


def decoded(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    base = tmp_path / "tiny-imagenet-200"
    for name in CLASSES:
        for i in range(10):
            save(base / "train" / name / "images" / f"{name}_{i}.JPEG", rng, mode="L" if i == 0 else "RGB")
        (base / "train" / name / f"{name}_boxes.txt").write_text("")
    rows = []
    for i in range(6):
        save(base / "val" / "images" / f"val_{i}.JPEG", rng)
        rows.append(f"val_{i}.JPEG\t{CLASSES[(i * 2) % 3]}\t0\t0\t62\t62\n")
    (base / "val" / "val_annotations.txt").write_text("".join(rows))
    return tmp_path


def write_published(root):
    rng = np.random.default_rng(1)
    for severity in (2, 5):
        for name in CLASSES:
            for i in range(2):
                save(root / "Tiny-ImageNet-C" / "fog" / str(severity) / name / f"val_{i}.JPEG", rng)


def read(root, **options):
    return tiny_imagenet_c(root, verify=False, **{"conditions": SMALL, **SIZES, **options})


def test_groups_are_those_of_the_paper():
    split = TINY_IMAGENET_C
    assert [len(part) for part in (split.train, split.validation, split.test)] == [51, 17, 22]
    assert split.train[:3] == (("frost", 1), ("frost", 2), ("frost", 3))
    assert split.validation[0] == ("frost", 4) and split.test[0] == ("frost", 5)
    assert not any(
        corruption == "spatter" for part in (split.train, split.validation, split.test) for corruption, _ in part
    )
    assert split.test[1:] == CIFAR10_C.test[1:] and split.validation[1:] == CIFAR10_C.validation[1:]
    assert split.train[3:] == tuple(c for c in CIFAR10_C.train[3:] if c[0] != "frost")


def test_generated(root):
    data = read(root, seed=3)
    assert [part.sizes.tolist() for part in (data.train, data.validation, data.test)] == [
        [20] * 2,
        [3],
        [4] * 2,
    ]
    assert data.train.inputs.shape[1:] == (64, 64, 3) and data.num_classes == 3
    assert data.mean == (0.485, 0.456, 0.406)
    base = root / "tiny-imagenet-200"
    paths = [base / "train" / name / "images" / f"{name}_{i}.JPEG" for name in CLASSES for i in range(10)]
    seen = []
    for part, group, condition in (
        (data.train, 0, SMALL.train[0]),
        (data.validation, 0, SMALL.validation[0]),
    ):
        clean = np.stack([decoded(path) for path in paths])
        made = corrupt(clean, *condition, table=TINY_IMAGENET, seed=3)
        row = {bytes(image): index for index, image in enumerate(made)}
        found = [row[bytes(image)] for image in part.inputs[part.members[group]]]
        assert part.targets[part.members[group]].tolist() == [index // 10 for index in found]
        seen.append(set(found))
    assert not seen[0] & seen[1]
    clean = np.stack([decoded(base / "val" / "images" / f"val_{i}.JPEG") for i in range(6)])
    made = corrupt(clean, "fog", 5, table=TINY_IMAGENET, seed=3, positions=100_000 + np.arange(6))
    row = {bytes(image): index for index, image in enumerate(made)}
    found = [row[bytes(image)] for image in data.test.inputs[data.test.members[1]]]
    assert data.test.targets[data.test.members[1]].tolist() == [(index * 2) % 3 for index in found]


def test_published(root):
    with pytest.raises(FileNotFoundError, match="fog/2 is missing"):
        read(root, published=True)
    write_published(root)
    data = read(root, published=True, test_images_per_group=None)
    assert data.test.sizes.tolist() == [6, 6] and data.test.targets.tolist() == [0, 0, 1, 1, 2, 2] * 2
    folder = root / "Tiny-ImageNet-C" / "fog" / "5"
    paths = [folder / name / f"val_{i}.JPEG" for name in CLASSES for i in range(2)]
    np.testing.assert_array_equal(data.test.inputs[6:], np.stack([decoded(path) for path in paths]))
    table = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n" for path in paths
    )
    assert data.checksums["Tiny-ImageNet-C fog 5"] == hashlib.sha256(table.encode()).hexdigest()
    for image in (folder / CLASSES[1]).iterdir():
        image.unlink()
    with pytest.raises(ValueError, match=f"class {CLASSES[1]} has 0 images"):
        read(root, published=True)
    (folder / CLASSES[1]).rmdir()
    with pytest.raises(ValueError, match="its 2 class folders are not the 3 of training"):
        read(root, published=True)


def test_seed(root):
    one, again, other = (read(root, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.train.inputs, again.train.inputs)
    assert not np.array_equal(one.train.inputs, other.train.inputs)
    assert one.checksums.keys() == {
        "tiny-imagenet-200/val/val_annotations.txt",
        "tiny-imagenet-200 test",
        "tiny-imagenet-200 train",
        "tiny-imagenet-200 validation",
    }


def test_official_counts_are_asked_for(root):
    with pytest.raises(ValueError, match="class n01443537 has 10 images"):
        tiny_imagenet_c(root)
    with pytest.raises(ValueError, match=r"images_per_group=28 must lie in 1 \.\. 27"):
        read(root, images_per_group=28)


def test_damaged_and_missing(root):
    base = root / "tiny-imagenet-200"
    annotations = base / "val" / "val_annotations.txt"
    text = annotations.read_text()
    annotations.write_text(text.replace(CLASSES[2], "n09999999", 1))
    with pytest.raises(ValueError, match="line 2 names no class"):
        read(root)
    annotations.write_text(text)
    image = base / "val" / "images" / "val_3.JPEG"
    content = image.read_bytes()
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"val_3\.JPEG and 0 more"):
        read(root)
    for damage in (content[: len(content) // 2], b"no image"):
        image.write_bytes(damage)
        with pytest.raises(ValueError, match=r"val_3\.JPEG is damaged .*cannot be decoded"):
            read(root, test_images_per_group=None)
    save(image, np.random.default_rng(0), size=32)
    with pytest.raises(ValueError, match="32 x 32 pixels"):
        read(root, test_images_per_group=None)
    annotations.unlink()
    with pytest.raises(FileNotFoundError, match=r"val/val_annotations\.txt is missing"):
        read(root)
    with pytest.raises(FileNotFoundError, match="train is missing"):
        read(base / "val")
