"""Settings that cannot be negative, stored as logarithms."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._tree import Fixed


def stored_log(name: str, value: float | Float[Array, "..."]) -> Float[Array, "..."] | Fixed:
    """The logarithm under which a setting is stored: an array is trained, a plain number is `Fixed`.

    **Raises:** `ValueError` for a negative number.
    """
    if not isinstance(value, float | int):
        # A weakly typed scalar such as jnp.array(0.1) would turn strong after the first step, and compile again.
        return jnp.log(value).astype(jnp.result_type(value))
    if value < 0:
        raise ValueError(f"{name} is {value}; it must be at least 0.")
    with jax.ensure_compile_time_eval():
        return Fixed(jnp.log(jnp.asarray(value, jnp.float32)))
