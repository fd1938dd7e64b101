"""How the tasks of a step share it: one weight per task."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx

from mutatis._types import Gramian, GroupIndex, Key, Losses, Tree, Weights


class AbstractWeighting(eqx.Module):
    """Weighs the tasks of one outer step; the step follows the weighted sum of the tasks' gradients.

    Every group or multi-task method in scope is a function of two things: the losses, and the Gramian of the task
    gradients, G[s, t] = <gradient s, gradient t>. A weighting never sees a parameter.

    Set `needs_gramian` to get it; otherwise `gramian` is `None` and one vector-Jacobian product replaces a gradient
    per task.

    Set `needs_losses_after` to be shown what the step did to the losses of its own tasks: `outer_step` then judges them
    once more and calls `observe`.

    Set `needs_positive_losses` if losses below zero make no sense to it, as those of a policy are.
    """

    needs_gramian: ClassVar[bool]
    needs_losses_after: ClassVar[bool] = False
    needs_positive_losses: ClassVar[bool] = False

    @abstractmethod
    def init(self, num_groups: int) -> Tree:
        """State before the first step. What is remembered of a group is kept under its id, not its slot."""

    @abstractmethod
    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: Tree, *, key: Key
    ) -> tuple[Weights, Tree]:
        """Weights of the tasks, constant for differentiation, and the next state.

        - `losses`: one per task.
        - `gramian`: inner products of the tasks' gradients, or `None` unless `needs_gramian`.
        - `index`: group id of each task; ids may repeat within a step.
        """

    @classmethod
    def refuse_for_policies(cls, argument: str) -> None:
        """**Raises:** `ValueError` if the weighting needs positive losses: a policy's are of either sign."""
        if cls.needs_positive_losses:
            raise ValueError(
                f"{argument}: {cls.__name__} needs losses above zero, and those of a policy are of either sign; give "
                "it to critics, or pass another, such as PCGrad or Average."
            )

    def observe(self, before: Losses, after: Losses, index: GroupIndex, state: Tree) -> Tree:
        """The next state, from the losses of the same tasks before and after the gradient step.

        Called after `weigh`, with its state, if `needs_losses_after`; by default nothing is learned.
        """
        del before, after, index
        return state
