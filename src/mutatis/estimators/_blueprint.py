"""From names and numbers to the five values: what an estimator builds, and can build again when it is
loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import mutatis
from mutatis import AbstractRule, AbstractWeighting, Learner, OuterState, nn, weightings
from mutatis._types import Key
from mutatis.estimators._names import find
from mutatis.estimators._networks import kernel_size, network

# One optimiser object for all estimators, its rate an array: a fresh object or number would compile
# everything again. Flattened, because one vector compiles faster than many leaves.
_OPTIMISER = optax.inject_hyperparams(
    lambda learning_rate: optax.flatten(optax.adam(learning_rate)), hyperparam_dtype=jnp.float32
)(learning_rate=1e-2)


@dataclass(frozen=True)
class Blueprint:
    """The parameters that fix the structure of what is trained, as they were when `fit` was called."""

    rule: Any
    weighting: Any
    model: Any
    hidden: tuple[int, ...]
    shape: tuple[int, ...]
    outputs: int
    classification: bool
    context_size: int
    pseudo_count: float
    inner_learning_rate: float
    learning_rate: float

    def start(self, num_groups: int, key: Key) -> tuple[Learner, OuterState]:
        """A fresh learner and the state of its outer loop."""
        learner_key, outer_key = jax.random.split(key)
        learner = self.learner(learner_key)
        outer = mutatis.outer_init(learner, self.chosen_weighting(), _OPTIMISER, num_groups=num_groups, key=outer_key)
        rate = lambda state: state.optim_state.hyperparams["learning_rate"]
        return learner, eqx.tree_at(rate, outer, jnp.asarray(self.learning_rate, jnp.float32))

    def chosen_weighting(self) -> AbstractWeighting:
        """The weighting itself, or the one of that name."""
        if isinstance(self.weighting, AbstractWeighting):
            return self.weighting
        return find(WEIGHTINGS, self.weighting, "weighting")()

    def learner(self, key: Key) -> Learner:
        """A rule and a model that fit each other: contexts widen the inputs, and batch norms need their
        moments kept."""
        rule_key, model_key = jax.random.split(key)
        rule = self._chosen_rule(rule_key)
        shape = (*self.shape[:-1], self.shape[-1] + _context_channels(rule))
        if self.model is None:
            normalised = contains(rule, mutatis.BatchMoments)
            model = network(shape, self.outputs, self.hidden, normalised=normalised, key=model_key)
        else:
            model = self.model(shape, self.outputs, key=model_key)
        if nn.batch_norms((rule, model)) and not contains(rule, mutatis.BatchMoments):
            # Inner steps see one group at a time at prediction, so they must in training; otherwise moments
            # are those of all rows of the step, as ordinary batch normalisation has them.
            steps = contains(rule, mutatis.GradientSteps)
            rule = mutatis.BatchMoments(rule, pseudo_count=self.pseudo_count if steps else None, pool_tasks=not steps)
        return Learner(model, rule)

    def _chosen_rule(self, key: Key) -> AbstractRule:
        if isinstance(self.rule, AbstractRule):
            return self.rule
        if callable(self.rule):
            made: Any = self.rule(self.shape, self.outputs, key=key)
            return made
        return find(RULES, self.rule, "rule")(self, key)


def for_prediction(learner: Learner) -> Learner:
    """The learner as it predicts: moments pooled over the tasks of a step are a matter of training alone."""
    rule = learner.rule
    if isinstance(rule, mutatis.BatchMoments) and rule.pool_tasks:
        rule = rule.within
    return Learner(learner.model, rule)


def contains(tree: Any, kind: type) -> bool:
    """Whether a module of this class is somewhere in the tree."""
    is_kind = lambda node: isinstance(node, kind)
    return any(map(is_kind, jax.tree.leaves(tree, is_leaf=is_kind)))


def _context_channels(rule: AbstractRule) -> int:
    is_context = lambda node: isinstance(node, mutatis.ContextMean)
    return sum(node.shape[-1] for node in jax.tree.leaves(rule, is_leaf=is_context) if is_context(node))


def _none(blueprint: Blueprint, key: Key) -> AbstractRule:
    del blueprint, key
    return mutatis.NoAdaptation()


def _context(blueprint: Blueprint, key: Key) -> AbstractRule:
    shape, extra, width = blueprint.shape, blueprint.context_size, blueprint.hidden[0]
    if len(shape) == 3:
        size = max(3, kernel_size(shape))
        net = nn.context_net(shape[2], extra, key=key, width=width, kernel_size=size)
    else:
        net = nn.mlp((shape[0], width, extra), key=key)
    return mutatis.ContextMean(net, (*shape[:-1], extra), pseudo_count=blueprint.pseudo_count)


def _moments(blueprint: Blueprint, key: Key) -> AbstractRule:
    del key
    return mutatis.BatchMoments(pseudo_count=blueprint.pseudo_count)


def _learned_loss(blueprint: Blueprint, key: Key) -> AbstractRule:
    loss = mutatis.LearnedLoss(nn.loss_net(blueprint.outputs, key=key))
    return mutatis.GradientSteps(loss, float(blueprint.inner_learning_rate))


def _entropy(blueprint: Blueprint, key: Key) -> AbstractRule:
    del key
    if not blueprint.classification:
        raise ValueError("rule='entropy' needs classes; for regression pass 'context', 'moments' or 'learned_loss'.")
    return mutatis.GradientSteps(mutatis.entropy, float(blueprint.inner_learning_rate))


RULES: dict[str, Callable[[Blueprint, Key], AbstractRule]] = {
    "none": _none,
    "context": _context,
    "moments": _moments,
    "learned_loss": _learned_loss,
    "entropy": _entropy,
}

WEIGHTINGS: dict[str, Callable[[], AbstractWeighting]] = {
    "average": weightings.Average,
    "group_dro": weightings.GroupDRO,
    "pcgrad": weightings.PCGrad,
    "mgda": weightings.MGDA,
    "imtl_g": weightings.IMTLG,
    "aligned_mtl": weightings.AlignedMTL,
    "cagrad": weightings.CAGrad,
    "nash_mtl": weightings.NashMTL,
    "famo": weightings.FAMO,
    "grad_norm": weightings.GradNorm,
    "uncertainty": weightings.UncertaintyWeights,
    "random": weightings.RandomWeights,
}
