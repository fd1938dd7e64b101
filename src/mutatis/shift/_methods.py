"""The methods of the field, each a row of the library's five values.

A `Method` names how a learner is built and drawn for (the rule in training), what the tasks weigh, and with which rule
it is used on new groups. Nothing here computes: the rows are put together from parts that know nothing of each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mutatis._direction import AbstractDirection, Displacement, Unrolled
from mutatis._rule import AbstractRule, Learner
from mutatis._types import Key, Objective
from mutatis._weighting import AbstractWeighting
from mutatis.nn import batch_norms, norm_affine
from mutatis.rules import (
    BatchMoments,
    ContextMean,
    GradientSteps,
    InContext,
    LaplacianAdjustment,
    LearnedLoss,
    NoAdaptation,
    Prototypes,
    causal_cross_entropy,
    cross_entropy,
    entropy,
)
from mutatis.shift._groups import Groups
from mutatis.shift._networks import Networks
from mutatis.weightings import Average, GroupDRO, QFair

Change = Callable[[Learner], Learner]

LOCAL_RATE = 0.1
"""Learning rate of a federated client's own steps."""

SHRINKAGE_SUPPORTS = (1, 5, 10, 50)
"""Context sizes met in training by the methods that learn how far to trust a context."""


def as_trained(learner: Learner) -> Learner:
    """The same rule on new groups as in training."""
    return learner


def source_moments(learner: Learner) -> Learner:
    """On new groups, the moments remembered from training, and whatever rule they were kept around."""
    assert isinstance(learner.rule, BatchMoments)
    return Learner(learner.model, learner.rule.within)


def shrunken_moments(learner: Learner) -> Learner:
    """On new groups, moments between the context's and those remembered from training."""
    assert isinstance(learner.rule, BatchMoments)
    return Learner(learner.model, learner.rule.alone())


@dataclass(frozen=True)
class TestTime:
    """A method that needs no training of its own: another rule put on a trained model.

    - `candidates`: settings in words, and what each makes of the learner; the best on the validation groups is used.
    """

    __test__ = False  # not a test, whatever its name begins with

    name: str
    candidates: tuple[tuple[str, Change], ...]


@dataclass(frozen=True)
class Method:
    """One row.

    - `build`: the learner as it is trained.
    - `at_test`: the learner as it is used on new groups.
    - `weighting`: from the training groups and the settings of the study.
    - `mix_groups`, `balanced`, `labelled_context`: how tasks are drawn, see `GroupSampler`.
    - `optim`: from the study's learning rate.
    - `map_tasks`: tasks one after the other (each has weights of its own).
    - `supports`: context sizes met in turn in training; only the study's own if empty.
    - `fresh_source`: measure the source moments anew before judging. Not where training itself normalises by them: a
      layer's moments then hold only under those of the layers before it, as the moving average left them.
    - `test_time`: methods applied to the same trained model.
    - `adapts`: whether predictions depend on the context.
    """

    name: str
    build: Callable[[Networks, Key], Learner]
    at_test: Change = as_trained
    weighting: Callable[[Groups], AbstractWeighting] = field(default=lambda groups: Average())
    direction: AbstractDirection = field(default_factory=Unrolled)
    objective: Objective = cross_entropy
    optim: Callable[[float], optax.GradientTransformation] = field(default_factory=lambda: optax.adam)
    mix_groups: bool = False
    balanced: bool = True
    labelled_context: bool = False
    map_tasks: bool = False
    supports: tuple[int, ...] = ()
    fresh_source: bool = True
    test_time: tuple[TestTime, ...] = ()
    adapts: bool = True


def _plain(networks: Networks, key: Key) -> Learner:
    return Learner(networks.predictor(key), BatchMoments(pool_tasks=True))


def _context_mean(networks: Networks, key: Key, **shrinkage) -> Learner:
    model_key, rule_key = jax.random.split(key)
    rule = ContextMean(networks.context(rule_key), networks.context_shape, **shrinkage)
    model = networks.predictor(model_key, extra=networks.context_channels)
    return Learner(model, BatchMoments(rule, pool_tasks=True))


def _moments(networks: Networks, key: Key) -> Learner:
    return Learner(networks.predictor(key), BatchMoments())


def _learned_loss(networks: Networks, key: Key) -> Learner:
    model_key, rule_key = jax.random.split(key)
    rule = GradientSteps(LearnedLoss(networks.loss(rule_key)), 0.1)
    return Learner(networks.predictor(model_key), BatchMoments(rule))


def _shrunken(learner: Learner, rows: float = 10.0) -> Learner:
    """The same learner, whose moments are drawn to the step's by a trained number of rows for each layer."""
    assert isinstance(learner.rule, BatchMoments)
    counts = jnp.full(len(batch_norms(learner)), rows)
    return Learner(learner.model, BatchMoments(learner.rule.within, pseudo_count=counts, pool_tasks=True))


def _in_context(networks: Networks, key: Key) -> Learner:
    return Learner(networks.in_context(key), InContext())


def _client(networks: Networks, key: Key) -> Learner:
    steps = GradientSteps(cross_entropy, LOCAL_RATE, steps=5, batch_size=10)
    # Local steps under the remembered moments, the very ones that the global model is judged under: with each client's
    # own, the global model would be trained for a normalisation that it never has.
    return Learner(networks.predictor(key), BatchMoments(steps, pseudo_count=float("inf")))


def _federated_at_test(learner: Learner) -> Learner:
    return Learner(learner.model, NoAdaptation())


def _with_rule(rule: Callable[..., AbstractRule], *settings: Any, **named: Any) -> Change:
    # Made when it is asked for: arrays made at import would start the backend before its threads are set.
    return lambda learner: Learner(learner.model, rule(*settings, **named))


def _entropy_steps(rate: float) -> BatchMoments:
    return BatchMoments(GradientSteps(entropy, rate, where=norm_affine))


AT_TEST = (
    TestTime(
        "BN adaptation",
        tuple((f"N = {rows}", _with_rule(BatchMoments, pseudo_count=float(rows))) for rows in (0, 4, 16, 64)),
    ),
    TestTime("Tent", tuple((f"rate {rate}", _with_rule(_entropy_steps, rate)) for rate in (0.003, 0.03, 0.3))),
    TestTime("T3A", tuple((f"M = {kept}", _with_rule(Prototypes, kept)) for kept in (5, 20, 100))),
    TestTime("LAME", tuple((f"k = {near}", _with_rule(LaplacianAdjustment, neighbours=near)) for near in (1, 3, 5))),
)
"""Methods for a model that was trained without adaptation, with the settings to choose from."""

ERM = Method("ERM", _plain, source_moments, mix_groups=True, balanced=False, test_time=AT_TEST, adapts=False)
UW = Method("UW", _plain, source_moments, mix_groups=True, adapts=False)
DRNN = Method("DRNN", _plain, source_moments, weighting=lambda groups: GroupDRO(step_size=0.01), adapts=False)
DRNN_ADJUSTED = Method(
    "DRNN, adjusted",
    _plain,
    source_moments,
    weighting=lambda groups: GroupDRO(
        step_size=0.01, adjustment=1.0, group_sizes=jnp.asarray(groups.sizes, jnp.float32)
    ),
    adapts=False,
)
FEDAVG = Method(
    "FedAvg",
    _client,
    _federated_at_test,
    weighting=lambda groups: QFair(0.0, local_rate=LOCAL_RATE),
    direction=Displacement(),
    optim=lambda rate: optax.sgd(1.0),
    labelled_context=True,
    map_tasks=True,
    fresh_source=False,
    adapts=False,
)
Q_FEDAVG = replace(FEDAVG, name="q-FedAvg", weighting=lambda groups: QFair(1.0, local_rate=LOCAL_RATE))
ARM_CML = Method("ARM-CML", _context_mean, source_moments)
ARM_BN = Method("ARM-BN", _moments, map_tasks=True)
ARM_LL = Method("ARM-LL", _learned_loss, map_tasks=True)
ARM_CML_SHRUNKEN = Method(
    "ARM-CML, shrunken",
    lambda networks, key: _context_mean(networks, key, pseudo_count=jnp.asarray(10.0)),
    source_moments,
    supports=SHRINKAGE_SUPPORTS,
)
ARM_BN_SHRUNKEN = Method(
    "ARM-BN, shrunken",
    lambda networks, key: _shrunken(_moments(networks, key)),
    shrunken_moments,
    supports=SHRINKAGE_SUPPORTS,
)
ARM_LL_SHRUNKEN = Method(
    "ARM-LL, shrunken",
    lambda networks, key: _shrunken(_learned_loss(networks, key)),
    shrunken_moments,
    supports=SHRINKAGE_SUPPORTS,
)
ICRM = Method("ICRM", _in_context, objective=causal_cross_entropy)

METHODS: tuple[Method, ...] = (
    ERM,
    UW,
    DRNN,
    DRNN_ADJUSTED,
    FEDAVG,
    Q_FEDAVG,
    ARM_CML,
    ARM_BN,
    ARM_LL,
    ARM_CML_SHRUNKEN,
    ARM_BN_SHRUNKEN,
    ARM_LL_SHRUNKEN,
    ICRM,
)
"""Every method that is trained, in the order of the tables."""
