"""Meta-World for meta-learners: its tasks and goals as a family, and what a player makes of trials there."""

from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mutatis._timestep import Timestep
from mutatis._tree import repeated, where_rows
from mutatis._types import Key, Tree
from mutatis.rl._family import Box
from mutatis.rl._play import Player, play
from mutatis.rl._settings import check_counts

if TYPE_CHECKING:
    from mutatis.worlds import Evaluation, FunctionalWorlds, Worlds


class WorldTask(NamedTuple):
    """What each of M worlds is about, by index; worlds of one task next to each other, the same number of each."""

    task: Int[Array, "worlds"]
    goal: Int[Array, "worlds"]

    @classmethod
    def every(cls, tasks: int, goals: int) -> "WorldTask":
        """The first so many goals of each of so many tasks."""
        return cls(jnp.repeat(jnp.arange(tasks), goals), jnp.tile(jnp.arange(goals), tasks))


class WorldState(NamedTuple):
    """Of M worlds."""

    places: Tree
    """Physics and memory of each task's worlds."""
    observation: Float[Array, "worlds features"]
    over: Bool[Array, "worlds"]


class WorldFamily(eqx.Module):
    """Meta-World (Yu et al. 2019) as a family, whose tasks are pairs of a task and one of its goals.

    ```python
    family = rl.WorldFamily(worlds.make("ML10", "train", worlds_per_task=20))
    learner = rl.RL2(family, trials=200, episodes=10)
    testing = rl.WorldFamily(worlds.make("ML10", "test", worlds_per_task=50))
    evaluation = rl.evaluate_trials(testing, player, key=key, episodes=11)
    ```

    Worlds of one task stand next to each other, the same number of each task, in the order of `worlds.tasks`. All
    episodes last for the horizon; success ends none. Where the physics diverges, the episode ends there. `info` has
    `success` and `unstable`. The start of an episode is a function of task and goal.

    - `worlds`: made by `mutatis.worlds.make`; benchmarks for meta-learning ("ML10", "ML1-reach") hide their goals.
      Goals that are set later do not count, and the worlds must not be closed. Their `worlds_per_task` simulations of
      each task are built once: more worlds take turns, fewer leave some at rest.

    **Raises:** `ValueError` for worlds that end episodes on success.
    """

    worlds: "Worlds" = eqx.field(static=True)
    functional: "FunctionalWorlds" = eqx.field(static=True)
    goals: tuple[int, ...] = eqx.field(static=True)
    """Of each task."""
    actions: Box = eqx.field(static=True)
    observation_size: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)

    def __init__(self, worlds: "Worlds"):
        if worlds.terminate_on_success:
            raise ValueError(
                "worlds: they end episodes on success, and what counts here are whole episodes; make them with "
                "terminate_on_success=False."
            )
        self.worlds, self.functional = worlds, worlds.functional()
        self.goals = tuple(len(vectors) for vectors in worlds.vectors)
        self.actions, self.horizon = Box(self.functional.action_size), worlds.horizon
        self.observation_size = self.functional.observation_size

    def sample(self, key: Key, count: int) -> WorldTask:
        """The tasks in equal shares, each with goals of its own that are drawn with replacement; the key is consumed.

        **Raises:** `ValueError` for a count that the tasks cannot share evenly.
        """
        task = self._shared(count, "count")
        return WorldTask(task, jax.random.randint(key, (count,), 0, jnp.asarray(self.goals)[task]))

    def every(self, goals: int | None = None) -> WorldTask:
        """Every goal of every task once, or the first so many of each task.

        **Raises:** `ValueError` for goals that some task does not have.
        """
        least = min(self.goals)
        if goals is None and least != max(self.goals):
            raise ValueError(f"goals: the tasks have from {least} to {max(self.goals)}; say how many to use of each.")
        count = least if goals is None else goals
        if not 1 <= count <= least:
            raise ValueError(f"goals is {count}; every task has 1 to {least} of them.")
        return WorldTask.every(len(self.goals), count)

    def _shared(self, count: int, name: str) -> Int[Array, "worlds"]:
        """The task of each of so many worlds."""
        tasks = len(self.goals)
        if count < 1 or count % tasks:
            raise ValueError(
                f"{name}: {count} worlds cannot be shared evenly by {tasks} tasks; give a multiple of {tasks} (of a "
                "learner: for its trials or tasks)."
            )
        return jnp.repeat(jnp.arange(tasks), count // tasks)

    def reset(self, tasks: WorldTask, key: Key) -> tuple[WorldState, Float[Array, "worlds features"]]:
        """Starts an episode in every world, at its goal; the key decides nothing."""
        del key
        expected = self._shared(tasks.task.shape[0], "tasks")
        known = (tasks.task == expected) & (tasks.goal >= 0) & (tasks.goal < jnp.asarray(self.goals)[expected])
        goal = eqx.error_if(
            tasks.goal,
            ~known,
            "tasks: worlds of one task must stand next to each other, the same number of each in the order of "
            "worlds.tasks, at goals that they have; WorldFamily.sample and .every give them so.",
        )
        places, observation = self.functional.start(goal)
        return WorldState(places, observation, jnp.zeros(observation.shape[0], bool)), observation

    def step(self, tasks: WorldTask, state: WorldState, action: Array, key: Key) -> tuple[WorldState, Timestep]:
        """Acts in every world; one whose episode has ended stays as it is and pays nothing."""
        del tasks, key
        going = ~state.over
        places, shown = self.functional.act(state.places, action)
        # A world whose physics diverged stays where it was, and not where the simulator put it.
        moves = jnp.split(going & ~shown.info["unstable"], len(self.goals))
        places = [where_rows(*each) for each in zip(moves, places, state.places, strict=True)]
        observation = where_rows(going, shown.observation, state.observation)
        truncated = state.over | shown.truncated
        info = {name: shown.info[name] & going for name in ("success", "unstable")}
        reward = jnp.where(going, shown.reward, 0)
        step = Timestep(observation, observation, reward, jnp.zeros_like(truncated), truncated, info)
        return WorldState(places, observation, truncated), step


def evaluate_trials(
    family: WorldFamily, player: Player, *, key: Key, episodes: int, goals: int | None = None
) -> "Evaluation":
    """What a player achieves in each episode of a trial, every goal of every task counted once.

    Each goal has a world of its own, in which the player keeps its memory from episode to episode. `by_episode` of the
    result tells the episodes apart, with intervals that come from the choice of goals within each task. (The official
    evaluation counts the episodes that end first, see `Stepwise`.)

    - `family`: of the split that shall be judged.
    - `player`: of its action noise it decides itself.
    - `key`: consumed.
    - `episodes`: of a trial, those included in which the player only explores.
    - `goals`: use only so many of each task's goals, the first.

    **Raises:** `ValueError` for a count below 1, or goals that some task does not have.
    """
    from mutatis.worlds._evaluate import Evaluation, describe

    check_counts(episodes=episodes)
    tasks = family.every(goals)
    shape = (len(family.goals), -1, episodes)
    success, at_end, steps, returns = (
        np.asarray(each).reshape(shape) for each in _outcomes(family, tasks, player, key, episodes)
    )
    settings = describe(family.worlds) | {"trials": "the player's memory goes on from episode to episode"}
    return Evaluation(tuple(family.worlds.tasks), success, at_end, steps, returns, settings)


@eqx.filter_jit
def _outcomes(
    family: WorldFamily, tasks: WorldTask, player: Player, key: Key, episodes: int
) -> tuple[Array, Array, Array, Array]:
    """Success at any step and at the last, steps until the first success, and returns, each (worlds, episodes)."""
    trials = play(family, tasks, player, key=key, episodes=episodes)
    solved = trials.info["success"]
    last = trials.real.sum(axis=-1, keepdims=True) - 1
    at_end = jnp.take_along_axis(solved, last, axis=-1)[..., 0]
    success = solved.any(axis=-1)
    steps = jnp.where(success, jnp.argmax(solved, axis=-1) + 1, family.horizon)
    return success, at_end, steps, trials.returns()


class Stepwise:
    """A player for `mutatis.worlds.evaluate_officially`, which asks for one action after the other.

    ```python
    once = rl.Stepwise(player, key=key, episodes=10)
    official = worlds.evaluate_officially(
        once.act, "ML10", "test", adapt=once.adapt, begin=once.begin, learn=once.learn
    )
    ```

    To adapt, it plays trials of some whole episodes; each episode that is evaluated then begins with the memory that it
    had after these, as in the official runs (McLean et al. 2025).

    - `player`: one that ends its exploration within these episodes; its randomness in one world is independent of that
      in others.
    - `episodes`: of a trial; officially 10.
    - `key`: consumed.

    **Raises:** `ValueError` for a count below 1, and when it is to act before it has adapted.
    """

    def __init__(self, player: Player, *, key: Key, episodes: int = 10):
        check_counts(episodes=episodes)
        self._player, self._key, self._episodes = player, key, episodes
        self._memory: Tree = None
        self._adapted: Tree = None
        self._ready = False

    def adapt(self, worlds: "Worlds") -> None:
        """Forgets all, and plays a trial in worlds that meet the same goals again in each episode."""
        from mutatis.worlds._evaluate import last_observations

        self._memory, self._ready = repeated(self._player.start(1), worlds.num_envs), True
        goals = worlds.goal_index.copy()
        for _ in range(self._episodes):
            seen, _ = worlds.reset(options={"goals": goals})
            over = np.zeros(worlds.num_envs, bool)
            self._begin(~over, self._memory)
            for _ in range(worlds.horizon):
                action = self.act(seen)
                observation, reward, _, truncated, info = worlds.step(action)
                last = np.where(over[:, None], seen, last_observations(observation, info))
                reward, over = np.where(over, 0.0, reward), over | truncated
                shown: Any = (last, last, reward, np.zeros_like(over), over, {})
                self.learn(seen, action, Timestep(*shown))
                seen = last
        self._adapted = jax.tree.map(jnp.copy, self._memory)  # `_learn` takes the other's place

    def begin(self, worlds: np.ndarray) -> None:
        """New episodes in some worlds, boolean (M,), as after the adaptation."""
        self._check()
        self._begin(worlds, self._adapted)

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Actions (M, 4) at observations (M, 39 or more)."""
        self._check()
        self._key, key = jax.random.split(self._key)
        self._memory, action = _act(self._player, self._memory, jnp.asarray(observation), key)
        return np.asarray(action)

    def learn(self, observation: np.ndarray, action: np.ndarray, shown: Timestep) -> None:
        """What an action showed."""
        row = jax.tree.map(jnp.asarray, (observation, action, shown))
        self._memory = _learn((self._player, row), self._memory)

    def _begin(self, worlds: np.ndarray, memory: Tree) -> None:
        self._key, key = jax.random.split(self._key)
        self._memory = _begin(self._player, self._memory, memory, jnp.asarray(worlds), key)

    def _check(self) -> None:
        if not self._ready:
            raise ValueError("adapt: it has not been called; give it to evaluate_officially beside act and begin.")


# Every world is a trial of its own, of one world, because in the official evaluation episodes end at different times.


@eqx.filter_jit
def _begin(player: Player, now: Tree, before: Tree, worlds: Array, key: Key) -> Tree:
    begun = jax.vmap(player.begin)(before, jax.random.split(key, worlds.shape[0]))
    return where_rows(worlds, begun, now)


@eqx.filter_jit
def _act(player: Player, memory: Tree, observation: Array, key: Key) -> tuple[Tree, Array]:
    one = lambda memory, observation, key: player.act(memory, observation[None], key)
    memory, action = jax.vmap(one)(memory, observation, jax.random.split(key, observation.shape[0]))
    return memory, action[:, 0]


@eqx.filter_jit(donate="all-except-first")
def _learn(told: tuple[Player, Tree], memory: Tree) -> Tree:
    player, rows = told
    one = lambda memory, row: player.learn(memory, *jax.tree.map(lambda x: x[None], row))
    return jax.vmap(one)(memory, rows)
