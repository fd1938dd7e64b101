"""Adaptation by a belief: a Gaussian over a few numbers that each row of the context makes more certain."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._references import RAKELLY_2019
from mutatis._rule import AbstractStatistic
from mutatis._types import Key, Scalar, Tree
from mutatis.nn._layers import beside


class Believing(eqx.Module):
    """A model that sees, beside every input, what is believed of the task: the mean of z.

    - `model`: takes rows `(rows, features + latent)`, and whatever else it is called with.
    - `mean`, `variance`: of each coordinate of z.
    """

    model: Any
    mean: Float[Array, "latent"]
    variance: Float[Array, "latent"]

    def __call__(self, x: Float[Array, "rows features"], *rest: Any) -> Any:
        """The model's answer to the rows, each beside the mean."""
        return self.model(beside(x, self.mean), *rest)

    def draw(self, key: Key) -> Float[Array, "latent"]:
        """A z that may be so, differentiable in mean and variance; the key is consumed."""
        return self.mean + jnp.sqrt(self.variance) * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def divergence(self) -> Scalar:
        """KL(belief || N(0, I)), in nats."""
        return 0.5 * jnp.sum(self.variance + jnp.square(self.mean) - 1 - jnp.log(self.variance))


@cites(RAKELLY_2019)
class Belief(AbstractStatistic):
    r"""A product of Gaussian factors, one for each row of the context (PEARL, Rakelly et al. 2019, section 4.2).

    $$p(z | c) \propto N(z; 0, I) \prod_k N(z; \mu_\phi(c_k), \sigma^2_\phi(c_k))$$

    The state is the sum over rows of precisions, and of means times precisions. A context is an array of rows
    `(rows, features)`.

    - `net`: phi, `(rows, features) -> (rows, 2 latent)`: means, and what softplus makes variances of.
    - `latent`: length of z.
    - `dtype`: of the state.

    **Deviations:** the prior is a factor too, so that a belief without context is N(0, I) and one with little context
    near it; the original multiplies the rows' factors alone.
    """

    net: Callable[[Array], Array]
    latent: int = eqx.field(static=True)
    dtype: Any = eqx.field(static=True, default=jnp.float32)

    def init(self, model: Any) -> tuple[Array, Array]:
        """No rows."""
        del model
        return jnp.zeros(self.latent, self.dtype), jnp.zeros(self.latent, self.dtype)

    def measure(self, model: Any, context: Tree, *, key: Key) -> tuple[Array, Array]:
        """Sums of precisions, and of means times precisions."""
        del model, key
        return self.weigh(context, jnp.ones(context.shape[0], context.dtype))

    def weigh(
        self, context: Float[Array, "rows features"], counts: Float[Array, "rows"]
    ) -> tuple[Float[Array, "latent"], Float[Array, "latent"]]:
        """The same sums with each row counted so often; 0 leaves it out.

        **Raises:** `ValueError` if the network does not give two numbers for each coordinate of z.
        """
        outputs = self.net(context)
        if outputs.shape[1:] != (2 * self.latent,):
            raise ValueError(
                f"net gives {outputs.shape[1:]} numbers a row; a belief of {self.latent} needs twice that."
            )
        mean, raw = jnp.split(outputs, 2, axis=1)
        precision = counts[:, None] / jnp.maximum(jax.nn.softplus(raw), 1e-7)
        return precision.sum(axis=0), (precision * mean).sum(axis=0)

    def bind(self, model: Any, state: tuple[Array, Array]) -> Believing:
        """The model beside the belief: prior and rows."""
        precision, weighted = state
        return Believing(model, weighted / (1 + precision), 1 / (1 + precision))
