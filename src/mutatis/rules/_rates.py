"""Learning rates of the inner loop: one for all, one per tensor, one per number, kept positive or not."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from mutatis._citation import cites
from mutatis._references import LI_2017
from mutatis._tree import Fixed, unfix


class Positive(eqx.Module):
    """Learning rates that training cannot turn negative: what is stored and trained is their logarithm.

    - `values`: a number or an array above zero, `Fixed` or not, or a list of them. A plain number becomes an array, and
      is trained: what nothing trains stays positive by itself.

    **Raises:** `ValueError` if a value is not above zero.
    """

    logs: Any

    def __init__(self, values: float | Array | Fixed | Sequence[float | Array | Fixed]):
        values = list(values) if isinstance(values, list | tuple) else values
        self.logs = jax.tree.map(_log, values)

    @property
    def values(self) -> Any:
        """The rates themselves."""
        return jax.tree.map(jnp.exp, self.logs)


Rate = Float[Array, "..."] | Fixed
Rates = Rate | list[Rate] | Positive
"""What `GradientSteps` takes as its learning rate."""


def as_rates(value: Any) -> Rates:
    """A learning rate as it is stored: plain numbers become `Fixed` arrays."""
    if isinstance(value, list | tuple):
        return [as_rates(each) for each in value]  # pyright: ignore[reportReturnType]
    # An array even where it is constant: another rate is then another number, and not another program to compile.
    return Fixed(jnp.asarray(value, jnp.float32)) if isinstance(value, float | int) else value


def rates_of(learning_rate: Rates, leaves: list[Array]) -> list[Array]:
    """One rate for each moving leaf: a scalar, or an array of the leaf's shape.

    **Raises:** `ValueError` if a list does not have one rate for each leaf, or a rate has another shape.
    """
    given = learning_rate.values if isinstance(learning_rate, Positive) else learning_rate
    rates = [unfix(each) for each in (given if isinstance(given, list) else [given] * len(leaves))]
    if len(rates) != len(leaves):
        raise ValueError(
            f"learning_rate is a list of {len(rates)}, but {len(leaves)} leaves move; "
            "build it with the same where=: per_tensor(model, where, 0.1) or per_element(model, where, 0.1)."
        )
    for number, (rate, leaf) in enumerate(zip(rates, leaves, strict=True)):
        if jnp.shape(rate) not in ((), leaf.shape):
            raise ValueError(
                f"learning_rate has shape {jnp.shape(rate)} for moving leaf {number} of shape {leaf.shape}; "
                "pass a scalar or an array of the leaf's shape."
            )
    return rates


def per_tensor(model: Any, where: Callable[[Any], PyTree], value: float) -> list[Array]:
    """A learning rate for every moving leaf: a list of scalar arrays that start at `value`.

    - `where`: that of the `GradientSteps` the rates are for.
    """
    return [jnp.asarray(value, leaf.dtype) for leaf in jax.tree.leaves(eqx.filter(model, where(model)))]


@cites(LI_2017)
def per_element(model: Any, where: Callable[[Any], PyTree], value: float) -> list[Array]:
    """A learning rate for every number that moves (Meta-SGD, Li et al. 2017): a list of arrays like the moving leaves.

    - `where`: that of the `GradientSteps` the rates are for.
    """
    return [jnp.full_like(leaf, value) for leaf in jax.tree.leaves(eqx.filter(model, where(model)))]


def _log(value: Any) -> Array:
    value = jnp.asarray(value, jnp.float32) if isinstance(value, float | int) else value
    if not isinstance(value, Tracer) and not jnp.all(value > 0):
        raise ValueError(f"Positive got the rate {value}; pass numbers above zero.")
    # A weakly typed scalar such as jnp.array(0.1) would turn strong after the first step, and compile again.
    return jnp.log(value).astype(value.dtype)
