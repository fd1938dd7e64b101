"""The half-cheetah that shall run at a velocity, or in a direction, that it is not told; on MuJoCo."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from mutatis._types import Key
from mutatis.rl._family import AbstractFamily, Box, Move
from mutatis.rl._settings import check_counts

if TYPE_CHECKING:
    from mutatis.worlds._cheetah import HalfCheetah

NOISE = 0.1
"""Half the range of the positions, and the deviation of the velocities, with which an episode starts."""
CONTROL_COST = 0.05
"""Of an action, times the sum of its squares."""
FASTEST = 3.0
"""Of the velocities that are asked for, in metres a second."""


def oyster_velocities() -> tuple[Float[np.ndarray, "100"], Float[np.ndarray, "30"]]:
    """The velocities to train on and those to test on of PEARL's published code, which draws 130 from the seed 1337.

    (github.com/katerakelly/oyster, `rlkit/envs/half_cheetah_vel.py`.) In metres a second.
    """
    velocities = np.random.RandomState(1337).uniform(0, FASTEST, 130)
    return velocities[:100], velocities[100:]


class AbstractCheetah(AbstractFamily):
    """A half-cheetah, whose tasks are numbers, (tasks,), and differ in what a velocity earns."""

    physics: eqx.AbstractVar["HalfCheetah"]

    @property
    def observation_size(self) -> int:
        """17: positions of the joints, but not how far it has come, and their velocities."""
        return 17

    @property
    def actions(self) -> Box:
        """Torques of six motors, in parts of the most that each can."""
        return Box(6)

    @abstractmethod
    def earned(self, task: Float[Array, ""], velocity: Float[Array, ""]) -> Float[Array, ""]:
        """What a velocity earns in one step, before the control cost."""

    def begin(self, task: Float[Array, ""], key: Key) -> tuple[UInt32[Array, "54"], Float[Array, "17"]]:
        """Near the position of rest."""
        del task
        position_key, velocity_key = jax.random.split(key)
        position = jax.random.uniform(position_key, (9,), minval=-NOISE, maxval=NOISE)
        return self.physics.place(position, NOISE * jax.random.normal(velocity_key, (9,)))

    def move(self, task: Float[Array, ""], place: UInt32[Array, "54"], action: Float[Array, "6"], key: Key) -> Move:
        """Applies torques for a twentieth of a second."""
        del key
        action = jnp.clip(action, -1, 1)
        run = self.physics.act(place, action)
        reward = self.earned(task, run.velocity) - CONTROL_COST * jnp.sum(action**2)
        return Move(run.state, run.observation, reward, info={"velocity": run.velocity, "unstable": run.unstable})


class CheetahVelocity(AbstractCheetah):
    """A half-cheetah that shall run at a velocity it is not told (Finn et al. 2017, section 5.3).

    ```python
    training, testing = (jnp.asarray(each, jnp.float32) for each in families.oyster_velocities())
    family = families.CheetahVelocity(training)
    pearl = rl.PEARL(family)
    ```

    A task is the velocity, in metres a second. After each action, a twentieth of a second long, the cheetah pays how
    far its own, the mean over the action, is from that, and 0.05 times the sum of the squares of the action, which is
    clipped to [-1, 1]. The episode is never terminated. `info` has the `velocity`, and `unstable` where the physics
    diverged: there the cheetah stays as it was.

    - `velocities`: what `sample` draws from, all equally likely; anywhere in [0, 3] where none are given.
    - `horizon`: actions in an episode.
    - `threads`: of the simulator, which runs on the CPU; None for all cores. Results do not depend on it.

    **Deviations:** Reward, horizon and velocities are those of PEARL's published code (Rakelly et al. 2019); Finn et
    al. draw from [0, 2]. Model, time step, noise of the start and observation are those of Gymnasium's
    `HalfCheetah-v5`, whose control cost is twice this one. The older codes show the place of the torso too, 20
    numbers.

    **Raises:** `ModuleNotFoundError` without MuJoCo and Gymnasium; `ValueError` for counts below 1, or velocities that
    are no vector.
    """

    velocities: Float[Array, "velocities"] | None
    horizon: int = eqx.field(static=True)
    physics: "HalfCheetah" = eqx.field(static=True)

    def __init__(
        self,
        velocities: Float[Array, "velocities"] | None = None,
        *,
        horizon: int = 200,
        threads: int | None = None,
    ):
        if velocities is not None and (jnp.ndim(velocities) != 1 or jnp.size(velocities) == 0):
            raise ValueError(
                f"velocities: their shape is {jnp.shape(velocities)}, and must be (number of velocities,), at least "
                "one of them; for any velocity from 0 to 3, leave them out."
            )
        self.velocities = None if velocities is None else jnp.asarray(velocities)
        self.horizon, self.physics = horizon, _physics(horizon, threads)

    def sample(self, key: Key, count: int) -> Float[Array, "tasks"]:
        """Velocities."""
        if self.velocities is None:
            return jax.random.uniform(key, (count,), maxval=FASTEST)
        return self.velocities[jax.random.randint(key, (count,), 0, self.velocities.shape[0])]

    def earned(self, task: Float[Array, ""], velocity: Float[Array, ""]) -> Float[Array, ""]:
        """Less, the farther from what is asked for."""
        return -jnp.abs(velocity - task)

    def uninformed_return(self, tasks: Float[Array, "tasks"]) -> Float[Array, ""]:
        """What nobody exceeds, on the mean over these tasks, who does not know which it is in.

        Whoever runs the same in all tasks does best, at each step, at their median. Who knows the task stays below 0.
        """
        return -self.horizon * jnp.abs(tasks - jnp.median(tasks)).mean()


class CheetahDirection(AbstractCheetah):
    """A half-cheetah that shall run forward, or backward, and is not told which (Finn et al. 2017, section 5.3).

    A task is 1 for forward or -1 for backward. The cheetah earns the velocity in that direction, in metres a second.
    All else, deviations included, is as in `CheetahVelocity`. Who does not know the direction earns at most 0 on the
    mean over both, by standing still; `jnp.array([-1.0, 1.0])` are all tasks there are, to train on and to test on.

    - `horizon`: actions in an episode.
    - `threads`: of the simulator, which runs on the CPU; None for all cores. Results do not depend on it.

    **Raises:** `ModuleNotFoundError` without MuJoCo and Gymnasium; `ValueError` for counts below 1.
    """

    horizon: int = eqx.field(static=True)
    physics: "HalfCheetah" = eqx.field(static=True)

    def __init__(self, *, horizon: int = 200, threads: int | None = None):
        self.horizon, self.physics = horizon, _physics(horizon, threads)

    def sample(self, key: Key, count: int) -> Float[Array, "tasks"]:
        """Directions, both equally likely."""
        return jax.random.rademacher(key, (count,), dtype=jnp.zeros(0).dtype)

    def earned(self, task: Float[Array, ""], velocity: Float[Array, ""]) -> Float[Array, ""]:
        """The velocity in the direction."""
        return task * velocity


def _physics(horizon: int, threads: int | None) -> "HalfCheetah":
    """**Raises:** as the families do."""
    check_counts(horizon=horizon, threads=1 if threads is None else threads)
    # Not before: all other families do without a simulator.
    from mutatis.worlds._cheetah import half_cheetah

    return half_cheetah(threads)
