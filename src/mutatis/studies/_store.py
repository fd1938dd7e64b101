"""Files of a run: written whole or not at all, checked when read, and never pickled.

A checkpoint is one line of JSON (what is inside: step, loop state, path, shape and type of every array, a
SHA-256 of the bytes) followed by the arrays' bytes. It is written to a temporary file, flushed to the disk
and renamed, so a process that is killed leaves either the old file or the new one. The last two are kept: a
damaged one is passed over.
"""

import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from mutatis._whole_file import whole_file

FORMAT, VERSION = "mutatis checkpoint", 1
KEPT = 2


class DamagedCheckpointError(Exception):
    """The file is torn or its bytes changed; an older checkpoint may do."""


@dataclass(frozen=True)
class Checkpoint:
    """A step of a run: `tree` is the PyTree of arrays, `state` what the loop needs beside it (plain JSON)."""

    step: int
    tree: Any
    state: dict[str, Any]


def write_whole(path: Path, content: bytes | str | Iterable[bytes]) -> None:
    """Write a file so that after a crash it holds either its old content or all of the new."""
    if isinstance(content, str):
        content = content.encode()
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)


def remove_leftovers(directory: Path) -> None:
    """Delete the temporary files of processes that were killed while they wrote."""
    for path in directory.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """The same value in types JSON knows: NumPy and JAX scalars unwrapped, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole; lists of objects one object a line."""
    value = plain(value)
    if isinstance(value, list):
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in value)
        write_whole(path, f"[\n{lines}\n]\n" if value else "[]\n")
    else:
        write_whole(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def json_line(entry: Mapping[str, Any]) -> bytes:
    """One line of a JSON-lines file."""
    return json.dumps(plain(entry), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    **Raises:** `ValueError` naming the file if it is not JSON; `FileNotFoundError` if there is none.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it, or start again with `mutatis run`.") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an `.npz` whole, refusing arrays of Python objects (they would need pickle)."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"gallery[{name!r}] holds Python objects; make it an array of numbers or text.")
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _named_arrays(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jtu.tree_flatten_with_path(eqx.filter(tree, eqx.is_array))
    return [(jtu.keystr(path), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(name: str, leaf: Any) -> list[Any]:
    """What the header says of an array: path, shape, type, and the kind of random key if it is one."""
    if _is_key(leaf):
        data = jax.eval_shape(jax.random.key_data, leaf)
        return [name, list(data.shape), str(data.dtype), str(jax.random.key_impl(leaf))]
    return [name, list(leaf.shape), str(leaf.dtype), None]


def _to_bytes(leaf: Any) -> bytes:
    return np.ascontiguousarray(np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)).tobytes()


def _from_bytes(template: Any, shape: list[int], dtype: str, kind: str | None, content: bytes) -> Any:
    array = np.frombuffer(content, jnp.dtype(dtype)).reshape(shape).copy()
    if kind is not None:
        return jax.random.wrap_key_data(jnp.asarray(array), impl=kind)
    return jnp.asarray(array) if isinstance(template, jax.Array) else array


def checkpoint_path(directory: Path, step: int) -> Path:
    """The file of one step."""
    return directory / f"checkpoint-{step:09d}.ckpt"


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a job, newest first."""
    return sorted(directory.glob("checkpoint-*.ckpt"), reverse=True)


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole, then delete all but the last two."""
    named = _named_arrays(checkpoint.tree)
    payload = [_to_bytes(leaf) for _, leaf in named]
    digest = hashlib.sha256()
    for content in payload:
        digest.update(content)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "step": checkpoint.step,
        "state": checkpoint.state,
        "sha256": digest.hexdigest(),
        "leaves": [_describe(name, leaf) for name, leaf in named],
    }
    path = checkpoint_path(directory, checkpoint.step)
    write_whole(path, [json.dumps(header).encode() + b"\n", *payload])
    for old in list_checkpoints(directory)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def _read_header(path: Path, file: Any) -> dict[str, Any]:
    try:
        header = json.loads(file.readline())
        if header["format"] != FORMAT:
            raise ValueError("it says it is something else")
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpointError(f"{path} has no readable header: {error}") from error
    if header["version"] != VERSION:
        raise ValueError(
            f"{path} has format version {header['version']}, this mutatis reads version {VERSION}; "
            "resume with the version named in config.json, or start again with another --out."
        )
    return header


def _check_leaves(path: Path, stored: list[list[Any]], expected: list[list[Any]]) -> None:
    for old, new in zip(stored, expected, strict=False):
        if old != new:
            raise ValueError(
                f"{path} does not fit this study: {_sentence(old)} in the file, {_sentence(new)} now. "
                "The settings or the code changed since; start again with another --out."
            )
    if len(stored) != len(expected):
        raise ValueError(
            f"{path} does not fit this study: {len(stored)} arrays in the file, {len(expected)} now. "
            "The settings or the code changed since; start again with another --out."
        )


def _sentence(leaf: list[Any]) -> str:
    name, shape, dtype, _ = leaf
    return f"{name or 'the array'} is {dtype}{shape}"


def load_checkpoint(path: Path, template: Any) -> Checkpoint:
    """Read a checkpoint into the form of `template`, whose arrays it replaces.

    **Raises:** `DamagedCheckpointError` if the file is torn; `ValueError` naming the first array that does
    not fit.
    """
    with open(path, "rb") as file:
        header = _read_header(path, file)
        content = file.read()
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise DamagedCheckpointError(f"{path} is damaged: its bytes are not those that were written")
    arrays, static = eqx.partition(template, eqx.is_array)
    named = _named_arrays(arrays)
    _check_leaves(path, header["leaves"], [_describe(name, leaf) for name, leaf in named])
    leaves, start = [], 0
    for (_, leaf), (_, shape, dtype, kind) in zip(named, header["leaves"], strict=True):
        stop = start + math.prod(shape) * jnp.dtype(dtype).itemsize
        leaves.append(_from_bytes(leaf, shape, dtype, kind, content[start:stop]))
        start = stop
    tree = eqx.combine(jtu.tree_unflatten(jtu.tree_structure(arrays), leaves), static)
    return Checkpoint(header["step"], tree, header["state"])


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; none if there is no file, and without a torn last line."""
    if not path.exists():
        return []
    complete = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in complete]


def retry_hint(directory: Path) -> str:
    """The command that continues a run."""
    return f"mutatis resume {shlex.quote(str(directory))}"
