"""What is expected of a situation, so that only the surprise counts: baselines, and policies beside them."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._citation import cites
from mutatis._references import DUAN_2016
from mutatis._tree import Fixed, trainable
from mutatis._types import Scalar
from mutatis.rl._gaussian import Gaussian


class AbstractBaseline(eqx.Module):
    """The expected return, from an observation and the number of actions since the episode began."""

    @abstractmethod
    def __call__(
        self, observation: Float[Array, "rows features"], time: Int[Array, "rows"], task: Int[Array, ""]
    ) -> Float[Array, "rows"]:
        """The value of every row, all of one task."""

    @abstractmethod
    def fit(
        self,
        observation: Float[Array, "tasks rows features"],
        time: Int[Array, "tasks rows"],
        returns: Float[Array, "tasks rows"],
    ) -> Any:
        """The baseline fitted to all tasks' roll-outs, if it is solved for; itself, if gradient steps train it."""


@cites(DUAN_2016)
class LinearBaseline(AbstractBaseline):
    r"""Ridge regression of the returns on features of observation and time, for each task its own (Duan et al. 2016).

    With o the observation, clipped to [-10, 10], and t the time in hundreds of actions,

    $$\phi = (o, o^2, t, t^2, t^3, 1), \qquad w = \arg\min_w |\Phi w - R|^2 + \mu |w|^2$$

    (features, clipping and penalty as in its code, rllab). It is zero before the first `fit`, and
    no gradient changes it. Fitted to the rows whose advantages it then serves, it wants many more rows than features.

    - `num_tasks`, `num_features`: T, and the length of an observation.
    - `penalty`: mu, above zero.

    **Raises:** `ValueError` if the penalty is not above zero.

    **Deviations:** solved by an orthogonal decomposition of the rows and not by normal equations, whose condition
    number is the square: an observation of Meta-World holds most numbers twice, and single precision would not do.
    """

    weights: Fixed[Float[Array, "tasks coefficients"]]
    penalty: Fixed[Scalar]

    def __init__(self, num_tasks: int, num_features: int, *, penalty: float = 1e-5, dtype: Any = jnp.float32):
        if not penalty > 0:
            raise ValueError(f"penalty is {penalty}; features may repeat each other, so pass a number above zero.")
        self.weights = Fixed(jnp.zeros((num_tasks, 2 * num_features + 4), dtype))
        self.penalty = Fixed(jnp.asarray(penalty, dtype))

    def __call__(
        self, observation: Float[Array, "rows features"], time: Int[Array, "rows"], task: Int[Array, ""]
    ) -> Float[Array, "rows"]:
        """The features times the task's coefficients."""
        return _features(observation, time) @ self.weights.value[task]

    def fit(
        self,
        observation: Float[Array, "tasks rows features"],
        time: Int[Array, "tasks rows"],
        returns: Float[Array, "tasks rows"],
    ) -> "LinearBaseline":
        """The regression on these rows alone; what was known before is forgotten."""
        weights = self.weights.value
        penalty = jnp.sqrt(self.penalty.value) * jnp.eye(weights.shape[1], dtype=weights.dtype)

        def of_task(observation, time, returns):
            # Ridge is least squares with one more row for each coefficient, which says that it is zero.
            features = _features(observation, time)
            q, r = jnp.linalg.qr(jnp.concatenate([features, penalty.astype(features.dtype)]))
            return jax.scipy.linalg.solve_triangular(r, q[: returns.shape[0]].T @ returns.astype(features.dtype))

        with jax.default_matmul_precision("highest"):
            fitted = jax.vmap(of_task)(observation, time, returns)
        return eqx.tree_at(lambda baseline: baseline.weights.value, self, fitted.astype(weights.dtype))


class ValueBaseline(AbstractBaseline):
    """A network, trained by the value term of the objective that it serves.

    - `network`: `network(observation (rows, features), task) -> (rows, 1)`. It does not see the time: an episode's
      time limit is no part of the world, and what follows it is estimated.
    """

    network: Callable[[Array, Any], Array]

    def __call__(
        self, observation: Float[Array, "rows features"], time: Int[Array, "rows"], task: Int[Array, ""]
    ) -> Float[Array, "rows"]:
        """The network's output."""
        del time
        return self.network(observation, task)[:, 0]

    def fit(
        self,
        observation: Float[Array, "tasks rows features"],
        time: Int[Array, "tasks rows"],
        returns: Float[Array, "tasks rows"],
    ) -> "ValueBaseline":
        """Itself."""
        del observation, time, returns
        return self


class ActorCritic(eqx.Module):
    """A policy and the baseline of its advantages: the model that on-policy training trains.

    - `policy`: `policy(observation (rows, features), task) -> Gaussian`, such as `GaussianPolicy`.
    - `baseline`: a network is trained with the policy, a linear one stays as it was fitted.
    """

    policy: Callable[[Array, Any], Gaussian]
    baseline: AbstractBaseline

    @property
    def trains_baseline(self) -> bool:
        """Whether gradients may change the baseline."""
        return any(jax.tree.leaves(trainable(self.baseline)))


def _features(
    observation: Float[Array, "rows features"], time: Int[Array, "rows"]
) -> Float[Array, "rows coefficients"]:
    o = jnp.clip(observation, -10, 10)
    t = (time.astype(o.dtype) / 100)[:, None]
    return jnp.concatenate([o, o**2, t, t**2, t**3, jnp.ones_like(t)], axis=1)
