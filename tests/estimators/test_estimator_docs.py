"""What the guide and the example show happens as they say."""

import doctest
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_guide():
    outcome = doctest.testfile(str(ROOT / "docs" / "estimators.md"), module_relative=False)
    assert outcome.failed == 0
    assert outcome.attempted > 20


def test_example(capsys):
    runpy.run_path(str(ROOT / "examples" / "arrays_with_groups.py"))
    lines = capsys.readouterr().out.splitlines()
    none, context = (float(line.split()[-1]) for line in lines[:2])
    assert context - none > 0.2
    assert len(lines) == 8
