"""A diagnosis in words: the evidence, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np

if TYPE_CHECKING:
    from mutatis._diagnosis import Diagnosis

UNEQUAL = 10.0
"""Gradients whose sizes differ by at least this factor are called unequal."""
CLEAR, FREQUENT = -0.1, 0.1
"""Gradients of unrelated tasks have cosines near 0, half of them negative: a conflict counts as clear below `CLEAR`,
and conflicts as frequent if at least this share of pairs is clear."""
NAMED = 4

Names = Sequence[str] | Mapping[int, str] | None


@dataclass(frozen=True)
class Facts:
    """What the sentences are made of; the leading axis of the arrays counts steps, of which there may be one."""

    found: "Diagnosis"
    names: Names

    @property
    def steps(self) -> int:
        """Number of diagnoses."""
        return self.found.losses.shape[0]

    @property
    def tasks(self) -> int:
        """Number of tasks of each."""
        return self.found.losses.shape[1]

    def name(self, group: int) -> str:
        """What a group is called."""
        return name_of(group, self.names)

    def by_group(self, values: np.ndarray) -> dict[str, float]:
        """Mean over the steps of a value of each task, by name, the largest first."""
        index = self.found.index
        means = {int(group): float(np.mean(values[index == group])) for group in np.unique(index)}
        return {self.name(group): means[group] for group in sorted(means, key=lambda one: -means[one])}

    def pairs(self, matrices: np.ndarray) -> np.ndarray:
        """Entries above the diagonal, `(..., pairs)`."""
        return matrices[(..., *np.triu_indices(self.tasks, 1))]

    @property
    def overshoot(self) -> float:
        """The step as a multiple of the one that is best along it, by the larger of both curvatures."""
        sharpest = np.maximum(self.found.sharpness, self.found.path_sharpness)
        return float(np.median(np.asarray(self.found.step_size) * sharpest))

    @property
    def ratio(self) -> float:
        """Of the longest to the shortest gradient."""
        return float(np.median(self.found.size_ratio))

    @property
    def clear(self) -> float:
        """Share of the pairs that conflict clearly."""
        return float(np.mean(self.pairs(np.asarray(self.found.cosines)) < CLEAR)) if self.tasks > 1 else 0.0


def name_of(group: int, names: Names) -> str:
    """What a group is called: its name where there is one, else its id."""
    if isinstance(names, Mapping):
        return names.get(group, f"task {group}")
    return names[group] if names is not None and group < len(names) else f"task {group}"


def in_words(diagnosis: "Diagnosis", names: Names = None) -> str:
    """The whole report, one finding a line."""
    arrays = jax.tree.map(np.asarray, diagnosis)
    if arrays.losses.ndim == 1:
        arrays = jax.tree.map(lambda leaf: leaf[None], arrays)
    if arrays.losses.ndim != 2:
        raise ValueError(f"a report is of one diagnosis or a stack of them, not of losses {diagnosis.losses.shape}.")
    facts = Facts(arrays, names)
    if lost := _not_finite(facts):
        return lost
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        evidence = [_over_time(facts), _conflicts(facts), _where(facts), _sizes(facts), _curvature(facts)]
        evidence += [_joint_step(facts), _own_steps(facts)]
        lines = [*filter(None, evidence), "What to try:", *(f"- {said}" for said in advice(facts))]
    return "\n".join(lines)


def _not_finite(facts: Facts) -> str | None:
    squares = np.diagonal(facts.found.gramian, axis1=1, axis2=2)
    broken = ~(np.isfinite(facts.found.losses) & np.isfinite(squares))
    if not broken.any():
        return None
    who = [name for name, share in facts.by_group(broken).items() if share > 0]
    return f"The loss or the gradient of {_listed(who)} is not finite. Look there first; nothing else can be said."


def _over_time(facts: Facts) -> str | None:
    if facts.steps == 1:
        return None
    share = np.asarray(facts.found.conflict_share)
    quarter = max(1, facts.steps // 4)
    return (
        f"{facts.steps} diagnoses of {facts.tasks} tasks. Pairs in conflict: {_percent(share[:quarter].mean())} in the "
        f"first quarter, {_percent(share[-quarter:].mean())} in the last. Below are means over time, of ratios medians."
    )


def _conflicts(facts: Facts) -> str:
    if facts.tasks < 2:
        return "There is one task: nothing to compare it with."
    cosines = facts.pairs(np.asarray(facts.found.cosines))
    step, pair = np.unravel_index(np.argmin(cosines), cosines.shape)
    index = facts.found.index[step]
    worst = [facts.name(int(index[place[pair]])) for place in np.triu_indices(facts.tasks, 1)]
    pairs = cosines.shape[1]
    count = lambda many: _number(many.mean(0).sum()) if facts.steps > 1 else f"{int(many.sum())}"
    said = f"{count(cosines < 0)} of {pairs} pairs of tasks conflict"
    if (cosines < 0).any():
        said += f", {count(cosines < CLEAR)} clearly (cosine below {CLEAR}); the worst are {worst[0]} and {worst[1]}"
        said += f" (cosine {cosines.min():.2f})"
    agreement = float(np.median(facts.found.agreement))
    return (
        f"{said}. The joint gradient is {_percent(agreement)} as long as the tasks' own are on average "
        f"(unrelated ones: about {_percent(facts.tasks**-0.5)})."
    )


def _where(facts: Facts) -> str | None:
    shares = np.asarray(facts.found.layer_conflict_share).mean(0)
    if len(shares) < 2 or facts.tasks < 2 or not shares.any():
        return None
    most, least = np.argmax(shares), np.argmin(shares)
    layers = facts.found.layers
    if shares[most] == shares[least]:
        return f"By layer: {_percent(shares[most])} of the pairs conflict in each."
    return (
        f"By layer: most pairs conflict in {layers[most]} ({_percent(shares[most])}), fewest in {layers[least]} "
        f"({_percent(shares[least])})."
    )


def _sizes(facts: Facts) -> str | None:
    if facts.tasks < 2:
        return None
    norms = facts.by_group(np.asarray(facts.found.norms))
    shares = facts.by_group(np.asarray(facts.found.shares))
    largest, least = next(iter(norms)), list(norms)[-1]
    if not norms[largest]:
        return "All gradients vanish."
    said = f"Gradients differ in size by {_number(facts.ratio)} x, from {least} ({_number(norms[least])}) to {largest} "
    if idle := [name for name, norm in norms.items() if norm == 0]:
        said = f"{_listed(idle)} {'has' if len(idle) == 1 else 'have'} no gradient; the largest is that of {largest} "
    leader = next(iter(shares))
    return f"{said}({_number(norms[largest])}). {_capital(leader)} makes {_percent(shares[leader])} of the joint step."


def _curvature(facts: Facts) -> str:
    here, path = (float(np.median(each)) for each in (facts.found.sharpness, facts.found.path_sharpness))
    size = float(np.median(facts.found.step_size))
    said = f"Along the joint gradient the curvature g'Hg / |g|^2 is {_number(here)}"
    said += f", averaged over the step {_number(path)}"
    if max(here, path) <= 0:
        return f"{said}: not positive, so the mean loss falls no slower than its slope says."
    return (
        f"{said}: the best step would be about {_number(1 / max(here, path))}, and the step of {_number(size)} is "
        f"{_number(facts.overshoot)} times that."
    )


def _joint_step(facts: Facts) -> str:
    found = facts.found
    change = float(np.mean(found.change))
    direction = "raises" if change > 0 else "lowers" if change < 0 else "does not change"
    said = f"The joint step {direction} the mean loss" + (f" by {_number(abs(change))}" if change else "")
    conflict, long = hurt_by(facts)
    if not conflict and not long:
        return f"{said} and the loss of every task." if change < 0 else f"{said}, and raises that of no task."
    parts = []
    if conflict:
        parts.append(f"of {_listed(conflict)} because the others pull the other way: a short step would raise it too")
    if long:
        parts.append(f"of {_listed(long)} only because the step is long")
    often = "" if facts.steps == 1 else " (each at one step at least)"
    return f"{said}; it raises the loss{often} {', and '.join(parts)}."


def hurt_by(facts: Facts) -> tuple[list[str], list[str]]:
    """Whose loss the joint step raises already to first order, and whose only because of its length."""
    hurt, slopes = np.asarray(facts.found.hurt), np.asarray(facts.found.slopes)
    conflict = [name for name, share in facts.by_group(hurt & (slopes < 0)).items() if share > 0]
    long = [name for name, share in facts.by_group(hurt & (slopes >= 0)).items() if share > 0 and name not in conflict]
    return conflict, long


def _own_steps(facts: Facts) -> str | None:
    if facts.found.losses_after_own is None or facts.tasks < 2:
        return None
    others = ~np.eye(facts.tasks, dtype=bool)
    rounding = 8 * np.finfo(facts.found.losses.dtype).eps * np.abs(facts.found.losses)[:, :, None]
    harms = (np.asarray(facts.found.gain) < -rounding) & others
    by_task = facts.by_group(harms.sum(1))
    worst = next(iter(by_task))
    if not by_task[worst]:
        return "Taken alone, no task's step raises another's loss."
    own = facts.by_group(np.diagonal(facts.found.gain, axis1=1, axis2=2))
    self_harm = [name for name, gain in own.items() if gain < 0]
    said = (
        f"Taken alone, a task's step raises the loss of {_number(harms.sum(1).mean())} of the {facts.tasks - 1} others"
    )
    said += f" on average, that of {worst} of {_number(by_task[worst])}"
    return f"{said}; it raises the task's own loss for {_listed(self_harm)}." if self_harm else f"{said}."


def advice(facts: Facts) -> list[str]:
    """What follows, as far as anything does: sizes first, because they are the cheapest to mend."""
    unequal, overshoot = facts.ratio >= UNEQUAL and facts.tasks > 1, facts.overshoot > 1
    pulled, long = hurt_by(facts)
    conflict = facts.clear >= FREQUENT or bool(pulled)
    said = []
    if unequal:
        said.append(
            f"Sizes differ by {_number(facts.ratio)} x: normalise each task's loss (in RL its rewards) or weigh "
            "by size (IMTLG, NashMTL, GradNorm), then diagnose again: cosines stay, the joint step will be another."
        )
    if overshoot:
        harm = " and raises the mean loss" if np.mean(facts.found.change) > 0 else ""
        said.append(
            f"The step is {_number(facts.overshoot)} times the best one along it{harm}: take smaller steps, or an "
            "optimiser that adapts them. This is the cheapest thing to rule out."
        )
    elif long:
        said.append(f"The step is good for the mean but too long for {_listed(long)}: try smaller ones.")
    if conflict and overshoot:
        said.append(
            "Conflicts where the curvature is high are what gradient surgery is made for (Yu et al. 2020): try PCGrad "
            "or CAGrad, beside smaller steps with the plain mean."
        )
    elif conflict:
        said.append(
            "Tasks conflict, but at this step size the curvature of the mean loss is no trouble: surgery (PCGrad, "
            "CAGrad, MGDA) then trades one task against another. Try it on several seeds beside the plain mean of "
            "normalised losses, which often does as well (Kurin et al. 2022), or give each task its own parameters in "
            "the layers that conflict most."
        )
    if not said:
        said.append(
            "Nothing here says that the tasks hinder each other. Look elsewhere: capacity (width), the optimiser, the "
            "data or the exploration of single tasks."
        )
    if facts.steps == 1:
        said.append(
            "This is one batch at one point: noise pulls cosines towards 0. Record it over training before acting."
        )
    return said


def _listed(names: Sequence[str]) -> str:
    if len(names) > NAMED + 1:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _number(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("task ") else text
