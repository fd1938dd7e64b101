"""The one training loop: many steps per dispatch, evaluation, checkpoints, early stop, and an exact
continuation.

A run that was stopped or killed, and then resumed, gives the same bits as one that was not, because

1. everything that changes lies in the carry (arrays, among them the random keys) or in `_LoopState` (plain
   numbers), and one checkpoint file holds both;
2. dispatches start at multiples of one length whatever happened before, so the same compiled code sees the
   same input;
3. the lines of `metrics.jsonl` beyond the checkpoint are cut off before new ones are added; clocks go to
   another file.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis.studies import _store
from mutatis.studies._store import Checkpoint, DamagedCheckpointError
from mutatis.studies._study import Schedule, Trainer


class NonFiniteLossError(ArithmeticError):
    """A loss became infinite or not a number."""


class StoppedError(Exception):
    """Training was asked to stop, and did after a checkpoint; it can be resumed."""


@dataclass(frozen=True)
class Progress:
    """Where a job stands: `seconds` and `rate` (steps per second) are of this process."""

    step: int
    steps: int
    seconds: float
    rate: float
    metrics: Mapping[str, Any]


@dataclass
class _LoopState:
    """What the loop must remember beside the carry."""

    step: int = 0
    metrics_bytes: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    finished: bool = False


def dispatch_length(schedule: Schedule) -> int:
    """Most steps of a dispatch, up to `steps_per_dispatch`, that meet every evaluation and checkpoint."""
    events = math.gcd(schedule.evaluate_every, schedule.checkpoint_every) or schedule.steps
    return max(n for n in range(1, schedule.steps_per_dispatch + 1) if events % n == 0 or n == 1)


def train(
    trainer: Trainer,
    directory: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_warning: Callable[[str], None] = lambda text: None,
) -> Any:
    """Train to the end of the schedule, from the newest usable checkpoint in `directory` if there is one.

    **Arguments:**

    - `trainer`: see `Trainer`.
    - `directory`: made if needed; gets `metrics.jsonl` and the checkpoints.
    - `should_stop`: asked after every dispatch; if true, a checkpoint is written and `StoppedError` raised.
    - `on_progress`, `on_warning`: called after every dispatch, and with a sentence if a checkpoint is
      damaged.

    **Returns:** the selected carry: the last, or that of the best evaluation.

    **Raises:** `StoppedError`; `NonFiniteLossError` naming step, task and cure; `ValueError` if a checkpoint
    does not fit.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return _Loop(trainer, directory, should_stop, on_progress, on_warning).run()


class _Loop:
    def __init__(self, trainer, directory, should_stop, on_progress, on_warning):
        self.trainer, self.schedule, self.directory = trainer, trainer.schedule, directory
        self.should_stop, self.on_progress, self.on_warning = should_stop, on_progress, on_warning
        self.length = dispatch_length(self.schedule)
        self.keeps_best = self.schedule.selection != "last"

    def run(self) -> Any:
        self._restore()
        self.start, self.first = time.monotonic(), self.state.step
        with open(self.directory / "metrics.jsonl", "ab") as self.lines:
            while not self.state.finished:
                self._dispatch()
        return self.best_carry if self.keeps_best else self.carry

    def _restore(self) -> None:
        """Continue from the newest checkpoint that can be read, and cut the metrics back to it."""
        _store.remove_leftovers(self.directory)
        self.carry = self.best_carry = _strongly_typed(self.trainer.init())
        self.state, self.saved = _LoopState(), None
        metrics = self.directory / "metrics.jsonl"
        metrics.touch()
        for path in _store.list_checkpoints(self.directory):
            try:
                loaded = _store.load_checkpoint(path, self._tree())
                if metrics.stat().st_size < loaded.state["metrics_bytes"]:
                    raise DamagedCheckpointError(f"{metrics} is shorter than {path.name} says")
            except DamagedCheckpointError as error:
                self.on_warning(f"{error}; going back to the one before it, or to the start")
                path.replace(path.with_name(path.name + ".damaged"))
                continue
            self.carry, self.best_carry = loaded.tree if self.keeps_best else (loaded.tree, None)
            self.state, self.saved = _LoopState(**loaded.state), loaded.step
            break
        os.truncate(metrics, self.state.metrics_bytes)

    def _dispatch(self) -> None:
        schedule, state = self.schedule, self.state
        steps = min(self.length, schedule.steps - state.step)
        carry, losses, indices = self.trainer.advance(self.carry, steps)
        entry: dict[str, Any] = {"step": state.step + steps}
        if losses is not None:
            losses = np.asarray(losses).reshape(steps, -1)
            if not np.isfinite(losses).all():
                self._refuse(losses, indices)
            entry["loss"] = float(losses.mean(dtype=np.float64))
        self.carry = _strongly_typed(carry)
        state.step += steps
        last = state.step >= schedule.steps
        if last or _due(state.step, schedule.evaluate_every):
            measured = self.trainer.evaluate(self.carry)
            entry |= {name: np.asarray(value, np.float64).tolist() for name, value in measured.items()}
            self._select(entry)
        self._record(entry)
        state.finished = last or bool(schedule.patience and state.stale >= schedule.patience)
        if state.finished or _due(state.step, schedule.checkpoint_every):
            self._save()
        seconds = time.monotonic() - self.start
        rate = (state.step - self.first) / max(seconds, 1e-9)
        self.on_progress(Progress(state.step, schedule.steps, seconds, rate, entry))
        if not state.finished and self.should_stop():
            self._save()
            raise StoppedError(f"stopped at step {state.step} of {schedule.steps}")

    def _select(self, entry: dict[str, Any]) -> None:
        """Keep the carry if its evaluation is the best so far; a value that is not a number never is."""
        if not self.keeps_best:
            return
        name, state = self.schedule.selection, self.state
        if name not in entry:
            known = ", ".join(sorted(set(entry) - {"step", "loss"}))
            raise ValueError(f"selection names {name!r}, but the evaluation gives: {known}; or use 'last'.")
        if math.isfinite(entry[name]) and (state.best is None or entry[name] > state.best):
            state.best, state.best_step, state.stale = entry[name], state.step, 0
            self.best_carry = self.carry
        else:
            state.stale += 1

    def _record(self, entry: dict[str, Any]) -> None:
        self.lines.write(_store.json_line(entry))
        self.lines.flush()

    def _tree(self) -> Any:
        return (self.carry, self.best_carry) if self.keeps_best else self.carry

    def _save(self) -> None:
        if self.saved == self.state.step:
            return
        os.fsync(self.lines.fileno())
        self.state.metrics_bytes = self.lines.tell()
        _store.save_checkpoint(self.directory, Checkpoint(self.state.step, self._tree(), asdict(self.state)))
        self.saved = self.state.step

    def _refuse(self, losses: np.ndarray, indices: Any) -> None:
        """Save the carry from before this dispatch, and say where the loss was lost and what helps."""
        if self.state.step:
            self._save()
        row, slot = np.argwhere(~np.isfinite(losses))[0]
        step = self.state.step + int(row) + 1
        if indices is None:
            task = f"task {slot + 1} of {losses.shape[1]}"
        else:
            task = self.trainer.task_name(int(np.asarray(indices).reshape(losses.shape)[row, slot]))
        before = "the first step" if step == 1 else f"a mean loss of {self._last_loss(losses, row):.3g} before"
        raise NonFiniteLossError(
            f"the loss of {task} is {losses[row, slot]} at step {step} (after {before}). "
            "Lower the learning rate (the inner one too, if the method has one), clip the gradients "
            "(optax.clip_by_global_norm), or look for missing or huge values in that group's inputs."
        )

    def _last_loss(self, losses: np.ndarray, row: int) -> float:
        if row:
            return float(losses[row - 1].mean())
        lines = _store.read_lines(self.directory / "metrics.jsonl")
        return next((line["loss"] for line in reversed(lines) if "loss" in line), float("nan"))


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0


def _strongly_typed(tree: Any) -> Any:
    """Weakly typed arrays promote differently and a file cannot hold that property, so no carry keeps it."""

    def strong(leaf):
        if isinstance(leaf, jax.Array) and getattr(leaf, "weak_type", False):
            return jnp.asarray(leaf, dtype=leaf.dtype)
        return leaf

    return jax.tree.map(strong, tree, is_leaf=eqx.is_array)
