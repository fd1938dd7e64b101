"""Adaptation by conditioning on the mean of what a network sees in the context."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import ZHANG_2021
from mutatis._rule import AbstractStatistic
from mutatis._tree import Fixed
from mutatis._types import Key, Tree
from mutatis.nn._layers import beside
from mutatis.rules._features import inputs_of
from mutatis.rules._logarithm import stored_log
from mutatis.rules._shrinkage import context_share


class Conditioned(eqx.Module):
    """A model that sees a fixed context beside every input.

    The context, `(*space, extra)`, is joined to each row of the inputs, `(rows, *space, channels)`, along the last
    axis.
    """

    model: Any
    context: Float[Array, "*space extra"]

    def __call__(self, x: Float[Array, "rows *space channels"]) -> Array:
        """The model's answer to the joined inputs."""
        return self.model(beside(x, self.context))


@cites(ZHANG_2021)
class ContextMean(AbstractStatistic):
    r"""Conditions the model on the mean embedding of the context (ARM-CML, Zhang et al. 2021, section 4.1).

    $$c = \frac{N c_0 + \sum_k \phi(x_k)}{N + K}, \qquad f(x; c) = f([x, c])$$

    - `net`: phi, `(rows, *space, channels) -> (rows, *space, extra)`.
    - `prior`: c_0, `(extra,)`, the same at every position; trained. With no context at all c = c_0.
    - `shape`: of the mean embedding, `(*space, extra)`.
    - `pseudo_count`: N, in rows. 0 is the original. A number is kept; a scalar array is trained (as its logarithm).

    The state is `(number of rows, sum of embeddings)`.
    """

    net: Any
    prior: Float[Array, "extra"]
    log_pseudo_count: Float[Array, ""] | Fixed
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        net: Any,
        shape: tuple[int, ...],
        *,
        pseudo_count: float | Float[Array, ""] = 0.0,
        dtype=jnp.float32,
    ):
        self.log_pseudo_count = stored_log("pseudo_count", pseudo_count)
        self.net = net
        self.prior = jnp.zeros(shape[-1], dtype)
        self.shape = tuple(shape)

    def init(self, model: Any) -> tuple[Array, Array]:
        """No rows."""
        del model
        return jnp.zeros((), self.prior.dtype), jnp.zeros(self.shape, self.prior.dtype)

    def measure(self, model: Any, context: Tree, *, key: Key) -> tuple[Array, Array]:
        """Number of rows and sum of their embeddings; of a pair, the first entry is embedded."""
        del model, key
        inputs = inputs_of(context)
        embedded = self.net(inputs)
        if embedded.shape[1:] != self.shape:
            raise ValueError(
                f"net gives embeddings of shape {embedded.shape[1:]} but shape is {self.shape}; make them equal."
            )
        return jnp.asarray(inputs.shape[0], embedded.dtype), jnp.sum(embedded, 0)

    def bind(self, model: Any, state: tuple[Array, Array]) -> Conditioned:
        """The model beside the shrunken mean."""
        count, total = state
        share = context_share(count, self.log_pseudo_count)
        prior = jnp.broadcast_to(self.prior, self.shape)
        return Conditioned(model, prior + share * (total / jnp.maximum(count, 1) - prior))
