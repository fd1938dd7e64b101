"""Adaptation. Read this file first.

A *rule* turns a model into an adapted model by three verbs:

    init(model)                            -> state            what is known before any context
    update(model, state, context, *, key)  -> state            what is known after this context
    bind(model, state)                     -> adapted model    the model, changed by what is known

One verb, `adapt(model, context)`, could not stream. With three, and no further code,

    bind . update . init                   adapts to a batch,
    keeping the state                      adapts to a stream,
    jax.lax.scan(update)                   adapts step by step,
    adding states that are sums            merges what two machines saw,

and a half-adapted model can be saved, because the state is a PyTree.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax

from mutatis._tree import add
from mutatis._types import Key, Tree


class AbstractRule(eqx.Module):
    """The inner loop: how a model changes with its context.

    A rule may own parameters (a learned loss, a context network): they are trained by the outer loop with the model.
    """

    @abstractmethod
    def init(self, model: Any) -> Tree:
        """The state before any context. `bind(model, init(model))` must be a usable model."""

    @abstractmethod
    def update(self, model: Any, state: Tree, context: Tree, *, key: Key) -> Tree:
        """The state after one more context, of the same structure and shapes as `state`."""

    @abstractmethod
    def bind(self, model: Any, state: Tree) -> Any:
        """The model changed by the state."""

    @property
    def couples_tasks(self) -> bool:
        """Whether one task's loss depends on the other tasks of the step (moments pooled over all of them)."""
        return False

    def absorb(self, learner: "Learner", states: Tree) -> "Learner":
        """What the learner remembers, beyond its gradient step, of the states of one outer step (stacked over tasks).

        By default nothing; batch moments keep a moving average here.
        """
        del states
        return learner


class AbstractStatistic(AbstractRule):
    """A rule whose state is a sum over the context's rows.

    The order of the rows cannot matter, a context given in pieces equals the whole, and states measured on several
    machines are merged by adding them.
    """

    @abstractmethod
    def measure(self, model: Any, context: Tree, *, key: Key) -> Tree:
        """The sum over the rows of one context."""

    def update(self, model: Any, state: Tree, context: Tree, *, key: Key) -> Tree:
        """The sum so far plus this context's."""
        return add(state, self.measure(model, context, key=key))


class Learner(eqx.Module):
    """A model together with the rule by which it adapts: all that the outer loop trains."""

    model: Any
    rule: AbstractRule


def adapt(learner: Learner, context: Tree, *, key: Key) -> Any:
    """The learner's model, adapted to one context.

    ```python
    >>> import jax, mutatis
    >>> learner = mutatis.Learner(jax.numpy.tanh, mutatis.NoAdaptation())
    >>> float(mutatis.adapt(learner, context=None, key=jax.random.key(0))(0.0))
    0.0

    ```
    """
    rule, model = learner.rule, learner.model
    return rule.bind(model, rule.update(model, rule.init(model), context, key=key))


def adapt_stream(learner: Learner, contexts: Tree, *, key: Key) -> Any:
    """The states after each of a sequence of contexts (leading axis), by one `jax.lax.scan`; `bind` any of them."""
    rule, model = learner.rule, learner.model

    def fold(state, step):
        context, step_key = step
        state = rule.update(model, state, context, key=step_key)
        return state, state

    length = jax.tree.leaves(contexts)[0].shape[0]
    return jax.lax.scan(fold, rule.init(model), (contexts, jax.random.split(key, length)))[1]
