"""The progress line."""

import io
import json

import pytest

from mutatis.studies import Job, Progress
from mutatis.studies._progress import ProgressLine, duration, latest_timing
from mutatis.studies._run import _Note

JOBS = [Job("ERM", 0), Job("ERM", 1), Job("ARM (BN)", 0)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def note(directory, job, **entry):
    folder = directory / job.directory
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "timing.jsonl", "a") as file:
        file.write(json.dumps(entry) + "\n")


def test_the_line_counts_jobs_and_steps_and_names_the_newest_job(tmp_path):
    line = ProgressLine(tmp_path, JOBS, io.StringIO())
    with line:
        note(tmp_path, JOBS[0], step=400, steps=400, clock=1.0)
        (tmp_path / JOBS[0].directory / "results.json").touch()
        note(tmp_path, JOBS[1], step=20, steps=400, clock=5.0, metrics={"step": 20, "loss": 0.5, "worst": None})
        text = line.line()
    assert text.startswith("1/3 jobs | 420/1200 steps | ")
    assert "steps/s" in text and "left" in text
    assert text.endswith("ERM, seed 1: step 20/400, loss 0.5")
    note(tmp_path, JOBS[1], step=400, steps=400, clock=6.0, state="judging")
    assert line.line().endswith("ERM, seed 1: judging what was learned")


def test_steps_of_an_earlier_process_do_not_count_as_speed(tmp_path):
    note(tmp_path, JOBS[0], step=300, steps=400, clock=1.0)
    line = ProgressLine(tmp_path, JOBS, io.StringIO())
    with line:
        assert "300/1200 steps | 0 steps/s" in line.line()
        assert "left" not in line.line()


def test_without_a_terminal_lines_are_plain(tmp_path):
    output = io.StringIO()
    with ProgressLine(tmp_path, JOBS, output, interval=0.01) as line:
        line.say("note: something")
        note(tmp_path, JOBS[0], step=20, steps=400, clock=1.0)
        while "20/1200" not in output.getvalue():
            pass
    lines = output.getvalue().splitlines()
    assert "note: something" in lines
    assert not any(character in output.getvalue() for character in "\r\x1b")


def test_on_a_terminal_one_line_is_updated(tmp_path):
    output = Terminal()
    with ProgressLine(tmp_path, JOBS, output) as line:
        line.say("note: something")
    assert output.getvalue().endswith("0/3 jobs\n")
    assert "\r\x1b[Knote: something\n" in output.getvalue()


def test_a_torn_line_of_timing_is_passed_over(tmp_path):
    (tmp_path / "timing.jsonl").write_text('{"step": 1}\n{"step": 2, "met')
    assert latest_timing(tmp_path) == {"step": 1}
    assert latest_timing(tmp_path / "nowhere") is None


def test_what_a_job_notes_stays_short_enough_to_be_read_from_the_end(tmp_path):
    measured = {"step": 5, "loss": 0.25, "cosines": [[0.125] * 100] * 100}
    with open(tmp_path / "timing.jsonl", "ab") as file:
        _Note(file).progress(Progress(5, 10, 1.0, 5.0, measured))
    timing = latest_timing(tmp_path)
    assert timing is not None
    assert timing["step"] == 5 and timing["metrics"] == {"step": 5, "loss": 0.25}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (89, "89 s"), (600, "10 min"), (5400, "1 h 30 min"), (90061, "25 h 1 min")],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_job_folders_are_fit_for_every_file_system():
    assert str(JOBS[2].directory) == "jobs/ARM-BN-/seed-0"
    assert str(Job("q-FedAvg, q=0.1", 3).directory) == "jobs/q-FedAvg-q=0.1/seed-3"
