"""How one task's row of the Jacobian is obtained.

A direction gives a task's loss as a function of the learner whose *gradient is the task's row*. For unrolled
differentiation that is the loss itself. The others replace the gradient by a cheaper or a different vector; writing
it as the gradient of a surrogate lets every weighting, optimiser and mapping use them alike.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import PyTree

from mutatis._citation import cites
from mutatis._references import FINN_2017, MCMAHAN_2017, NICHOL_2018, RAJESWARAN_2019
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import add, constant, inner_product, scale, subtract, trainable
from mutatis._types import Key, Objective, Scalar, Tree


class AbstractDirection(eqx.Module):
    """A task's loss, with a gradient of our choosing."""

    @abstractmethod
    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """The task's loss, differentiable in the learner, and the rule's state after the context."""


class Unrolled(AbstractDirection):
    """The exact gradient, through every inner step (MAML, Finn et al. 2017; ARM, Zhang et al. 2021)."""

    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """L_query(bind(model, update(model, init(model), context)))."""
        rule, model = learner.rule, learner.model
        state = rule.update(model, rule.init(model), task.context, key=key)
        return objective(rule.bind(model, state), task.query), state


@cites(FINN_2017)
class FirstOrder(AbstractDirection):
    """The gradient at the adapted model, as if the rule's state did not depend on the learner.

    FOMAML (Finn et al. 2017, section 5.2). What only shapes the state (a learned loss, a learned rate) receives no
    gradient.
    """

    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """L_query(bind(model, constant state))."""
        rule, model = learner.rule, learner.model
        state = constant(rule.update(model, rule.init(model), task.context, key=key))
        return objective(rule.bind(model, state), task.query), state


@cites(MCMAHAN_2017, NICHOL_2018)
class Displacement(AbstractDirection):
    """The row is the way the rule moved the model, w - w_adapted.

    With steps of plain SGD as the rule, averaged rows and an outer SGD rate of 1 are FedAvg (McMahan et al. 2017); an
    outer rate below 1 is Reptile (Nichol et al. 2018). The loss is that of the *unadapted* model on the query, which is
    the F_k that q-FedAvg (Li et al. 2020) asks of a client.
    """

    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """L_query(model), whose gradient is w - w_adapted on the model and zero on the rule."""
        rule, model = constant((learner.rule, learner.model))
        state = rule.update(model, rule.init(model), task.context, key=key)
        weights = eqx.filter(learner.model, trainable(learner.model))
        adapted = rule.bind(model, state)
        row = subtract(constant(weights), eqx.filter(adapted, trainable(adapted)))
        return _with_gradient(objective(model, task.query), weights, row), state


@cites(RAJESWARAN_2019)
class Implicit(AbstractDirection):
    """The gradient of a fully solved, proximally regularised inner problem, without unrolling its solver.

    iMAML (Rajeswaran et al. 2019, eq. 6): with phi the minimiser of L_context(phi) + strength/2 |phi - theta|^2, the
    row is (I + Hessian of L_context at phi / strength)^-1 times the gradient of L_query at phi, found by conjugate
    gradients on Hessian-vector products.

    - `inner`: L_context, the objective that the rule descends on the context.
    - `strength`: of the pull towards theta; give the rule the same number (`GradientSteps(proximal=)`) and enough steps
      to arrive, or the formula does not hold.
    - `iterations`: conjugate gradient steps at most.
    """

    inner: Objective
    strength: float
    iterations: int = 10

    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """L_query(phi), whose gradient is the implicit row on the model and zero on the rule."""
        rule, model = constant((learner.rule, learner.model))
        state = rule.update(model, rule.init(model), task.context, key=key)
        phi, static = eqx.partition(rule.bind(model, state), trainable(model))

        def inner_gradient(point):
            return jax.grad(lambda at: self.inner(eqx.combine(at, static), task.context))(point)

        def curvature(vector):
            product = jax.jvp(inner_gradient, (phi,), (vector,))[1]
            return add(vector, scale(jnp.asarray(1 / self.strength), product))

        value, gradient = jax.value_and_grad(lambda at: objective(eqx.combine(at, static), task.query))(phi)
        row, _ = cg(curvature, gradient, maxiter=self.iterations)
        weights = eqx.filter(learner.model, trainable(learner.model))
        return _with_gradient(value, weights, row), state


def _with_gradient(value: Scalar, weights: PyTree, row: Any) -> Scalar:
    """A number equal to `value` whose gradient with respect to `weights` is `row`."""
    product = inner_product(weights, constant(row))
    return jax.lax.stop_gradient(value) + (product - jax.lax.stop_gradient(product)).astype(value.dtype)
