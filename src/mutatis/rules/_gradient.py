"""Adaptation by gradient steps on an inner objective."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from mutatis._citation import cites
from mutatis._references import FINN_2017
from mutatis._rule import AbstractRule
from mutatis._tree import trainable
from mutatis._types import Key, Objective, Tree
from mutatis.rules._rates import Rates, as_rates, rates_of


@cites(FINN_2017)
class GradientSteps(AbstractRule):
    r"""A few steps of gradient descent, differentiated through by the outer loop.

    $$\theta' = \theta - \alpha \nabla_\theta L(\theta; \text{context})$$

    MAML (Finn et al. 2017) with a supervised objective; ANIL with `where=` the head; Meta-SGD with trainable rates;
    ARM-LL (Zhang et al. 2021) with `LearnedLoss`; Tent (Wang et al. 2021) with `entropy` and `where=norm_affine`.

    - `objective`: `objective(model, context) -> scalar`; may itself hold parameters that the outer loop trains.
    - `learning_rate`: a scalar array, trained with the model unless wrapped in `Fixed`; a plain number is `Fixed`. Or a
      list with a rate for every moving leaf (`per_tensor`, `per_element`). Wrapped in `Positive`, it stays positive.
    - `steps`: number of steps per `update`.
    - `where`: `where(model) -> filter specification` of the leaves that move; all trainable ones by default.
    - `batch_size`: with a number, step i sees only that many consecutive rows of the context, cyclically (the local
      minibatches of federated averaging); by default the whole context.
    - `proximal`: strength of the pull lambda/2 |theta' - theta|^2 towards the unadapted model (iMAML, FedProx).
    - `transform`: what to follow instead of the gradient: a function from the list of the moving leaves' gradients to
      such a list, which may hold parameters that the outer loop trains (`MetaCurvature`).

    The state is the displacement of the moving leaves, so `bind` of the first state is the model itself.

    **Raises:** `ValueError` if `steps` or `batch_size` is not positive, or the rates do not fit the moving leaves.
    """

    objective: Objective
    learning_rate: Rates = eqx.field(converter=as_rates)
    steps: int = eqx.field(static=True, default=1)
    where: Callable[[Any], PyTree] = eqx.field(static=True, default=trainable)
    batch_size: int | None = eqx.field(static=True, default=None)
    proximal: float = eqx.field(static=True, default=0.0)
    transform: Callable[[list[Array]], list[Array]] | None = None

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; pass at least one inner step, or use NoAdaptation().")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; pass a positive number of rows, or None for all.")

    def init(self, model: Any) -> list[Array]:
        """No displacement."""
        return [jnp.zeros_like(leaf) for leaf in self._moving(model)]

    def update(self, model: Any, state: list[Array], context: Tree, *, key: Key) -> list[Array]:
        """`steps` more steps on this context."""
        del key
        rates = rates_of(self.learning_rate, state)

        def step(displacement, number):
            gradient = jax.grad(self._inner_loss, argnums=1)(model, displacement, self._batch(context, number))
            if self.transform is not None:
                gradient = self.transform(gradient)
            moves = zip(displacement, rates, gradient, strict=True)
            return [d - (rate * g).astype(d.dtype) for d, rate, g in moves], None

        if self.steps == 1:
            return step(state, 0)[0]
        return jax.lax.scan(step, state, jnp.arange(self.steps))[0]

    def bind(self, model: Any, state: list[Array]) -> Any:
        """The model, displaced."""
        moving, still = eqx.partition(model, self.where(model))
        leaves, structure = jax.tree.flatten(moving)
        moved = [leaf + step for leaf, step in zip(leaves, state, strict=True)]
        return eqx.combine(jax.tree.unflatten(structure, moved), still)

    def _moving(self, model: Any) -> list[Array]:
        return jax.tree.leaves(eqx.filter(model, self.where(model)))

    def _inner_loss(self, model: Any, displacement: list[Array], context: Tree):
        loss = self.objective(self.bind(model, displacement), context)
        if self.proximal:
            loss = loss + self.proximal / 2 * sum(jnp.vdot(d, d) for d in displacement)
        return loss

    def _batch(self, context: Tree, number: Any) -> Tree:
        if self.batch_size is None:
            return context
        rows = jax.tree.leaves(context)[0].shape[0]
        chosen = (number * self.batch_size + jnp.arange(self.batch_size)) % rows
        return jax.tree.map(lambda leaf: leaf[chosen], context)
