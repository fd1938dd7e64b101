"""A buffer of fixed size that keeps the latest rows, so that a stream of any length has a state of one shape."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped


def append_rows(
    buffer: Shaped[Array, "capacity ..."], rows: Shaped[Array, "rows ..."], seen: Int[Array, ""]
) -> Shaped[Array, "capacity ..."]:
    """The buffer after more rows: row number p of the stream lies in place p modulo capacity.

    - `seen`: how many rows came before these. Of more rows than places, the latest are kept.
    """
    capacity = buffer.shape[0]
    kept = min(rows.shape[0], capacity)
    first = rows.shape[0] - kept
    places = (seen + first + jnp.arange(kept, dtype=seen.dtype)) % capacity
    return buffer.at[places].set(rows[first:].astype(buffer.dtype))


def row_numbers(capacity: int, seen: Int[Array, ""]) -> Int[Array, "capacity"]:
    """The number in the stream of the row in each place; negative where there is none yet."""
    newest = seen - 1
    return newest - (newest - jnp.arange(capacity, dtype=seen.dtype)) % capacity


def filled_places(capacity: int, seen: Int[Array, ""]) -> Bool[Array, "capacity"]:
    """Which places hold a row."""
    return jnp.arange(capacity, dtype=seen.dtype) < seen
