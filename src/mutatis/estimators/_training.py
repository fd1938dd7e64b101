"""Rows with groups, drawn as tasks and trained on."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import mutatis
from mutatis import Learner, OuterState, Task
from mutatis._direction import AbstractDirection, Unrolled
from mutatis._types import Key, Objective, Scalar, Tree
from mutatis.estimators._blueprint import for_prediction

BLOCK = 25
"""Outer steps of one compiled dispatch."""

_SMALLEST_TABLE = 256
_LARGEST_PADDED = 8192


class GroupSampler(eqx.Module):
    """Draws groups, and from each group rows, both with the chance that their weights give them.

    Groups are drawn systematically from a random order (each is as often among the tasks of a step as its
    share says, up to one), rows independently with replacement by inverting the cumulative weight. So a row
    of weight 2 is drawn exactly when one of two equal rows would be.
    """

    inputs: Float[Array, "rows ..."]
    targets: Array
    cumulative: Float[Array, "rows"]
    first: Int[Array, "groups"]
    last: Int[Array, "groups"]
    before: Float[Array, "groups"]
    weight: Float[Array, "groups"]
    share: Float[Array, "groups"]
    tasks: int = eqx.field(static=True)
    support: int = eqx.field(static=True)

    def __call__(self, key: Key) -> Task:
        """A stack of tasks whose context is the query's inputs. The key is consumed."""
        order_key, group_key, row_key = jax.random.split(key, 3)
        order = jax.random.permutation(order_key, self.share.shape[0])
        offset = jax.random.uniform(group_key, (), jnp.float32)
        places = (offset + jnp.arange(self.tasks, dtype=jnp.float32)) / self.tasks
        slot = jnp.searchsorted(jnp.cumsum(self.share[order]), places, side="right")
        group = order[jnp.minimum(slot, order.shape[0] - 1)]
        along = jax.random.uniform(row_key, (self.tasks, self.support), jnp.float32) * self.weight[group][:, None]
        row = jnp.searchsorted(self.cumulative, self.before[group][:, None] + along, side="right")
        row = jnp.clip(row, self.first[group][:, None], self.last[group][:, None])
        inputs = self.inputs[row]
        return Task(inputs, (inputs, self.targets[row]), group)


def group_sampler(
    inputs: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray,
    *,
    num_groups: int,
    by_size: bool,
    tasks: int,
    support: int,
) -> GroupSampler:
    """The sampler of these rows; it depends on their set only, not on their order.

    - `inputs`: `(rows, ...)`, float32; `targets`, `weights`: `(rows,)`; weights are positive.
    - `groups`: `(rows,)`, ids below `num_groups`; a group without rows is never drawn.
    - `by_size`: draw groups in proportion to their weight, instead of all equally often.
    """
    order = np.argsort(_fingerprint(inputs, targets), kind="stable")
    order = order[np.argsort(groups[order], kind="stable")]
    inputs, targets, groups, weights = inputs[order], targets[order], groups[order], weights[order]
    cumulative = np.cumsum(weights, dtype=np.float64)
    ids = np.arange(num_groups)
    first, end = np.searchsorted(groups, ids, side="left"), np.searchsorted(groups, ids, side="right")
    ends = np.concatenate([[0.0], cumulative])
    weight = ends[end] - ends[first]
    share = weight if by_size else (end > first).astype(np.float64)
    padding = _padded_rows(len(inputs)) - len(inputs)
    pad = lambda rows: np.concatenate([rows, np.repeat(rows[-1:], padding, axis=0)])
    single = lambda values: jnp.asarray(values, jnp.float32)
    return GroupSampler(
        jnp.asarray(pad(inputs)),
        jnp.asarray(pad(targets)),
        single(pad(cumulative)),
        jnp.asarray(first, jnp.int32),
        jnp.asarray(np.maximum(end - 1, first), jnp.int32),
        single(ends[first]),
        single(weight),
        single(share / share.sum()),
        tasks,
        support,
    )


def _fingerprint(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """One sortable item per row, equal for equal rows."""
    flat = np.concatenate([inputs.reshape(len(inputs), -1), targets[:, None].astype(np.float32)], axis=1) + 0.0
    flat = np.ascontiguousarray(flat)
    return flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1]))).ravel()


def _padded_rows(rows: int) -> int:
    # Tables of similar size share a compiled program; of large ones the memory matters more.
    if rows > _LARGEST_PADDED:
        return rows
    return max(_SMALLEST_TABLE, 1 << (rows - 1).bit_length())


class AdaptedAndNot(AbstractDirection):
    r"""Judges the adapted and the unadapted model together, so that both are of use.

    $$L = (1 - s) L_{query}(\text{adapted}) + s L_{query}(\text{bind}(\text{init}))$$

    - `share`: s, `()`.
    """

    share: Float[Array, ""]

    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """The sum, and the state after the context."""
        adapted, state = Unrolled().loss(learner, task, objective, key=key)
        unadapted = objective(learner.rule.bind(learner.model, learner.rule.init(learner.model)), task.query)
        return adapted + self.share * (unadapted - adapted), state


def squared_error(model, query) -> Scalar:
    """Mean over rows of the squared difference, in units of the targets' variance; `query` is (inputs,
    targets)."""
    inputs, targets = query
    return jnp.mean(jnp.square(model(inputs)[:, 0] - targets))


def train(
    learner: Learner,
    outer: OuterState,
    sampler: GroupSampler,
    *,
    steps: int,
    objective: Objective,
    unadapted_weight: float,
    report: Callable[[int, float], None],
) -> tuple[Learner, OuterState, np.ndarray]:
    """So many outer steps, in blocks; returns also the mean loss of each step.

    - `report`: `report(steps done, mean loss of the last block)`.

    **Raises:** `FloatingPointError` at the first block whose losses are not finite.
    """
    plain = unadapted_weight == 0 or isinstance(for_prediction(learner).rule, mutatis.NoAdaptation)
    direction = Unrolled() if plain else AdaptedAndNot(jnp.asarray(unadapted_weight, jnp.float32))
    curve: list[np.ndarray] = []
    done = 0
    while done < steps:
        block = min(BLOCK, steps - done)
        learner, outer, history = mutatis.outer_scan(
            learner, outer, sampler, steps=block, objective=objective, direction=direction
        )
        losses = np.asarray(history.losses, np.float64).mean(1)
        if not np.isfinite(losses).all():
            step = done + int(np.argmin(np.isfinite(losses))) + 1
            raise FloatingPointError(
                f"the loss was {losses[step - done - 1]} at step {step}; lower learning_rate or inner_learning_rate."
            )
        done += block
        curve.append(losses)
        report(done, float(losses.mean()))
    return learner, outer, np.concatenate(curve)
