"""A task: what a model may adapt to, what judges it, and which group it came from."""

import equinox as eqx
from jaxtyping import Array, Int, PyTree


class Task(eqx.Module):
    """One problem of the inner loop.

    - `context`: what the model may adapt to. Under group shift the unlabelled inputs, `(examples, ...)`.
    - `query`: what judges the adapted model. Under group shift the pair `(inputs, targets)`.
    - `index`: the id of the group among all training groups. Weightings that remember groups (group DRO) need the
      id and not the slot in the batch: a group keeps its history however often and wherever it is drawn.

    A *stack* of tasks has one more leading axis on every leaf.
    """

    context: PyTree
    query: PyTree
    index: Int[Array, ""]
