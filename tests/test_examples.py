"""The examples whose answer is known say it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def said(example: str, *arguments: str) -> str:
    program = [sys.executable, "-W", "error", str(EXAMPLES / example), *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("flips", ["0.5", pytest.param("0", marks=pytest.mark.slow)])
def test_digits_have_the_symmetry_of_their_queries(flips):
    text = said("digits_symmetry.py", flips)
    before, after = map(float, re.search(r"(\S+) before, (\S+) after", text).groups())
    assert after > before + 0.2, text
    found = re.findall(r"^  ([\w -]+): (yes|partly|no), error (\S+?),? ", text, re.MULTILINE)
    expected = {"half turn", "upside-down flip", "left-right flip"} if flips == "0.5" else set()
    assert len(found) == 5 and {name for name, verdict, _ in found if verdict == "yes"} == expected, text
    # A single direction of many may have a larger symmetry, which is then "partly" there.
    assert min(float(error) for name, _, error in found if name not in expected) > 0.5, text
