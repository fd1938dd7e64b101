"""A study from its settings to its results: jobs given to an executor, stopped in order, put together."""

import contextlib
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from mutatis.studies._config import claim_directory, describe_run, load_config
from mutatis.studies._loop import Progress, StoppedError, train
from mutatis.studies._parallel import Executor, ProcessExecutor, default_workers, forget_programs, with_numerics
from mutatis.studies._progress import TIMING, ProgressLine
from mutatis.studies._store import (
    json_line,
    plain,
    read_json,
    read_lines,
    retry_hint,
    write_arrays,
    write_json,
    write_whole,
)
from mutatis.studies._study import ROW_FIELDS, Job, Outcome, Study, Trainer

DONE, STOPPED = "done", "stopped"
SECONDS_TO_WAIT_FOR_LOCK = 20.0


class StudyFailedError(RuntimeError):
    """At least one job failed; the others were finished."""


def run_study(
    study: Study,
    directory: Path,
    *,
    executor: Executor | None = None,
    workers: int = 0,
    threads: int = 1,
    command: str = "",
    output: TextIO | None = None,
) -> list[dict[str, Any]]:
    """Run what is left of a study, and put the results together.

    Called again with the same directory it continues; the results are the same bits as without interruption.

    **Arguments:**

    - `study`, `directory`: what, and where its files go.
    - `executor`: anything with `submit(fn, *args).result()`; default processes.
    - `workers`, `threads`: how many processes (0: as many as cores allow), and cores for each; only for the
      default.
    - `command`: the line that was typed, for `config.json`.
    - `output`: where progress is printed; default the standard error stream.

    **Returns:** the rows of `results.json`.

    **Raises:** `StoppedError` after Ctrl-C, `StudyFailedError` after the failure of a job, `ValueError` or
    `FileNotFoundError` for settings, data or a directory that do not fit, before anything is written.
    """
    directory = directory.resolve()
    jobs = _checked_jobs(study)
    workers = workers or default_workers(len(jobs), threads)
    config = describe_run(study, study.data(jobs[0].seed), command=command, workers=workers, threads=threads)
    warnings = claim_directory(directory, config)
    pending = [job for job in jobs if not (directory / job.directory / "results.json").exists()]
    with ProgressLine(directory, jobs, output or sys.stderr) as line:
        for warning in warnings:
            line.say(f"note: {warning}")
        try:
            if pending:
                _run_jobs(study, directory, pending, executor, workers, threads, line)
        finally:
            rows = merge(directory, jobs)
    return rows


def _checked_jobs(study: Study) -> list[Job]:
    jobs = study.jobs()
    if not jobs:
        raise ValueError("the study has no jobs; name at least one method, and at least 1 as seeds.")
    folders = [str(job.directory).lower() for job in jobs]
    for job, folder in zip(jobs, folders, strict=True):
        if folders.count(folder) > 1:
            raise ValueError(f"methods names {job.method!r} twice (or two names with the folder {folder}).")
    return jobs


def _run_jobs(
    study: Study,
    directory: Path,
    jobs: Sequence[Job],
    executor: Executor | None,
    workers: int,
    threads: int,
    line: ProgressLine,
) -> None:
    own = ProcessExecutor(min(workers, len(jobs)), threads) if executor is None else None
    stop_file = directory / f".stop-{uuid.uuid4().hex}"
    failures: list[tuple[Job, Exception]] = []
    states: list[str] = []
    try:
        with _stop_on_signal(stop_file, line.say):
            pool = executor if executor is not None else own
            assert pool is not None
            futures = [(job, pool.submit(run_job, study, directory, job, stop_file)) for job in jobs]
            for job, future in futures:
                try:
                    states.append(future.result())
                except Exception as error:
                    failures.append((job, error))
                    line.say(f"{job} failed: {error}")
    except KeyboardInterrupt:
        if own is not None:
            own.kill()
        raise
    finally:
        if own is not None:
            own.shutdown()
        stop_file.unlink(missing_ok=True)
    if failures:
        job, error = failures[0]
        raise StudyFailedError(
            f"{job} failed: {type(error).__name__}: {error}\n"
            f"{len(failures)} of {len(jobs)} jobs failed; where: {directory / job.directory / 'error.txt'}\n"
            f"The rest is kept. Continue with: {retry_hint(directory)}"
        ) from error
    if STOPPED in states:
        raise StoppedError(f"stopped after a checkpoint. Continue with: {retry_hint(directory)}")


@contextlib.contextmanager
def _stop_on_signal(stop_file: Path, say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the jobs to stop after a checkpoint; the second ends all at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        del number, frame
        if stop_file.exists():
            raise KeyboardInterrupt
        stop_file.touch()
        say("stopping: the running steps are finished and saved first; Ctrl-C again stops at once")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_job(study: Study, directory: Path, job: Job, stop_file: Path) -> str:
    """Train and judge one job in its folder, wherever this is called; returns `DONE` or `STOPPED`.

    JAX computes with the settings (float64 or not, ...) under which the run began, whatever this process has.
    """
    folder = directory / job.directory
    if (folder / "results.json").exists():
        return DONE
    if stop_file.exists():
        return STOPPED
    folder.mkdir(parents=True, exist_ok=True)
    forget_programs()
    try:
        with _lock(folder, job), with_numerics(load_config(directory)["numerics"]):
            (folder / "error.txt").unlink(missing_ok=True)
            _train_and_judge(study, folder, job, stop_file)
    except StoppedError:
        return STOPPED
    except Exception:
        write_whole(folder / "error.txt", traceback.format_exc())
        raise
    return DONE


def _train_and_judge(study: Study, folder: Path, job: Job, stop_file: Path) -> None:
    data = study.data(job.seed)
    trainer = study.trainer(data, job)
    with open(folder / TIMING, "ab") as timing:
        note = _Note(timing)
        trained = train(
            trainer, folder, should_stop=stop_file.exists, on_progress=note.progress, on_warning=note.warning
        )
        note.judging(trainer.schedule.steps)
    outcome = study.outcome(data, trained, job)
    rows = complete_rows(outcome, job, trainer)
    if outcome.gallery:
        write_arrays(folder / "gallery.npz", outcome.gallery)
    write_json(folder / "results.json", rows)


class _Note:
    """Appends to `timing.jsonl`, at most once a second."""

    def __init__(self, file: Any):
        self._file, self._written, self._step = file, 0.0, 0

    def progress(self, progress: Progress) -> None:
        self._step = progress.step
        if time.monotonic() - self._written >= 1.0 or progress.step >= progress.steps:
            entry = {"step": progress.step, "steps": progress.steps, "seconds": progress.seconds}
            # Only what a line of progress shows: `metrics.jsonl` holds the matrices, of thousands of bytes each.
            numbers = {name: value for name, value in progress.metrics.items() if isinstance(value, int | float)}
            self._write(entry | {"rate": progress.rate, "metrics": numbers})

    def judging(self, steps: int) -> None:
        self._write({"step": self._step or steps, "steps": steps, "state": "judging"})

    def warning(self, text: str) -> None:
        print(f"note: {text}", file=sys.stderr, flush=True)

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json_line(entry | {"clock": time.time()}))
        self._file.flush()
        self._written = time.monotonic()


def complete_rows(outcome: Outcome, job: Job, trainer: Trainer) -> list[dict[str, Any]]:
    """Rows with method, seed and selection rule filled in, and fields in their order.

    **Raises:** `ValueError` naming what a row lacks.
    """
    rows = []
    for row in outcome.rows:
        whole = {"method": job.method, "seed": job.seed, "selection": trainer.schedule.rule, **row}
        missing = [name for name in ROW_FIELDS if name not in whole]
        if missing:
            raise ValueError(f"a row of {job} lacks {', '.join(missing)}: {dict(row)}; outcome() must give them.")
        rows.append({name: whole[name] for name in ROW_FIELDS} | whole)
    return plain(rows)


def merge(directory: Path, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Put the jobs' rows and metrics together, in the order of the jobs, whatever order they ended in."""
    rows: list[dict[str, Any]] = []
    lines: list[bytes] = []
    for job in jobs:
        folder = directory / job.directory
        if (folder / "results.json").exists():
            rows += read_json(folder / "results.json")
        for entry in read_lines(folder / "metrics.jsonl"):
            lines.append(json_line({"method": job.method, "seed": job.seed} | entry))
    write_json(directory / "results.json", rows)
    write_whole(directory / "metrics.jsonl", b"".join(lines))
    return rows


@contextlib.contextmanager
def _lock(folder: Path, job: Job) -> Iterator[None]:
    """One process at a time in a job's folder; the lock ends with its process, however that ends."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with open(folder / ".lock", "w") as file:
        deadline = time.monotonic() + SECONDS_TO_WAIT_FOR_LOCK
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{job} is being run by another process; wait for that one, or end it."
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield
