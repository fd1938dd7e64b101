"""Actions with Gaussian noise: what PPO and TRPO act with."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._types import Key


class Gaussian(eqx.Module):
    r"""N(mean, diag(exp(log_std))^2), a distribution of vectors for each entry of the leading axes.

    - `mean`, `log_std`: of one shape `(*rows, actions)`.
    """

    mean: Float[Array, "*rows actions"]
    log_std: Float[Array, "*rows actions"]

    @property
    def mode(self) -> Float[Array, "*rows actions"]:
        """The means."""
        return self.mean

    def sample(self, *, key: Key) -> Float[Array, "*rows actions"]:
        """A draw from each; the key is consumed."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_std) * noise

    def log_prob(self, x: Float[Array, "*rows actions"]) -> Float[Array, "*rows"]:
        r"""$\sum_i -\frac12 ((x_i - \mu_i) / \sigma_i)^2 - \log \sigma_i - \frac12 \log 2\pi$."""
        z = (x - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * jnp.square(z) - self.log_std - 0.5 * math.log(2 * math.pi), axis=-1)

    def entropy(self) -> Float[Array, "*rows"]:
        r"""$\sum_i \log \sigma_i + \frac12 \log 2\pi e$, in nats."""
        return jnp.sum(self.log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def kl(self, other: "Gaussian") -> Float[Array, "*rows"]:
        r"""KL(self || other), in nats.

        $$\sum_i \log \frac{\sigma'_i}{\sigma_i} + \frac{\sigma_i^2 + (\mu_i - \mu'_i)^2}{2 \sigma'^2_i} - \frac12$$
        """
        shift = jnp.square((self.mean - other.mean) * jnp.exp(-other.log_std))
        log_ratio = self.log_std - other.log_std
        return jnp.sum(0.5 * (jnp.expm1(2 * log_ratio) + shift) - log_ratio, axis=-1)


class GaussianPolicy(eqx.Module):
    """A network gives the mean; the standard deviation is a parameter that no observation changes.

    The policy of MT-PPO, MT-TRPO and MAML-TRPO in Meta-World (Yu et al. 2021, appendix D; Schulman et al. 2015,
    appendix D). Actions are not squeezed: the environment clips them.

    - `network`: `network(observation (rows, features), task) -> (rows, actions)`.
    - `num_actions`: length of an action.
    - `num_tasks`: with it each task has a deviation of its own; without it all share one.
    - `std`: at the start, in units of the action.
    - `min_std`, `max_std`: bounds. A deviation that a step carried over a bound counts as the bound and gets no
      gradient any more, as in garage.

    **Raises:** `ValueError` unless 0 < min_std <= std <= max_std.
    """

    network: Callable[[Array, Any], Array]
    log_std: Float[Array, "deviations actions"]
    log_bounds: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        network: Callable[[Array, Any], Array],
        num_actions: int,
        *,
        num_tasks: int | None = None,
        std: float = 1.0,
        min_std: float = 1e-6,
        max_std: float = math.inf,
        dtype: Any = jnp.float32,
    ):
        if not 0 < min_std <= std <= max_std:
            raise ValueError(
                f"std is {std}, min_std {min_std} and max_std {max_std}; choose 0 < min_std <= std <= max_std."
            )
        self.network = network
        self.log_std = jnp.full((num_tasks or 1, num_actions), math.log(std), dtype)
        self.log_bounds = (math.log(min_std), math.log(max_std))

    def __call__(self, observation: Float[Array, "rows features"], task: Int[Array, ""]) -> Gaussian:
        """The distribution of the action for every row, all of one task; `(rows, actions)`."""
        mean = self.network(observation, task)
        log_std = self.log_std[0 if self.log_std.shape[0] == 1 else task]
        log_std = jnp.clip(log_std, *self.log_bounds).astype(mean.dtype)
        return Gaussian(mean, jnp.broadcast_to(log_std[None], mean.shape))
