"""A whole study of few-shot learning on the embedded glyphs, small."""

import io
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.nn import shared_weights
from mutatis.studies._parallel import SerialExecutor
from mutatis.studies._report import write_report
from mutatis.studies._run import StudyFailedError, run_study
from mutatis.studies._study import Job
from mutatis.studies.symmetry._few_shot import (
    BY_NAME,
    QUERIES,
    FewShotTrainer,
    SymmetryGlyphs,
    SymmetryOmniglot,
    _optimiser,
)
from mutatis.symmetry._episodes import Episodes
from mutatis.symmetry._few_shot import AugmentedSupport, FewShotSetting

# The ridge head learns within seconds, and its step compiles in a third of the time of one that is differentiated.
STUDY = SymmetryGlyphs(
    methods=("ridge head",), seeds=2, width=8, learning_rate=5e-3, steps=150, evaluate_every=50,
    validation_episodes=50, test_episodes=50,
)  # fmt: skip


def run(directory):
    return run_study(STUDY, directory, executor=SerialExecutor(), output=io.StringIO())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("glyphs") / "run"
    return directory, run(directory)


def test_rows_for_every_arm_seed_and_kind_of_query(finished):
    directory, rows = finished
    assert rows == json.loads((directory / "results.json").read_text())
    assert [(row["seed"], row["group"]) for row in rows] == [(seed, kind) for seed in (0, 1) for kind in QUERIES]
    for row in rows:
        assert (row["n"], row["support"], row["order"]) == (50 * 75, 5, "adapt, then predict")
        assert row["selection"] == "accuracy, every 50 steps"
        assert 0.01 < row["half_width"] < 0.06


def test_it_learns_and_clean_queries_are_the_easiest(finished):
    _, rows = finished
    value = {kind: np.mean([row["value"] for row in rows if row["group"] == kind]) for kind in QUERIES}
    assert value["clean"] > 0.4 and value["augmented"] > 0.26  # chance is 0.2
    assert value["clean"] > value["turns"] > value["augmented"]


def test_an_interrupted_run_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch):
    advance, calls = FewShotTrainer.advance, []

    def stumble(self, carry, steps):
        calls.append(steps)
        if len(calls) == 3:
            raise RuntimeError("out of power")
        return advance(self, carry, steps)

    monkeypatch.setattr(FewShotTrainer, "advance", stumble)
    with pytest.raises(StudyFailedError, match="out of power"):
        run(tmp_path / "run")
    calls.clear()
    monkeypatch.setattr(FewShotTrainer, "advance", lambda *arguments: calls.append(0) or advance(*arguments))
    assert run(tmp_path / "run") == finished[1]
    assert len(calls) == 1  # the last dispatch of the first seed; the second seed had ended


def test_the_page_shows_each_kind_of_query(finished):
    directory, _ = finished
    with np.load(directory / "jobs" / "ridge-head" / "seed-0" / "gallery.npz") as gallery:
        assert gallery["images"].shape == (4, 8, 8, 8, 1) and gallery["images"].max() > 100
        assert list(gallery["group_names"]) == list(QUERIES)
        assert gallery["before"].shape == gallery["after"].shape == gallery["targets"].shape == (4, 8)
        assert (gallery["before"] != gallery["after"]).any()
    assert "turns" in write_report([directory], directory / "report.html").read_text(encoding="utf-8")


def test_the_table_has_a_column_for_each_kind_of_query(finished):
    head, _, line = STUDY.closing(finished[1]).splitlines()
    assert head == "| method | clean | augmented | flips | turns |"
    assert line.startswith("| ridge head | ") and line.count("±") == 4


def test_arms_of_one_seed_are_judged_by_the_same_episodes():
    data = STUDY.data(0)
    one, other = (STUDY.trainer(data, Job(name, seed)).validation for name, seed in [("MAML", 0), ("MSR", 1)])
    same = jax.tree.map(lambda left, right: np.array_equal(left, right), one, other)
    assert jax.tree.all(same) and isinstance(one, Episodes) and one.queries == 15
    plain = SymmetryGlyphs(augmented=False).trainer(data, Job("MAML", 0)).training
    assert isinstance(plain, Episodes) and plain.query_view is None
    assert (plain.queries, plain.tasks_per_step) == (5, 4)
    knowing = STUDY.trainer(data, Job("MAML, augmented support", 0)).validation
    assert isinstance(knowing, AugmentedSupport) and jax.tree.all(
        jax.tree.map(lambda left, right: np.array_equal(left, right), knowing.episodes, one)
    )


def test_a_random_u_is_not_trained():
    method = BY_NAME["random U"]
    optim = _optimiser(method, 0.1)

    @eqx.filter_jit
    def step():
        learner = method.build(FewShotSetting(image_size=4, width=4), jax.random.key(0))
        params = eqx.filter(learner, eqx.is_inexact_array)
        return optim.update(jax.tree.map(jnp.ones_like, params), optim.init(params), params)[0]

    updates = step()
    for shared in shared_weights(updates):
        assert all((factor == 0).all() for factor in jax.tree.leaves(shared.sharing))
        assert (shared.filters != 0).all()


@pytest.mark.parametrize("study", [SymmetryGlyphs, SymmetryOmniglot])
def test_every_study_can_be_described_and_cited(study):
    assert study.summary().endswith(".")
    entries = study().citations()
    assert set(entries) == set(study().methods)
    assert "Zhou" in entries["MSR"] and "Finn" in entries["MAML"]


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="methods has no 'MAML\\+'; there are: MAML"):
        SymmetryGlyphs(methods=("MAML+",))
    with pytest.raises(ValueError, match="test_episodes is 1; pass at least 2"):
        SymmetryGlyphs(test_episodes=1)


def test_omniglot_by_the_protocol(real_data):
    data = SymmetryOmniglot(data_dir=real_data).data(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [137, 39, 66]
    assert data.size == 28 and "137 characters" in data.description and len(data.checksums) == 2
