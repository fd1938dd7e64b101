"""The identity of a run directory: `config.json` says what was run, with what, and refuses anything else."""

import dataclasses
import importlib.metadata
import math
import os
import platform
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mutatis.studies._parallel import numerics
from mutatis.studies._store import plain, read_json, retry_hint, write_json
from mutatis.studies._study import Study

PACKAGES = ("mutatis", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-learn", "mujoco", "metaworld")
CONFIG = "config.json"


def describe_run(study: Study, data: Any, *, command: str, workers: int, threads: int) -> dict[str, Any]:
    """Everything that another person needs to run the same again."""
    return {
        "study": study.name,
        "summary": study.summary(),
        "command": command,
        "fields": encode_settings(study),
        "jobs": [{"method": job.method, "seed": job.seed} for job in study.jobs()],
        "description": getattr(data, "description", ""),
        "checksums": dict(getattr(data, "checksums", {})),
        "citations": study.citations(),
        "published": [dict(entry) for entry in study.published()],
        "references": [dict(entry) for entry in study.references()],
        "trial": dict(getattr(data, "trial", {})),
        "protocol": getattr(data, "protocol", ""),
        "tasks": list(getattr(data, "tasks", ())),
        "workers": workers,
        "threads": threads,
        "numerics": numerics(),
        "versions": _versions(),
        "platform": f"{platform.platform()}, {os.cpu_count()} cores",
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def claim_directory(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Make the directory with its `config.json`, or check that it already holds this very run.

    **Returns:** sentences about versions that changed since the run began.

    **Raises:** `ValueError` if the directory holds something else, or the data changed.
    """
    path = directory / CONFIG
    if path.exists():
        return _compare(directory, read_json(path), plain(config))
    if directory.exists() and any(entry.name[0] != "." for entry in directory.iterdir()):
        raise ValueError(f"{directory} is not empty and holds no run (no {CONFIG}); choose another --out.")
    directory.mkdir(parents=True, exist_ok=True)
    write_json(path, config)
    return []


def _compare(directory: Path, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    cure = f"choose another --out, or continue that run with `{retry_hint(directory)}`."
    if old["study"] != new["study"]:
        raise ValueError(f"{directory} holds a run of {old['study']!r}, not of {new['study']!r}; {cure}")
    for name in new["fields"] | old["fields"]:
        was, now = old["fields"].get(name), new["fields"].get(name)
        if was != now:
            raise ValueError(f"{directory} holds a run of {old['study']!r} with {name} = {was}, not {now}; {cure}")
    for name in new["checksums"] | old["checksums"]:
        if old["checksums"].get(name) != new["checksums"].get(name):
            raise ValueError(
                f"the data file {name} is not the one this run began with (its SHA-256 was "
                f"{old['checksums'].get(name)}, now {new['checksums'].get(name)}); "
                "restore that file, or start again with another --out."
            )
    return [
        f"this run began with {name} {old['versions'].get(name)}, now it is {version}; "
        "the last digits of results may differ"
        for name, version in new["versions"].items()
        if old["versions"].get(name) != version
    ]


def load_config(directory: Path) -> dict[str, Any]:
    """The configuration of a run directory.

    **Raises:** `FileNotFoundError` if there is none.
    """
    path = directory / CONFIG
    if not path.exists():
        raise FileNotFoundError(
            f"{directory} is not a run directory (it has no {CONFIG}); name the one given as --out."
        )
    return read_json(path)


def encode_settings(study: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON."""
    return {f.name: _encode(getattr(study, f.name)) for f in dataclasses.fields(study)}


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return encode_settings(value)
    if isinstance(value, (list, tuple)):
        return [_encode(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return plain(value)


def decode_settings(kind: type, fields: Mapping[str, Any]) -> Any:
    """The dataclass again from `encode_settings`.

    **Raises:** `ValueError` naming a field that this version does not know or cannot read.
    """
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}
    values = {}
    for name, value in fields.items():
        if name not in known:
            raise ValueError(
                f"{CONFIG} has the setting {name!r}, which {kind.__name__} does not have in this version; "
                "use the version of mutatis named there, or start again with another --out."
            )
        try:
            values[name] = _decode(hints[name], value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{CONFIG} has {name} = {value!r}, which is not a {hints[name]}: {error}") from error
    return kind(**values)


def _decode(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _decode(arguments[0], value)
    if origin in (typing.Union, types.UnionType):
        return _decode_first(arguments, value)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"expected one of {arguments}")
        return value
    if origin is tuple:
        one_kind = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if one_kind else arguments
        return tuple(_decode(kind, entry) for kind, entry in zip(kinds, value, strict=True))
    if dataclasses.is_dataclass(hint):
        return decode_settings(typing.cast(type, hint), value)
    return _decode_plain(hint, value)


def _decode_first(hints: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in hints:
        return None
    for hint in hints:
        try:
            return _decode(hint, value)
        except (TypeError, ValueError):
            continue
    raise ValueError("it fits none of the types")


def _decode_plain(hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise TypeError("the type differs")
