"""A Gaussian squeezed into (-1, 1): the actions of soft actor-critic."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._types import Key

LEAST_LOG_STD, GREATEST_LOG_STD = -20.0, 2.0


class TanhGaussian(NamedTuple):
    """tanh(u), u ~ N(mean, exp(log_std)^2), each coordinate for itself (Haarnoja et al. 2018, appendix C)."""

    mean: Float[Array, "rows actions"]
    log_std: Float[Array, "rows actions"]

    @classmethod
    def of(cls, outputs: Float[Array, "rows outputs"]) -> "TanhGaussian":
        """From a network's outputs: means, then logarithms of standard deviations, clipped to [-20, 2]."""
        mean, log_std = jnp.split(outputs, 2, axis=1)
        return cls(mean, jnp.clip(log_std, LEAST_LOG_STD, GREATEST_LOG_STD))

    @property
    def mode(self) -> Float[Array, "rows actions"]:
        """The action without noise."""
        return jnp.tanh(self.mean)

    def sample(self, key: Key) -> tuple[Float[Array, "rows actions"], Float[Array, "rows"]]:
        """Actions and their log-densities; the key is consumed.

        $$\\log p(a) = \\log N(u) - \\sum_i \\log(1 - \\tanh^2 u_i), \\quad
        \\log(1 - \\tanh^2 u) = 2 (\\log 2 - u - \\text{softplus}(-2u)),$$

        which loses no digits where tanh is near 1.
        """
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        u = self.mean + jnp.exp(self.log_std) * noise
        gaussian = -0.5 * (noise**2 + jnp.log(2 * jnp.pi)) - self.log_std
        squeezed = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
        return jnp.tanh(u), jnp.sum(gaussian - squeezed, axis=1)
