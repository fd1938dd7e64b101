"""A whole study of group shift on the embedded digits, small."""

import json

import numpy as np
import pytest

from mutatis.shift._metrics import summarise
from mutatis.studies import STUDIES
from mutatis.studies._parallel import SerialExecutor
from mutatis.studies._report import write_report
from mutatis.studies._run import run_study
from mutatis.studies.shift._recipes import Arrays, Digits

SMALL = {"width": 4, "context_width": 4, "hidden": 8, "context_channels": 2, "steps": 6, "steps_per_dispatch": 3}
SMALL |= {"evaluate_every": 3, "validation_rows": 20, "test_supports": (5, 50), "support": 20}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("digits") / "run"
    study = Digits(methods=("ERM", "ARM-BN, shrunken"), at_test=("BN adaptation",), seeds=1, **SMALL)
    rows = run_study(study, directory, executor=SerialExecutor())
    return directory, rows


def test_rows_for_every_method_group_and_support(run):
    directory, rows = run
    assert rows == json.loads((directory / "results.json").read_text())
    groups = {f"rotation {angle}" for angle in (10, 50, 90, 130, 170)}
    cases = {(row["method"], row["support"], row["order"]) for row in rows}
    adaptive = [(0, "no adaptation"), (5, "adapt, then predict"), (50, "adapt, then predict"), (10, "stream")]
    expected = {("ERM", 0, "no adaptation")}
    expected |= {(name, *case) for name in ("BN adaptation", "ARM-BN, shrunken") for case in adaptive}
    assert cases == expected
    for case in cases:
        found = [row for row in rows if (row["method"], row["support"], row["order"]) == case]
        assert {row["group"] for row in found} == groups
        assert all(row["n"] == (300 if case[2] == "stream" else 500) and 0 <= row["value"] <= 1 for row in found)


def test_every_row_says_how_it_was_chosen(run):
    _, rows = run
    chosen = {row["method"]: row["selection"] for row in rows}
    assert chosen["ERM"] == "last step"
    assert chosen["BN adaptation"].startswith("N = ") and "validation worst group" in chosen["BN adaptation"]


def test_the_pictures_show_predictions_before_and_after(run):
    directory, _ = run
    with np.load(directory / "jobs" / "ARM-BN-shrunken" / "seed-0" / "gallery.npz") as gallery:
        assert gallery["images"].shape == (5, 8, 8, 8, 1)
        assert gallery["before"].shape == gallery["after"].shape == gallery["targets"].shape == (5, 8)


def test_the_page_and_the_table_are_there(run):
    directory, rows = run
    page = write_report([directory], directory / "report.html")
    assert "ARM-BN, shrunken" in page.read_text(encoding="utf-8")
    assert {one.method for one in summarise(rows)} == {"ERM", "BN adaptation", "ARM-BN, shrunken"}


def test_a_users_arrays(tmp_path):
    rng = np.random.default_rng(0)
    groups = np.repeat([f"site {i}" for i in range(12)], 30)
    X = rng.normal(size=(360, 3)) + np.repeat(rng.normal(size=(12, 3)), 30, axis=0)
    np.savez(tmp_path / "data.npz", X=X.astype(np.float32), y=(X[:, 0] > 0).astype(int), groups=groups)
    study = Arrays(file=tmp_path / "data.npz", methods=("ARM-CML",), seeds=1, **SMALL)
    rows = run_study(study, tmp_path / "run", executor=SerialExecutor())
    assert len({row["group"] for row in rows}) == 2  # a fifth of the sites


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_study_can_be_described_and_cited(name):
    study = STUDIES[name]()
    assert study.summary().endswith(".")
    assert set(study.citations()) >= set(study.methods)


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="methods has no 'ARM'; there are: ERM"):
        Digits(methods=("ARM",))
    with pytest.raises(ValueError, match="at_test has no 'SAR'; there are: BN adaptation"):
        Digits(at_test=("SAR",))
    with pytest.raises(ValueError, match="source_steps is -1; pass a number of steps, or 0"):
        Digits(source_steps=-1)
