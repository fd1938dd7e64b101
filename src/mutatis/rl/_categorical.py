"""Choices among a few actions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._types import Key


class Categorical(eqx.Module):
    """One action out of a few, with chances softmax(logits), for each entry of the leading axes."""

    logits: Float[Array, "*rows actions"]

    @property
    def mode(self) -> Int[Array, "*rows"]:
        """The likeliest action, the first of equals."""
        return jnp.argmax(self.logits, axis=-1)

    def sample(self, *, key: Key) -> Int[Array, "*rows"]:
        """A draw from each; the key is consumed."""
        return jax.random.categorical(key, self.logits)

    def log_prob(self, x: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
        """Logarithms of the chances of actions."""
        return jnp.take_along_axis(jax.nn.log_softmax(self.logits), x[..., None], axis=-1)[..., 0]

    def entropy(self) -> Float[Array, "*rows"]:
        """In nats."""
        log_chances = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_chances) * log_chances, axis=-1)

    def kl(self, other: "Categorical") -> Float[Array, "*rows"]:
        """KL(self || other), in nats."""
        own, others = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(own) * (own - others), axis=-1)
