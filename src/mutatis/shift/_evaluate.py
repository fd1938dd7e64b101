"""Judges a learner on groups it adapts to: in batches of a given support, or along a stream."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from mutatis._rule import Learner, adapt
from mutatis.shift._groups import Groups
from mutatis.shift._sampling import scaled

ROWS_AT_ONCE = 300
"""About how many rows are predicted in one dispatch."""


def predict_batches(
    learner: Learner,
    groups: Groups,
    support: int,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    seed: int = 0,
) -> np.ndarray:
    """Predicted class of every row: *adapt, then predict* on batches of `support` rows of one group.

    Each group is shuffled (by `seed`) and cut into batches. Where it does not divide, the last batch reaches back to
    rows of the one before, so that every context has the size that is asked for; their last prediction counts. Groups
    with fewer rows are one batch. The learner adapts to a batch's inputs and predicts the same batch; nothing is kept
    from one to the next.
    """
    if support < 1:
        raise ValueError(f"support is {support}; adapt to at least one row.")
    return _predict(learner, groups, _batches(groups, support, seed), _adapt_and_predict, mean, std)


def predict_source(
    learner: Learner, groups: Groups, *, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)
) -> np.ndarray:
    """Predicted class of every row by the learner bound to no context: *no adaptation*."""
    rows = np.arange(len(groups))
    batches = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    return _predict(learner, groups, batches, _predict_unadapted, mean, std)


def predict_stream(
    learner: Learner,
    groups: Groups,
    chunk: int,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    seed: int = 0,
    longest: int = 30,
) -> np.ndarray:
    """Predicted class along each group's stream; -1 for rows that are not part of it.

    Each group is shuffled and arrives in chunks of exactly `chunk` rows, at most `longest` of them; for each chunk the
    learner first updates its state with the inputs, then predicts them: *stream* order. The state is kept
    to the group's end. Groups with fewer rows than one chunk are left out.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; a stream arrives in chunks of at least one row.")
    rng = np.random.default_rng(seed)
    streams = []
    for members in groups.members:
        length = min(len(members) // chunk, longest)
        if length:
            streams.append(rng.permutation(members)[: length * chunk].reshape(length, chunk))
    return _predict(learner, groups, streams, _follow_stream, mean, std)


def _batches(groups: Groups, support: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    batches = []
    for members in groups.members:
        rows = rng.permutation(members)
        last = max(len(rows) - support, 0)
        batches += [rows[min(start, last) :][:support] for start in range(0, len(rows), support)]
    return batches


def _predict(
    learner: Learner,
    groups: Groups,
    pieces: Sequence[np.ndarray],
    predict: Callable[[Learner, Array, Array], Array],
    mean: Sequence[float],
    std: Sequence[float],
) -> np.ndarray:
    """Runs pieces of equal shape together, so that few shapes are compiled and none alone."""
    predictions = np.full(len(groups), -1, np.int64)
    for rows in _stacks(pieces):
        x = scaled(jnp.asarray(groups.inputs[rows]), mean, std)
        predictions[rows] = np.asarray(predict(learner, x, jax.random.key(0)))
    return predictions


def _stacks(pieces: Sequence[np.ndarray]) -> Iterator[Int[np.ndarray, "pieces ..."]]:
    """Pieces of one shape, about `ROWS_AT_ONCE` rows a stack; the last stack of a shape is filled up by repetition."""
    by_shape: dict[tuple[int, ...], list[np.ndarray]] = {}
    for piece in pieces:
        by_shape.setdefault(piece.shape, []).append(piece)
    for alike in by_shape.values():
        together = max(1, ROWS_AT_ONCE // alike[0].size)
        together = min(together, 2 ** (len(alike) - 1).bit_length())
        for start in range(0, len(alike), together):
            stack = alike[start : start + together]
            yield np.stack(stack + [stack[0]] * (together - len(stack)))


@eqx.filter_jit
def _adapt_and_predict(learner: Learner, x: Array, key: Any) -> Array:
    return jax.vmap(lambda batch: jnp.argmax(adapt(learner, batch, key=key)(batch), -1))(x)


@eqx.filter_jit
def _predict_unadapted(learner: Learner, x: Array, key: Any) -> Array:
    del key
    model = learner.rule.bind(learner.model, learner.rule.init(learner.model))
    return jax.vmap(lambda batch: jnp.argmax(model(batch), -1))(x)


@eqx.filter_jit
def _follow_stream(learner: Learner, x: Array, key: Any) -> Array:
    rule, model = learner.rule, learner.model

    def fold(state, chunk):
        state = rule.update(model, state, chunk, key=key)
        return state, jnp.argmax(rule.bind(model, state)(chunk), -1)

    return jax.vmap(lambda stream: jax.lax.scan(fold, rule.init(model), stream)[1])(x)
