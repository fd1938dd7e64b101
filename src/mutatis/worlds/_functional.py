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
from mutatis.worlds._simulator import Advance, Simulator, State
from mutatis.worlds._situation import INFO
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task

Key = Any


class TaskState(NamedTuple):
    """W worlds of one task."""

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
        return states, self._numbered(jnp.concatenate([self._first(state.episode) for state in states]))

    def step(self, states: list[TaskState], action: jax.Array) -> tuple[list[TaskState], Timestep]:
        """Acts in every world, (M, 4); where an episode ends, the next begins."""
        actions = jnp.split(action, len(self.tasks))
        moved = self.simulator.advance([state.physics for state in states], actions)
        each_task = zip(self._rows, self._tables, states, moved, actions, strict=True)
        parts = [self._judge(*each) for each in each_task]
        whole: Timestep = jax.tree.map(lambda *rows: jnp.concatenate(rows), *(step for _, step in parts))
        return [state for state, _ in parts], whole._replace(
            observation=self._numbered(whole.observation), last_observation=self._numbered(whole.last_observation)
        )

    def _judge(
        self, task: Task, table: _Table, state: TaskState, moved: Advance, action: jax.Array
    ) -> tuple[TaskState, Timestep]:
        """One task's worlds: what the action was worth, and the next episode where this one ended."""
        episode, judged = judge(task, state.episode, moved.scene, moved.unstable, action, self._goal(state.episode))
        outcome, steps = judged.outcome, state.steps + 1
        terminated = outcome.success & self._terminate_on_success
        truncated = ((steps >= self._horizon) | judged.unstable) & ~terminated
        done = terminated | truncated
        on = state._replace(physics=moved.state, episode=episode, steps=steps, ended=state.ended + done)
        state = where_rows(done, _restart(table, on, self._redraw_goals), on)
        info = {name: getattr(outcome, name) for name in INFO} | {"unstable": judged.unstable, "goal": on.goal}
        seen = jnp.where(done[:, None], self._first(state.episode), judged.observation)
        return state, Timestep(seen, judged.observation, outcome.reward, terminated, truncated, info)

    def _first(self, episode: Episode) -> jax.Array:
        """What is seen at the start of an episode: one moment twice."""
        return stack(episode.before, episode.before, self._goal(episode))

    def _goal(self, episode: Episode) -> jax.Array:
        goal = episode.memory["target"]
        return goal if self._observe_goal else jnp.zeros_like(goal)

    def _numbered(self, observation: jax.Array) -> jax.Array:
        """Adds the task's number as further columns, if that was asked for."""
        if not self._one_hot:
            return observation
        return jnp.concatenate([observation, jax.nn.one_hot(self.task_index, len(self.tasks))], axis=1)


class _Table(NamedTuple):
    """The starts of one task, by goal."""

    physics: State
    episodes: Episode
    strides: jax.Array
    """Numbers without a common divisor with the count of goals."""


def _table(simulator: Simulator, task: int, starts: Sequence[Start]) -> _Table:
    count = len(starts)
    strides = [k for k in range(1, count + 1) if np.gcd(k, count) == 1]
    return _Table(simulator.table(task, starts), first_episodes(starts), jnp.asarray(strides))


def _begin(table: _Table, key: Key, worlds: int) -> TaskState:
    """The first episode of every world of a task."""
    offset_key, stride_key = jax.random.split(key)
    offset = jax.random.randint(offset_key, (worlds,), 0, len(table.episodes.before))
    stride = jax.random.choice(stride_key, table.strides, (worlds,))
    zero = jnp.zeros(worlds, int)
    return _at_goal(table, TaskState({}, table.episodes, offset, offset, stride, zero, zero), offset)


def _restart(table: _Table, state: TaskState, redraw: bool) -> TaskState:
    """Every world at the start of its next episode."""
    goal = (state.offset + state.stride * state.ended) % len(table.episodes.before) if redraw else state.goal
    return _at_goal(table, state, goal)


def _at_goal(table: _Table, state: TaskState, goal: jax.Array) -> TaskState:
    physics, episode = jax.tree.map(lambda rows: rows[goal], (table.physics, table.episodes))
    return state._replace(physics=physics, episode=episode, goal=goal, steps=jnp.zeros_like(state.steps))
