"""Settings of a weighting, kept as arrays so that changing one does not compile the step again."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float


def number(value: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """The value as an array: a plain number in single precision, an array as it is."""
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value, jnp.float32) if isinstance(value, float | int) else value


def known(value: object) -> bool:
    """Whether the value can be looked at now, and is not a placeholder of a program being traced."""
    return not isinstance(value, Tracer)
