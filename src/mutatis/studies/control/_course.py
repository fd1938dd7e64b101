"""A study of control while it trains: what was measured at its evaluations, all tasks together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mutatis.studies._own_tasks import OWN
from mutatis.studies.control._view import RETURN, STEPS, SUCCESS, ControlView, number

NETWORKS = ("critic", "actor")
TEMPERATURES = "temperature by task"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one seed.

    - `steps`: environment steps so far, all tasks together.
    - `success`: of each task of the study, (tasks,).
    - `line`: what else was written then; of methods that train each task alone, the return and the temperatures.
    """

    seed: int
    step: int
    steps: float
    success: np.ndarray
    line: Mapping[str, Any]


def evaluations(view: ControlView, method: str) -> list[Evaluation]:
    """In order of steps. Where each task is trained alone, only the steps at which all tasks were judged count."""
    joint, single = [], {}
    for line in view.lines(method):
        if f"{SUCCESS} by task" not in line:
            continue
        if OWN in line:
            single.setdefault((line["step"], line["seed"]), {})[line[OWN]] = line
        else:
            joint.append(_joint(view, line))
    whole = [(key, each) for key, each in single.items() if all(task in each for task in view.tasks)]
    joint += [_together(seed, step, [each[task] for task in view.tasks]) for (step, seed), each in whole]
    return sorted((one for one in joint if one is not None), key=lambda one: (one.step, one.seed))


def _joint(view: ControlView, line: Mapping[str, Any]) -> Evaluation | None:
    names = [str(task) for task in line.get("tasks", view.tasks)]
    values = dict(zip(names, map(number, line[f"{SUCCESS} by task"]), strict=False))
    if any(task not in values for task in view.tasks):
        return None
    success = np.array([values[task] for task in view.tasks])
    return Evaluation(line["seed"], line["step"], number(line.get(STEPS)), success, line)


def _together(seed: int, step: int, lines: Sequence[Mapping[str, Any]]) -> Evaluation:
    success = np.array([number(line[f"{SUCCESS} by task"][0]) for line in lines])
    temperatures = [each[0] for line in lines if (each := line.get(TEMPERATURES))]
    common = {RETURN: float(np.mean([number(line.get(RETURN)) for line in lines])), TEMPERATURES: temperatures}
    return Evaluation(seed, step, sum(number(line.get(STEPS)) for line in lines), success, common)


def by_step(view: ControlView, method: str) -> dict[float, np.ndarray]:
    """Environment steps to successes (seeds, tasks) of the seeds that were judged then."""
    found: dict[int, list[Evaluation]] = {}
    for one in evaluations(view, method):
        if np.isfinite(one.success).all() and np.isfinite(one.steps):
            found.setdefault(one.step, []).append(one)
    return {
        float(np.mean([one.steps for one in each])): np.stack([one.success for one in each]) for each in found.values()
    }


@dataclass(frozen=True)
class Conflicts:
    """Cosines of the tasks' gradients of one network at one moment, the mean over seeds: (tasks, tasks)."""

    steps: float
    cosines: np.ndarray


def conflicts(view: ControlView, method: str, network: str) -> list[Conflicts]:
    """In order of steps; empty where nothing was measured."""
    found: dict[int, list[tuple[float, np.ndarray]]] = {}
    for one in evaluations(view, method):
        cosines = _matrix(one.line.get(f"{network} conflicts"), len(view.tasks))
        if cosines is not None:
            found.setdefault(one.step, []).append((one.steps, cosines))
    return [
        Conflicts(float(np.mean([steps for steps, _ in each])), _mean_known([cosines for _, cosines in each]))
        for each in found.values()
    ]


def mean_conflicts(moments: Sequence[Conflicts]) -> np.ndarray:
    """The mean over moments, (tasks, tasks); NaN where nothing is known."""
    return _mean_known([moment.cosines for moment in moments])


def conflict_share(cosines: np.ndarray) -> float:
    """Share of the known pairs of tasks whose cosine is below 0; NaN if none is known."""
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    known = pairs[np.isfinite(pairs)]
    return float(np.mean(known < 0)) if len(known) else np.nan


def length_ratio(norms: Any) -> float:
    """The largest over the smallest length of the tasks' gradients; NaN if there is none above 0."""
    known = [value for value in map(number, norms or ()) if np.isfinite(value) and value > 0]
    return max(known) / min(known) if len(known) > 1 else np.nan


def measured(view: ControlView, method: str) -> list[dict[str, Any]]:
    """The numbers of each evaluation, ready for charts: `step` counts environment steps."""
    lines = []
    for one in evaluations(view, method):
        line: dict[str, Any] = {"method": method, "seed": one.seed, "step": one.steps}
        line |= {
            key: float(value) for key, value in one.line.items() if isinstance(value, int | float) and key not in line
        }
        temperatures = [value for value in map(number, one.line.get(TEMPERATURES) or ()) if np.isfinite(value)]
        line |= {"temperature": float(np.mean(temperatures))} if temperatures else {}
        for network in NETWORKS:
            cosines = _matrix(one.line.get(f"{network} conflicts"), len(view.tasks))
            share = np.nan if cosines is None else 100 * conflict_share(cosines)
            extra = {f"{network} share": share, f"{network} ratio": length_ratio(one.line.get(f"{network} norms"))}
            line |= {key: value for key, value in extra.items() if np.isfinite(value)}
        lines.append(line)
    return lines


def _matrix(values: Any, tasks: int) -> np.ndarray | None:
    """Cosines (tasks, tasks), or `None` for what is none: missing, or of one task."""
    if not values or tasks < 2 or len(values) != tasks or any(len(row) != tasks for row in values):
        return None
    return np.array(values, dtype=np.float64)  # what is missing becomes NaN


def _mean_known(matrices: Sequence[np.ndarray]) -> np.ndarray:
    stack = np.stack(matrices)
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, stack, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
