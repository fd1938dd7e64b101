"""A step near the mean gradient that serves the worst-served task best."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._citation import cites
from mutatis._references import LIU_2021_CAGRAD
from mutatis._types import Gramian, GroupIndex, Key, Losses, Scalar, Weights
from mutatis._weighting import AbstractWeighting
from mutatis.weightings._number import known, number
from mutatis.weightings._simplex import Face, least_on_face, least_on_simplex, product, relative, rounding, shortest

TRIALS = 40
"""Faces looked at before the last is taken as it is; a handful is usual."""


@cites(LIU_2021_CAGRAD)
class CAGrad(AbstractWeighting):
    r"""Conflict-averse gradient descent (Liu et al. 2021, algorithm 1).

    With $g_0$ the mean gradient, the direction

    $$\max_d \; \min_t \; \langle g_t, d \rangle \quad
      \text{where } \lVert d - g_0 \rVert \le c \lVert g_0 \rVert.$$

    By duality $d = g_0 + c \lVert g_0 \rVert \, g_v / \lVert g_v \rVert$, where $g_v = \sum_t v_t g_t$ and v minimises
    $\langle g_v, g_0 \rangle + c \lVert g_0 \rVert \lVert g_v \rVert$ over the simplex. The step is $d / (1 + c^2)$.

    - `c`: 0 is `Average`; below 1 training comes to rest only where the mean gradient vanishes; as c grows the step
      turns to that of `MGDA`.

    There is no state.

    **Deviations:** the dual is solved to rounding and not by a general-purpose solver; the division by 1 + c^2 is that
    of the published code, not of the paper. Where g_v vanishes, d is the limit of solutions, g_0 without its part
    in the plane of the rows that v uses; the published code divides by zero plus 1e-8.

    **Raises:** `ValueError` for a negative `c`.
    """

    needs_gramian: ClassVar[bool] = True

    c: Float[Array, ""] = eqx.field(converter=number, default=0.4)  # type: ignore[assignment]

    def __check_init__(self):
        if known(self.c) and not self.c >= 0:
            raise ValueError(f"c is {self.c}; pass 0 (the average) or a positive number.")

    def init(self, num_groups: int) -> None:
        """No state."""
        del num_groups

    def weigh(
        self, losses: Losses, gramian: Gramian | None, index: GroupIndex, state: None, *, key: Key
    ) -> tuple[Weights, None]:
        """The coefficients of d / (1 + c^2)."""
        del index, state, key
        assert gramian is not None
        c = self.c.astype(gramian.dtype)
        weights = conflict_averse_weights(relative(gramian), c) / (1 + jnp.square(c))
        return weights.astype(losses.dtype), None


def conflict_averse_weights(gramian: Gramian, c: Scalar) -> Weights:
    r"""The coefficients of d; the longest row has length about one.

    With $s = c \lVert g_0 \rVert$ and $\lVert g_v \rVert = \min_{t > 0} (\lVert g_v \rVert^2 / t + t) / 2$ the dual for
    a fixed $t = s \tau$ is, up to constants, the least of $\lVert g_v + \tau g_0 \rVert^2$, and the best t is
    $\lVert g_v \rVert$. So v is this nearest point for the one $\tau$ at which

    $$\lVert g_{v(\tau)} \rVert = s \tau, \qquad \text{and then} \qquad d = g_0 + g_{v(\tau)} / \tau.$$

    While the rows with positive weight stay the same, $g_v = p + \tau q$ with p orthogonal to q, whence
    $\tau = \lVert p \rVert / \sqrt{s^2 - \lVert q \rVert^2}$. That is the next tau to try, if it lies in the bracket:
    $g_v$ is too long before the root and too short after it. A p that vanishes counts as long as rounding errors are,
    so that tau stays positive and d within the ball.
    """
    tasks, tolerance = gramian.shape[0], rounding(gramian)
    mean = jnp.full_like(gramian[0], 1 / tasks)
    slope = product(gramian, mean)
    length = jnp.sqrt(jnp.maximum(jnp.sum(mean * slope), 0))
    moving = (c > 0) & (length > 0)
    # Below this c the step is the mean to rounding, and tau would overflow.
    reach = jnp.where(moving, jnp.maximum(c, tolerance) * length, 1)

    def square(weights: Weights) -> Scalar:
        return jnp.maximum(jnp.sum(weights * product(gramian, weights)), 0)

    def attempt(trial: _Trial) -> _Trial:
        face = least_on_simplex(gramian, slope, trial.tau, trial.face)
        base, motion = least_on_face(gramian, slope, face.support)
        still, moved = square(base), square(motion)
        slack = jnp.square(reach) - moved
        root = jnp.sqrt(jnp.maximum(still, tolerance) / jnp.where(slack > 0, slack, 1))
        root = jnp.where(slack > 0, root, jnp.inf)
        low, high = (
            jnp.where(root > trial.tau, trial.tau, trial.low),
            jnp.where(root > trial.tau, trial.high, trial.tau),
        )
        after = jnp.where((root > low) & (root < high), root, (low + high) / 2)
        found = jnp.abs(root - trial.tau) <= tolerance * trial.tau
        extra = (base + trial.tau * motion) / trial.tau
        return _Trial(jnp.where(found, trial.tau, after), low, high, face, extra, found, trial.count + 1)

    # At the root s tau is the length of a combination, so tau is at most 1 / s.
    high = (1 + tolerance) / reach
    first = jnp.minimum(1 / jnp.maximum(c, tolerance), high)
    nothing = jnp.zeros_like(mean)
    start = _Trial(first, nothing[0], high, shortest(gramian), nothing, jnp.array(False), jnp.array(0))
    trial = jax.lax.while_loop(lambda trial: (trial.count < TRIALS) & ~trial.found, attempt, start)
    return jnp.where(moving, mean + trial.extra, mean)


class _Trial(NamedTuple):
    tau: Scalar
    low: Scalar
    high: Scalar
    face: Face
    extra: Weights
    found: Bool[Array, ""]
    count: Int[Array, ""]
