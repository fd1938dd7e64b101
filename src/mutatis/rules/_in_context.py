"""Adaptation by reading the context as a sequence."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import GUPTA_2024
from mutatis._rule import AbstractRule
from mutatis._types import Key, Scalar, Tree
from mutatis.nn._attention import Cache
from mutatis.nn._in_context import InContextClassifier
from mutatis.rules._features import inputs_of
from mutatis.rules._loss import cross_entropy


class InContextModel(eqx.Module):
    """An `InContextClassifier` that has read a context."""

    model: InContextClassifier
    cache: Cache

    def __call__(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows classes"]:
        """Logits of each row given the context and itself; the rows do not see each other."""
        return self.model.independently(x, self.cache)

    def stream(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows classes"]:
        """Logits of each row given the context, the rows before it and itself."""
        return self.model.stream(x, self.cache)[0]

    def forget(self) -> "InContextModel":
        """The same model before any context."""
        return InContextModel(self.model, self.model.empty_cache(self.cache.capacity))


@cites(GUPTA_2024)
class InContext(AbstractRule):
    """Adapts by attention to the unlabelled context, with no change of any weight (ICRM, Gupta et al. 2024).

    The model is an `InContextClassifier`; the state is its transformer's key/value cache, so one update costs what
    reading the new rows costs, and a context in pieces equals the whole.

    Train with `causal_cross_entropy`, which judges every position of a sequence: all context lengths from none to the
    whole are trained at once. At test `adapt(learner, context, key=key)(x)` predicts each row by itself, and
    `.stream(x)` a sequence as it arrives.

    - `capacity`: how many rows can be looked back on. Of a longer context the latest rows count, and every row of a
      stream, in training too, looks back no further; give it the length of the training sequences or more.

    A context may be inputs, or a pair whose first entry is the inputs.

    **Raises:** `ValueError` if `capacity` is not positive, or the model is not an `InContextClassifier`.

    **Deviations:** the original predicts only along a sequence of 100 rows with learned positions; predicting many rows
    from one context, and contexts longer than the window, are ours.
    """

    capacity: int = eqx.field(static=True, default=100)

    def __check_init__(self):
        if self.capacity < 1:
            raise ValueError(f"capacity is {self.capacity}; pass a positive number of rows to look back on.")

    def init(self, model: Any) -> Cache:
        """Nothing read."""
        if not isinstance(model, InContextClassifier):
            raise ValueError(
                f"model is a {type(model).__name__}, which cannot read a context; "
                "build it with nn.InContextClassifier or nn.in_context_net."
            )
        return model.empty_cache(self.capacity)

    def update(self, model: Any, state: Cache, context: Tree, *, key: Key) -> Cache:
        """The cache after the rows of the context."""
        del key
        inputs = inputs_of(context)
        return model.stream(inputs, state)[1] if inputs.shape[0] else state

    def bind(self, model: Any, state: Cache) -> InContextModel:
        """The model that has read what the cache holds."""
        return InContextModel(model, state)


def causal_cross_entropy(adapted: InContextModel, query: tuple[Array, Array]) -> Scalar:
    """Mean cross-entropy over all positions of the query read as one sequence from its start, in nats.

    The objective of ICRM (Gupta et al. 2024, section 4). What the model adapted to before is forgotten, so the context
    of a training task may be the query's own inputs (of use to `BatchMoments` alone).
    """
    return cross_entropy(adapted.forget().stream, query)
