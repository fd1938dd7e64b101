"""What rules read from a classifier and from a context."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._types import Tree
from mutatis.nn._layers import Classifier, Linear


def head_of(model: Any) -> Linear:
    """The last layer of a classifier.

    **Raises:** `ValueError` if the model does not say which layer that is.
    """
    if not isinstance(model, Classifier):
        raise ValueError(
            f"model is a {type(model).__name__}, whose last layer is unknown; wrap it as nn.Classifier(features, head)."
        )
    return model.head


def inputs_of(context: Tree) -> Array:
    """The inputs of a context, which may be a pair that begins with them."""
    return context[0] if isinstance(context, tuple | list) else context


def labelled_pair(context: Tree, rule: str) -> tuple[Array, Array]:
    """Inputs and targets of a labelled context; raises `ValueError`, naming the rule, if it is no pair."""
    if not isinstance(context, tuple | list) or len(context) != 2:
        raise ValueError(f"the context is a {type(context).__name__}; {rule} needs a pair (inputs, targets).")
    return context[0], jnp.asarray(context[1])


def unit(rows: Float[Array, "... features"]) -> Float[Array, "... features"]:
    """Rows divided by their Euclidean norm; a row of zeros stays, with a derivative of zero or finite."""
    squares = jnp.sum(jnp.square(rows), axis=-1, keepdims=True)
    return rows * jax.lax.rsqrt(jnp.maximum(squares, jnp.finfo(rows.dtype).tiny))
