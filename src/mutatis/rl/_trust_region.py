"""Steps along the natural gradient, as long as a constraint allows: the optimiser of TRPO."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int

from mutatis._tree import add, inner_product, scale
from mutatis._types import Scalar, Tree

ScalarFunction = Callable[[Tree], Scalar]


class TrustRegionState(NamedTuple):
    """What the last step did; nothing in it changes the next."""

    accepted: Bool[Array, ""]
    """Whether the parameters moved."""
    constraint: Float[Array, ""]
    """`constraint_fn` at the parameters it returned."""
    improvement: Float[Array, ""]
    """By how much `value_fn` fell."""
    tries: Int[Array, ""]
    """Step lengths that were judged."""


def trust_region(
    radius: float | Scalar = 0.01,
    *,
    damping: float | Scalar = 1e-5,
    iterations: int = 10,
    tolerance: float = 1e-5,
    shrink: float | Scalar = 0.8,
    tries: int = 15,
) -> optax.GradientTransformationExtraArgs:
    r"""A natural gradient step as long as a constraint allows (Schulman et al. 2015, appendix C).

    With the gradient g and F the Hessian of `constraint_fn` at the parameters, which for a mean KL to the policy itself
    is the Fisher matrix, and $\beta$ the damping,

    $$s = (F + \beta I)^{-1} g, \qquad
      \theta' = \theta - 0.8^k \sqrt{\frac{2 \delta}{s^\top (F + \beta I) s}}\, s$$

    for the first k = 0, 1, ... at which the constraint is at most $\delta$ *and* the value falls. If none of them does,
    or a number is not finite, the parameters stay. F is never formed: each conjugate gradient step takes one product
    with it, forward over reverse.

    `update(gradients, state, params, value_fn=..., constraint_fn=...)`: both are scalar functions of the parameters,
    the constraint with its minimum, zero, at `params`; `gradients` are those of the value, or any weighting of the
    tasks'. The updates are the whole step, sign included.

    - `radius`: delta, in the constraint's unit (nats).
    - `iterations`, `tolerance`: of conjugate gradients: steps at most, and the residual at which they stop, as a share
      of the gradient's norm.
    - `shrink`, `tries`: of the line search; 0.8 above is `shrink`.

    **Raises:** `ValueError` if `params` or one of the functions is missing.

    **Deviations:** the residual is relative, where the authors' code stops below 1e-5 whatever the gradient's size;
    what is shrunk is the step of length $\sqrt{2\delta / s^\top (F + \beta I) s}$, damped as in that code.
    """

    def init(params: Tree) -> TrustRegionState:
        zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(params)))
        return TrustRegionState(jnp.asarray(False), zero, zero, jnp.zeros((), jnp.int32))

    def update(
        updates: Tree,
        state: Any,
        params: Tree = None,
        *,
        value_fn: ScalarFunction | None = None,
        constraint_fn: ScalarFunction | None = None,
        **extra: Any,
    ) -> tuple[Tree, TrustRegionState]:
        del extra
        if params is None or value_fn is None or constraint_fn is None:
            raise ValueError(
                "trust_region judges its steps: pass params, value_fn= and constraint_fn= to update, or use "
                "trust_region_step instead of outer_step."
            )
        product = _damped(constraint_fn, params, damping)
        natural, _ = cg(product, updates, maxiter=iterations, tol=tolerance)
        curvature = inner_product(natural, product(natural))
        informed = curvature > 0
        longest = jnp.where(informed, jnp.sqrt(2 * radius / jnp.where(informed, curvature, 1)), 0)
        before = value_fn(params)

        def judge(carry: _Trial) -> _Trial:
            length = jnp.where(carry.number == 0, longest, shrink * carry.length).astype(longest.dtype)
            there = add(params, scale(-length, natural))
            constraint, fall = constraint_fn(there).astype(before.dtype), before - value_fn(there)
            # A comparison with NaN is false, so that a step into nowhere is refused.
            return _Trial(carry.number + 1, length, (constraint <= radius) & (fall > 0), constraint, fall)

        zero = jnp.zeros_like(before)
        unmoved = _Trial(jnp.zeros((), jnp.int32), longest, jnp.asarray(False), zero, zero)
        last = jax.lax.while_loop(lambda at: informed & (at.number < tries) & ~at.accepted, judge, unmoved)
        keep = lambda moved: jnp.where(last.accepted, moved, jnp.zeros_like(moved))
        now = TrustRegionState(last.accepted, keep(last.constraint), keep(last.fall), last.number)
        now = jax.tree.map(lambda new, old: new.astype(old.dtype), now, state)
        return jax.tree.map(keep, scale(-last.length, natural)), now

    return optax.GradientTransformationExtraArgs(init, update)


class _Trial(NamedTuple):
    """A step length of the line search and how it did."""

    number: Int[Array, ""]
    length: Scalar
    accepted: Bool[Array, ""]
    constraint: Scalar
    fall: Scalar


def _damped(function: ScalarFunction, params: Tree, damping: float | Scalar) -> Callable[[Tree], Tree]:
    """Products with the function's Hessian plus so much of the identity: the gradient, pushed forward.

    Linearised once, so that no product repeats the gradient's own work.
    """
    _, hessian = jax.linearize(jax.grad(function), params)
    return lambda vector: add(hessian(vector), scale(jnp.asarray(damping), vector))
