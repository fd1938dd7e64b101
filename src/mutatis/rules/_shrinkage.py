"""How much a context counts against what was known before it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._tree import Fixed, unfix


def context_share(rows: Float[Array, ""], log_count: Float[Array, "..."] | Fixed) -> Float[Array, "..."]:
    """n / (N + n): the weight of n rows against a pseudo-count N; no rows, no weight.

    Written as a sigmoid of logarithms, which is exact for N = 0 and N = infinity and positive by construction.
    """
    logs = unfix(log_count).astype(rows.dtype)
    share = jax.nn.sigmoid(jnp.log(jnp.maximum(rows, 1)) - logs)
    return jnp.where(rows > 0, share, 0)
