"""The command line: `mutatis list | run | resume | report | cite | gallery`."""

import dataclasses
import difflib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
import textwrap
import time
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

USAGE = """\
usage: mutatis COMMAND

  list [--json]                 the studies there are
  run STUDY [--help] [options]  run a study; --help shows its settings
  resume DIR [--workers N]      continue a run that was stopped or killed
  report DIR... [--out FILE]    write the page of one run, or of several together; --table prints Markdown
  cite STUDY                    BibTeX entries of its methods and data
  gallery [BENCHMARK] [--out]   pictures and films of scripted experts at Meta-World's tasks (MT10, ML45, reach ...)
  --version                     the version of mutatis
"""

INTERRUPTED = 130  # what shells report after Ctrl-C

Studies = Mapping[str, type]


class UsageError(Exception):
    """What was typed cannot be done; the text says what can."""


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run."""

    out: Path | None = None
    """Directory of the run (default: runs/STUDY-DATE-TIME)."""
    workers: int = 0
    """Processes; 0: as many as the cores allow. On a GPU they share its memory."""
    threads: int = 1
    """Cores for each process."""
    serial: bool = False
    """Run the jobs one after the other in this process, for a debugger."""


def main(arguments: Sequence[str] | None = None, studies: Studies | None = None) -> int:
    """Run one command; returns 0, 1 (failed), 2 (cannot be done as typed) or 130 (interrupted)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(USAGE, end="")
            return 0 if arguments else 2
        if arguments[0] in ("-V", "--version", "version"):
            print(f"mutatis {importlib.metadata.version('mutatis')}")
            return 0
        command = _find(COMMANDS, arguments[0], "command")
        return command(arguments[1:], _registry() if studies is None else studies)
    except UsageError as error:
        print(f"mutatis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `mutatis list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _registry() -> Studies:
    from mutatis.studies._recipes import STUDIES

    return STUDIES


def _find(table: Mapping[str, Any], name: str, kind: str) -> Any:
    """The entry of this name.

    **Raises:** `UsageError` with the nearest names.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, list(table), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(table)}."
    raise UsageError(f"there is no {kind} {name!r}; {hint}")


def _require(package: str, extra: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{what} needs {package}; install it with: pip install 'mutatis[{extra}]'")


def _list(arguments: list[str], studies: Studies) -> int:
    if arguments not in ([], ["--json"]):
        raise UsageError(f"list takes only --json, not: {shlex.join(arguments)}")
    if arguments:
        print(json.dumps([_as_json(kind) for kind in studies.values()], indent=2))
        return 0
    width = max(map(len, studies), default=0)
    for name, kind in studies.items():
        summary = textwrap.wrap(kind.summary(), max(30, 100 - width)) or [""]
        print(f"{name:<{width}}  " + f"\n{'':<{width}}  ".join(summary))
    return 0


def _as_json(kind: Any) -> dict[str, Any]:
    from mutatis.studies._config import encode_settings

    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    defaults = {} if required else encode_settings(kind())
    return {"name": kind.name, "summary": kind.summary(), "fields": defaults, "required": required}


def _run(arguments: list[str], studies: Studies) -> int:
    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(studies)
        if arguments and arguments[0] in ("-h", "--help"):
            print(f"usage: mutatis run STUDY [options]\n\nSTUDY is one of: {names}")
            print("`mutatis run STUDY --help` lists its options.")
            return 0
        raise UsageError(f"run needs a study first: {names}.")
    kind = _find(studies, arguments[0], "study")
    _require("tyro", "studies", "reading the settings of a study")
    import tyro

    whole = dataclasses.make_dataclass(
        "Run",
        [
            ("settings", Annotated[kind, tyro.conf.arg(name="")]),
            ("options", Annotated[RunOptions, tyro.conf.arg(name="")], RunOptions()),
        ],
    )
    whole.__doc__ = (kind.__doc__ or "").strip()
    try:
        parsed = tyro.cli(whole, args=arguments[1:], prog=f"mutatis run {arguments[0]}")
    except ValueError as error:  # the settings contradict each other
        raise UsageError(str(error)) from error
    study, options = _absolute(parsed.settings), parsed.options
    out = options.out or _fresh_directory(kind.name)
    return _execute(study, out, options, f"mutatis run {shlex.join(arguments)}")


def _absolute(study: Any) -> Any:
    """The same settings with paths that hold from every directory, so that `resume` finds the data."""
    paths = {
        field.name: value.expanduser().resolve()
        for field in dataclasses.fields(study)
        if isinstance(value := getattr(study, field.name), Path)
    }
    return dataclasses.replace(study, **paths)


def _fresh_directory(name: str) -> Path:
    stem = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    out, number = stem, 1
    while out.exists():
        out, number = stem.with_name(f"{stem.name}-{number}"), number + 1
    return out


def _resume(arguments: list[str], studies: Studies) -> int:
    _require("tyro", "studies", "reading the options of resume")
    import tyro

    from mutatis.studies._config import decode_settings, load_config

    def resume(
        directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")],
        workers: int = 0,
        serial: bool = False,
    ):
        """Continue a run that was stopped or killed.

        Args:
            directory: directory of the run.
            workers: processes; 0: as many as it began with.
            serial: run the jobs one after the other in this process, for a debugger.
        """
        return directory, workers, serial

    directory, workers, serial = tyro.cli(resume, args=arguments, prog="mutatis resume")
    try:
        config = load_config(directory)
        study = decode_settings(_find(studies, config["study"], "study"), config["fields"])
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    options = RunOptions(directory, workers or config["workers"], config["threads"], serial)
    return _execute(study, directory, options, config["command"])


def _execute(study: Any, out: Path, options: RunOptions, command: str) -> int:
    from mutatis.studies._loop import StoppedError
    from mutatis.studies._parallel import SerialExecutor
    from mutatis.studies._run import StudyFailedError, run_study
    from mutatis.studies._store import retry_hint

    if options.serial:
        os.environ.setdefault("NPROC", str(options.threads))  # as in a worker, so that all bits agree
    try:
        rows = run_study(
            study,
            out,
            executor=SerialExecutor() if options.serial else None,
            workers=options.workers,
            threads=options.threads,
            command=command,
        )
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    except StoppedError as error:
        print(f"mutatis: {error}", file=sys.stderr)
        return INTERRUPTED
    except StudyFailedError as error:
        print(f"mutatis: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        begun = (out / "config.json").exists()
        hint = f"Continue with: {retry_hint(out)}" if begun else "Nothing was begun."
        print(f"mutatis: stopped at once. {hint}", file=sys.stderr)
        return INTERRUPTED
    if closing := study.closing(rows):
        print(closing)
    print(f"results: {out / 'results.json'}")
    return _write_page([out], out / "report.html")


def _write_page(directories: Sequence[Path], out: Path) -> int:
    _require("PIL", "studies", "the report page")
    from mutatis.studies._report import write_report

    try:
        print(f"page: {write_report(directories, out)}")
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    return 0


def _report(arguments: list[str], studies: Studies) -> int:
    del studies
    _require("tyro", "studies", "reading the options of report")
    import tyro

    from mutatis.studies._config import load_config
    from mutatis.studies._markdown import markdown_table
    from mutatis.studies._run import merge
    from mutatis.studies._study import Job

    def report(
        directories: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="DIR...")],
        out: Path | None = None,
        table: bool = False,
    ):
        """Write the page of one run, or of several together.

        Args:
            directories: directories of runs.
            out: the page (default: report.html in the first directory).
            table: print the table of results in Markdown instead.
        """
        return directories, out, table

    directories, out, table = tyro.cli(report, args=arguments, prog="mutatis report")
    if not directories:
        raise UsageError("report needs the directory of at least one run.")
    try:
        for directory in directories:
            config = load_config(directory)
            if not (directory / "results.json").exists():  # killed: what is done can be shown all the same
                merge(directory, [Job(**job) for job in config["jobs"]])
        if table:
            print(markdown_table(directories))
            return 0
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    return _write_page(directories, out or directories[0] / "report.html")


def _cite(arguments: list[str], studies: Studies) -> int:
    if len(arguments) != 1:
        raise UsageError(f"cite takes one study: {', '.join(studies)}.")
    kind = _find(studies, arguments[0], "study")
    print("\n\n".join(text.strip() for text in kind().citations().values()))
    return 0


def _gallery(arguments: list[str], studies: Studies) -> int:
    del studies
    _require("tyro", "studies", "reading the options of gallery")
    for package in ("mujoco", "metaworld", "gymnasium", "PIL", "imageio_ffmpeg"):
        _require(package, "worlds", "the gallery")
    import tyro

    def gallery(
        benchmark: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BENCHMARK")] = "MT10",
        out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    ):
        """Draw scripted experts at the tasks of Meta-World: gallery.png, experts.mp4 and experts.gif.

        Args:
            benchmark: a benchmark (MT10, MT25, MT50, ML10, ML25, ML45) or a task (reach).
            out: directory of the files (default: runs/gallery-BENCHMARK).
        """
        return benchmark, out

    benchmark, out = tyro.cli(gallery, args=arguments, prog="mutatis gallery")
    from mutatis.worlds._gallery import write_gallery
    from mutatis.worlds._render import NoGraphicsError

    try:
        for file in write_gallery(benchmark, out or Path("runs") / f"gallery-{benchmark}"):
            print(file)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except NoGraphicsError as error:
        print(f"mutatis: {error}", file=sys.stderr)
        return 1
    return 0


COMMANDS: Mapping[str, Callable[[list[str], Studies], int]] = types.MappingProxyType(
    {"list": _list, "run": _run, "resume": _resume, "report": _report, "cite": _cite, "gallery": _gallery}
)

if __name__ == "__main__":
    sys.exit(main())
