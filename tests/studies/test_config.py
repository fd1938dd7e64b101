"""`config.json`: settings come back as they were, and a directory keeps to one run."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
import toy

from mutatis.studies import _config
from mutatis.studies._config import (
    claim_directory,
    decode_settings,
    describe_run,
    encode_settings,
    load_config,
)


@dataclass(frozen=True)
class Inner:
    rates: tuple[float, ...] = (0.5, math.inf)


@dataclass(frozen=True)
class Settings:
    count: int
    rate: float
    flag: bool
    text: str | None
    folder: Path | None
    order: Literal["batch", "stream"]
    pair: tuple[int, str]
    nested: tuple[tuple[int, ...], ...]
    inner: Inner
    note: Annotated[int, "a note"]
    either: int | str


@pytest.mark.parametrize(
    "settings",
    [
        Settings(3, 1.0, True, None, Path("/a/b"), "stream", (1, "x"), ((1, 2), ()), Inner(), 4, "seven"),
        Settings(0, 1e-300, False, "", None, "batch", (0, ""), (), Inner(()), -1, 7),
    ],
)
def test_settings_come_back_through_json(settings):
    again = decode_settings(Settings, json.loads(json.dumps(encode_settings(settings), allow_nan=False)))
    assert again == settings
    assert type(again.rate) is float and type(again.flag) is bool


def test_settings_that_cannot_be_read_are_named():
    fields = encode_settings(toy.Toy())
    with pytest.raises(ValueError, match="setting 'stepz', which Toy does not have"):
        decode_settings(toy.Toy, fields | {"stepz": 3})
    with pytest.raises(ValueError, match="steps = 'many'"):
        decode_settings(toy.Toy, fields | {"steps": "many"})
    with pytest.raises(ValueError, match="missing_data = 1"):
        decode_settings(toy.Toy, fields | {"missing_data": 1})


def configure(study, checksums=(("a.npy", "12ab"),)):
    data = SimpleNamespace(checksums=dict(checksums), description="Vectors.")
    return describe_run(study, data, command="mutatis run toy", workers=2, threads=1)


def test_a_run_is_described_in_full(tmp_path):
    claim_directory(tmp_path / "new" / "run", configure(toy.Toy(steps=40)))
    config = load_config(tmp_path / "new" / "run")
    assert (config["study"], config["command"], config["description"]) == (
        "toy",
        "mutatis run toy",
        "Vectors.",
    )
    assert config["summary"] == "Least squares on three tasks."
    assert config["fields"]["steps"] == 40
    assert config["checksums"] == {"a.npy": "12ab"}
    assert config["jobs"][1] == {"method": "slow", "seed": 1}
    assert {"python", "jax", "equinox", "optax", "numpy", "mutatis"} <= set(config["versions"])


def test_the_same_run_may_go_on(tmp_path):
    claim_directory(tmp_path, configure(toy.Toy()))
    assert claim_directory(tmp_path, configure(toy.Toy()) | {"command": "mutatis resume"}) == []
    assert load_config(tmp_path)["command"] == "mutatis run toy"


def test_changed_versions_are_told(tmp_path, monkeypatch):
    claim_directory(tmp_path, configure(toy.Toy()))
    monkeypatch.setattr(_config, "_versions", lambda: {"jax": "99.0"})
    (note,) = claim_directory(tmp_path, configure(toy.Toy()))
    assert "now it is 99.0" in note


class Other(toy.Toy):
    name = "other"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            configure(Other()),
            "holds a run of 'toy', not of 'other'; choose another --out, or .*mutatis resume",
        ),
        (configure(toy.Toy(steps=61)), "with steps = 60, not 61; choose another --out"),
        (configure(toy.Toy(), [("a.npy", "changed")]), r"data file a.npy is not the one .*12ab, now changed"),
        (configure(toy.Toy(), []), r"data file a.npy is not the one .*now None"),
    ],
)
def test_another_run_is_refused(tmp_path, config, message):
    claim_directory(tmp_path, configure(toy.Toy()))
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        claim_directory(tmp_path, config)
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        claim_directory(tmp_path, configure(replace(toy.Toy(), steps=3)))
    with pytest.raises(FileNotFoundError, match="is not a run directory"):
        load_config(tmp_path)
