"""Anybody's arrays, with a group for every row."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mutatis.shift._groups import GroupedData, Groups

_NPZ = "an .npz file with the arrays X, y and groups, saved by numpy.savez"


def from_arrays(
    X: ArrayLike,
    y: ArrayLike,
    groups: Sequence[Hashable] | np.ndarray,
    *,
    seed: int = 0,
    validation: float = 0.2,
    test: float = 0.2,
    validation_groups: Sequence[Hashable] | None = None,
    test_groups: Sequence[Hashable] | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    description: str = "",
) -> GroupedData:
    """Divide arrays *by groups* into training, validation and test: no group is in two of them.

    **Arguments:**

    - `X`: `(n, ...)`; `uint8` stays as it is (images, channels last), floats keep their precision, other
      integers and booleans become `float32`.
    - `y`: `(n,)`; floats mean regression, anything else classes, numbered by rank among the sorted values.
    - `groups`: `(n,)`, any hashable values (users, places, dates).
    - `seed`: of the choice of groups.
    - `validation`, `test`: shares of the groups, each rounded to at least one group.
    - `validation_groups`, `test_groups`: these groups instead of a share.
    - `num_classes`: if given, `y` must be integers `0 .. num_classes - 1` and is not renumbered.
    - `mean`, `std`: per channel, as in `GroupedData`.

    **Raises:** `ValueError` if lengths differ, values are missing or not finite, a named group does not
    occur, or too few groups are left.
    """
    inputs = _inputs(X)
    targets, num_classes = _targets(y, num_classes)
    values = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    if not len(inputs) == len(targets) == len(values):
        raise ValueError(
            f"X, y and groups have {len(inputs)}, {len(targets)} and {len(values)} rows; pass one target and "
            f"one "
            "group for each row of X."
        )
    known, ids = _number(values)
    parts = _divide(known, seed, (validation, test), (validation_groups, test_groups))
    names = _names(known)
    made = []
    for chosen in parts:
        rank = np.full(len(known), -1, np.int32)
        rank[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero(rank[ids] >= 0)
        made.append(Groups(inputs[rows], targets[rows], rank[ids[rows]], tuple(names[i] for i in chosen)))
    return GroupedData(
        *made,
        num_classes=num_classes,
        mean=tuple(mean),
        std=tuple(std),
        description=description
        or f"{len(inputs):,} rows; {' / '.join(str(len(p)) for p in parts)} groups to learn from, to choose "
        "by and to be judged on.",
    )


def from_npz(path: str | os.PathLike, **options: Any) -> GroupedData:
    """`from_arrays` on the arrays `X`, `y` and `groups` of an `.npz` file, with the same options.

    Nothing is unpickled: groups and classes must be numbers or strings, not Python objects.

    **Raises:** `FileNotFoundError` if there is no such file; `ValueError` if it is damaged, lacks a key or
    holds Python objects; and what `from_arrays` raises.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r} is no file; it should be {_NPZ}.")
    try:
        # Opened here: numpy leaves a damaged file open when it opens it itself.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if missing := [key for key in ("X", "y", "groups") if key not in file]:
                raise KeyError(f"{', '.join(missing)} missing; it has {', '.join(file) or 'nothing'}")
            arrays = [file[key] for key in ("X", "y", "groups")]
    except (
        ValueError,
        KeyError,
        EOFError,
        OSError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        hint = " Save groups and classes as numbers or strings." if "allow_pickle" in str(error) else ""
        raise ValueError(f"{path} cannot be read: {error}. It should be {_NPZ}.{hint}") from error
    data = from_arrays(*arrays, **options)
    with path.open("rb") as file:
        data.checksums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return data


def _inputs(X: ArrayLike) -> np.ndarray:
    inputs = np.asarray(X)
    if inputs.ndim < 2:
        raise ValueError(f"X has shape {inputs.shape}; pass one row per example, (n, features) or (n, H, W, C).")
    if inputs.dtype == np.uint8:
        return inputs
    if not np.issubdtype(inputs.dtype, np.floating):
        if inputs.dtype.kind not in "iub":
            raise ValueError(f"X has dtype {inputs.dtype}; pass numbers.")
        inputs = inputs.astype(np.float32)
    if not np.isfinite(inputs).all():
        raise ValueError("X holds values that are not finite; fill or drop them first.")
    return inputs


def _targets(y: ArrayLike, num_classes: int | None) -> tuple[np.ndarray, int]:
    targets = np.asarray(y)
    if targets.ndim != 1:
        raise ValueError(f"y has shape {targets.shape}; pass one target per row, (n,).")
    if num_classes is not None:
        if targets.dtype.kind not in "iu" or ((targets < 0) | (targets >= num_classes)).any():
            raise ValueError(f"y must hold integers 0 .. {num_classes - 1} when num_classes={num_classes} is given.")
        return targets.astype(np.int32), num_classes
    if targets.dtype.kind == "f":
        if not np.isfinite(targets).all():
            raise ValueError("y holds values that are not finite; drop those rows first.")
        return targets, 0
    try:
        classes, ranks = np.unique(targets, return_inverse=True)
    except TypeError as error:
        raise ValueError("y mixes types that have no order; pass numbers or strings.") from error
    return ranks.astype(np.int32), len(classes)


def _number(values: list) -> tuple[list, np.ndarray]:
    """The different groups, sorted if they have an order, and the number of each row's group."""
    if not all(isinstance(value, Hashable) for value in values):
        raise ValueError("groups holds values that cannot be hashed; pass one number, string or tuple per row.")
    if any(value is None or value != value for value in values):
        raise ValueError("groups has missing values; give every row a group.")
    known = list(dict.fromkeys(values))
    try:
        known.sort()
    except TypeError:
        known.sort(key=lambda value: (type(value).__name__, repr(value)))
    number = {value: index for index, value in enumerate(known)}
    return known, np.array([number[value] for value in values], np.int32)


def _names(known: list) -> list[str]:
    names = [str(value) for value in known]
    return names if len(set(names)) == len(names) else [repr(value) for value in known]


def _divide(
    known: list,
    seed: int,
    shares: tuple[float, float],
    named: tuple[Sequence[Hashable] | None, Sequence[Hashable] | None],
) -> list[np.ndarray]:
    """Numbers of the groups of training, validation and test, ascending."""
    number = {value: index for index, value in enumerate(known)}
    taken: list[list[int] | None] = [None, None]
    for which, (argument, values) in enumerate(zip(("validation_groups", "test_groups"), named, strict=True)):
        if values is not None:
            unknown = [value for value in values if value not in number]
            if unknown or not len(values):
                raise ValueError(f"{argument} names {unknown or 'no group'}; name groups that occur in `groups`.")
            taken[which] = sorted({number[value] for value in values})
    both = set(taken[0] or ()) & set(taken[1] or ())
    if both:
        raise ValueError(f"group {known[min(both)]!r} is in both validation_groups and test_groups.")
    used = {*(taken[0] or ()), *(taken[1] or ())}
    free = [index for index in np.random.default_rng(seed).permutation(len(known)).tolist() if index not in used]
    for which, (argument, share) in enumerate(zip(("validation", "test"), shares, strict=True)):
        if taken[which] is None:
            if not 0 < share < 1:
                raise ValueError(f"{argument}={share} must lie between 0 and 1: it is a share of the groups.")
            count = max(1, round(share * len(known)))
            taken[which], free = sorted(free[:count]), free[count:]
    if not free or not taken[0] or not taken[1]:
        raise ValueError(
            f"{len(known)} groups leave none for training, validation or test; there must be at least three, "
            f"and "
            "the shares or lists must leave some to learn from."
        )
    return [np.array(part) for part in (sorted(free), taken[0], taken[1])]
