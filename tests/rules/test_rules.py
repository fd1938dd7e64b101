"""What holds for every rule."""

import io
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis import AbstractRule, AbstractStatistic, nn
from mutatis.rules._curvature import MetaCurvature
from mutatis.rules._rates import Positive, per_element
from mutatis.rules._ridge import Ridge
from mutatis.rules._ridge_head import RidgeHead

ROWS, INPUTS, CLASSES = 6, 3, 4


@dataclass(frozen=True)
class Case:
    """One way to use a rule: what it does, on which model, and what it claims."""

    rule: Any
    model: Any
    labelled: bool = False
    any_order: bool = True
    """The order of a context's rows does not matter."""


def _classifier(dtype, inputs=INPUTS, norm=True):
    norms = [nn.BatchNorm(5, dtype=dtype)] if norm else []
    body = nn.Sequential([nn.Linear(inputs, 5, key=jax.random.key(0), dtype=dtype), *norms, nn.Activation(jnp.tanh)])
    return nn.Classifier(body, nn.Linear(5, CLASSES, key=jax.random.key(1), dtype=dtype))


def _context_mean(dtype, **settings):
    net = nn.mlp((INPUTS, 4, 2), key=jax.random.key(2), dtype=dtype)
    return mutatis.ContextMean(net, (2,), dtype=dtype, **settings)


def _belief(dtype):
    return mutatis.Belief(nn.mlp((INPUTS, 4, 4), key=jax.random.key(6), dtype=dtype), 2, dtype)


def _learned_loss(dtype):
    return mutatis.LearnedLoss(nn.loss_net(CLASSES, width=4, key=jax.random.key(3), dtype=dtype))


def _error(model, context):
    inputs, targets = context
    return jnp.mean(jnp.square(model(inputs) - targets))


def _head(model):
    still = jax.tree.map(lambda _: False, model)
    return eqx.tree_at(lambda m: (m.head.weight, m.head.bias), still, (True, True))


def _in_context(dtype):
    encoder = nn.Linear(INPUTS, 5, key=jax.random.key(4), dtype=dtype)
    return nn.InContextClassifier(encoder, 5, CLASSES, width=8, depth=2, heads=2, key=jax.random.key(5), dtype=dtype)


BUILD = {
    "NoAdaptation": lambda d: {"": Case(mutatis.NoAdaptation(), _classifier(d))},
    "GradientSteps": lambda d: {
        "supervised": Case(mutatis.GradientSteps(_error, 0.1, steps=2), _classifier(d), labelled=True),
        "minibatches": Case(
            mutatis.GradientSteps(_error, jnp.asarray(0.1, d), steps=3, batch_size=2, proximal=0.1),
            _classifier(d),
            labelled=True,
            any_order=False,
        ),
        "learned loss": Case(mutatis.GradientSteps(_learned_loss(d), jnp.asarray(0.1, d)), _classifier(d)),
        "head only": Case(
            mutatis.GradientSteps(
                mutatis.entropy,
                0.1,
                where=lambda m: eqx.tree_at(lambda t: t.head.weight, jax.tree.map(lambda _: False, m), True),
            ),
            _classifier(d),
        ),
        "meta-curvature": Case(
            mutatis.GradientSteps(
                _error,
                Positive(per_element(_classifier(d), mutatis.trainable, 0.1)),
                steps=2,
                transform=MetaCurvature(_classifier(d)),
            ),
            _classifier(d),
            labelled=True,
        ),
    },
    "Ridge": lambda d: {
        "": Case(Ridge(_head, jnp.asarray(0.1, d)), _classifier(d), labelled=True),
        "towards zero": Case(Ridge(_head, 2.0, towards_start=False), _classifier(d), labelled=True),
    },
    "RidgeHead": lambda d: {
        "": Case(RidgeHead(jnp.asarray(0.5, d), scale=jnp.asarray(3.0, d)), _classifier(d), labelled=True)
    },
    "ContextMean": lambda d: {
        "": Case(_context_mean(d, pseudo_count=jnp.asarray(2.0, d)), _classifier(d, INPUTS + 2)),
    },
    "Belief": lambda d: {
        "": Case(
            mutatis.Belief(nn.mlp((INPUTS, 4, 4), key=jax.random.key(6), dtype=d), 2, d), _classifier(d, INPUTS + 2)
        ),
    },
    "BatchMoments": lambda d: {
        "": Case(mutatis.BatchMoments(pseudo_count=jnp.asarray([3.0], d)), _classifier(d)),
        "around a learned loss": Case(
            mutatis.BatchMoments(mutatis.GradientSteps(_learned_loss(d), 0.1)), _classifier(d)
        ),
        "around a context mean": Case(mutatis.BatchMoments(_context_mean(d)), _classifier(d, INPUTS + 2)),
    },
    "Prototypes": lambda d: {"": Case(mutatis.Prototypes(3), _classifier(d))},
    "LaplacianAdjustment": lambda d: {"": Case(mutatis.LaplacianAdjustment(16, 2), _classifier(d))},
    "InContext": lambda d: {"": Case(mutatis.InContext(16), _in_context(d), any_order=False)},
}
"""How to build each rule in a precision; a new one needs an entry here."""


def _final_subclasses(kind):
    for child in kind.__subclasses__():
        yield from _final_subclasses(child)
        if not getattr(child, "__abstractmethods__", None) and child.__module__.startswith("mutatis."):
            yield child


def test_every_rule_is_tested():
    assert {kind.__name__ for kind in _final_subclasses(AbstractRule)} == set(BUILD)


def _cases(dtype):
    return {f"{name} {way}".strip(): case for name, make in BUILD.items() for way, case in make(dtype).items()}


WIDE, NARROW = _cases(jnp.float64), _cases(jnp.float32)
every_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in WIDE.items()])


def _context(case, rows=ROWS, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    inputs, targets = rng.standard_normal((rows, INPUTS)), rng.standard_normal((rows, CLASSES))
    return (inputs.astype(dtype), targets.astype(dtype)) if case.labelled else inputs.astype(dtype)


X = np.random.default_rng(99).standard_normal((5, INPUTS))
KEY = jax.random.key(11)


def _begin(rule, model):
    return rule.init(model)


@eqx.filter_jit
def _update(rule, model, state, context, key=KEY):
    return rule.update(model, state, context, key=key)


@eqx.filter_jit
def _predict(rule, model, state, x):
    return rule.bind(model, state)(x)


@eqx.filter_jit
def _streams(rule, model, contexts):
    """States of several tasks side by side, each scanned over its contexts."""
    return jax.vmap(lambda stream: mutatis.adapt_stream(mutatis.Learner(model, rule), stream, key=KEY))(contexts)


@eqx.filter_jit
def _slopes(rule, model, context, x):
    def total(params, static):
        rule, model = eqx.combine(params, static)
        return jnp.sum(jnp.sin(rule.bind(model, rule.update(model, rule.init(model), context, key=KEY))(x)))

    return jax.grad(total)(*eqx.partition((rule, model), mutatis.trainable((rule, model))))


def _describe(tree):
    arrays = eqx.filter(tree, eqx.is_array)
    return jax.tree.structure(tree), jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), arrays)


def _close(left, right, **tolerance):
    left, right = eqx.filter((left, right), eqx.is_array)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


@every_case
def test_the_first_state_gives_a_usable_model(case):
    answer = _predict(case.rule, case.model, _begin(case.rule, case.model), X)
    assert answer.shape == (5, CLASSES)
    assert np.all(np.isfinite(answer))


@every_case
def test_state_keeps_its_structure_and_the_adapted_model_its_form(case):
    before = _begin(case.rule, case.model)
    after = _update(case.rule, case.model, before, _context(case))
    assert _describe(after) == _describe(before)
    answer = _predict(case.rule, case.model, after, X)
    assert answer.shape == (5, CLASSES)
    assert np.all(np.isfinite(answer))
    if not isinstance(case.rule, mutatis.NoAdaptation):
        assert np.max(np.abs(answer - _predict(case.rule, case.model, before, X))) > 1e-6  # the context was looked at


@every_case
def test_tasks_side_by_side_and_streams_are_the_updates_one_after_the_other(case):
    contexts = [[_context(case, seed=10 * task + part) for part in range(3)] for task in range(2)]
    stack = lambda parts: jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    together = _streams(case.rule, case.model, stack([stack(parts) for parts in contexts]))
    for task, parts in enumerate(contexts):
        state = _begin(case.rule, case.model)
        for number, (part, key) in enumerate(zip(parts, jax.random.split(KEY, 3), strict=True)):
            state = _update(case.rule, case.model, state, part, key)
            seen = jax.tree.map(lambda leaf, at=(task, number): leaf[at], together)
            _close(seen, state, rtol=1e-8, atol=1e-10)


@every_case
def test_adapt_is_the_three_verbs(case):
    context = _context(case)
    adapted = eqx.filter_eval_shape(mutatis.adapt, mutatis.Learner(case.model, case.rule), context, key=KEY)
    answer = eqx.filter_eval_shape(lambda model, x: model(x), adapted, X)
    assert (answer.shape, answer.dtype) == ((5, CLASSES), jnp.float64)


@every_case
def test_a_half_adapted_state_survives_a_file(case):
    half = _update(case.rule, case.model, _begin(case.rule, case.model), _context(case))
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, half)
    file.seek(0)
    read = eqx.tree_deserialise_leaves(file, _begin(case.rule, case.model))
    rest = _context(case, seed=1)
    ahead, again = (_update(case.rule, case.model, state, rest) for state in (half, read))
    _close(again, ahead, rtol=0)


@every_case
def test_the_outer_loop_can_differentiate_through_it(case):
    slopes = jax.tree.leaves(_slopes(case.rule, case.model, _context(case), X))
    assert all(np.all(np.isfinite(leaf)) for leaf in slopes)
    assert max(float(np.max(np.abs(leaf))) for leaf in slopes) > 1e-6


@every_case
def test_rows_may_come_in_any_order_where_claimed(case):
    context, order = _context(case), np.array([4, 1, 5, 0, 3, 2])
    shuffled = jax.tree.map(lambda leaf: leaf[order], context)
    first = _begin(case.rule, case.model)
    answers = [
        _predict(case.rule, case.model, _update(case.rule, case.model, first, given), X)
        for given in (context, shuffled)
    ]
    if case.any_order:
        np.testing.assert_allclose(*answers, rtol=1e-9, atol=1e-11)
    else:
        assert np.max(np.abs(answers[0] - answers[1])) > 1e-9


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in NARROW.items()])
def test_single_precision_stays_single(case):
    def run(rule, model, context, x):
        state = rule.update(model, rule.init(model), context, key=KEY)
        return state, rule.bind(model, state)(x)

    shapes = eqx.filter_eval_shape(run, case.rule, case.model, _context(case, dtype=np.float32), X.astype(np.float32))
    precisions = {leaf.dtype for leaf in jax.tree.leaves(shapes) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert precisions == {jnp.dtype("float32")}


STATISTICS = {name: case for name, case in WIDE.items() if isinstance(case.rule, AbstractStatistic)}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in STATISTICS.items()])
def test_statistics_are_sums_over_rows(case):
    context, first = _context(case), _begin(case.rule, case.model)
    cut = lambda rows: jax.tree.map(lambda leaf: leaf[rows], context)
    whole = _update(case.rule, case.model, first, context)
    pieces = first
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        pieces = _update(case.rule, case.model, pieces, cut(rows))
    _close(pieces, whole, rtol=1e-12, atol=1e-13)
    apart = [_update(case.rule, case.model, first, cut(rows)) for rows in (slice(0, 2), slice(2, 6))]
    _close(jax.tree.map(jnp.add, *apart), whole, rtol=1e-12, atol=1e-13)


def test_there_are_statistics():
    assert STATISTICS
