"""What the tasks of one step do to each other, as arrays from which every figure follows."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from mutatis._citation import cites
from mutatis._diagnosis_words import Names, in_words
from mutatis._references import FIFTY_2021, YU_2020


@cites(YU_2020, FIFTY_2021)
class Diagnosis(eqx.Module):
    r"""Why joint training helps or hurts: gradients g_i of the tasks, their mean g, and what steps along them do.

    Made by `diagnose`. Everything follows from the ten arrays below, and every property works on a *stack* of diagnoses
    too (steps first, as `jax.lax.scan` returns them), so that training can record them.

    - `losses`: loss of each task, after adaptation, before any step.
    - `index`: the group id of each task.
    - `layer_gramians`: inner products of the tasks' gradients, for each of `layers`; their sum is the Gramian.
    - `slopes`: derivative of each loss along g.
    - `curvature`: g' H_i g, the second derivative of each loss along g.
    - `path_curvature`: the same, averaged over the step: Yu et al. 2020, definition 3,
      $\int_0^1 g' H_i(\theta - a \eta g) g \, da$. Where a loss has kinks (ReLU), only this sees them.
    - `step_size`: eta, of a step of plain gradient descent.
    - `losses_after`: each loss after the joint step, -eta g.
    - `losses_after_own`: `[i, j]` is the loss of task i after the step of task j alone, -eta g_j; or `None`.
    - `layers`: names of the parts of the learner, by path.
    """

    losses: Float[Array, "*steps tasks"]
    index: Int[Array, "*steps tasks"]
    layer_gramians: Float[Array, "*steps layers tasks tasks"]
    slopes: Float[Array, "*steps tasks"]
    curvature: Float[Array, "*steps tasks"]
    path_curvature: Float[Array, "*steps tasks"]
    step_size: Float[Array, "*steps"]
    losses_after: Float[Array, "*steps tasks"]
    losses_after_own: Float[Array, "*steps tasks tasks"] | None
    layers: tuple[str, ...] = eqx.field(static=True)

    @property
    def gramian(self) -> Float[Array, "*steps tasks tasks"]:
        """Inner products of the tasks' gradients."""
        return jnp.sum(self.layer_gramians, axis=-3)

    @property
    def norms(self) -> Float[Array, "*steps tasks"]:
        """Lengths of the tasks' gradients."""
        return _norms(self.gramian)

    @property
    def cosines(self) -> Float[Array, "*steps tasks tasks"]:
        """Cosines between the tasks' gradients; 0 where one of them vanishes."""
        return _cosines(self.gramian)

    @property
    def layer_cosines(self) -> Float[Array, "*steps layers tasks tasks"]:
        """The same for each of `layers`."""
        return _cosines(self.layer_gramians)

    @property
    def conflict_share(self) -> Float[Array, "*steps"]:
        """Share of the pairs of tasks whose cosine is below 0."""
        return _share_of_pairs(self.gramian < 0)

    @property
    def layer_conflict_share(self) -> Float[Array, "*steps layers"]:
        """The same for each of `layers`."""
        return _share_of_pairs(self.layer_gramians < 0)

    @property
    def magnitude_similarity(self) -> Float[Array, "*steps tasks tasks"]:
        """2 |g_i| |g_j| / (|g_i|^2 + |g_j|^2): 1 for equal lengths, 0 for very different ones (Yu et al. 2020)."""
        first, second = self.norms[..., :, None], self.norms[..., None, :]
        longer = jnp.maximum(first, second)
        share = jnp.minimum(first, second) / jnp.where(longer > 0, longer, 1)
        return jnp.where(longer > 0, 2 * share / (1 + jnp.square(share)), jnp.where(jnp.isnan(longer), jnp.nan, 1.0))

    @property
    def size_ratio(self) -> Float[Array, "*steps"]:
        """The longest gradient over the shortest; infinite if one vanishes and another does not."""
        longest, shortest = jnp.max(self.norms, axis=-1), jnp.min(self.norms, axis=-1)
        return jnp.where(longest > 0, longest / shortest, jnp.where(jnp.isnan(longest), jnp.nan, 1.0))

    @property
    def agreement(self) -> Float[Array, "*steps"]:
        """|g| over the mean |g_i|: 1 if all pull one way, about 1 / sqrt(T) if they are unrelated, 0 if they cancel."""
        joint, own = jnp.sqrt(jnp.maximum(jnp.mean(self.gramian, axis=(-2, -1)), 0)), jnp.mean(self.norms, axis=-1)
        return jnp.where(own > 0, joint / jnp.where(own > 0, own, 1), jnp.where(jnp.isnan(own), jnp.nan, 1.0))

    @property
    def shares(self) -> Float[Array, "*steps tasks"]:
        """How much of the joint step each task makes: <g_i, g> / (T |g|^2). Sums to 1; negative if it pulls back."""
        along = jnp.sum(self.gramian, axis=-1)
        total = jnp.sum(along, axis=-1, keepdims=True)
        return jnp.where(total > 0, along / jnp.where(total > 0, total, 1), jnp.where(jnp.isnan(total), jnp.nan, 0.0))

    @property
    def sharpness(self) -> Float[Array, "*steps"]:
        """g' H g / |g|^2 of the mean loss: steps beyond 1 / it overshoot, beyond 2 / it raise a quadratic loss."""
        return self._normalised(self.curvature)

    @property
    def path_sharpness(self) -> Float[Array, "*steps"]:
        """The same with the curvature averaged over the step."""
        return self._normalised(self.path_curvature)

    @property
    def bounding(self) -> Float[Array, "*steps tasks tasks"]:
        """The curvature bounding measure of pairs, (1 - cos^2) |g_i - g_j|^2 / |g_i + g_j|^2 (Yu et al. 2020).

        For two tasks, PCGrad beats the plain step eta (g_i + g_j) if the cosine is at most minus the magnitude
        similarity, l > L bounding and eta >= 2 / (l - L bounding), with L the Lipschitz constant of the summed gradient
        and l its path sharpness (their theorem 2). Infinite where two gradients cancel.
        """
        gram, squares = self.gramian, jnp.square(self.norms)
        both = squares[..., :, None] + squares[..., None, :]
        apart = (1 - jnp.square(self.cosines)) * (both - 2 * gram)
        return apart / jnp.maximum(both + 2 * gram, 0)

    @property
    def first_order(self) -> Float[Array, "*steps tasks"]:
        """Change of each loss by the joint step, as the slopes foretell it. Positive: even a short step hurts."""
        return -self.step_size[..., None] * self.slopes

    @property
    def second_order(self) -> Float[Array, "*steps tasks"]:
        """Change of each loss by the joint step, as slopes and curvature foretell it."""
        return self.first_order + jnp.square(self.step_size[..., None]) / 2 * self.curvature

    @property
    def change(self) -> Float[Array, "*steps tasks"]:
        """Change of each loss by the joint step, measured."""
        return self.losses_after - self.losses

    @property
    def hurt(self) -> Bool[Array, "*steps tasks"]:
        """Which losses the joint step raises, beyond rounding."""
        return self.change > 8 * jnp.finfo(self.losses.dtype).eps * jnp.abs(self.losses)

    @property
    def gain(self) -> Float[Array, "*steps tasks tasks"]:
        """`[i, j]`: by how much task j's own step lowers the loss of task i; negative where it hurts."""
        if self.losses_after_own is None:
            raise ValueError("the diagnosis was made with pairwise=False; pass pairwise=True to measure gains.")
        return self.losses[..., None] - self.losses_after_own

    @property
    def affinity(self) -> Float[Array, "*steps tasks tasks"]:
        """`gain` as a share of the loss, 1 - after / before (Fifty et al. 2021, equation 1); for positive losses."""
        return self.gain / self.losses[..., None]

    def series(self) -> dict[str, Float[Array, "*steps"]]:
        """The figures worth following over training, one number for each step: for a log or a chart."""
        return {
            "conflict share": self.conflict_share,
            "mean cosine": _mean_of_pairs(self.cosines),
            "agreement": self.agreement,
            "size ratio": self.size_ratio,
            "largest share": jnp.max(self.shares, axis=-1),
            "sharpness": self.sharpness,
            "path sharpness": self.path_sharpness,
            "hurt share": jnp.mean(self.hurt.astype(self.losses.dtype), axis=-1),
            "change of the mean loss": jnp.mean(self.change, axis=-1),
        }

    def pair_conflicts(self, num_groups: int) -> Float[Array, "groups groups"]:
        """How often each pair of groups conflicts, as a share of the steps at which both were there; NaN if never."""
        tasks = self.index.shape[-1]
        conflicts = (self.gramian < 0).reshape(-1, tasks, tasks)
        index = self.index.reshape(-1, tasks)
        rows = jnp.broadcast_to(index[:, :, None], conflicts.shape)
        columns = jnp.broadcast_to(index[:, None, :], conflicts.shape)
        met = jnp.broadcast_to(~jnp.eye(tasks, dtype=bool), conflicts.shape)
        count = lambda what: jnp.zeros((num_groups,) * 2, self.losses.dtype).at[rows, columns].add(what)
        return count(conflicts & met) / count(met)

    def report(self, names: Names = None) -> str:
        """What the arrays say in words, the evidence first and then what to try; of one diagnosis or a stack of them.

        - `names`: of the tasks, by group id.
        """
        return in_words(self, names)

    def __str__(self) -> str:
        # Inside a traced function there are no values to put into words.
        known = all(eqx.is_array(leaf) and not isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self))
        return self.report() if known else repr(self)

    def _normalised(self, curvature: Float[Array, "*steps tasks"]) -> Float[Array, "*steps"]:
        square = jnp.mean(self.gramian, axis=(-2, -1))
        mean = jnp.mean(curvature, axis=-1)
        return jnp.where(square > 0, mean / jnp.where(square > 0, square, 1), jnp.where(jnp.isnan(mean), jnp.nan, 0.0))


def _norms(gram: Array) -> Array:
    return jnp.sqrt(jnp.diagonal(gram, axis1=-2, axis2=-1))


def _cosines(gram: Array) -> Array:
    norms = _norms(gram)
    lengths = norms[..., :, None] * norms[..., None, :]
    # NaN stays NaN: a gradient that is not finite must not pass for one that agrees.
    return jnp.where(lengths == 0, 0.0, jnp.clip(gram / jnp.where(lengths == 0, 1.0, lengths), -1, 1))


def _mean_of_pairs(values: Array) -> Array:
    tasks = values.shape[-1]
    first, second = jnp.triu_indices(tasks, 1)
    return jnp.sum(values[..., first, second], axis=-1) / max(len(first), 1)


def _share_of_pairs(holds: Array) -> Array:
    return _mean_of_pairs(holds.astype(jnp.result_type(float)))
