"""What a study is: settings, jobs, and how one job is trained and judged. Everything else is machinery.

**How a recipe looks.** A study is one frozen dataclass; its fields are its settings, read by the command
line. The machinery asks it five things and does the rest (processes, checkpoints, resume, progress, files):

```python
@dataclass(frozen=True, kw_only=True)
class Digits(Study):
    \"\"\"Handwritten digits under rotation.\"\"\"            # first line: shown by `mutatis list`

    name: ClassVar[str] = "digits"
    methods: tuple[str, ...] = ("ERM", "ARM-BN")        # override any field: --methods ERM --steps 100
    steps: int = 400
    width: int = 32
    \"\"\"Channels of each hidden layer.\"\"\"             # field docstrings become --help

    def data(self, seed):                               # host side; called in the main process first (so
        return read_digits(self.data_dir, seed)         # that missing files stop early), then in each worker
                                                        # (lru_cache it); has .checksums and .description
    def trainer(self, data, job):                       # -> Trainer, see below
        return OuterTrainer(...)

    def outcome(self, data, trained, job):              # trained: the selected carry (best or last)
        return Outcome(rows=[{"split": "test", "group": "rotation 10", "n": 3333, "metric": "accuracy",
                              "value": 0.934, "support": 50, "order": "adapt, then predict"}, ...],
                       gallery={"images": ..., "before": ..., "after": ...})    # arrays for the report

    def citations(self):
        return {"ARM": "@inproceedings{...}"}
```

A trainer is any object with a `schedule` and the methods of `Trainer`. Its carry is a PyTree: arrays are
saved and restored exactly; everything else (static parts, Python numbers) comes from `init()`. All randomness
must come from keys *in the carry*, and `advance` must not donate its input. `advance(carry, steps)` is one
dispatch; `steps` takes one value throughout (plus a shorter one at the end if it does not divide), so
`eqx.filter_jit` compiles once per process if the recipe makes the static parts once (`lru_cache`), because
the seeds of a method come to the same process.

**The run directory** (written by `run_study`, read by the report; every file is written whole or not at all):

- `config.json`: an object with `study`, `summary`, `fields` (all settings), `description` (of the data),
  `checksums` (file to SHA-256), `citations` (name to BibTeX), `published` (others' numbers), `references`
  (computed, to compare with), `protocol` and `tasks` (of control studies; else empty), `trial` (of studies of trials;
  else empty), `jobs` (list of `{"method", "seed"}`),
  `command` (the line that was typed), `workers`, `threads`, `numerics` (settings of JAX), `versions` (package
  to version), `platform` (text about the machine).
- `metrics.jsonl`: one object per dispatch: `method`, `seed`, `step`, `loss` (mean over tasks, and over the
  steps since the previous line; missing where nothing was learned), and at evaluations the trainer's own
  entries, numbers or nested lists of them. No clocks: a resumed run writes the same bytes.
- `results.json`: a list of rows: `method`, `seed`, `split`, `group`, `n`, `metric`, `value`, `support`,
  `order`, `selection` (the last and the first two are filled in by the machinery). A study of known symmetries
  gives `risk` rows with `floor` and `signal`, `overlap` and `effective dimension` rows whose `n` is the true
  dimension, and `discovery` rows with `candidate`, `verdict`, `p_value`, `directions` and `moved`; its metrics
  are named `"<problem>: excess"` and `"<problem>: overlap"`. A study of trials gives `return` rows, and of some
  families `success` rows, whose `group` is the episode and whose `support` the number of episodes before it.
- `report.html`.
- `jobs/<method>/seed-<n>/`: the same `metrics.jsonl` and `results.json` of one job (without `method` and
  `seed` in the former), `gallery.npz` (images with predictions, or `problems` and
  `pictures_<i>`, or films, or paths of trials), `timing.jsonl` (clocks: `step`, `steps`, `seconds`, `rate` in steps
  per second), checkpoints. `<method>` is the method's name with characters unfit for file names replaced by
  `-`; `Job.directory` computes it.
"""

import abc
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

ROW_FIELDS = ("method", "seed", "split", "group", "n", "metric", "value", "support", "order", "selection")

ADAPTED, STREAM, UNADAPTED = "adapt, then predict", "stream", "no adaptation"
"""The orders of a row: when predictions were made."""


@dataclass(frozen=True)
class Job:
    """One method with one seed: the unit of parallel work."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method}, seed {self.seed}"

    @property
    def directory(self) -> Path:
        """Where this job's files lie inside the run directory."""
        return Path("jobs") / re.sub(r"[^A-Za-z0-9+.=_-]+", "-", self.method) / f"seed-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When to evaluate, checkpoint and stop.

    **Arguments:**

    - `steps`: outer steps in all.
    - `evaluate_every`: steps between evaluations on the validation groups; 0 evaluates only at the end.
    - `checkpoint_every`: steps between checkpoints; 0 writes only the final one.
    - `steps_per_dispatch`: most steps in one compiled call, and so the longest wait after Ctrl-C.
    - `selection`: `"last"`, or the entry of `Trainer.evaluate` that the returned carry maximises.
    - `patience`: evaluations without improvement of `selection` after which training stops; 0 never stops
      early.

    **Raises:** `ValueError` for settings that contradict each other.
    """

    steps: int
    evaluate_every: int = 100
    checkpoint_every: int = 100
    steps_per_dispatch: int = 20
    selection: str = "last"
    patience: int = 0

    def __post_init__(self):
        if self.steps < 1 or self.steps_per_dispatch < 1:
            raise ValueError(
                f"steps and steps_per_dispatch must be at least 1, not {self.steps} and {self.steps_per_dispatch}."
            )
        for name in ("evaluate_every", "checkpoint_every", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 (never) or positive, not {getattr(self, name)}.")
        if self.patience and self.selection == "last":
            raise ValueError(
                "patience stops when the selected metric no longer improves, but selection is 'last'; "
                "name a validation metric as selection, or set patience to 0."
            )

    @property
    def rule(self) -> str:
        """The selection rule in words, as every row of the results states it."""
        if self.selection == "last":
            return "last step"
        often = f", every {self.evaluate_every} steps" if self.evaluate_every else " at the end"
        stop = f", stopped after {self.patience} without improvement" if self.patience else ""
        return f"{self.selection}{often}{stop}"


class Trainer(Protocol):
    """What the training loop needs of a method; see `train`."""

    @property
    def schedule(self) -> Schedule:
        """When to evaluate, checkpoint and stop."""
        ...

    def init(self) -> Any:
        """The carry before the first step; always the same."""
        ...

    def advance(self, carry: Any, steps: int) -> tuple[Any, Any, Any]:
        """One dispatch: the new carry, losses `(steps, tasks)`, and group ids of that shape or `None`.

        `None` as losses where nothing was learned, as while a replay is filled.
        """
        ...

    def evaluate(self, carry: Any) -> Mapping[str, Any]:
        """Metrics on the validation groups: numbers, or arrays of them (by task) that are kept for the report."""
        ...

    def task_name(self, index: int) -> str:
        """What to call the task with this id in an error message."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What remains of a job: rows for `results.json`, and arrays (no objects) for the report's pictures."""

    rows: Sequence[Mapping[str, Any]]
    gallery: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study(abc.ABC):
    """Methods x seeds on one benchmark. Subclasses add fields (their settings) and the abstract methods."""

    name: ClassVar[str]

    seeds: int = 5
    """Number of seeds; they are 0, 1, ..."""
    methods: tuple[str, ...] = ()
    """Methods to compare."""

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    def jobs(self) -> list[Job]:
        """What to run, all seeds of a method next to each other."""
        return [Job(method, seed) for method in self.methods for seed in range(self.seeds)]

    def check_positive(self, *names: str) -> None:
        """**Raises:** `ValueError` for a setting among these that is below 1."""
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; pass a positive number.")

    def check_known(self, name: str, known: Iterable[str]) -> None:
        """**Raises:** `ValueError` if the setting of this name, a tuple, has more than the names that are known."""
        known = list(known)
        unknown = [each for each in getattr(self, name) if each not in known]
        if unknown:
            raise ValueError(f"{name} has no {', '.join(map(repr, unknown))}; there are: {', '.join(known)}.")

    @abc.abstractmethod
    def data(self, seed: int) -> Any:
        """The data of this seed, on the host; has `checksums` (file name to SHA-256) and `description`."""

    @abc.abstractmethod
    def trainer(self, data: Any, job: Job) -> Trainer:
        """How this job learns."""

    @abc.abstractmethod
    def outcome(self, data: Any, trained: Any, job: Job) -> Outcome:
        """How good the trained carry is."""

    def citations(self) -> dict[str, str]:
        """BibTeX entries of the methods and data of this study, by name."""
        return {}

    def published(self) -> Sequence[Mapping[str, Any]]:
        """What others report of this benchmark, for the report to show beside; see the study for the fields."""
        return ()

    def references(self) -> Sequence[Mapping[str, Any]]:
        """What the best there is, or one who knows nothing, would get, computed; see the study for the fields."""
        return ()

    def closing(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """A few lines printed when the study has ended; empty for none."""
        del rows
        return ""

    def settings(self) -> dict[str, Any]:
        """The fields by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
