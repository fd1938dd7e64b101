"""FEMNIST: handwritten characters of people who were not among those learned from."""

import json
import os
from pathlib import Path

import numpy as np

from mutatis._data_files import DOCS, DataFolder, damaged
from mutatis.shift._groups import GroupedData, Groups

_FOLDERS = ("femnist", "FEMNIST")
_WHAT = (
    "a LEAF file: JSON with `users` (ids), `num_samples` (in that order) and `user_data`, for each user `x` "
    "(lists of 784 numbers) and `y` (classes 0 to 61)"
)


def femnist(data_dir: str | os.PathLike | None = None) -> GroupedData:
    """FEMNIST with one group per writer: 62 classes (digits, capitals, small letters), writers never shared.

    Reads every `.json` file of the folders `train`, `val` and `test`, in LEAF's form; a group's id is the
    rank of its user's id among the sorted ids of its set. Pixels are inverted, `x -> 1 - x`, so that ink is
    bright. In the split of the adaptive-risk-minimization paper there are 262, 50 and 35 users with 62,732,
    8,484 and 8,439 images.

    **Arguments:**

    - `data_dir`: holds `femnist/train`, `femnist/val` and `femnist/test`, or these three directly; else
      `MUTATIS_DATA`.

    **Returns:** `GroupedData`, inputs `(n, 28, 28, 1)`: `uint8` if all files hold whole multiples of 1/255,
    as LEAF's do, else `float32`; scaled by 1/255 only.

    **Raises:** `FileNotFoundError` if a folder is missing or holds no JSON; `ValueError` if a file is
    damaged, a user's lists differ in length, or a user occurs twice.

    Source: S. Caldas et al., LEAF: A Benchmark for Federated Settings (2018); M. Zhang et al., Adaptive Risk
    Minimization (NeurIPS 2021), the split.
    """
    folder = DataFolder(data_dir)
    sets = {name: _read_set(folder, name) for name in ("train", "val", "test")}
    first_seen: dict[str, str] = {}
    for name, users in sets.items():
        for user in users:
            if user in first_seen:
                raise ValueError(
                    f"user {user!r} is in both {first_seen[user]} and {name}; the users of the three folders "
                    f"must "
                    f"differ, or new users are not new. {DOCS}"
                )
            first_seen[user] = name
    as_bytes = all(_whole(x) for users in sets.values() for x, _ in users.values())
    train, validation, test = (_groups(users, as_bytes) for users in sets.values())
    return GroupedData(
        train,
        validation,
        test,
        num_classes=62,
        checksums=folder.checksums,
        description=(
            f"FEMNIST: {len(train.names)} writers to learn from, {len(validation.names)} to choose by, "
            f"{len(test.names)} new ones to be judged on."
        ),
    )


def _read_set(folder: DataFolder, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    where = folder.find(name, _FOLDERS, f"FEMNIST's folder of {name} users, with LEAF's JSON files")
    paths = sorted(where.glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"{where} holds no .json file; it should hold {_WHAT}. {DOCS}")
    users: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for path in paths:
        for user, arrays in _read_file(folder, path).items():
            if user in users:
                raise damaged(path, _WHAT, f"user {user!r} is in another file of {where} too.")
            users[user] = arrays
    return users


def _read_file(folder: DataFolder, path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    try:
        content = json.loads(folder.read(path))
        users, counts, data = content["users"], content["num_samples"], content["user_data"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, _WHAT, f"it cannot be read ({type(error).__name__}: {error}).") from error
    if len(users) != len(counts) or len(set(users)) != len(users) or set(users) != set(data):
        raise damaged(
            path, _WHAT, f"its {len(users)} users, {len(counts)} counts and {len(data)} entries do not agree."
        )
    return {u: _read_user(data[u], count, u, path) for u, count in zip(users, counts, strict=True)}


def _read_user(entry: dict, count: int, user: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        x, y = np.array(entry["x"], np.float32), np.array(entry["y"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, _WHAT, f"user {user!r} has lists of unequal length or no numbers.") from error
    if count < 1 or x.shape != (count, 784) or y.shape != (count,):
        raise damaged(path, _WHAT, f"user {user!r} has x of shape {x.shape} and y of {y.shape} for {count} samples.")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() > 61 or not (0 <= x.min() <= x.max() <= 1):
        raise damaged(path, _WHAT, f"user {user!r} has values outside 0 .. 1 or classes outside 0 .. 61.")
    return x, y.astype(np.int32)


def _whole(x: np.ndarray) -> bool:
    return bool((np.abs(x * 255 - np.rint(x * 255)) < 1e-3).all())


def _groups(users: dict[str, tuple[np.ndarray, np.ndarray]], as_bytes: bool) -> Groups:
    names = sorted(users)
    x = [1 - users[name][0] for name in names]
    inputs = np.concatenate([np.rint(part * 255).astype(np.uint8) if as_bytes else part for part in x])
    targets = np.concatenate([users[name][1] for name in names])
    groups = np.repeat(np.arange(len(names), dtype=np.int32), [len(part) for part in x])
    return Groups(inputs.reshape(-1, 28, 28, 1), targets, groups, tuple(f"writer {name}" for name in names))
