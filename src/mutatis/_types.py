"""Names for the kinds of value that pass through the library."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Int, PRNGKeyArray

Tree = Any
"""Any PyTree: nested containers and modules with arrays as leaves."""

Key = PRNGKeyArray
Scalar = Float[Array, ""]
Losses = Float[Array, "tasks"]
Weights = Float[Array, "tasks"]
Gramian = Float[Array, "tasks tasks"]
GroupIndex = Int[Array, "tasks"]

Objective = Callable[[Any, Tree], Scalar]
"""`objective(model, data) -> loss`: judges a model on one task's data."""
