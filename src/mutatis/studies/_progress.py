"""One line about a whole study: jobs done, steps per second, time left, and the newest metrics.

Workers append to `timing.jsonl` in their own folders; a thread of the main process reads the last lines. So
progress needs nothing from the executor but a file system both can see.
"""

import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from mutatis.studies._study import Job

TIMING = "timing.jsonl"
TAIL_BYTES = 4096


def latest_timing(folder: Path) -> dict[str, Any] | None:
    """The last whole line of a job's `timing.jsonl`."""
    try:
        with open(folder / TIMING, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else None
    except (FileNotFoundError, ValueError):
        return None


def duration(seconds: float) -> str:
    """A length of time for people: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class ProgressLine:
    """Prints while its `with` block runs: one updating line on a terminal, otherwise a line now and then.

    **Arguments:**

    - `directory`, `jobs`: the run.
    - `output`: where to print.
    - `interval`: seconds between lines where output is not a terminal; a finished job gets one too.
    """

    def __init__(self, directory: Path, jobs: Sequence[Job], output: TextIO, *, interval: float = 10.0):
        self._folders = {job: directory / job.directory for job in jobs}
        self._output, self._terminal = output, output.isatty()
        self._interval = 0.5 if self._terminal else interval
        self._printed = ""
        self._lock, self._end = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ProgressLine":
        self._begin = time.monotonic()
        self._steps_before = sum(self._survey()[1].values())
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()
        if (line := self.line()) != self._printed:
            self._print(line)
        if self._terminal:
            self._output.write("\n")
            self._output.flush()

    def say(self, text: str) -> None:
        """Print a sentence above the line."""
        with self._lock:
            self._output.write(("\r\x1b[K" if self._terminal else "") + text + "\n")
            self._output.flush()

    def _watch(self) -> None:
        printed, done_then = self._begin, self._count_done()
        while not self._end.wait(min(0.5, self._interval)):
            done = self._count_done()
            if done != done_then or time.monotonic() - printed >= self._interval:
                self._print(self.line())
                printed, done_then = time.monotonic(), done

    def _count_done(self) -> int:
        return sum((folder / "results.json").exists() for folder in self._folders.values())

    def _print(self, line: str) -> None:
        with self._lock:
            self._printed = line
            if self._terminal:
                width = shutil.get_terminal_size().columns - 1
                self._output.write("\r\x1b[K" + line[:width])
            else:
                self._output.write(line + "\n")
            self._output.flush()

    def _survey(self) -> tuple[dict[Job, dict[str, Any]], dict[Job, int]]:
        timings = {job: timing for job, folder in self._folders.items() if (timing := latest_timing(folder))}
        return timings, {job: timing["step"] for job, timing in timings.items()}

    def line(self) -> str:
        """The state of the study in one line."""
        timings, steps = self._survey()
        done, at = self._count_done(), sum(steps.values())
        parts = [f"{done}/{len(self._folders)} jobs"]
        if timings:
            each = max(timing["steps"] for timing in timings.values())
            total = sum(timing["steps"] for timing in timings.values()) + each * (len(self._folders) - len(timings))
            rate = (at - self._steps_before) / max(time.monotonic() - self._begin, 1e-9)
            parts += [f"{at}/{total} steps", f"{rate:.3g} steps/s"]
            left = total - at - self._cut_short(timings)
            if rate > 0 and left > 0:
                parts.append(f"{duration(left / rate)} left")
        running = [
            (timing["clock"], job)
            for job, timing in timings.items()
            if not (self._folders[job] / "results.json").exists()
        ]
        if running:
            newest = max(running, key=lambda pair: pair[0])[1]
            parts.append(_describe(newest, timings[newest]))
        return " | ".join(parts)

    def _cut_short(self, timings: dict[Job, dict[str, Any]]) -> int:
        """Steps that early stopping saved."""
        return sum(
            timing["steps"] - timing["step"]
            for job, timing in timings.items()
            if (self._folders[job] / "results.json").exists()
        )


def _describe(job: Job, timing: dict[str, Any]) -> str:
    if timing.get("state") == "judging":
        return f"{job}: judging what was learned"
    values = ", ".join(
        f"{name} {value:.3g}"
        for name, value in timing.get("metrics", {}).items()
        if name != "step" and isinstance(value, int | float)
    )
    return f"{job}: step {timing['step']}/{timing['steps']}" + (f", {values}" if values else "")
