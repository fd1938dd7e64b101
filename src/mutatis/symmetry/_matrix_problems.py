"""Problems with any symmetry matrix: user-given, of any finite group, of sets."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mutatis.symmetry._actions import Action, channels, permutation_action, regular
from mutatis.symmetry._convolution import equivariant_basis, symmetry_matrix
from mutatis.symmetry._problems import AbstractProblem

Symmetry = tuple[Action, Action]


def scaled(matrix: Any, shape: tuple[int, int], signal: float) -> np.ndarray:
    """The matrix F with E ||F z||^2 = out * signal."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != shape[0] * shape[1] or not np.any(matrix):
        raise ValueError(
            f"matrix has shape {matrix.shape}; pass {shape[0] * shape[1]} rows (out * in = {shape[0]} * {shape[1]}), "
            "one column for each filter, and not all of them zero."
        )
    return matrix * math.sqrt(signal * shape[0]) / np.linalg.norm(matrix)


class MatrixProblem(AbstractProblem):
    """Maps vec(W) = a U z of any symmetry matrix U, with z of N(0, I) and a such that E[y^2] is `signal`.

    - `matrix`: U, `(out * in, filters)`, vec row-major; with orthonormal columns all directions are equally likely.
    - `symmetry`: the actions under which these W are equivariant, if there are any; checked.
    - `name`: what `describe` calls it.

    **Raises:** `ValueError` if `matrix` does not fit `shape` or is zero, or the W are not equivariant.
    """

    factor: Float[Array, "size filters"]
    shape: tuple[int, int] = eqx.field(static=True)
    symmetry: Symmetry | None = eqx.field(static=True)
    name: str = eqx.field(static=True)
    support: int = eqx.field(static=True)
    query: int = eqx.field(static=True)
    tasks_per_step: int = eqx.field(static=True)

    def __init__(
        self,
        matrix: Float[np.ndarray, "size filters"],
        shape: tuple[int, int],
        *,
        symmetry: Symmetry | None = None,
        name: str = "given matrix",
        signal: float = 1.0,
        support: int = 1,
        query: int = 64,
        tasks_per_step: int = 32,
        dtype: Any = jnp.float32,
    ):
        factor = scaled(matrix, shape, signal)
        if symmetry is not None:
            _check_symmetry(factor, shape, symmetry)
        self.factor = jnp.asarray(factor, dtype)
        self.shape, self.symmetry, self.name = shape, symmetry, name
        self.support, self.query, self.tasks_per_step = support, query, tasks_per_step

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(in,)`."""
        return self.shape[1:]

    def outputs(self, z: Float[Array, "tasks filters"], x: Float[Array, "tasks rows in"]) -> Array:
        """Each task's rows times its W."""
        return jnp.matmul(x, self._weights(z).mT, precision=jax.lax.Precision.HIGHEST)


def convolution_problem(action: Action, *, fields: int = 3, name: str | None = None, **settings: Any) -> MatrixProblem:
    """All convolutions over a group that acts on the inputs, each filter seen by every element (`symmetry_matrix`).

    W is `(fields * order, action.size)`; `settings` go to `MatrixProblem`. `convolution_problem(shift(16))` are the
    circular convolutions of 16 numbers.
    """
    matrix = symmetry_matrix(action, fields=fields) / math.sqrt(action.group.order)
    shape = (fields * action.group.order, action.size)
    symmetry = (action, channels(regular(action.group), fields))
    return MatrixProblem(matrix, shape, symmetry=symmetry, name=name or f"{action.group.name} convolution", **settings)


def group_problem(action_in: Action, action_out: Action, *, name: str | None = None, **settings: Any) -> MatrixProblem:
    """All maps that are equivariant to two actions of one group (`equivariant_basis`), each direction equally likely.

    `settings` go to `MatrixProblem`.
    """
    matrix, shape = equivariant_basis(action_in, action_out), (action_out.size, action_in.size)
    name = name or f"{action_in.group.name} equivariant maps"
    return MatrixProblem(matrix, shape, symmetry=(action_in, action_out), name=name, **settings)


def set_problem(elements: int, *, inputs: int = 1, outputs: int = 1, **settings: Any) -> MatrixProblem:
    """Maps of sets of at most 6 elements: a permuted set gives the permuted output (Zaheer et al. 2017, lemma 3).

    Coordinate `(feature, element)` is `feature * elements + element`. 2 inputs outputs dimensions from two elements on:
    each feature's own element, and the sum over the others.
    """
    action = permutation_action(elements)
    name = f"sets of {elements} elements"
    return group_problem(channels(action, inputs), channels(action, outputs), name=name, **settings)


def _check_symmetry(matrix: np.ndarray, shape: tuple[int, int], symmetry: Symmetry) -> None:
    action_in, action_out = symmetry
    if (action_out.size, action_in.size) != shape or action_in.group != action_out.group:
        raise ValueError(
            f"symmetry acts on {action_in.size} inputs and {action_out.size} outputs by {action_in.group.name} and "
            f"{action_out.group.name}; W is {shape[0]} x {shape[1]}, and both must be actions of one group."
        )
    maps = matrix.T.reshape(-1, *shape)
    for g in action_in.group.generators:
        error = action_out.apply(g, maps, axis=1) - maps[:, :, action_in.permutations[g]]
        if np.abs(error).max() > 1e-5 * np.abs(maps).max():
            raise ValueError(f"symmetry does not hold: the maps of matrix change under element {g} of the group.")
