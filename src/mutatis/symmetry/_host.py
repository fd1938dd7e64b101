"""Random draws outside JAX: in float64 whether or not JAX has it switched on."""

import jax
import numpy as np

from mutatis._types import Key


def numpy_generator(key: Key) -> np.random.Generator:
    """NumPy's generator seeded by a key of JAX; the key is consumed."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
