"""The outer loop: the only training step in the library.

One step: every task adapts its own copy of the model and is judged; the weighting turns losses (and, where it asks, the
Gramian of the tasks' gradients) into one weight per task; the optimiser follows the weighted gradient.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mutatis._direction import AbstractDirection, Unrolled
from mutatis._rule import Learner
from mutatis._share import same_leaves_once, share_equal_computations
from mutatis._task import Task
from mutatis._tree import gramian, scan, trainable, weighted_sum
from mutatis._types import Key, Losses, Objective, Tree
from mutatis._weighting import AbstractWeighting

TASKS = "tasks"
"""Name of the axis over which tasks are vmapped; a rule may pool over it."""


class OuterState(eqx.Module):
    """Everything the outer loop carries from step to step, besides the learner."""

    weighting: AbstractWeighting
    weighting_state: Tree
    optim: optax.GradientTransformation = eqx.field(static=True)
    optim_state: optax.OptState
    key: Key
    step: Int[Array, ""]


class History(NamedTuple):
    """What `outer_scan` saw: `losses[step, task]` and the group id of each, `index[step, task]`."""

    losses: Float[Array, "steps tasks"]
    index: Int[Array, "steps tasks"]


def outer_init(
    learner: Learner,
    weighting: AbstractWeighting,
    optim: optax.GradientTransformation,
    *,
    num_groups: int,
    key: Key,
) -> OuterState:
    """The state before the first outer step.

    - `num_groups`: how many different groups (tasks) there are in all; weightings keep their memory per group id.
    - `key`: consumed; every random draw of the training run comes from it.
    """
    if num_groups < 1:
        raise ValueError(f"num_groups is {num_groups}; pass the number of different groups in training, at least 1.")
    optim_state = optim.init(eqx.filter(learner, trainable(learner)))
    return OuterState(weighting, weighting.init(num_groups), optim, optim_state, key, jnp.zeros((), jnp.int32))


def outer_step(
    learner: Learner,
    state: OuterState,
    tasks: Task,
    *,
    objective: Objective,
    direction: AbstractDirection = Unrolled(),  # noqa: B008  (immutable)
    map_tasks: bool = False,
) -> tuple[Learner, OuterState, Losses]:
    """One step of the outer loop; returns the learner, the state and the tasks' losses before the step.

    Pure and not compiled: call it inside your own `equinox.filter_jit`, or use `outer_scan`.

    - `tasks`: a stack of tasks. Where context and query hold the same array (the same Python object), their shared work
      is done once.
    - `objective`: `objective(adapted model, query) -> scalar`.
    - `map_tasks`: run the tasks one after the other instead of side by side. Less memory, and often faster on a CPU.
      Rules that pool over tasks need side by side.
    """
    check_mapping(learner, map_tasks)
    key, rule_key, weighting_key = jax.random.split(state.key, 3)
    params, static = eqx.partition(learner, trainable(learner))
    num_tasks = tasks.index.shape[0]
    arrays, rebuild = same_leaves_once((tasks, jax.random.split(rule_key, num_tasks)))

    def task_loss(params, arrays):
        task, task_key = rebuild(arrays)
        return direction.loss(eqx.combine(params, static), task, objective, key=task_key)

    def task_losses(params):
        return jax.vmap(task_loss, in_axes=(None, 0), axis_name=TASKS)(params, arrays)

    def weigh(losses, gram):
        weights, memory = state.weighting.weigh(losses, gram, tasks.index, state.weighting_state, key=weighting_key)
        return jax.lax.stop_gradient((weights.astype(losses.dtype), memory))

    def losses_at(params):
        if map_tasks:
            return jax.lax.map(lambda task: task_loss(params, task)[0], arrays)
        return share_equal_computations(task_losses)(params)[0]

    if map_tasks or (state.weighting.needs_gramian and not learner.rule.couples_tasks):
        row = jax.value_and_grad(share_equal_computations(task_loss), has_aux=True)
        each = (lambda f: jax.lax.map(f, arrays)) if map_tasks else (lambda f: jax.vmap(f)(arrays))
        (losses, states), rows = each(lambda task: row(params, task))
        weights, memory = weigh(losses, gramian(rows) if state.weighting.needs_gramian else None)
        gradient = weighted_sum(weights, rows)
    else:
        losses, pullback, states = jax.vjp(share_equal_computations(task_losses), params, has_aux=True)
        gram = None
        if state.weighting.needs_gramian:
            gram = gramian(jax.vmap(pullback)(jnp.eye(num_tasks, dtype=losses.dtype))[0])
        weights, memory = weigh(losses, gram)
        (gradient,) = jax.tree.map(_untransposed, pullback(weights))

    updates, optim_state = state.optim.update(gradient, state.optim_state, params)
    learner = eqx.apply_updates(learner, updates)
    if state.weighting.needs_losses_after:
        after = losses_at(eqx.filter(learner, trainable(learner)))
        memory = jax.lax.stop_gradient(state.weighting.observe(losses, after, tasks.index, memory))
    learner = learner.rule.absorb(learner, states)
    state = OuterState(state.weighting, memory, state.optim, optim_state, key, state.step + 1)
    return learner, state, losses


def _untransposed(gradient: Array) -> Array:
    # XLA turns the transposition of a weight's gradient into a product of transposed factors, half as fast on a CPU.
    return jax.lax.optimization_barrier(gradient.T).T if gradient.ndim == 2 else gradient


def check_mapping(learner: Learner, map_tasks: bool) -> None:
    """Refuses to take the tasks one after the other where the rule needs them side by side."""
    if map_tasks and learner.rule.couples_tasks:
        raise ValueError(
            "map_tasks=True runs one task at a time, but the rule pools over the tasks; pass map_tasks=False."
        )


@eqx.filter_jit(donate="none")
def outer_scan(
    learner: Learner,
    state: OuterState,
    sample_tasks: Callable[[Key], Task],
    *,
    steps: int,
    objective: Objective,
    direction: AbstractDirection = Unrolled(),  # noqa: B008  (immutable)
    map_tasks: bool = False,
) -> tuple[Learner, OuterState, History]:
    """Many outer steps in one compiled dispatch.

    - `sample_tasks`: `sample_tasks(key) -> stack of tasks`, traced into the loop. Make it an Equinox module that holds
      its arrays; a function that closes over arrays bakes them into the program, and a fresh function object per
      call compiles again.
    - `steps`: number of steps; each different number compiles once.

    Other arguments as in `outer_step`.
    """

    def one(carry, _):
        learner, state = carry
        key, sample_key = jax.random.split(state.key)
        state = eqx.tree_at(lambda s: s.key, state, key)
        tasks = sample_tasks(sample_key)
        learner, state, losses = outer_step(
            learner, state, tasks, objective=objective, direction=direction, map_tasks=map_tasks
        )
        return (learner, state), History(losses, tasks.index)

    (learner, state), history = scan(one, (learner, state), length=steps)
    return learner, state, history
