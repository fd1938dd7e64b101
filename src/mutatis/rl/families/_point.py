"""Points in the plane that shall go to a goal they are not shown, with the best return of every goal and start."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mutatis._types import Key
from mutatis.rl._family import AbstractFamily, Box, Discrete, Move

SPEED = 0.1
"""The longest way along an axis in one step."""
COMPASS = ((0, 0), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
"""What one of nine actions is in numbers along both axes."""


def moved(position: Float[Array, "*worlds 2"], action: Float[Array, "*worlds 2"]) -> Float[Array, "*worlds 2"]:
    """Where an action leads; it is clipped to [-1, 1]."""
    return position + SPEED * jnp.clip(action, -1, 1)


def best_distances(
    start: Float[Array, "worlds 2"], goals: Float[Array, "worlds 2"], horizon: int
) -> Float[Array, "worlds horizon"]:
    """The least distance to the goal after each step: both coordinates go straight there, so all are least at once."""
    moves = SPEED * jnp.arange(1, horizon + 1, dtype=start.dtype)
    left = jnp.abs(start - goals)[:, :, None] - moves[None, None]
    return jnp.linalg.norm(jnp.maximum(left, 0), axis=1)


def oyster_goals(*, half_circle: bool = False) -> tuple[Float[np.ndarray, "80 2"], Float[np.ndarray, "20 2"]]:
    """The goals to train on and those to test on of PEARL's published code, which draws 100 from the seed 1337.

    (github.com/katerakelly/oyster, `rlkit/envs/point_robot.py`.) In the square, or on the half circle.
    """
    random = np.random.RandomState(1337)
    if half_circle:
        angles = np.linspace(0, np.pi, 100)
        goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        random.shuffle(goals)
    else:
        goals = random.uniform(-1, 1, (100, 2))
    return goals[:80], goals[80:]


class PointGoals(AbstractFamily):
    """A point that starts anywhere in [-1, 1]^2 and pays its distance to the goal after each move.

    (Rakelly et al. 2019, dense.) A task is a goal, (2,). An action moves by at most 0.1 along each axis. The
    episode is never terminated.

    - `goals`: what `sample` draws from, all equally likely; anywhere in [-1, 1]^2 where none are given.
    - `show_goal`: whether the observation is position and goal, or the position alone.
    """

    goals: Float[Array, "goals 2"] | None = None
    horizon: int = eqx.field(static=True, default=20)
    show_goal: bool = eqx.field(static=True, default=False)

    @property
    def observation_size(self) -> int:
        """2, or 4 with the goal."""
        return 4 if self.show_goal else 2

    @property
    def actions(self) -> Box:
        """Along both axes."""
        return Box(2)

    def sample(self, key: Key, count: int) -> Float[Array, "tasks 2"]:
        """Goals."""
        if self.goals is None:
            return jax.random.uniform(key, (count, 2), minval=-1.0, maxval=1.0)
        return self.goals[jax.random.randint(key, (count,), 0, self.goals.shape[0])]

    def begin(self, task: Float[Array, "2"], key: Key) -> tuple[Float[Array, "2"], Float[Array, "features"]]:
        """Anywhere in the square."""
        start = jax.random.uniform(key, (2,), task.dtype, -1, 1)
        return start, _seen(start, task, self.show_goal)

    def move(self, task: Float[Array, "2"], place: Float[Array, "2"], action: Float[Array, "2"], key: Key) -> Move:
        """Moves, and pays the distance that is left."""
        del key
        place = moved(place, action).astype(place.dtype)
        return Move(place, _seen(place, task, self.show_goal), -jnp.linalg.norm(place - task))

    def best_return(self, tasks: Float[Array, "worlds 2"], start: Float[Array, "worlds 2"]) -> Float[Array, "worlds"]:
        """The return of the best policy from some starts, exactly."""
        return -best_distances(start, tasks, self.horizon).sum(axis=1)

    def mean_best_return(self, tasks: Float[Array, "tasks 2"], resolution: int = 100) -> Float[Array, "tasks"]:
        """Over all starts, by the midpoint rule on `resolution` x `resolution` of them."""
        line = (2 * jnp.arange(resolution, dtype=tasks.dtype) + 1) / resolution - 1
        starts = jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)
        of_one = lambda goal: self.best_return(jnp.broadcast_to(goal, starts.shape), starts).mean()
        return jax.lax.map(of_one, tasks)


class SparsePointGoals(AbstractFamily):
    """A point that starts at the origin and is paid only near its goal, on the upper half of the unit circle.

    (Rakelly et al. 2019, section 6.3.) The reward is 1 - d at distances d below `radius`, else 0; `info` has the
    `dense_reward` -d, on which PEARL's published code trains the policy while the encoder sees the sparse one. A task
    is a goal, (2,); the episode is never terminated.

    - `goals`: what `sample` draws from, all equally likely; anywhere on the half circle where none are given.
    - `radius`: of the disc that pays.
    - `compass`: whether actions are one of nine, to stay or to go at full speed along axes and diagonals, as learners
      of values of a few actions need; the best of them may do a little worse than `best_return`.

    **Raises:** `ValueError` for a radius that is not above 0.
    """

    goals: Float[Array, "goals 2"] | None = None
    horizon: int = eqx.field(static=True, default=20)
    radius: float = 0.2
    compass: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius is {self.radius}, and nothing would ever be paid; pass a positive number.")

    @property
    def observation_size(self) -> int:
        """2, the position."""
        return 2

    @property
    def instruction_size(self) -> int:
        """All that is seen is of the task, or of where the point is."""
        return 0

    @property
    def actions(self) -> Box | Discrete:
        """Along both axes."""
        return Discrete(len(COMPASS)) if self.compass else Box(2)

    def identify(self, task: Float[Array, "2"]) -> Float[Array, "goals"]:
        """Which of the goals it is nearest to, as one out of all.

        **Raises:** `ValueError` if the goals are not known.
        """
        if self.goals is None:
            raise ValueError("goals is None, and one of all goals cannot be told; give SparsePointGoals(goals=...).")
        return jax.nn.one_hot(jnp.argmin(jnp.linalg.norm(self.goals - task[None], axis=1)), self.goals.shape[0])

    def sample(self, key: Key, count: int) -> Float[Array, "tasks 2"]:
        """Goals."""
        if self.goals is None:
            angle = jax.random.uniform(key, (count,), maxval=jnp.pi)
            return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        return self.goals[jax.random.randint(key, (count,), 0, self.goals.shape[0])]

    def begin(self, task: Float[Array, "2"], key: Key) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
        """At the origin."""
        del key
        return jnp.zeros_like(task), jnp.zeros_like(task)

    def move(self, task: Float[Array, "2"], place: Float[Array, "2"], action: Array, key: Key) -> Move:
        """Moves, and is paid near the goal."""
        del key
        action = jnp.asarray(COMPASS, place.dtype)[action] if self.compass else action
        place = moved(place, action).astype(place.dtype)
        distance = jnp.linalg.norm(place - task)
        return Move(place, place, self._paid(distance), info={"dense_reward": -distance})

    def best_return(self, tasks: Float[Array, "tasks 2"]) -> Float[Array, "tasks"]:
        """The return of the best policy, exactly: nearer pays more, so the shortest way is best for this reward too."""
        return self._paid(best_distances(jnp.zeros_like(tasks), tasks, self.horizon)).sum(axis=1)

    def _paid(self, distance: Float[Array, "*any"]) -> Float[Array, "*any"]:
        # Eight moves towards (1, 0) leave 0.2 up to rounding. The published code pays d <= 0.2 in float64, where it
        # comes out a little too far; the margin makes that so in every precision.
        return jnp.where(distance < self.radius - 1e-5, 1 - distance, 0)


def _seen(position: Array, goal: Array, show_goal: bool) -> Array:
    return jnp.concatenate([position, goal]) if show_goal else position
