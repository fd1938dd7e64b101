"""Finding, reading and checking the files of a data set, for the readers of every domain."""

import gzip
import hashlib
import importlib
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

DOCS = "Its official source is described in docs/data.md."

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class DataFolder:
    """The user's data directory, and the SHA-256 of every file read from it.

    **Arguments:**

    - `data_dir`: the directory; if `None`, the environment variable `MUTATIS_DATA` names it.

    **Raises:** `FileNotFoundError` if neither names an existing directory.
    """

    root: Path
    checksums: dict[str, str]

    def __init__(self, data_dir: str | os.PathLike | None = None):
        origin = "data_dir"
        if data_dir is None:
            data_dir, origin = os.environ.get("MUTATIS_DATA"), "MUTATIS_DATA"
        if not data_dir:
            raise FileNotFoundError(
                "data_dir was not given and the environment variable MUTATIS_DATA is not set; name the "
                "directory "
                "that holds the data files in one of them. docs/data.md lists the files of each data set."
            )
        self.root = Path(data_dir).expanduser()
        self.checksums = {}
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"{origin}={str(self.root)!r} is not a directory; name the directory that holds the data "
                f"files. "
                "docs/data.md lists the files of each data set."
            )

    def find(self, names: str | Iterable[str], folders: Iterable[str], what: str) -> Path:
        """First of `names` in `folders` or the root; raises `FileNotFoundError` naming all places."""
        names = (names,) if isinstance(names, str) else tuple(names)
        tried = [self.root / folder / name for folder in (*folders, ".") for name in names]
        for path in tried:
            if path.exists():
                return path
        raise FileNotFoundError(
            f"{names[0]} is missing ({what}). Looked for:\n"
            + "".join(f"  {path}\n" for path in tried)
            + f"Put the file at the first of these places. {DOCS}"
        )

    def read(self, path: Path) -> bytes:
        """The file's bytes; its SHA-256 is noted under its path below the data directory."""
        content = path.read_bytes()
        self.note(path, hashlib.sha256(content).hexdigest())
        return content

    def note(self, path: Path, digest: str) -> None:
        """Note the SHA-256 of a file that was read by other means."""
        self.checksums[path.relative_to(self.root).as_posix()] = digest

    def read_array(self, path: Path, what: str) -> np.ndarray:
        """A `.npy` file, memory-mapped so that only the rows used are loaded; never unpickles."""
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise damaged(path, what, str(error)) from error
        with path.open("rb") as file:
            self.note(path, hashlib.file_digest(file, "sha256").hexdigest())
        return array


def damaged(path: Path, what: str, why: str) -> ValueError:
    """The error for a file that is there but is not what it should be."""
    return ValueError(f"{path} is damaged or is another file: {why} It should be {what}. Fetch it again. {DOCS}")


def optional(module: str) -> Any:
    """Import a package of the `studies` extra at the moment it is needed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn", "PIL": "pillow"}.get(module.split(".")[0], module.split(".")[0])
        raise ImportError(f"This reader needs {package}: pip install 'mutatis[studies]'") from error


def read_idx(
    folder: DataFolder,
    name: str,
    folders: Iterable[str],
    what: str,
    *,
    dtype: str,
    shape: tuple[int | None, ...],
    digest: str | None = None,
) -> np.ndarray:
    """An IDX array, with or without gzip.

    The format: two zero bytes, a type code, the number of axes, each axis as a big-endian 32-bit integer, the
    values (big-endian, last axis fastest).

    **Arguments:**

    - `name`: the file's name without `.gz`; both are looked for.
    - `dtype`, `shape`: what the header must say; `None` leaves an axis free.
    - `digest`: SHA-256 of the official file's content after unpacking; `None` accepts any content.

    **Raises:** `FileNotFoundError` if there is no such file, `ValueError` if it is damaged.
    """
    path = folder.find((name + ".gz", name), folders, what)
    content = _unpacked(folder.read(path), path, what)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise damaged(path, what, f"it starts with {content[:4].hex(' ') or 'nothing'}, which is no IDX header.")
    axes = content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise damaged(path, what, f"it ends after {len(content)} bytes, inside its header.")
    sizes = struct.unpack(f">{axes}I", content[4:start])
    kind = np.dtype(_IDX_TYPES[content[2]])
    if (
        kind != np.dtype(dtype)
        or axes != len(shape)
        or any(b not in (None, a) for a, b in zip(sizes, shape, strict=True))
    ):
        wanted = tuple("any" if size is None else size for size in shape)
        raise damaged(
            path,
            what,
            f"its header says {kind.name} of shape {sizes}, not {np.dtype(dtype).name} of {wanted}.",
        )
    expected = start + kind.itemsize * int(np.prod(sizes, dtype=np.int64))
    if len(content) != expected:
        raise damaged(path, what, f"it has {len(content)} bytes unpacked where its header promises {expected}.")
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise damaged(path, what, "its content differs from the official file's (pass verify=False to accept it).")
    return np.frombuffer(content, kind, offset=start).reshape(sizes)


def _unpacked(content: bytes, path: Path, what: str) -> bytes:
    # By the first bytes, not by the name: some browsers unpack a .gz on the way and keep its name.
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, what, f"it does not unpack ({error}).") from error
