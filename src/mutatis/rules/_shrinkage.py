"""How much a context counts against what was known before it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._tree import Fixed, unfix


def log_pseudo_count(pseudo_count: float | Float[Array, "..."]) -> Float[Array, "..."] | Fixed:
    """The logarithm under which a pseudo-count is stored: an array is trained, a plain number is `Fixed`.

    **Raises:** `ValueError` for a negative number.
    """
    if not isinstance(pseudo_count, float | int):
        return jnp.log(pseudo_count)
    if pseudo_count < 0:
        raise ValueError(f"pseudo_count is {pseudo_count}; it counts rows and must be at least 0.")
    with jax.ensure_compile_time_eval():
        return Fixed(jnp.log(jnp.asarray(pseudo_count, jnp.float32)))


def context_share(rows: Float[Array, ""], log_count: Float[Array, "..."] | Fixed) -> Float[Array, "..."]:
    """n / (N + n): the weight of n rows against a pseudo-count N; no rows, no weight.

    Written as a sigmoid of logarithms, which is exact for N = 0 and N = infinity and positive by construction.
    """
    logs = unfix(log_count).astype(rows.dtype)
    share = jax.nn.sigmoid(jnp.log(jnp.maximum(rows, 1)) - logs)
    return jnp.where(rows > 0, share, 0)
