"""The command line."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mutatis.__main__
from mutatis.__main__ import main

sys.path.insert(0, str(Path(__file__).parent / "studies"))
import toy


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command on the toy study: exit code, output, errors."""
    page = SimpleNamespace(write_report=toy.write_report)
    monkeypatch.setitem(sys.modules, "mutatis.studies._report", page)
    monkeypatch.setenv("NPROC", "1")

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments], studies=toy.STUDIES)
        except SystemExit as error:  # how tyro ends
            code = error.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_list_names_every_study(command):
    assert command("list") == (0, "toy  Least squares on three tasks.\n", "")
    code, output, _ = command("list", "--json")
    (entry,) = json.loads(output)
    assert code == 0
    assert (entry["name"], entry["fields"]["steps"], entry["required"]) == ("toy", 60, [])
    assert command("list", "--jsom")[0] == 2


def test_run_writes_a_run_and_its_page(command, tmp_path):
    out = tmp_path / "run"
    code, output, errors = command("run", "toy", "--out", out, "--serial", "--seeds", 1, "--methods", "fast")
    assert code == 0, errors
    assert output == f"closing over 5 rows\nresults: {out}/results.json\npage: {out}/report.html\n"
    config = json.loads((out / "config.json").read_text())
    assert config["command"] == f"mutatis run toy --out {out} --serial --seeds 1 --methods fast"
    assert (config["fields"]["seeds"], config["fields"]["methods"]) == (1, ["fast"])
    assert len(json.loads((out / "results.json").read_text())) == 5
    assert "1/1 jobs" in errors and "\r" not in errors

    before = (out / "results.json").read_bytes()
    assert command("resume", out, "--serial")[0] == 0
    assert (out / "results.json").read_bytes() == before
    code, _, errors = command("run", "toy", "--out", out, "--steps", 30)
    assert code == 2
    assert f"{out} holds a run of 'toy'" in errors and "choose another --out" in errors
    (out / "results.json").unlink()  # as after a kill
    page = tmp_path / "both.html"
    assert command("report", out, out, "--out", page) == (0, f"page: {page}\n", "")
    assert page.read_text() == "page of 2 run(s)"
    assert (out / "results.json").read_bytes() == before


def test_a_run_without_out_gets_a_directory_of_its_own(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert command("run", "toy", "--serial", "--seeds", 1, "--steps", 10)[0] == 0
    assert len(list(tmp_path.glob("runs/toy-*/report.html"))) == 2


def test_an_unknown_name_gets_the_nearest(command):
    assert command("run", "toi") == (2, "", "mutatis: there is no study 'toi'; did you mean toy?\n")
    assert command("cite", "zebra") == (2, "", "mutatis: there is no study 'zebra'; there are: toy.\n")
    assert command("reprot") == (2, "", "mutatis: there is no command 'reprot'; did you mean report?\n")


def test_a_wrong_field_gets_the_nearest(command):
    code, _, errors = command("run", "toy", "--stps", 3)
    assert code == 2
    assert "--stps" in errors and "--steps" in errors


def test_settings_that_make_no_sense_are_refused_before_work(command, tmp_path):
    code, _, errors = command("run", "toy", "--serial", "--out", tmp_path / "a", "--methods")
    assert (code, errors) == (2, errors) and "name at least one method" in errors
    code, _, errors = command("run", "toy", "--serial", "--out", tmp_path / "a", "--missing-data")
    assert code == 2 and "truths.npy was looked for in nowhere" in errors
    assert not (tmp_path / "a").exists()


def test_a_failed_job_gives_code_1_and_the_way_on(command, tmp_path):
    code, _, errors = command("run", "toy", "--serial", "--out", tmp_path, "--explode-at", 5, "--seeds", 1)
    assert code == 1
    assert "fast, seed 0 failed: NonFiniteLossError" in errors
    assert f"mutatis resume {tmp_path}" in errors


def test_directories_that_hold_no_run_are_refused(command, tmp_path):
    for arguments in (["resume", tmp_path], ["report", tmp_path]):
        code, _, errors = command(*arguments)
        assert code == 2
        assert f"{tmp_path} is not a run directory" in errors
    assert command("report")[0] == 2


def test_cite_prints_bibtex(command):
    code, output, _ = command("cite", "toy")
    assert code == 0
    assert output == "@book{legendre1805, title={Nouvelles méthodes}}\n\n@book{gauss1809}\n"


def test_help_and_version(command):
    assert command("--help")[1] == mutatis.__main__.USAGE
    assert command()[0] == 2
    assert command("--version")[1].startswith("mutatis 0.")
    code, output, _ = command("run", "toy", "--help")
    assert code == 0
    assert "--steps" in output and "Outer steps." in output and "Least squares on three tasks." in output
    assert "toy" in command("run", "--help")[1]
    assert command("run") == (2, "", "mutatis: run needs a study first: toy.\n")


def test_a_missing_extra_is_named(command, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tyro" else find(name))
    code, _, errors = command("run", "toy")
    assert code == 2
    assert "pip install 'mutatis[studies]'" in errors


def test_the_gallery_refuses_what_it_cannot_draw(command, monkeypatch, tmp_path):
    pytest.importorskip("mutatis.worlds", reason="the simulator is not installed")
    from mutatis.worlds import _gallery
    from mutatis.worlds._render import NoGraphicsError

    code, _, errors = command("gallery", "MT11", "--out", tmp_path)
    assert (code, errors.startswith("mutatis: benchmark: there is no 'MT11'; did you mean MT10")) == (2, True)
    assert not list(tmp_path.iterdir())
    asked = []
    monkeypatch.setattr(_gallery, "write_gallery", lambda *arguments: [asked.append(arguments)])
    assert command("gallery") == (0, "None\n", "")
    assert command("gallery", "reach", "--out", tmp_path) == (0, "None\n", "")
    assert asked == [("MT10", Path("runs/gallery-MT10")), ("reach", tmp_path)]

    def blind(*arguments):
        raise NoGraphicsError("no OpenGL")

    monkeypatch.setattr(_gallery, "write_gallery", blind)
    assert command("gallery") == (1, "", "mutatis: no OpenGL\n")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "metaworld" else find(name))
    expected = "mutatis: the gallery needs metaworld; install it with: pip install 'mutatis[worlds]'\n"
    assert command("gallery") == (2, "", expected)


def test_the_list_of_real_studies_loads_nothing_heavy():
    program = """
import sys
from mutatis.__main__ import main
code = main(["list"])
print(sorted({"matplotlib", "sklearn", "tyro", "scipy.ndimage", "distributed", "PIL", "mujoco"} & set(sys.modules)))
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "digits" in done.stdout
