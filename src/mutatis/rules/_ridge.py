"""Adaptation in closed form, where the outputs are affine in what moves."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.interpreters.partial_eval import dce_jaxpr
from jaxtyping import Array, Float, PyTree

from mutatis._rule import AbstractStatistic
from mutatis._tree import Fixed
from mutatis._types import Key, Tree
from mutatis.rules._features import labelled_pair
from mutatis.rules._logarithm import stored_log
from mutatis.rules._normal_equations import NormalEquations, no_rows, normal_equations, solve_ridge


class Ridge(AbstractStatistic):
    r"""Moves leaves to the ridge regression of a labelled context, in one step and exactly.

    The outputs must be affine in the leaves v that move: the filters of a shared weight, a last layer. With the start
    v_0, the residuals r = y - f(x; v_0) and the derivative A of all outputs by v, the adapted leaves are

    $$v = v_0 + \arg\min_d |A d - r|^2 + \mu |d|^2 = v_0 + (A^\top A + \mu I)^{-1} A^\top r, \qquad
      \mu = \lambda \frac{\text{tr}(A^\top A)}{k \cdot \text{rows}}$$

    The state is the sums A^T A, A^T r and rows: k (k + 1) + 1 numbers for k numbers that move. A takes k forward
    derivatives or a backward one for each output, whichever are fewer.

    - `where`: `where(model) -> filter specification` of the leaves that move.
    - `penalty`: lambda, in rows: 1 pulls towards the prior as one more row would that says the prior, of a usual size
      and in every direction alike. A number is kept; a scalar array is trained (as its logarithm).
    - `towards_start`: the prior is v_0, which the outer loop trains; else it is zero: mu |v_0 + d|^2 above.

    The penalty is relative to A because the scale of a shared weight is free: U c and v / c are the same layer. An
    absolute one would make a second penalty of c, and change with the units of x. It is relative to the mean row and
    not to the sum, so that it loses its influence as rows are added.

    A context is a pair `(x, y)`, y of the shape of `model(x)`. Without rows the model stays as it is.

    The relative error of v is about epsilon (1e-7 in float32) times the condition number of A^T A + mu I. If there are
    fewer outputs than k, a penalty below the root of epsilon (3e-4) brings no accuracy any more: along what A does not
    see, v should stay at v_0, but the rounding error of A^T r is divided by the penalty.

    **Raises:** `ValueError` if the penalty is negative, no leaf moves, the context is no such pair, or the outputs are
    not affine in what moves. The last is read from the traced program, at no cost when it runs: the derivative may make
    no use of the leaves by which it is taken.

    For a last layer `RidgeHead` does the same with less work.
    """

    where: Callable[[Any], PyTree] = eqx.field(static=True)
    log_penalty: Float[Array, ""] | Fixed
    towards_start: bool = eqx.field(static=True)

    def __init__(
        self, where: Callable[[Any], PyTree], penalty: float | Float[Array, ""], *, towards_start: bool = True
    ):
        self.where = where
        self.log_penalty = stored_log("penalty", penalty)
        self.towards_start = towards_start

    def init(self, model: Any) -> NormalEquations:
        """No rows."""
        return no_rows(self._moving(model)[0])

    def measure(self, model: Any, context: Tree, *, key: Key) -> NormalEquations:
        """The normal equations of one context."""
        del key
        x, y = labelled_pair(context, "Ridge")
        start, rebuild = self._moving(model)
        outputs = lambda moving: rebuild(moving)(x)
        shape = jax.eval_shape(outputs, start).shape
        if shape != y.shape:
            raise ValueError(f"the context's y has shape {y.shape} but model(x) has shape {shape}; make them equal.")
        if not _is_affine(outputs, start):
            raise ValueError(
                "the model's outputs are not affine in the leaves that where= selects, so that Ridge cannot solve for "
                "them; select leaves of one layer with only affine maps behind it, or use GradientSteps."
            )
        flat = lambda moving: jnp.ravel(outputs(moving)).astype(start.dtype)
        with jax.default_matmul_precision("highest"):
            value, design = _value_and_jacobian(flat, start, y.size)
        return normal_equations(design, jnp.ravel(y).astype(start.dtype) - value, y.shape[0])

    def bind(self, model: Any, state: NormalEquations) -> Any:
        """The model with its leaves moved to the solution."""
        start, rebuild = self._moving(model)
        return rebuild(start + solve_ridge(state, self.log_penalty, None if self.towards_start else -start))

    def _moving(self, model: Any) -> tuple[Float[Array, "k"], Callable[[Array], Any]]:
        """The leaves that move, as one vector, and how to put such a vector in their place."""
        moving, still = eqx.partition(model, self.where(model))
        start, unravel = ravel_pytree(moving)
        if start.size == 0:
            raise ValueError("where= selects no leaf of the model; select at least one to move.")
        return start, lambda vector: eqx.combine(unravel(vector), still)


def _value_and_jacobian(
    function: Callable[[Array], Array], point: Float[Array, "k"], outputs: int
) -> tuple[Float[Array, "outputs"], Float[Array, "outputs k"]]:
    if point.size <= outputs:
        value, push = jax.linearize(function, point)
        return value, jax.vmap(push, out_axes=1)(jnp.eye(point.size, dtype=point.dtype))
    value, pull = jax.vjp(function, point)
    return value, jax.vmap(pull)(jnp.eye(outputs, dtype=value.dtype))[0]


def _is_affine(function: Callable[[Array], Array], point: Array) -> bool:
    """Whether the program of the derivative makes no use of the point at which it is taken."""
    derivative = lambda at, direction: jax.jvp(function, (at,), (direction,))[1]
    program = jax.make_jaxpr(derivative)(point, point).jaxpr
    _, used = dce_jaxpr(program, [True] * len(program.outvars))
    return not used[0]
