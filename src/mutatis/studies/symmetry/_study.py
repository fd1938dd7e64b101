"""Studies of learned symmetries on families of linear tasks whose truth is known.

One job trains one model on every family of the study, side by side: they share nothing but the steps.
"""

import abc
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis import Average, Learner, adapt, materialise, outer_init, outer_scan
from mutatis._citation import citation
from mutatis.nn import is_symmetry, shared_weights
from mutatis.studies._study import ADAPTED, Job, Outcome, Schedule, Study
from mutatis.symmetry._candidates import Candidate, Together
from mutatis.symmetry._discovery import discover
from mutatis.symmetry._measure import (
    effective_dimension,
    query_risk,
    smallest_cosine,
    subspace_overlap,
    top_directions,
    weight_capture,
)
from mutatis.symmetry._models import MODELS, Model, squared_error
from mutatis.symmetry._problems import AbstractProblem, LinearProblem

BY_NAME = {model.name: model for model in MODELS}
TASKS_AT_ONCE = 100


@dataclass(frozen=True)
class Family:
    """Tasks of known symmetry, and the symmetries that are asked of what is learned from them."""

    problem: AbstractProblem
    candidates: Sequence[Candidate | Together] = ()


@dataclass(frozen=True)
class Families:
    """The families of a study by name; generated, so that there is no file to check."""

    families: Mapping[str, Family]
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The families in a line."""
        first = next(iter(self.families.values())).problem
        names = [f"{name} ({family.problem.truth.shape[1]} free numbers)" for name, family in self.families.items()]
        return (
            f"{', '.join(names)}; {first.support} support and {first.query} query examples a task, "
            f"{first.tasks_per_step} tasks a step."
        )


@functools.lru_cache(maxsize=64)
def _optimiser(model: Model, steps: int):
    # One object for all seeds and families: the compiled step is looked up by it.
    return model.optim(steps)


@dataclass(frozen=True)
class SymmetryTrainer:
    """How one model learns from each family; a `Trainer` of the training loop."""

    model: Model
    families: Mapping[str, Family]
    seed: int
    schedule: Schedule
    inner_steps: int
    held_out: int

    def init(self) -> Any:
        """A fresh learner and its outer state for every family."""
        optim = _optimiser(self.model, self.schedule.steps)
        carries = []
        for number, family in enumerate(self.families.values()):
            build_key, outer_key = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), number))
            learner = self.model.build(family.problem, inner_steps=self.inner_steps, key=build_key)
            carries.append((learner, outer_init(learner, Average(), optim, num_groups=1, key=outer_key)))
        return tuple(carries)

    def advance(self, carry: Any, steps: int) -> tuple[Any, Any, None]:
        """`steps` outer steps on each family."""
        advanced, losses = [], []
        for (learner, state), family in zip(carry, self.families.values(), strict=True):
            learner, state, history = outer_scan(learner, state, family.problem, steps=steps, objective=squared_error)
            advanced.append((learner, state))
            losses.append(np.mean(history.losses, axis=1))
        return tuple(advanced), np.stack(losses, axis=1), None

    def evaluate(self, carry: Any) -> Mapping[str, float]:
        """Excess over the floor and overlap with the truth, of each family."""
        found = {}
        for (learner, _), (name, family) in zip(carry, self.families.items(), strict=True):
            risk, _, _ = self.judged(learner, family.problem)
            found[f"{name}: excess"] = (risk - self.floors[name]) / family.problem.signal
            if _learns(learner) and (matrix := symmetry_of(learner)) is not None:
                found[f"{name}: overlap"] = measures(matrix, family.problem)["overlap"]
        return found

    def task_name(self, index: int) -> str:
        """Losses come by family."""
        return f"family {list(self.families)[index]!r}"

    def judged(self, learner: Learner, problem: AbstractProblem) -> tuple[float, np.ndarray, np.ndarray]:
        """The exact risk on held-out tasks, and true and adapted weights of the first ones, `(LOOKED_AT, out, in)`."""
        context, truth = problem.held_out(jax.random.key(HELD_OUT), self.held_out)
        adapted = _adapted_weights(learner, context)
        return float(query_risk(adapted, truth)), np.asarray(truth[:LOOKED_AT]), np.asarray(adapted[:LOOKED_AT])

    @functools.cached_property
    def floors(self) -> dict[str, float]:
        """The least risk that this model's rule can reach with any layer, of each family."""
        key = jax.random.key(HELD_OUT)
        return {name: self.model.floor(f.problem, self.inner_steps, key) for name, f in self.families.items()}


HELD_OUT = 2021
"""Seed of the held-out tasks: the same for all models and all seeds."""
LOOKED_AT = 200
"""Tasks whose adapted weights are asked for their symmetry."""


@eqx.filter_jit
def _adapted_weights(learner: Learner, contexts: Any) -> jax.Array:
    one = lambda context: materialise(adapt(learner, context, key=jax.random.key(0))).weight
    tasks = jax.tree.leaves(contexts)[0].shape[0]
    return jax.lax.map(one, contexts, batch_size=min(TASKS_AT_ONCE, tasks))


def symmetry_of(learner: Learner) -> np.ndarray | None:
    """U, of a learner whose weight is written with one."""
    shared = shared_weights(learner.model)
    return np.asarray(shared[0].sharing.matrix()) if shared else None


def _learns(learner: Learner) -> bool:
    """Whether U is trained, and not given."""
    return bool(jax.tree.leaves(eqx.filter(learner.model, is_symmetry(learner.model))))


def measures(matrix: np.ndarray, problem: AbstractProblem) -> dict[str, float]:
    """How near U's largest directions, as many as the truth has, come to it; and how many U uses."""
    truth = jnp.asarray(problem.truth, matrix.dtype)
    nearest = jnp.asarray(matrix)
    if matrix.shape[1] > truth.shape[1]:
        nearest = top_directions(nearest, truth.shape[1])
    return {
        "overlap": float(subspace_overlap(nearest, truth)),
        "smallest cosine": float(smallest_cosine(nearest, truth)),
        "effective dimension": float(effective_dimension(jnp.asarray(matrix))),
    }


@dataclass(frozen=True, kw_only=True)
class SymmetryStudy(Study):
    """Models compared on families of linear tasks; a subclass says which."""

    methods: tuple[str, ...] = tuple(BY_NAME)
    """Models to compare."""
    steps: int = 5000
    """Outer steps."""
    support: int = 1
    """Examples of a task to adapt to."""
    query: int = 19
    """Examples of a task to be judged by in training."""
    tasks_per_step: int = 32
    """Tasks of one outer step."""
    inner_steps: int = 1
    """Gradient steps of the inner loop; what is solved for takes none."""
    held_out: int = 2000
    """Tasks that a model is judged on, exactly."""
    evaluate_every: int = 500
    """Steps between looks at excess and overlap."""
    steps_per_dispatch: int = 250
    """Steps in one compiled call."""

    def __post_init__(self):
        unknown = [name for name in self.methods if name not in BY_NAME]
        if unknown:
            names = ", ".join(map(repr, BY_NAME))
            raise ValueError(f"methods has no {', '.join(map(repr, unknown))}; there are: {names}.")
        for name in ("support", "query", "tasks_per_step", "inner_steps", "held_out"):
            if getattr(self, name) < (2 if name == "held_out" else 1):
                raise ValueError(f"{name} is {getattr(self, name)}; pass a positive number (2 for held_out).")

    @abc.abstractmethod
    def data(self, seed: int) -> Families:
        """The families of this seed."""

    def trainer(self, data: Families, job: Job) -> SymmetryTrainer:
        """How this model learns."""
        schedule = Schedule(
            steps=self.steps,
            evaluate_every=self.evaluate_every,
            checkpoint_every=self.evaluate_every,
            steps_per_dispatch=self.steps_per_dispatch,
        )
        return SymmetryTrainer(BY_NAME[job.method], data.families, job.seed, schedule, self.inner_steps, self.held_out)

    def outcome(self, data: Families, trained: Any, job: Job) -> Outcome:
        """Risk, floor and measures of U on each family, the symmetries that U has, and pictures."""
        trainer = self.trainer(data, job)
        rows, pictures = [], []
        for (learner, _), (name, family) in zip(trained, data.families.items(), strict=True):
            common = {"split": "test", "group": name, "support": self.support, "order": ADAPTED}
            risk, truth, adapted = trainer.judged(learner, family.problem)
            matrix = symmetry_of(learner)
            rows += [
                common | row
                for row in self._rows(trainer, name, family.problem, risk, matrix, learned=_learns(learner))
            ]
            if _learns(learner):
                rows += [common | row for row in _found(adapted, family, job.seed)]
            pictures.append(_pictures(family.problem, truth[:2], adapted[:2], matrix))
        gallery = {"problems": np.array(list(data.families))}
        gallery |= {f"pictures_{number}": picture for number, picture in enumerate(pictures)}
        return Outcome(rows, gallery)

    def citations(self) -> dict[str, str]:
        """BibTeX of the models."""
        problem = LinearProblem(1, key=jax.random.key(0), inputs=5)
        build = lambda name: BY_NAME[name].build(problem, key=jax.random.key(0))
        return {name: citation(build(name)) for name in self.methods}

    def _rows(self, trainer, name: str, problem: AbstractProblem, risk: float, matrix: Any, *, learned: bool):
        floor, signal = trainer.floors[name], problem.signal
        yield {"metric": "risk", "value": risk, "n": self.held_out, "floor": floor, "signal": signal}
        yield {"metric": "excess", "value": (risk - floor) / signal, "n": self.held_out}
        if matrix is None or (matrix.shape[1] > problem.truth.shape[1] and not learned):
            return
        for metric, value in measures(matrix, problem).items():
            yield {"metric": metric, "value": value, "n": problem.truth.shape[1]}
        weights = problem.weights(jax.random.key(HELD_OUT), 100)
        yield {"metric": "capture", "value": float(weight_capture(jnp.asarray(matrix), weights)), "n": 100}


def _found(adapted: np.ndarray, family: Family, seed: int):
    """The symmetries of the adapted weights: what U makes of tasks, which its columns show only up to their scale."""
    if not family.candidates:
        return
    columns = adapted.reshape(len(adapted), -1).T
    found = discover(columns, family.problem.shape, family.candidates, key=jax.random.key(seed))
    for finding in found.table:
        yield {
            "metric": "discovery",
            "value": finding.error,
            "n": found.dimension,
            "candidate": finding.name,
            "verdict": finding.verdict,
            "p_value": finding.p_value,
            "directions": finding.directions,
            "moved": finding.moved,
        }


def _pictures(problem: AbstractProblem, truth: np.ndarray, adapted: np.ndarray, matrix: np.ndarray | None):
    """`(2, 4, out, in)`: truth and learned; two tasks' weights, which entries are used, what the middle is tied to."""
    return np.stack([_row(problem, truth, problem.truth), _row(problem, adapted, matrix)]).astype(np.float32)


def _row(problem: AbstractProblem, weights: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    if matrix is None:
        return np.concatenate([weights, np.full((2, *problem.shape), np.nan)])
    rank = min(problem.truth.shape[1], matrix.shape[1])
    basis = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)[0][:, :rank]
    used, tied = np.sum(np.square(basis), axis=1), basis @ basis[_middle(problem)]
    return np.concatenate([weights, used.reshape(1, *problem.shape), tied.reshape(1, *problem.shape)])


def _middle(problem: AbstractProblem) -> int:
    """An entry in the middle of those that the middle output really uses."""
    out, inputs = problem.shape
    used = np.sum(np.square(problem.truth), axis=1).reshape(out, inputs)[out // 2]
    places = np.flatnonzero(used > 0.5 * used.max())
    return out // 2 * inputs + int(places[len(places) // 2])
