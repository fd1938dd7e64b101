"""Whole studies: the same bits from every executor, and after every kind of interruption."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy

import mutatis
from mutatis.studies import Job, SerialExecutor, StudyFailedError, WorkerDiedError, run_study
from mutatis.studies._parallel import default_workers
from mutatis.studies._study import ROW_FIELDS

STUDY = toy.Toy(selection="score", steps=60)


def run(study, directory, **options):
    return run_study(study, directory, output=io.StringIO(), **options)


def contents(directory):
    """Everything that must not depend on how a run went: results and metrics of the study and its jobs."""
    files = sorted(Path(directory).rglob("results.json")) + sorted(Path(directory).rglob("metrics.jsonl"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    directory = tmp_path_factory.mktemp("reference") / "run"
    run(STUDY, directory, executor=SerialExecutor())
    return contents(directory)


def test_results_are_rows_of_every_method_seed_and_group(tmp_path):
    rows = run(STUDY, tmp_path, executor=SerialExecutor())
    assert rows == json.loads((tmp_path / "results.json").read_text())
    assert [(row["method"], row["seed"], row["group"]) for row in rows] == [
        (method, seed, f"truth {group}") for method in ("slow", "fast") for seed in (0, 1) for group in range(5)
    ]
    assert all(tuple(row) == ROW_FIELDS for row in rows)
    assert rows[0]["selection"] == "score, every 20 steps"
    with np.load(tmp_path / Job("fast", 1).directory / "gallery.npz", allow_pickle=False) as gallery:
        errors = np.mean((gallery["weights"] - STUDY.data(1).truths) ** 2, axis=1)
    np.testing.assert_array_equal(errors, np.float32([row["value"] for row in rows[15:]]))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == 4 * [10, 20, 30, 40, 50, 60]
    assert set(lines[1]) == {"method", "seed", "step", "loss", "closeness", "score"}


def test_processes_give_the_same_bits(tmp_path, reference):
    run(STUDY, tmp_path, workers=2)
    assert contents(tmp_path) == reference


def test_any_object_with_submit_gives_the_same_bits(tmp_path, reference):
    with ThreadPoolExecutor(2) as executor:
        run(STUDY, tmp_path, executor=executor)
    assert contents(tmp_path) == reference


@pytest.mark.parametrize("processes", [False, True])
def test_dask_gives_the_same_bits(tmp_path, reference, processes):
    distributed = pytest.importorskip("distributed", reason="needs the dask extra")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=processes, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        run(STUDY, tmp_path, executor=client)
    assert contents(tmp_path) == reference


def test_a_failed_job_does_not_stop_the_others(tmp_path, reference):
    study = replace(STUDY, explode_at=30)
    with pytest.raises(StudyFailedError, match=r"fast, seed 0 failed: NonFiniteLossError: .*step 31 ") as caught:
        run(study, tmp_path, executor=SerialExecutor())
    assert f"mutatis resume {tmp_path}" in str(caught.value)
    assert "2 of 4 jobs failed" in str(caught.value)
    done = contents(tmp_path)
    for seed in (0, 1):
        assert done[f"jobs/slow/seed-{seed}/results.json"] == reference[f"jobs/slow/seed-{seed}/results.json"]
    assert len(json.loads(done["results.json"])) == 10
    assert "NonFiniteLossError" in (tmp_path / "jobs/fast/seed-0/error.txt").read_text()


def test_a_killed_worker_is_told_and_the_study_goes_on_later(tmp_path, reference, monkeypatch):
    monkeypatch.setenv("TOY_DIES", "fast")
    with pytest.raises(StudyFailedError, match="a worker process was killed") as caught:
        run(STUDY, tmp_path, workers=1)
    assert isinstance(caught.value.__cause__, WorkerDiedError)
    monkeypatch.delenv("TOY_DIES")
    run(STUDY, tmp_path, executor=SerialExecutor())
    assert contents(tmp_path) == reference


def test_nothing_is_written_if_the_data_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"truths\.npy"):
        run(replace(STUDY, missing_data=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_changed_data_are_refused(tmp_path, monkeypatch):
    study = replace(STUDY, methods=("slow",), seeds=1)
    run(study, tmp_path, executor=SerialExecutor())
    monkeypatch.setenv("TOY_DATA", "1")
    with pytest.raises(ValueError, match=r"data file truths\.npy is not the one this run began with"):
        run(study, tmp_path, executor=SerialExecutor())


@pytest.mark.parametrize(
    ("settings", "message"), [({"methods": ()}, "no jobs"), ({"methods": ("a", "b", "A")}, "names 'a' twice")]
)
def test_a_study_needs_different_methods(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(replace(STUDY, **settings), tmp_path / "run")


class Incomplete(toy.Toy):
    def outcome(self, data, trained, job):
        outcome = super().outcome(data, trained, job)
        return replace(outcome, rows=[{"split": "test", "value": 1.0}])


def test_a_row_must_say_what_it_is(tmp_path):
    with pytest.raises(StudyFailedError, match="lacks group, n, metric, support, order"):
        run(Incomplete(methods=("slow",), seeds=1), tmp_path, executor=SerialExecutor())


def test_workers_are_as_many_as_cores_and_jobs_allow():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert default_workers(1000, 1) == cores
    assert default_workers(1000, 10**6) == 1
    assert default_workers(1, 1) == 1


# The rest kills real processes.

STUDY_ARGUMENTS = ["toy", "--selection", "score"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(mutatis.__file__).parents[1]), *sys.path])}


def begin(*arguments, seconds_per_dispatch):
    """Start the toy's command line in a group of processes of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", toy.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=ENVIRONMENT | {"TOY_SECONDS": str(seconds_per_dispatch)},
    )  # fmt: skip


def written(directory):
    """How much metrics there are: grows while a run goes on."""
    return sum(path.stat().st_size for path in Path(directory).rglob("jobs/*/*/metrics.jsonl"))


def wait_until(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def has_children(number):
    tasks = Path(f"/proc/{number}/task")
    return any(path.read_text().strip() for path in tasks.glob("*/children"))


def same_as(reference, directory):
    """Finish the run in this process, and compare it."""
    run(STUDY, directory, executor=SerialExecutor())
    assert contents(directory) == reference


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_killed_again_and_again_and_resumed_gives_the_same_bits(tmp_path, reference, seed):
    delays = np.random.default_rng(seed).uniform(0, 0.35, size=3)
    commands = [["run", *STUDY_ARGUMENTS, "--out", tmp_path]] + 2 * [["resume", tmp_path]]
    kills = 0
    for delay, command in zip(delays, commands, strict=True):
        process, before = begin(*command, "--serial", seconds_per_dispatch=0.05), written(tmp_path)
        wait_until(lambda before=before: written(tmp_path) > before, process)
        time.sleep(delay)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 3
    assert len(list(tmp_path.rglob("jobs/*/*/results.json"))) < 4, "it was killed before its end"
    same_as(reference, tmp_path)


def test_workers_end_with_their_killed_parent_and_the_run_resumes(tmp_path, reference):
    process = begin("run", *STUDY_ARGUMENTS, "--workers", 2, "--out", tmp_path, seconds_per_dispatch=0.2)
    wait_until(lambda: written(tmp_path) > 0, process)
    process.kill()
    process.communicate(timeout=20)  # the pipes close when the last worker has ended
    time.sleep(0.3)
    size = written(tmp_path)
    time.sleep(0.5)
    assert written(tmp_path) == size
    same_as(reference, tmp_path)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, reference):
    process = begin("run", *STUDY_ARGUMENTS, "--workers", 1, "--out", tmp_path, seconds_per_dispatch=0.2)
    wait_until(lambda: written(tmp_path) > 0, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Ctrl-C again stops at once" in errors
    assert f"mutatis resume {tmp_path}" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.rglob("checkpoint-*.ckpt"))
    assert not list(tmp_path.glob(".stop-*"))
    same_as(reference, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_while_workers_start_is_no_accident(tmp_path):
    process = begin("run", *STUDY_ARGUMENTS, "--workers", 1, "--out", tmp_path, seconds_per_dispatch=0.2)
    wait_until(lambda: has_children(process.pid), process)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"mutatis resume {tmp_path}" in errors
    assert "Traceback" not in errors


def test_ctrl_c_twice_stops_at_once(tmp_path):
    process = begin("run", *STUDY_ARGUMENTS, "--workers", 1, "--out", tmp_path, seconds_per_dispatch=100.0)
    wait_until(lambda: list(tmp_path.rglob("timing.jsonl")), process)
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: list(tmp_path.glob(".stop-*")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "stopped at once" in errors
    assert "Traceback" not in errors
