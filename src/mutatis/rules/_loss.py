"""Objectives: how good a model is on some data, with labels or without."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._citation import cites
from mutatis._references import WANG_2021, ZHANG_2021
from mutatis._types import Scalar, Tree


@cites(ZHANG_2021)
def cross_entropy(
    model: Callable[[Array], Array], query: tuple[Float[Array, "rows ..."], Int[Array, "rows"]]
) -> Scalar:
    """Mean negative log-likelihood of the targets, in nats; `model(inputs)` gives logits `(rows, classes)`."""
    inputs, targets = query
    log_probabilities = jax.nn.log_softmax(model(inputs), axis=-1)
    return -jnp.mean(jnp.take_along_axis(log_probabilities, targets[:, None], axis=-1))


class LearnedLoss(eqx.Module):
    r"""A loss on a model's outputs that the outer loop learns (ARM-LL, Zhang et al. 2021, section 4.2).

    $$L(\theta; x_{1..K}) = \lVert \phi(f_\theta(x_1)), \dots, \phi(f_\theta(x_K)) \rVert_2$$

    - `net`: phi, from outputs `(K, classes)` to one number each, `(K, 1)`.

    **Deviations:** the norm has a subgradient of zero where all K numbers vanish, instead of a division by zero.
    """

    net: Any

    def __call__(self, model: Any, context: Tree) -> Scalar:
        """The norm over the context's rows."""
        squares = jnp.sum(jnp.square(self.net(model(context))))
        positive = squares > 0
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


@cites(WANG_2021)
def entropy(model: Any, context: Tree) -> Scalar:
    """Mean entropy of the predicted classes, in nats (Tent, Wang et al. 2021, eq. 1); `model(context)` gives logits."""
    log_probabilities = jax.nn.log_softmax(model(context), axis=-1)
    return -jnp.mean(jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1))
