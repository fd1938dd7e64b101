"""An estimator as one file: a line of JSON that says what is inside, then the bytes of the arrays. No pickle.

Written to a temporary file that is flushed and renamed, so that a file is whole or not there; checked by its
SHA-256 when read.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mutatis._whole_file import whole_file
from mutatis.estimators._blueprint import Blueprint
from mutatis.estimators._trained import rebuild

FORMAT, VERSION = "mutatis estimator", 1
CODE = ("rule", "weighting", "model")
"""Parameters that may be objects, which a file without pickle cannot hold."""

E = TypeVar("E")


def save(estimator: Any, path: Any) -> None:
    """Write a fitted estimator."""
    trained = estimator._trained
    labels = {name: getattr(estimator, name) for name in ("classes_", "groups_") if name in vars(estimator)}
    labels |= {"feature_names_in_": estimator.feature_names_in_} if "feature_names_in_" in vars(estimator) else {}
    plain = [*trained.arrays(), estimator.loss_curve_]
    content = b"".join(array.tobytes() for array in plain)
    blueprint = {field.name: getattr(trained.blueprint, field.name) for field in dataclasses.fields(Blueprint)}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "class": type(estimator).__name__,
        "parameters": {name: _plain(name, value) for name, value in estimator.get_params(deep=False).items()},
        "blueprint": {name: _plain(name, value) for name, value in blueprint.items()},
        "labels": {name: _label_list(values) for name, values in labels.items()},
        "n_features_in_": estimator.n_features_in_,
        "num_groups": trained.num_groups,
        "output": [trained.output_mean, trained.output_scale],
        "arrays": [{"shape": array.shape, "dtype": array.dtype.str} for array in plain],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(json.dumps(header).encode() + b"\n" + content)


def load(kind: type[E], path: Any, **code: Any) -> E:
    """Read an estimator of this class; `code` are the objects it was made with."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; pass the path that was given to save.")
    header, content = _read(path)
    if header["class"] != kind.__name__:
        raise ValueError(f"{path} holds an {header['class']}; use {header['class']}.load.")
    estimator: Any = kind(**_with_code(header["parameters"], code, path))
    blueprint = Blueprint(**_with_code(header["blueprint"], code, path))
    *arrays, estimator.loss_curve_ = _arrays(header["arrays"], content)
    for name, entry in header["labels"].items():
        setattr(estimator, name, np.asarray(entry["values"], dtype=entry["dtype"]))
    estimator.n_features_in_ = header["n_features_in_"]
    output_mean, output_scale = header["output"]
    try:
        estimator._trained = rebuild(blueprint, header["num_groups"], output_mean, output_scale, arrays)
    except ValueError as error:
        raise ValueError(f"{path} does not fit the objects given to load: {error}") from error
    return estimator


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    first, separator, content = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(first) if separator else None
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is damaged or is not a file that an adaptive estimator saved.")
    if header["version"] != VERSION:
        raise ValueError(f"{path} has version {header['version']} of the format; this version reads {VERSION}.")
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise ValueError(f"{path} is damaged: its bytes are not those that were saved; take a copy or fit again.")
    return header, content


def _arrays(entries: list[dict[str, Any]], content: bytes) -> list[np.ndarray]:
    arrays, start = [], 0
    for entry in entries:
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = int(np.prod(shape))
        arrays.append(np.frombuffer(content, dtype, count, start).reshape(shape).copy())
        start += count * dtype.itemsize
    return arrays


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [_plain(name, entry) for entry in value]
    if name in CODE:
        return {"object": type(value).__name__}
    if name == "random_state":  # a generator has moved on since; what it began from cannot be told
        return None
    raise ValueError(f"{name}={value!r} cannot be saved; pass plain numbers and strings.")


def _with_code(entries: dict[str, Any], code: dict[str, Any], path: Path) -> dict[str, Any]:
    complete = {}
    for name, entry in entries.items():
        if isinstance(entry, dict):
            if code.get(name) is None:
                raise ValueError(
                    f"{path} was saved with {name} given as an object ({entry['object']}); pass it again: "
                    f"load(path, {name}=...)."
                )
            entry = code[name]
        complete[name] = tuple(entry) if isinstance(entry, list) else entry
    return complete


def _label_list(values: np.ndarray) -> dict[str, Any]:
    return {"dtype": values.dtype.str, "values": values.tolist()}
