"""A user's own arrays, and those in an .npz file."""

import datetime
import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutatis.shift.data import from_arrays, from_npz

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 200)
GROUPS = np.array(["ada", "bob", "cyd", "dan", "eve", "flo", "gus", "hal", "ida", "joe"])[RNG.integers(0, 10, 200)]


def parts_of(data):
    return data.train, data.validation, data.test


def rows_by_group(data):
    return {part.names[g]: part.inputs[part.members[g]] for part in parts_of(data) for g in range(len(part.names))}


def test_every_row_arrives_once_with_its_group():
    data = from_arrays(X, Y, GROUPS, seed=5)
    assert [len(part.names) for part in parts_of(data)] == [6, 2, 2]
    assert sum(map(len, parts_of(data))) == 200
    found = rows_by_group(data)
    assert sorted(found) == sorted(set(GROUPS))
    for name, rows in found.items():
        np.testing.assert_array_equal(rows, X[name == GROUPS])
    for part in parts_of(data):
        assert list(part.names) == sorted(part.names)
        np.testing.assert_array_equal(part.targets[part.members[0]], Y[part.names[0] == GROUPS])
    assert data.num_classes == 4 and data.train.inputs.dtype == np.float32


def test_seed():
    splits = [tuple(part.names for part in parts_of(from_arrays(X, Y, GROUPS, seed=s))) for s in (0, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 3


def test_named_groups_and_shares():
    data = from_arrays(X, Y, GROUPS, test_groups=["joe", "ada", "joe"], validation=0.3)
    assert data.test.names == ("ada", "joe") and len(data.validation.names) == 3 and len(data.train.names) == 5
    data = from_arrays(X, Y, GROUPS, test_groups=["joe"], validation_groups=["bob", "cyd"])
    assert data.validation.names == ("bob", "cyd") and len(data.train.names) == 7


@pytest.mark.parametrize(
    "values",
    [
        [3, 1, 2],
        [("a", 1), ("a", 2), ("b", 1)],
        [datetime.date(2020, 1, day) for day in (1, 2, 3)],
        [1, "1", (1,)],
        [Fraction(1, 2), 0.25, 7],
        [frozenset({1}), frozenset({2}), None.__class__],
    ],
)
def test_groups_of_any_hashable_kind(values):
    groups = [values[i % 3] for i in range(30)]
    data = from_arrays(np.eye(30), np.arange(30) % 2, groups)
    assert [len(part.names) for part in parts_of(data)] == [1, 1, 1]
    assert len({part.names[0] for part in parts_of(data)}) == 3
    for part in parts_of(data):
        rows = np.flatnonzero(part.inputs.sum(0))
        assert len({groups[row] for row in rows}) == 1


def test_kinds_of_inputs_and_targets():
    images = RNG.integers(0, 255, (200, 4, 4, 1), np.uint8)
    assert from_arrays(images, Y, GROUPS).train.inputs.dtype == np.uint8
    assert from_arrays(X.astype(np.float64), Y, GROUPS).train.inputs.dtype == np.float64
    assert from_arrays(images.astype(int), Y, GROUPS).train.inputs.dtype == np.float32
    regression = from_arrays(X, Y.astype(float), GROUPS)
    assert regression.num_classes == 0 and regression.train.targets.dtype == np.float64
    words = np.array(["no", "yes"])[Y % 2]
    named = from_arrays(X, words, GROUPS)
    assert named.num_classes == 2
    np.testing.assert_array_equal(named.test.targets, from_arrays(X, Y % 2, GROUPS).test.targets)
    # Ranks close gaps; a declared number of classes keeps the numbers.
    assert from_arrays(X, Y * 10, GROUPS).num_classes == 4
    kept = from_arrays(X, Y * 10, GROUPS, num_classes=31)
    assert kept.num_classes == 31 and set(kept.train.targets) == {0, 10, 20, 30}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": Y[:-1]}, "200, 199 and 200 rows"),
        ({"X": X[:, 0]}, r"X has shape \(200,\)"),
        ({"X": np.where(X > 2, np.nan, X)}, "X holds values that are not finite"),
        ({"X": X.astype(str)}, "X has dtype <U"),
        ({"y": np.where(Y == 1, np.inf, Y)}, "y holds values that are not finite"),
        ({"y": Y[:, None]}, r"y has shape \(200, 1\)"),
        ({"num_classes": 3}, "integers 0 .. 2"),
        ({"y": Y - 1, "num_classes": 5}, "integers 0 .. 4"),
        ({"groups": [None, *GROUPS[1:]]}, "groups has missing values"),
        ({"groups": np.where(Y == 0, np.nan, Y)}, "groups has missing values"),
        ({"groups": [["list"]] * 200}, "cannot be hashed"),
        ({"groups": ["a", "b"] * 100}, "2 groups leave none"),
        ({"validation": 0.6, "test": 0.5}, "10 groups leave none"),
        ({"test": 0.0}, "test=0.0 must lie between 0 and 1"),
        ({"test_groups": ["zoe"]}, r"test_groups names \['zoe'\]"),
        ({"test_groups": []}, "test_groups names no group"),
        ({"test_groups": ["joe"], "validation_groups": ["joe"]}, "'joe' is in both"),
        ({"test_groups": sorted(set(GROUPS))}, "10 groups leave none"),
        ({"y": [1, "a"] * 100}, None),
    ],
)
def test_refusals(change, message):
    if message is None:
        # numpy makes strings of both; an object array keeps them apart and has no order.
        change, message = {"y": np.array(change["y"], object)}, "y mixes types"
    with pytest.raises(ValueError, match=message):
        from_arrays(**{"X": X, "y": Y, "groups": GROUPS, **change})


@settings(max_examples=50)
@given(st.lists(st.integers(0, 8), min_size=12, max_size=60), st.integers(0, 2**31), st.floats(0.05, 0.4))
def test_no_group_is_ever_divided(ids, seed, share):
    if len(set(ids)) < 5:
        return
    data = from_arrays(np.arange(len(ids))[:, None], ids, ids, seed=seed, validation=share, test=share)
    rows = [set(part.inputs[:, 0].astype(int)) for part in parts_of(data)]
    assert sorted(r for part in rows for r in part) == list(range(len(ids)))
    kept = [{ids[r] for r in part} for part in rows]
    assert not kept[0] & kept[1] and not kept[0] & kept[2] and not kept[1] & kept[2]


def test_npz(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, X=X, y=Y, groups=GROUPS)
    data, direct = from_npz(path, seed=5, test=0.3), from_arrays(X, Y, GROUPS, seed=5, test=0.3)
    np.testing.assert_array_equal(data.test.inputs, direct.test.inputs)
    assert data.test.names == direct.test.names
    assert data.checksums == {"mine.npz": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_npz_refusals(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(FileNotFoundError, match=r"is no file; it should be an \.npz"):
        from_npz(path)
    np.savez(path, X=X, label=Y)
    with pytest.raises(ValueError, match="y, groups missing; it has X, label"):
        from_npz(path)
    np.savez(path, X=X, y=Y, groups=np.array(GROUPS, object))
    with pytest.raises(ValueError, match="Save groups and classes as numbers or strings"):
        from_npz(path)
    np.savez(path, X=X, y=Y, groups=GROUPS)
    for content in (
        path.read_bytes()[:1000],
        b"",
        b"something else",
        path.read_bytes().replace(X[:3].tobytes(), bytes(36)),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mine\.npz cannot be read"):
            from_npz(path)
    np.save(tmp_path / "array.npy", X)
    with pytest.raises(ValueError, match=r"array\.npy cannot be read"):
        from_npz(tmp_path / "array.npy")
