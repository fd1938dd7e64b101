"""Worlds as pure functions of arrays, for programs that JAX compiles: collection and learning in one `jit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mutatis._timestep import Timestep
from mutatis._tree import where_rows
from mutatis.worlds._episode import Episode, first_episodes, judge
from mutatis.worlds._observation import SIZE, stack
from mutatis.worlds._simulator import Advance, HostSimulator, Simulator, State, Underway
from mutatis.worlds._situation import INFO
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task

Key = Any


class TaskState(NamedTuple):
    """W worlds of one task, or as many as `start` was asked for."""

    physics: State
    episode: Episode
    goal: jax.Array
    """Index of the goal, (W,)."""
    offset: jax.Array
    """Where each world began in the list of goals, (W,)."""
    stride: jax.Array
    """How far it moves in the list from episode to episode, (W,); no divisor of the list's length, so that a world
    meets every goal before it meets one again."""
    ended: jax.Array
    """Episodes that ended, (W,)."""
    steps: jax.Array
    """Actions in this episode, (W,)."""


class FunctionalWorlds:
    """`reset(key)` and `step(state, action)`: what `Worlds` does, as functions that can be compiled and scanned.

    `start(goals)` and `act(state, action)` leave it to the caller which goal is met and when, in any number of worlds:
    `worlds_per_task` simulations of each task are built, and where there are more worlds, these take turns.

    Made by `Worlds.functional`. Rewards and observations are computed in JAX's precision, 32 bits unless it is told
    otherwise; the physics of the CPU engine stays in 64.

    **Attributes:**

    - `tasks`: names of the tasks, T.
    - `task_index`: the task of each world, (M,).
    - `num_envs`, `num_tasks`, `observation_size`, `action_size`: M, T, 39 or more, 4.
    - `simulator`: the physics alone.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        starts: Sequence[Sequence[Start]],
        simulator: Simulator,
        *,
        worlds_per_task: int,
        observe_goal: bool,
        one_hot: bool,
        horizon: int,
        terminate_on_success: bool,
        redraw_goals: bool,
    ):
        self.tasks = [task.name for task in tasks]
        self.task_index = np.repeat(np.arange(len(tasks)), worlds_per_task)
        self.num_tasks, self.num_envs = len(tasks), len(tasks) * worlds_per_task
        self.observation_size, self.action_size = SIZE + one_hot * len(tasks), 4
        self._rows = tasks
        self.simulator = simulator
        self._worlds = worlds_per_task
        self._observe_goal = observe_goal
        self._one_hot = one_hot
        self._horizon = horizon
        self._terminate_on_success = terminate_on_success
        self._redraw_goals = redraw_goals
        self._tables = [_table(simulator, k, each) for k, each in enumerate(starts)]

    def reset(self, key: Key) -> tuple[list[TaskState], jax.Array]:
        """Starts an episode in every world; the key is consumed. The state, and observations (M, 39)."""
        keys = jax.random.split(key, len(self.tasks))
        states = [_begin(table, each, self._worlds) for table, each in zip(self._tables, keys, strict=True)]
        return states, self._first(states)

    def start(self, goals: jax.Array) -> tuple[list[TaskState], jax.Array]:
        """Starts an episode in every world at a goal of its task, by index, (N,); the state and what is seen.

        N is any number of worlds, the same of each task, those of the first task first.
        """
        if len(goals) < 1 or len(goals) % len(self.tasks):
            raise ValueError(f"goals: {len(goals)} of them cannot be shared evenly by {len(self.tasks)} tasks")
        each_task = zip(self._tables, jnp.split(goals, len(self.tasks)), strict=True)
        states = [_at(table, goal, jnp.zeros_like(goal)) for table, goal in each_task]
        return states, self._first(states)

    def step(self, states: list[TaskState], action: jax.Array) -> tuple[list[TaskState], Timestep]:
        """Acts in every world, (M, 4); where an episode ends, the next begins."""
        return self._next(*self.act(states, action))

    def depart(self, states: list[TaskState], action: jax.Array) -> Underway | None:
        """Begins a `step` and comes back before it is done, so that other work can be done meanwhile.

        `None` if nothing is gained by that: where the physics is on the device, it has no time for anything else.
        """
        if not isinstance(self.simulator, HostSimulator):
            return None
        return self.simulator.depart(_physics(states), self._split(action))

    def arrive(
        self, states: list[TaskState], action: jax.Array, underway: Underway, after: jax.Array
    ) -> tuple[tuple[list[TaskState], Timestep], jax.Array]:
        """Ends the `step` that `depart` began with the same arguments, once `after` is known.

        Comes with a 0 that no compiler knows: what it is added to cannot be computed before.
        """
        assert isinstance(self.simulator, HostSimulator)
        moved, zero = self.simulator.arrive(_physics(states), self._split(action), underway, after)
        return self._next(*self._judged(states, moved, action)), zero

    def _next(self, states: list[TaskState], shown: Timestep) -> tuple[list[TaskState], Timestep]:
        """Where an episode ended, the next begins."""
        done = shown.terminated | shown.truncated
        each_task = zip(self._tables, jnp.split(done, len(self.tasks)), states, strict=True)
        states = [_restarted(*each, redraw=self._redraw_goals) for each in each_task]
        seen = jnp.where(done[:, None], self._first(states), shown.observation)
        return states, shown._replace(observation=seen)

    def act(self, states: list[TaskState], action: jax.Array) -> tuple[list[TaskState], Timestep]:
        """Acts in every world, (N, 4), and leaves all where that led to; `observation` is `last_observation`."""
        return self._judged(states, self.simulator.advance(_physics(states), self._split(action)), action)

    def _split(self, action: jax.Array) -> list[jax.Array]:
        return jnp.split(action, len(self.tasks))

    def _judged(
        self, states: list[TaskState], moved: Sequence[Advance], action: jax.Array
    ) -> tuple[list[TaskState], Timestep]:
        """What the actions were worth."""
        parts = [self._judge(*each) for each in zip(self._rows, states, moved, self._split(action), strict=True)]
        whole: Timestep = jax.tree.map(lambda *rows: jnp.concatenate(rows), *(step for _, step in parts))
        seen = self._numbered(whole.observation)
        return [state for state, _ in parts], whole._replace(observation=seen, last_observation=seen)

    def _judge(self, task: Task, state: TaskState, moved: Advance, action: jax.Array) -> tuple[TaskState, Timestep]:
        """One task's worlds: what the action was worth."""
        episode, judged = judge(task, state.episode, moved.scene, moved.unstable, action, self._goal(state.episode))
        outcome, steps = judged.outcome, state.steps + 1
        terminated = outcome.success & self._terminate_on_success
        truncated = ((steps >= self._horizon) | judged.unstable) & ~terminated
        info = {name: getattr(outcome, name) for name in INFO} | {"unstable": judged.unstable, "goal": state.goal}
        seen = judged.observation
        state = state._replace(physics=moved.state, episode=episode, steps=steps)
        return state, Timestep(seen, seen, outcome.reward, terminated, truncated, info)

    def _first(self, states: Sequence[TaskState]) -> jax.Array:
        """What is seen at the start of an episode: one moment twice."""
        episodes = [state.episode for state in states]
        return self._numbered(jnp.concatenate([stack(each.before, each.before, self._goal(each)) for each in episodes]))

    def _goal(self, episode: Episode) -> jax.Array:
        goal = episode.memory["target"]
        return goal if self._observe_goal else jnp.zeros_like(goal)

    def _numbered(self, observation: jax.Array) -> jax.Array:
        """Adds the task's number as further columns, if that was asked for."""
        if not self._one_hot:
            return observation
        numbers = jnp.repeat(jnp.eye(self.num_tasks), len(observation) // self.num_tasks, axis=0)
        return jnp.concatenate([observation, numbers], axis=1)


class _Table(NamedTuple):
    """The starts of one task, by goal."""

    physics: State
    episodes: Episode
    strides: jax.Array
    """Numbers without a common divisor with the count of goals."""


def _physics(states: Sequence[TaskState]) -> list[State]:
    return [state.physics for state in states]


def _table(simulator: Simulator, task: int, starts: Sequence[Start]) -> _Table:
    count = len(starts)
    strides = [k for k in range(1, count + 1) if np.gcd(k, count) == 1]
    return _Table(simulator.table(task, starts), first_episodes(starts), jnp.asarray(strides))


def _begin(table: _Table, key: Key, worlds: int) -> TaskState:
    """The first episode of every world of a task."""
    offset_key, stride_key = jax.random.split(key)
    offset = jax.random.randint(offset_key, (worlds,), 0, len(table.episodes.before))
    return _at(table, offset, jax.random.choice(stride_key, table.strides, (worlds,)))


def _at(table: _Table, goal: jax.Array, stride: jax.Array) -> TaskState:
    """The first episode of some worlds, at these goals."""
    zero = jnp.zeros(len(goal), int)
    return _moved(table, TaskState({}, table.episodes, goal, goal, stride, zero, zero), goal)


def _restarted(table: _Table, done: jax.Array, state: TaskState, *, redraw: bool) -> TaskState:
    """Some worlds at the start of their next episode, the others as they are."""
    ended = state.ended + done
    goal = (state.offset + state.stride * ended) % len(table.episodes.before) if redraw else state.goal
    on = state._replace(ended=ended)
    return where_rows(done, _moved(table, on, goal), on)


def _moved(table: _Table, state: TaskState, goal: jax.Array) -> TaskState:
    """All worlds at the start of an episode at these goals."""
    physics, episode = jax.tree.map(lambda rows: rows[goal], (table.physics, table.episodes))
    return state._replace(physics=physics, episode=episode, goal=goal, steps=jnp.zeros_like(state.steps))
