"""The table of results in Markdown says what the rows say."""

import numpy as np
import pytest
from run_directories import ORDER, make_run
from scipy import stats

from mutatis.__main__ import main
from mutatis.studies._markdown import markdown_table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    rows = make_run(directory, methods=("ERM", "ARM-BN"), supports=(1, 50), seeds=(0, 1, 2), gallery=False)
    return directory, rows


def _cells(table):
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.split("|")[1:-1]] for line in table.split("\n"))}


def _expected(rows, statistic, support):
    chosen = [r for r in rows if r["method"] == "ARM-BN" and r["support"] == support and r["order"] == ORDER]
    seeds = [statistic([r["value"] for r in chosen if r["seed"] == seed]) for seed in range(3)]
    half = stats.t.ppf(0.975, 2) * np.std(seeds, ddof=1) / np.sqrt(3)
    return f"{100 * np.mean(seeds):.1f} ± {100 * half:.1f}"


def test_every_cell_is_mean_and_half_interval(run):
    directory, rows = run
    cells = _cells(markdown_table([directory]))
    assert cells["method"] == ["average", "worst group", "worst tenth", "average at 1"]
    said = [cell.replace("*", "") for cell in cells["ARM-BN"]]
    assert said[0] == _expected(rows, np.mean, 50)
    assert said[1] == _expected(rows, np.min, 50)
    assert said[3] == _expected(rows, np.mean, 1)
    assert cells["ERM"][3] == ""  # never adapts
    assert cells["ARM-BN"][0].startswith("**") and not cells["ERM"][1].startswith("**")


def test_the_command_prints_it_and_writes_no_page(run, capsys):
    directory, _ = run
    assert main(["report", str(directory), "--table"]) == 0
    assert capsys.readouterr().out == markdown_table([directory]) + "\n"
    assert not (directory / "report.html").exists()
