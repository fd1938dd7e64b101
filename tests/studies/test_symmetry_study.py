"""Studies of learned symmetries from start to end, at a size for tests."""

import json

import numpy as np
import pytest

from mutatis.studies import SerialExecutor, run_study
from mutatis.studies.symmetry._recipes import Symmetry1d, Symmetry2d, SymmetryScarce

METHODS = ("MSR, ridge", "true U, ridge", "random U, ridge", "MAML-FC")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    study = SymmetryScarce(
        methods=METHODS,
        seeds=1,
        steps=300,
        groups=("ring C8",),
        query=8,
        evaluate_every=150,
        steps_per_dispatch=50,
        held_out=50,
    )
    directory = tmp_path_factory.mktemp("symmetry")
    return directory, run_study(study, directory, executor=SerialExecutor())


def values(rows, metric):
    return {row["method"]: row["value"] for row in rows if row["metric"] == metric}


def test_the_symmetry_is_found_and_pays(run):
    risk, overlap = values(run[1], "risk"), values(run[1], "overlap")
    assert overlap["MSR, ridge"] > 0.99 and overlap["random U, ridge"] < 0.3
    assert risk["true U, ridge"] < 0.01
    assert risk["MSR, ridge"] < 0.1 < risk["MAML-FC"]
    assert risk["random U, ridge"] > 0.5
    assert values(run[1], "capture")["true U, ridge"] == pytest.approx(1, abs=1e-4)
    assert values(run[1], "effective dimension")["true U, ridge"] == pytest.approx(27, abs=0.01)


def test_the_verdicts_are_right_and_only_asked_where_something_was_learned(run):
    found = {row["candidate"]: row for row in run[1] if row["metric"] == "discovery"}
    assert {row["method"] for row in found.values()} == {"MSR, ridge"}
    assert {found[name]["verdict"] for name in ("turn by 45 degrees", "quarter turn", "half turn")} == {"yes"}
    assert found["flip"]["verdict"] != "yes"


def test_curves_and_pictures_are_there(run):
    lines = [json.loads(line) for line in (run[0] / "metrics.jsonl").read_text().splitlines()]
    looked = [line for line in lines if "ring C8: excess" in line]
    assert {line["method"] for line in looked} == set(METHODS)
    assert {line["method"] for line in looked if "ring C8: overlap" in line} == {"MSR, ridge"}
    with np.load(next((run[0] / "jobs").glob("MSR*/seed-0/gallery.npz"))) as gallery:
        assert gallery["problems"].tolist() == ["ring C8"]
        truth, learned = gallery["pictures_0"]
        assert truth.shape == (4, 24, 9)
        # What is tied to an entry: the projection of the truth, whose trace is its dimension.
        assert truth[2].sum() == pytest.approx(27, abs=1e-3)
        np.testing.assert_allclose(learned[3], truth[3], atol=0.05)


def test_floors_depend_on_the_rule(run):
    floors = {row["method"]: row["floor"] for row in run[1] if row["metric"] == "risk"}
    assert floors["MSR, ridge"] == pytest.approx(0, abs=1e-12)
    assert floors["MAML-FC"] > 0.1


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(ValueError, match="methods has no 'MSRR'; there are: 'MSR'"):
        Symmetry1d(methods=("MSRR",))
    with pytest.raises(ValueError, match=r"groups is .*; name some of: pixel C4"):
        SymmetryScarce(groups=("C5",)).data(0)
    with pytest.raises(ValueError, match="inner_steps is 0"):
        Symmetry1d(inner_steps=0)


def test_families_of_the_paper():
    line, turns = Symmetry1d().data(0), Symmetry2d().data(0)
    assert {name: family.problem.truth.shape[1] for name, family in line.families.items()} == {
        "rank 1": 3,
        "rank 2": 6,
        "rank 5": 15,
    }
    assert [family.problem.shape for family in turns.families.values()] == [(24, 9), (48, 9)]
    assert "rank 5 (15 free numbers)" in line.description


def test_every_study_cites_its_methods():
    assert "zhou2021" in "".join(Symmetry1d().citations().values()).lower()
