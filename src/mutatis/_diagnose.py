"""Looking at one step of the outer loop instead of taking it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._diagnosis import Diagnosis
from mutatis._direction import AbstractDirection, Unrolled
from mutatis._outer import TASKS, check_mapping
from mutatis._references import FIFTY_2021, YU_2020
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import gramian, scale, subtract, trainable, weighted_sum
from mutatis._types import Key, Losses, Objective, Scalar


@cites(YU_2020, FIFTY_2021)
def diagnose(
    learner: Learner,
    tasks: Task,
    *,
    objective: Objective,
    direction: AbstractDirection = Unrolled(),  # noqa: B008  (immutable)
    where: Callable[[Any], PyTree] = trainable,
    step_size: float | Scalar = 0.01,
    depth: int | None = None,
    pairwise: bool = True,
    map_tasks: bool = False,
    key: Key,
) -> Diagnosis:
    """What the tasks' gradients do to each other: conflicts, sizes, curvature, and what a step would change.

    Yu et al. 2020 hold three things together responsible for the failures of joint training: gradients that conflict,
    that differ much in size, and a high curvature along the step. The learner is not changed. Pure and not
    compiled: call it inside your own `equinox.filter_jit`, or inside the training loop.

    Gradients are those of `direction`, as the outer step would follow them; losses, slopes and curvature are exact and
    those of the adapted model. Every evaluation of a task uses the same randomness, so that a change is the step's.

    - `tasks`: a stack of tasks.
    - `objective`: `objective(adapted model, query) -> scalar`.
    - `where`: `where(learner) -> filter specification` of the leaves that are looked at and would move.
    - `step_size`: of a step of plain gradient descent along the mean gradient, whose effect is foretold and measured.
    - `depth`: how many entries of a parameter's path name its layer; by default every array is its own.
    - `pairwise`: also take the step of each task alone and judge all tasks after it. T^2 losses.
    - `map_tasks`: one task after the other instead of side by side: less memory. The gradients, T times the number of
      parameters, are kept in any case.
    - `key`: consumed.

    **Raises:** `ValueError` if `where` chooses nothing, `depth` is not positive, or `map_tasks` meets a rule that pools
    over the tasks.

    ```python
    >>> import jax, jax.numpy as jnp, mutatis
    >>> towards = lambda model, target: jnp.sum((model - target) ** 2)
    >>> tasks = mutatis.Task(None, jnp.asarray([[1.0, 0.0], [-3.0, 0.0]]), jnp.arange(2))
    >>> learner = mutatis.Learner(jnp.zeros(2), mutatis.NoAdaptation())
    >>> found = mutatis.diagnose(learner, tasks, objective=towards, key=jax.random.key(0))
    >>> float(found.cosines[0, 1]), float(found.size_ratio), float(found.sharpness)
    (-1.0, 3.0, 2.0)

    ```
    """
    params = _chosen(learner, where, depth)
    check_mapping(learner, map_tasks)
    batch = (tasks, jax.random.split(key, tasks.index.shape[0]))

    def loss_by(way, params, task):
        return way.loss(eqx.combine(params, learner), task[0], objective, key=task[1])[0]

    def losses_at(params, way: AbstractDirection = Unrolled()) -> Losses:  # noqa: B008  (immutable)
        one = lambda task: loss_by(way, params, task)
        return jax.lax.map(one, batch) if map_tasks else jax.vmap(one, axis_name=TASKS)(batch)

    if learner.rule.couples_tasks:
        # A task's row holds what the others' contexts do to its loss, so it is a row of the joint Jacobian.
        losses, pullback = jax.vjp(lambda at: losses_at(at, direction), params)
        (rows,) = jax.vmap(pullback)(jnp.eye(losses.shape[0], dtype=losses.dtype))
    else:
        row = lambda task: jax.grad(lambda at: loss_by(direction, at, task))(params)
        rows = jax.lax.map(row, batch) if map_tasks else jax.vmap(row)(batch)

    def losses_and_slopes(at):
        return jax.jvp(losses_at, (at,), (mean,))

    num_tasks = tasks.index.shape[0]
    mean = weighted_sum(jnp.full(num_tasks, 1 / num_tasks), rows)
    # Forward over forward: second derivatives along a line need no more memory than a few forward passes.
    (losses, slopes), (_, curvature) = jax.jvp(losses_and_slopes, (params,), (mean,))
    step = jnp.asarray(step_size, losses.dtype)
    losses_after, slopes_after = losses_and_slopes(subtract(params, scale(step, mean)))
    own = jax.lax.map(lambda row: losses_at(subtract(params, scale(step, row))), rows) if pairwise else None
    layers, layer_gramians = _by_layer(rows, depth)
    return Diagnosis(
        losses=losses,
        index=tasks.index,
        layer_gramians=layer_gramians.astype(losses.dtype),
        slopes=slopes,
        curvature=curvature,
        # g' H g integrated along the path is the difference of the slopes at its ends.
        path_curvature=(slopes - slopes_after) / step,
        step_size=step,
        losses_after=losses_after,
        losses_after_own=None if own is None else own.T,
        layers=layers,
    )


def _chosen(learner: Learner, where: Callable[[Any], PyTree], depth: int | None) -> PyTree:
    if depth is not None and depth < 1:
        raise ValueError(f"depth is {depth}; pass how many entries of a path name a layer, or None for every array.")
    if not callable(where):
        raise ValueError(f"where is a {type(where).__name__}; pass a function of the learner, such as is_symmetry.")
    chosen = eqx.filter(learner, where(learner))
    params = eqx.filter(chosen, trainable(chosen))
    if not jax.tree.leaves(params):
        raise ValueError("where= chooses no trainable array of the learner; choose at least one.")
    return params


def _by_layer(rows: PyTree, depth: int | None) -> tuple[tuple[str, ...], Float[Array, "layers tasks tasks"]]:
    """The Gramian of each layer, a sum over its arrays, and the names in the order of the learner."""
    found: dict[str, list[Array]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(rows)[0]:
        found.setdefault(jax.tree_util.keystr(path[:depth], simple=True, separator="."), []).append(leaf)
    return tuple(found), jnp.stack([gramian(leaves) for leaves in found.values()])
