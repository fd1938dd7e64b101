"""FEMNIST in LEAF's form."""

import hashlib
import json

import numpy as np
import pytest

from mutatis.shift.data import femnist


def user(n, start, whole=True):
    x = (np.arange(n * 784).reshape(n, 784) * 7 + start) % 256 / 255
    if not whole:
        x = x / np.pi
    return {"x": x.tolist(), "y": [(start + i) % 62 for i in range(n)]}


def leaf(users):
    return {
        "users": list(users),
        "num_samples": [len(entry["y"]) for entry in users.values()],
        "hierarchies": [],
        "user_data": users,
    }


def write(root, name, users, file="all_data_0.json"):
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / file).write_text(json.dumps(leaf(users)))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "femnist"
    write(root, "train", {"f10": user(4, 1), "f02": user(3, 2)})
    write(root, "train", {"f05": user(2, 3)}, "all_data_1.json")
    write(root, "val", {"f20": user(5, 4)})
    write(root, "test", {"f31": user(6, 5), "f30": user(1, 6)})
    return root


def test_groups_are_ranks_of_sorted_users_over_all_files(root):
    data = femnist(root.parent)
    assert data.train.names == ("writer f02", "writer f05", "writer f10")
    assert data.train.sizes.tolist() == [3, 2, 4]
    assert data.test.names == ("writer f30", "writer f31") and data.test.sizes.tolist() == [1, 6]
    assert data.validation.sizes.tolist() == [5] and data.num_classes == 62
    assert data.train.targets.tolist() == [2, 3, 4, 3, 4, 1, 2, 3, 4]
    name = "femnist/train/all_data_1.json"
    assert data.checksums[name] == hashlib.sha256((root.parent / name).read_bytes()).hexdigest()
    assert len(data.checksums) == 4


def test_pixels_are_inverted(root):
    data = femnist(root.parent)
    assert data.train.inputs.dtype == np.uint8 and data.train.inputs.shape == (9, 28, 28, 1)
    expected = 1 - np.array(user(3, 2)["x"])
    np.testing.assert_allclose(data.train.inputs[:3].reshape(3, 784) / 255, expected, atol=1e-12)


def test_other_pixels_stay_floats(root):
    write(root, "val", {"f20": user(5, 4, whole=False)})
    data = femnist(root)
    for part in (data.train, data.validation, data.test):
        assert part.inputs.dtype == np.float32
    expected = 1 - np.array(user(5, 4, whole=False)["x"])
    np.testing.assert_allclose(data.validation.inputs.reshape(5, 784), expected, atol=1e-6)


def change(root, edit):
    path = root / "train" / "all_data_0.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("num_samples"), "KeyError: 'num_samples'"),
        (lambda c: c["users"].append("f99"), "3 users, 2 counts and 2 entries"),
        (lambda c: c["users"].__setitem__(0, "f02"), "2 users, 2 counts and 2 entries"),
        (lambda c: c["user_data"].pop("f02"), "2 users, 2 counts and 1 entries"),
        (
            lambda c: c["num_samples"].__setitem__(0, 5),
            r"'f10' has x of shape \(4, 784\) and y of \(4,\) for 5",
        ),
        (lambda c: c["user_data"]["f10"]["y"].pop(), r"y of \(3,\) for 4 samples"),
        (lambda c: c["user_data"]["f10"]["x"][0].pop(), "'f10' has lists of unequal length"),
        (lambda c: c["user_data"]["f10"].pop("x"), "'f10' has lists of unequal length or no numbers"),
        (lambda c: c["user_data"]["f10"]["y"].__setitem__(0, 62), "classes outside 0 .. 61"),
        (lambda c: c["user_data"]["f10"]["x"][0].__setitem__(0, 255), "values outside 0 .. 1"),
    ],
)
def test_damaged_content(root, edit, message):
    change(root, edit)
    with pytest.raises(ValueError, match=message) as error:
        femnist(root)
    assert "all_data_0.json" in str(error.value) and "docs/data.md" in str(error.value)


def test_truncated_file(root):
    path = root / "train" / "all_data_0.json"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="JSONDecodeError"):
        femnist(root)


def test_users_twice(root):
    write(root, "train", {"f05": user(2, 3)}, "all_data_2.json")
    with pytest.raises(ValueError, match="user 'f05' is in another file"):
        femnist(root)
    (root / "train" / "all_data_2.json").unlink()
    write(root, "test", {"f10": user(2, 3)}, "more.json")
    with pytest.raises(ValueError, match="user 'f10' is in both train and test"):
        femnist(root)


def test_missing(root):
    (root / "val" / "all_data_0.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"val holds no \.json file"):
        femnist(root)
    (root / "val").rmdir()
    with pytest.raises(FileNotFoundError, match="val is missing"):
        femnist(root)
