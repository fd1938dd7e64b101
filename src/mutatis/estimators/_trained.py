"""What `fit` leaves behind, and how it becomes plain arrays and back."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis import Learner, OuterState
from mutatis._types import Tree
from mutatis.estimators._blueprint import Blueprint


@dataclass(frozen=True, eq=False)
class Trained:
    """A learner with its outer loop, and the units of its inputs and outputs.

    - `input_mean`, `input_scale`: float64, one per feature, or per channel of images.
    - `output_mean`, `output_scale`: of the targets in regression; 0 and 1 for classes.

    Pickled as arrays and the blueprint: functions inside modules cannot all be pickled, and need not be.
    """

    blueprint: Blueprint
    num_groups: int
    learner: Learner
    outer: OuterState
    input_mean: np.ndarray
    input_scale: np.ndarray
    output_mean: float
    output_scale: float

    def inputs(self, X: np.ndarray) -> np.ndarray:
        """Rows in the network's units and shape, float32."""
        shape = self.blueprint.shape
        if len(shape) == 3:
            X = X.reshape(len(X), *shape)
        rows = ((X - self.input_mean) / self.input_scale).astype(np.float32)
        missing = shape[-1] - rows.shape[-1]
        return np.pad(rows, [(0, 0)] * len(shape) + [(0, missing)]) if missing else rows

    def arrays(self) -> list[np.ndarray]:
        """All that training changes, as plain arrays in a fixed order."""
        return [*map(_to_numpy, _array_leaves((self.learner, self.outer))), self.input_mean, self.input_scale]

    def __reduce__(self):
        return rebuild, (self.blueprint, self.num_groups, self.output_mean, self.output_scale, self.arrays())


def rebuild(
    blueprint: Blueprint, num_groups: int, output_mean: float, output_scale: float, arrays: list[np.ndarray]
) -> Trained:
    """The inverse of `Trained.arrays`.

    **Raises:** `ValueError` if the arrays are not those of this blueprint.
    """
    fresh = blueprint.start(num_groups, jax.random.key(0))
    leaves, structure = jax.tree.flatten(fresh)
    wanted = sum(map(eqx.is_array, leaves))
    if len(arrays) != wanted + 2:
        raise ValueError(f"there are {len(arrays)} arrays, but what is to be rebuilt has {wanted + 2}.")
    supply = iter(arrays)
    filled = [_from_numpy(next(supply), leaf) if eqx.is_array(leaf) else leaf for leaf in leaves]
    learner, outer = jax.tree.unflatten(structure, filled)
    return Trained(blueprint, num_groups, learner, outer, arrays[-2], arrays[-1], output_mean, output_scale)


def _array_leaves(tree: Tree) -> list[Any]:
    return jax.tree.leaves(eqx.filter(tree, eqx.is_array))


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def _from_numpy(array: np.ndarray, like: Any) -> Any:
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array))
    if array.shape != like.shape or array.dtype != like.dtype:
        raise ValueError(
            f"an array of shape {array.shape} and type {array.dtype} stands where "
            f"{like.shape} and {like.dtype} is needed."
        )
    return jnp.asarray(array)
