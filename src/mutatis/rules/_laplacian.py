"""Adaptation of the outputs alone: rows that look alike are answered alike."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._citation import cites
from mutatis._references import BOUDIAF_2022
from mutatis._rule import AbstractRule
from mutatis._types import Key, Tree
from mutatis.nn._layers import Classifier
from mutatis.nn._ring import append_rows, filled_places
from mutatis.rules._features import head_of, inputs_of, unit


class Assignments(eqx.Module):
    """The latest context rows: unit features, source log-probabilities log q, adjusted probabilities z, rows seen."""

    features: Float[Array, "capacity features"]
    log_source: Float[Array, "capacity classes"]
    adjusted: Float[Array, "capacity classes"]
    seen: Int[Array, ""]


class LaplacianAdjusted(eqx.Module):
    """A classifier whose answers lean towards those of the nearest context rows."""

    model: Classifier
    state: Assignments
    neighbours: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows classes"]:
        """Log-probabilities; the rows do not see each other."""
        features = self.model.features(x)
        log_source = jax.nn.log_softmax(self.model.head(features), axis=-1)
        filled = filled_places(self.state.features.shape[0], self.state.seen)
        nearest = _nearest(unit(features), self.state.features, filled, self.neighbours)
        return jax.nn.log_softmax(log_source + _pull(self.state.adjusted, nearest), axis=-1)


@cites(BOUDIAF_2022)
class LaplacianAdjustment(AbstractRule):
    r"""Corrects the outputs so that rows with near features get near answers (LAME, Boudiaf et al. 2022).

    With q_i the source's class probabilities and w_ij = 1 if context row j is one of the k nearest of i (cosine, itself
    left out), else 0, it minimises over probabilities z_i (eq. 4 and 5)

    $$\sum_i \text{KL}(z_i \,\Vert\, q_i) - \tfrac12 \sum_{ij} w_{ij} z_i \cdot z_j \qquad \text{by repeating} \qquad
      z_i \leftarrow \text{softmax}\Big(\log q_i + \sum_j w_{ij} z_j\Big)$$

    from z = q until the energy changes by less than `tolerance` of itself, or `iterations` times. The adapted model
    makes one such step from its own q and the context's z. A query row that is in the context leaves itself out, so for
    the context's own rows it returns their z (once converged). Without neighbours it is the source model.

    - `capacity`: how many context rows are kept; of a longer stream, the latest.
    - `neighbours`: k; 5 is the best of 1, 3, 5 in the original. 0 for none.
    - `tolerance`: relative change of energy; in precisions that cannot resolve it, the machine epsilon counts.
    - `iterations`: at most.

    The model is an `nn.Classifier`, the adapted model's outputs are log-probabilities. A context may be inputs, or a
    pair whose first entry is the inputs.

    **Raises:** `ValueError` for a capacity or number of iterations below 1, negative neighbours or tolerance, or a
    model that is not an `nn.Classifier`.

    **Deviations:** the original adjusts one batch and has no other queries; ours steps once towards the context. Of its
    affinities we have the 0/1 nearest neighbours, not made symmetric (its code's default is RBF, also not symmetric);
    its energy omits the 1/2. No gradient flows through the context's z: nothing in LAME is trained.
    """

    capacity: int = eqx.field(static=True, default=256)
    neighbours: int = eqx.field(static=True, default=5)
    tolerance: float = eqx.field(static=True, default=1e-8)
    iterations: int = eqx.field(static=True, default=100)

    def __check_init__(self):
        if min(self.capacity, self.iterations) < 1 or min(self.neighbours, self.tolerance) < 0:
            raise ValueError(
                f"capacity={self.capacity} and iterations={self.iterations} must be at least 1, "
                f"neighbours={self.neighbours} and tolerance={self.tolerance} at least 0."
            )

    def init(self, model: Any) -> Assignments:
        """No rows."""
        weight = head_of(model).weight
        width, classes = weight.shape
        uniform = jnp.full((self.capacity, classes), -jnp.log(jnp.asarray(classes, weight.dtype)))
        features = jnp.zeros((self.capacity, width), weight.dtype)
        return Assignments(features, uniform, jnp.exp(uniform), jnp.zeros((), jnp.int32))

    def update(self, model: Any, state: Assignments, context: Tree, *, key: Key) -> Assignments:
        """The latest rows, assigned anew all together."""
        del key
        inputs = inputs_of(context)
        if inputs.shape[0] == 0:
            return state
        # A loop of unknown length has no reverse-mode derivative, and none is wanted.
        features = jax.lax.stop_gradient(model.features(inputs))
        log_source = jax.nn.log_softmax(jax.lax.stop_gradient(model.head(features)), axis=-1)
        features = append_rows(jax.lax.stop_gradient(state.features), unit(features), state.seen)
        log_source = append_rows(jax.lax.stop_gradient(state.log_source), log_source, state.seen)
        seen = state.seen + inputs.shape[0]
        return Assignments(features, log_source, self._solve(features, log_source, seen), seen)

    def bind(self, model: Any, state: Assignments) -> LaplacianAdjusted:
        """The classifier beside the context's assignments."""
        return LaplacianAdjusted(model, state, self.neighbours)

    def _solve(self, features: Array, log_source: Array, seen: Array) -> Array:
        filled = filled_places(self.capacity, seen)
        place, found = _nearest(features, features, filled, self.neighbours)
        nearest = place, found & filled[:, None]
        tolerance = max(self.tolerance, float(jnp.finfo(features.dtype).eps))

        def moving(loop):
            number, _, _, energy, before = loop
            change = jnp.abs(energy - before) > tolerance * jnp.abs(before)
            return (number < self.iterations) & ((number < 2) | change)

        def step(loop):
            number, _, pull, energy, _ = loop
            log_adjusted = jax.nn.log_softmax(log_source + pull, axis=-1)
            adjusted = jnp.exp(log_adjusted)
            pull = _pull(adjusted, nearest)
            divergence = jnp.where(adjusted > 0, log_adjusted - log_source, 0)
            terms = jnp.sum(adjusted * (divergence - pull / 2), axis=-1)
            return number + 1, adjusted, pull, jnp.sum(jnp.where(filled, terms, 0)), energy

        source = jnp.exp(log_source)
        zero = jnp.zeros((), features.dtype)
        start = (jnp.zeros((), jnp.int32), source, _pull(source, nearest), zero, zero)
        return jax.lax.while_loop(moving, step, start)[1]


def _nearest(
    queries: Float[Array, "rows features"],
    features: Float[Array, "capacity features"],
    filled: Bool[Array, "capacity"],
    neighbours: int,
) -> tuple[Int[Array, "rows found"], Bool[Array, "rows found"]]:
    """Places of the nearest rows by cosine, itself left out, and whether there is such a row at all.

    A row is itself if its cosine differs from 1 by rounding only. Of several equal rows one is left out.
    """
    cosine = jnp.matmul(queries, features.T, precision=jax.lax.Precision.HIGHEST)
    cosine = jnp.where(filled[None], jax.lax.stop_gradient(cosine), -jnp.inf)
    value, place = jax.lax.top_k(cosine, min(neighbours + 1, features.shape[0]))
    itself = value[:, :1] > 1 - 16 * jnp.finfo(features.dtype).eps
    rank = jnp.arange(value.shape[1])[None] - itself
    return place, jnp.isfinite(value) & (rank >= 0) & (rank < neighbours)


def _pull(adjusted: Float[Array, "capacity classes"], nearest: tuple[Array, Array]) -> Float[Array, "rows classes"]:
    """sum_j w_ij z_j."""
    place, found = nearest
    return jnp.sum(jnp.where(found[..., None], adjusted[place], 0), axis=1)
