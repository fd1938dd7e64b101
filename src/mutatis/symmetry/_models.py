"""The models compared on families of linear tasks, each a row of the library's values.

A `Model` names a layer (which entries of W are tied to which), the rule that adapts it, and the optimiser of the outer
loop. Every layer maps as its problem does, y = W x with W of the problem's shape, and has no bias. Nothing here
computes, but for the first learning rates, which are tried out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mutatis._rule import AbstractRule, Learner, adapt
from mutatis._tree import trainable
from mutatis._types import Key
from mutatis.nn import (
    DoublyStochasticSharing,
    FullSharing,
    KnownSharing,
    KroneckerSharing,
    LowRankSharing,
    is_filter,
    reparameterise,
)
from mutatis.rules import GradientSteps, MetaCurvature, Positive, Ridge, channels_first
from mutatis.symmetry._floors import data_floor, gradient_floor, steps_floor
from mutatis.symmetry._host import numpy_generator
from mutatis.symmetry._problems import AbstractProblem

Layer = Callable[[AbstractProblem, Key], Any]
Rule = Callable[[Any, AbstractProblem, int, Key], AbstractRule]
Floor = Callable[[AbstractProblem, int, Key], float]
Optimiser = Callable[[int], optax.GradientTransformation]

FIRST_RATES = tuple(float(rate) for rate in np.geomspace(0.01, 100.0, 13))
"""Learning rates of the inner loop that are tried before training."""


class LinearMap(eqx.Module):
    """x W^T: `(rows, in) -> (rows, out)`."""

    weight: Float[Array, "out in"]

    def __call__(self, x: Float[Array, "rows in"]) -> Float[Array, "rows out"]:
        """The map of every row."""
        return jnp.matmul(x, self.weight.T, precision=jax.lax.Precision.HIGHEST)


class PatchMap(eqx.Module):
    """W at every 3 x 3 patch: `(rows, h, w, 1) -> (rows, h - 2, w - 2, out)`.

    A product with the nine shifted images: every task has weights of its own, for which a convolution is slow on a CPU.
    """

    weight: Float[Array, "out 9"]

    def __call__(self, x: Float[Array, "rows h w 1"]) -> Float[Array, "rows h2 w2 out"]:
        """The correlation of every image with the filters."""
        height, width = x.shape[1] - 2, x.shape[2] - 2
        patches = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return LinearMap(self.weight)(jnp.concatenate(patches, axis=-1))


def squared_error(model: Any, pair: tuple[Array, Array]) -> Float[Array, ""]:
    """Mean over all numbers of (model(x) - y)^2."""
    return jnp.mean(jnp.square(model(pair[0]) - pair[1]))


@dataclass(frozen=True)
class Model:
    """One row.

    - `layer`: the module, from the problem.
    - `rule`: how it adapts, from the module, the problem and the number of inner steps.
    - `optim`: of the outer loop, from the number of its steps.
    - `floor`: the least risk that this rule can reach with the true sharing; 0 where that is not known.
    """

    name: str
    layer: Layer
    rule: Rule
    optim: Optimiser
    floor: Floor

    def build(self, problem: AbstractProblem, *, inner_steps: int = 1, key: Key) -> Learner:
        """The learner before training."""
        layer_key, rule_key = jax.random.split(key)
        layer = self.layer(problem, layer_key)
        return Learner(layer, self.rule(layer, problem, inner_steps, rule_key))


def plain_layer(problem: AbstractProblem, key: Key) -> LinearMap | PatchMap:
    """Every entry of W for itself, from U(-1/sqrt(in), 1/sqrt(in)) as in PyTorch."""
    kind = LinearMap if len(problem.input_shape) == 1 else PatchMap
    return kind(eqx.nn.Linear(problem.shape[1], problem.shape[0], use_bias=False, key=key).weight)


def _shared(sharing: Any, settings: Callable[[AbstractProblem], dict[str, Any]]) -> Layer:
    def layer(problem: AbstractProblem, key: Key) -> Any:
        plain_key, sharing_key = jax.random.split(key)
        plain = plain_layer(problem, plain_key)
        return reparameterise(plain, _weight, sharing, key=sharing_key, **settings(problem))

    return layer


def _known(matrix: Callable[[AbstractProblem, Key], np.ndarray]) -> Layer:
    def layer(problem: AbstractProblem, key: Key) -> Any:
        plain_key, matrix_key = jax.random.split(key)
        known = KnownSharing(jnp.asarray(matrix(problem, matrix_key), jnp.float32), problem.shape)
        return reparameterise(plain_layer(problem, plain_key), _weight, known, key=matrix_key)

    return layer


def _original(problem: AbstractProblem, key: Key) -> Any:
    """U ~ N(0, 0.01^2) and v ~ N(0, 1/out^2), as the original starts.

    As there, 3 and 6 filters for the convolution and rank 2, twice as many as needed for rank 5: with 15 one of the 15
    directions may stay unfound.
    """
    layer_key, filter_key = jax.random.split(key)
    rank = _rank(problem)
    filters = rank if rank <= 6 else 2 * rank
    layer = _shared(FullSharing, lambda problem: {"num_filters": filters, "scale": 0.01})(problem, layer_key)
    first = jax.random.normal(filter_key, (filters,), jnp.float32) / problem.shape[0]
    return eqx.tree_at(lambda model: model.module.weight.filters, layer, first)


def _weight(module: Any) -> Array:
    return module.weight


def _rank(problem: AbstractProblem) -> int:
    return problem.truth.shape[1]


def _fields(problem: AbstractProblem) -> int:
    """So many that each has a copy for every element of the true group; where there is none, one for all outputs."""
    copies = problem.symmetry[1].group.order if problem.symmetry else problem.shape[0]
    return problem.shape[0] // copies


def _filters(problem: AbstractProblem) -> tuple[int, int]:
    """A filter of all inputs for each field."""
    return _fields(problem), problem.shape[1]


def _wrong(problem: AbstractProblem, key: Key) -> np.ndarray:
    """The true sharing with the outputs in reverse: the group acts on them the other way round."""
    del key
    truth = problem.truth
    return truth.reshape(*problem.shape, -1)[::-1].reshape(truth.shape)


def _random(problem: AbstractProblem, key: Key) -> np.ndarray:
    return np.linalg.qr(numpy_generator(key).standard_normal(problem.truth.shape))[0]


def _true(problem: AbstractProblem, key: Key) -> np.ndarray:
    del key
    return problem.truth


def _band(problem: AbstractProblem, key: Key) -> np.ndarray:
    """A column for every entry that is ever used: locally connected."""
    del key
    return np.eye(len(problem.truth))[:, np.square(problem.truth).sum(1) > 1e-12]


def _diagonals(problem: AbstractProblem, key: Key) -> np.ndarray:
    """A column for every diagonal that is ever used: one filter along the line."""
    out, inputs = problem.shape
    diagonal = (np.arange(inputs)[None] - np.arange(out)[:, None]).ravel()
    used = np.unique(diagonal[_band(problem, key).any(axis=1)])
    return (diagonal[:, None] == used).astype(float)


def _steps(layer: Any, problem: AbstractProblem, steps: int, key: Key, *, where: Callable = is_filter) -> GradientSteps:
    """The original's: one learning rate for all that moves, trained, from 0.1."""
    del layer, problem, key
    return GradientSteps(squared_error, jnp.asarray(0.1, jnp.float32), steps=steps, where=where)


def _tuned_steps(
    layer: Any, problem: AbstractProblem, steps: int, key: Key, *, where: Callable = trainable, curvature: bool = False
) -> GradientSteps:
    """One positive rate, trained from the best of `FIRST_RATES` on training tasks, so that no model starts stuck."""
    transform = MetaCurvature(layer, where, axes=channels_first) if curvature else None
    rule = GradientSteps(squared_error, Positive(1.0), steps=steps, where=where, transform=transform)
    tasks = problem(key)

    @eqx.filter_jit
    def loss(rule, tasks):
        one = lambda context, query: squared_error(adapt(Learner(layer, rule), context, key=key), query)
        return jnp.mean(jax.vmap(one)(tasks.context, tasks.query))

    tried = [eqx.tree_at(lambda r: r.learning_rate, rule, Positive(rate)) for rate in FIRST_RATES]
    return min(tried, key=lambda rule: float(jnp.nan_to_num(loss(rule, tasks), nan=jnp.inf)))


def _ridge(layer: Any, problem: AbstractProblem, steps: int, key: Key, *, penalty: float = 1e-3) -> Ridge:
    """In closed form, whatever the number of steps; the penalty is trained."""
    del layer, problem, steps, key
    return Ridge(is_filter, jnp.asarray(penalty, jnp.float32), towards_start=False)


def _floor_of_steps(problem: AbstractProblem, steps: int, key: Key) -> float:
    if len(problem.input_shape) > 1:
        return 0.0  # the floors are those of independent inputs, and the patches of an image overlap
    settings = {"examples": problem.support, "basis": problem.truth}
    if steps > 1:
        return steps_floor(problem.factor, problem.shape, steps=steps, key=key, **settings)
    return gradient_floor(problem.factor, problem.shape, **settings)


def _floor_of_data(problem: AbstractProblem, steps: int, key: Key) -> float:
    del steps
    return data_floor(problem.factor, problem.shape, examples=problem.support, key=key)


def _adam(steps: int) -> optax.GradientTransformation:
    del steps
    return optax.adam(1e-3)


def _decaying_adam(steps: int, *, rate: float = 1e-2) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


_tuned_filter_steps = partial(_tuned_steps, where=is_filter)


def _stepping(name: str, layer: Layer, rule: Rule = _tuned_filter_steps) -> Model:
    return Model(name, layer, rule, _adam, _floor_of_steps)


def _solving(name: str, layer: Layer) -> Model:
    return Model(name, layer, _ridge, _decaying_adam, _floor_of_data)


def _solving_terms(name: str, layer: Layer) -> Model:
    """Products of factors get stuck from a small penalty: one term fits what it can, and the others never start."""
    return Model(name, layer, partial(_ridge, penalty=1.0), partial(_decaying_adam, rate=3e-2), _floor_of_data)


_full = _shared(FullSharing, lambda problem: {"num_filters": _rank(problem)})
_low_rank = _shared(LowRankSharing, lambda problem: {"num_filters": 2 * _rank(problem), "rank": _rank(problem)})
_one_term = _shared(KroneckerSharing, lambda problem: {})
_one_short_term = _shared(KroneckerSharing, lambda problem: {"filter_shape": _filters(problem)})
_five_short_terms = _shared(KroneckerSharing, lambda problem: {"filter_shape": _filters(problem), "terms": 5})
_soft_permutations = _shared(DoublyStochasticSharing, lambda problem: {"num_fields": _fields(problem)})

MODELS: tuple[Model, ...] = (
    _stepping("MSR", _original, _steps),
    _solving("MSR, ridge", _full),
    _solving("MSR, low rank, ridge", _low_rank),
    _stepping("MSR, Kronecker", _one_term),
    _solving_terms("MSR, Kronecker, ridge", _one_short_term),
    _solving_terms("MSR, 5 Kronecker terms, ridge", _five_short_terms),
    _solving("MSR, soft permutations, ridge", _soft_permutations),
    _stepping("MAML-FC", plain_layer, _tuned_steps),
    _stepping("MAML-LC", _known(_band)),
    _stepping("MAML-Conv", _known(_diagonals)),
    _stepping("MAML-Conv 3 x 3", plain_layer, _tuned_steps),
    _stepping("MAML-Conv 3 x 3, untuned", plain_layer, partial(_steps, where=trainable)),
    _stepping("Meta-Curvature", plain_layer, partial(_tuned_steps, curvature=True)),
    _stepping("true U", _known(_true)),
    _stepping("wrong U", _known(_wrong)),
    _stepping("random U", _known(_random)),
    _solving("true U, ridge", _known(_true)),
    _solving("wrong U, ridge", _known(_wrong)),
    _solving("random U, ridge", _known(_random)),
)
"""Every model, in the order of the tables. With "ridge" the filters are solved for, else they take gradient steps."""
