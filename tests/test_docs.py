"""The documentation does what it says: examples run, commands parse, every method and study has its place."""

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mutatis
import mutatis.__main__ as command_line
from mutatis.shift._methods import AT_TEST, METHODS
from mutatis.studies._recipes import STUDIES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "methods").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

SITES = """
import numpy as np
rng = np.random.default_rng(0)
site, site_new = np.repeat(np.arange(12), 30), np.repeat(np.arange(3), 30)
y, y_new = rng.integers(2, size=360), rng.integers(2, size=90)
X = rng.normal(size=(360, 2)) + y[:, None] + rng.normal(size=(12, 2))[site]
X_new = rng.normal(size=(90, 2)) + y_new[:, None] + rng.normal(size=(3, 2))[site_new]
chunk = X_new[:10]
"""

TASKS = """
import jax, mutatis
context_key, model_key, key, adapt_key = jax.random.split(jax.random.key(0), 4)
def sample_tasks(key):
    x_key, y_key = jax.random.split(key)
    x, y = jax.random.normal(x_key, (6, 20, 2)), jax.random.randint(y_key, (6, 20), 0, 2)
    return mutatis.Task(context=x, query=(x, y), index=jax.numpy.arange(6))
unlabelled = jax.numpy.zeros((20, 2))
"""

ARRAYS = """
import numpy
X, y = numpy.zeros((40, 2)), numpy.arange(40) % 2
groups = numpy.array([f"clinic {number % 10}" for number in range(40)])
numpy.savez("mine.npz", X=X, y=y, groups=groups)
"""

IMAGES = """
import numpy as np
from mutatis import estimators
images, labels = np.random.default_rng(0).random((40, 28, 28)), np.arange(40) % 2
writer = np.repeat(np.arange(4), 10)
small = {"steps": 1, "hidden": (4, 8), "support": 4, "groups_per_step": 2}
AdaptiveClassifier = lambda *values, **settings: estimators.AdaptiveClassifier(*values, **(settings | small))
"""

SETTINGS = {"README.md": SITES + TASKS, "docs/data.md": ARRAYS, "docs/estimators.md": IMAGES}
"""What the Python of a page takes for granted, by page."""

TESTED_ELSEWHERE = ("estimators", "arrays_with_groups")
"""Run with the tests of the estimators."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def split(page: Path) -> tuple[str, str]:
    """The page's Python: what it runs, and the sessions (`>>>`) whose answers it shows."""
    fences = FENCE.findall(page.read_text())
    sessions = [code for code in fences if code.startswith(">>>")]
    return "\n".join(code for code in fences if code not in sessions), "\n".join(sessions)


def run(program: list[str], directory: Path) -> str:
    # Nothing here computes for long: less compiling, sooner done.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", *program],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


RUNNER = """
import doctest, runpy, sys
for path in sys.argv[1:]:
    if path.endswith(".py"):
        runpy.run_path(path)
    elif doctest.testfile(path, module_relative=False).failed:
        sys.exit(f"{path} prints something else than it shows")
"""


def test_python_on_the_pages_runs_and_prints_what_it_shows(tmp_path):
    for page in PAGES:
        program, session = split(page)
        name = name_of(page).replace("/", "-")
        if program:
            (tmp_path / f"{name}.py").write_text(SETTINGS.get(name_of(page), "") + program)
        if session and page.stem not in TESTED_ELSEWHERE:
            (tmp_path / f"{name}.txt").write_text(session)
    run(["-c", RUNNER, *sorted(path.name for path in tmp_path.iterdir())], tmp_path)


def test_examples_are_short():
    lengths = {name_of(example): len(example.read_text().splitlines()) for example in EXAMPLES}
    assert len(lengths) >= 3 and max(lengths.values()) < 40, lengths


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem not in TESTED_ELSEWHERE], ids=name_of)
def test_example_shows_what_it_is_for(example, tmp_path):
    said = run([str(example)], tmp_path)
    figures = [float(word) for word in re.findall(r"\d+\.\d+", said)]
    # Each prints the poor figure before the good one; of errors the good one is lower.
    assert figures[1] < 0.05 if example.stem == "recurrent_rule" else figures[1] > figures[0] + 0.1, said


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(mutatis.__path__, "mutatis.")]
    return ["mutatis", *(name for name in found if not name.endswith("__main__"))]


def test_sessions_in_docstrings_print_what_they_show():
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        for test in finder.find(importlib.import_module(name), name):
            runner.run(test)
    assert runner.tries > 5 and runner.failures == 0


def commands() -> list[str]:
    """Every `mutatis run` of the pages, without its comment."""
    lines = [line for page in PAGES for line in page.read_text().splitlines()]
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("mutatis run ")})


def test_commands_on_the_pages_are_understood(monkeypatch):
    understood = []
    monkeypatch.setattr(command_line, "_execute", lambda study, *rest: understood.append(study.name) or 0)
    asked = [words for words in map(shlex.split, commands()) if "--help" not in words]
    for words in asked:
        assert command_line.main(words[1:]) == 0, words
    assert set(understood) <= set(STUDIES) and len(understood) == len(asked) > 10


def test_every_method_and_study_has_its_place():
    methods = " ".join(page.read_text() for page in (ROOT / "docs" / "methods").glob("*.md"))
    index = (ROOT / "docs" / "methods" / "index.md").read_text()
    for method in (*METHODS, *AT_TEST):
        assert f"[{method.name}](" in index, f"no row for {method.name} in docs/methods/index.md"
        assert f"`{method.name}`" in methods, f"no page names the row {method.name}"
    studies = (ROOT / "docs" / "studies.md").read_text()
    for name in STUDIES:
        assert f"| `{name}` |" in studies, f"no row for {name} in docs/studies.md"


def test_every_public_name_of_the_core_is_in_the_reference():
    reference = (ROOT / "docs" / "api.md").read_text()
    core = reference[: reference.index("## Networks")]
    listed = set(re.findall(r"auto(?:class|function):: (\w+)$", core, re.MULTILINE))
    public = {name for name in vars(mutatis) if not name.startswith("_")}
    public -= {name for name in public if isinstance(getattr(mutatis, name), type(mutatis))}
    assert listed == public


def test_markdown_of_docstrings_becomes_rest(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    to_rest = importlib.import_module("markdown_docstrings").to_rest
    assert to_rest("The `key` is |x|.").replace("\\ ", "") == "The ``key`` is \\|x\\|."
    assert ":py:obj:`Task <mutatis.Task>`" in to_rest("A `Task`.")
    assert "\n.. math::\n\n    a_1 = b\n" in to_rest("So\n\n$$a_1 = b$$\n\nand on.")
    assert "\n.. code-block:: python\n\n    >>> 1\n    1\n" in to_rest("See\n\n```python\n>>> 1\n1\n\n```\n")
    assert to_rest("These:\n- one\n- two") == "These:\n\n- one\n- two"


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_place_of_one_machine_or_a_registry():
    # Put together here, because this file is one of those looked at.
    places = ["/" + "work/", "/" + "home/", "/" + "root/", "/" + "tmp/", "C:" + "\\Users"]
    registries = ["py" + "pi.org", "python" + "hosted.org", "ana" + "conda.org", "npm" + "js"]
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(path)}: {word}" for word in (*places, *registries) if word in text]
    assert found == []
