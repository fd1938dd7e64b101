"""Credit for what is seen before a policy adapts."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._citation import cites
from mutatis._direction import AbstractDirection, Unrolled
from mutatis._references import STADIE_2018
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._types import Key, Objective, Scalar, Tree
from mutatis.rl._trust_region_update import surrogate_loss


@cites(STADIE_2018)
class Exploring(AbstractDirection):
    r"""`Unrolled`, and a term by which episodes before adaptation answer for the return after it.

    $$-\frac{\text{weight}}{\text{rows}} \sum \frac{\pi_\theta(a|s)}{\pi_\text{played}(a|s)}\, R'$$

    over the rows of the context, whose gradient where the policy played is minus the mean of the gradient of log pi
    times R' (E-MAML, Stadie et al. 2018). Differentiating through the rule says how to adapt better to what was seen;
    this says what to see. Its contexts and queries are those of `MAML`.

    - `weight`: of the term.
    - `credit`: R' of every task, by its index: returns after adaptation, to mean zero and deviation one over the tasks.
    """

    weight: float
    credit: Float[Array, "tasks"]

    def loss(self, learner: Learner, task: Task, objective: Objective, *, key: Key) -> tuple[Scalar, Tree]:
        """The loss after adaptation plus the term, and the rule's state."""
        adapted, state = Unrolled().loss(learner, task, objective, key=key)
        batch, played = task.context
        credited = batch._replace(advantage=jnp.broadcast_to(self.credit[task.index], batch.advantage.shape))
        return adapted + self.weight * surrogate_loss(learner.model, (credited, played)), state
