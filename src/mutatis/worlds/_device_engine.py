"""Worlds of several tasks on an accelerator, for the face that is stepped from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mutatis.worlds._episode import Episode, Step, first_episodes, judge
from mutatis.worlds._pose import Pose
from mutatis.worlds._simulator import Simulator, State
from mutatis.worlds._start import AllStarts, Start
from mutatis.worlds._task import Task
from mutatis.worlds._threads import Threads
from mutatis.worlds._warp import WarpSimulator


class DeviceEngine:
    """What `Engine` does, with physics, observations and rewards on the device: one dispatch a step."""

    def __init__(self, tasks: Sequence[Task], worlds: int, threads: Threads):
        self._tasks = tasks
        self.starts = AllStarts(tasks, threads)
        self._threads = threads
        self._worlds = worlds
        self._simulator = WarpSimulator(tasks, worlds)
        self._states: list[_State] = []
        self._step = jax.jit(self._traced_step)

    def place(self, worlds: np.ndarray, starts: Sequence[Start]) -> None:
        """Puts some worlds, by index, at the start of an episode; the first time, all of them."""
        here = [np.flatnonzero(worlds // self._worlds == k) for k in range(len(self._tasks))]
        new = [self._state(k, [starts[i] for i in rows.tolist()]) if len(rows) else None for k, rows in enumerate(here)]
        if not self._states:
            self._states = [state for state in new if state is not None]
            return
        for k, (rows, state) in enumerate(zip(here, new, strict=True)):
            if state is not None:
                places = worlds[rows] - k * self._worlds
                self._states[k] = jax.tree.map(lambda old, row, at=places: old.at[at].set(row), self._states[k], state)

    def step(self, action: np.ndarray, goal: np.ndarray) -> list[Step]:
        """Acts in every world, (M, 4), seeing goals (M, 3); the steps of the tasks."""
        self._states, steps = self._step(self._states, jnp.asarray(action), jnp.asarray(goal))
        return jax.tree.map(np.array, steps)

    def pose(self, world: int) -> Pose:
        """What there is to see of a world now."""
        task, row = divmod(world, self._worlds)
        physics, episode = self._states[task]
        places = {name: np.array(physics[name][row]) for name in ("qpos", "mocap_pos", "body_pos")}
        return Pose(self._tasks[task], **places, target=np.array(episode.memory["target"][row]))

    def simulator(self) -> Simulator:
        """The physics of the same worlds, for a program that JAX compiles."""
        return self._simulator

    def close(self) -> None:
        """Ends the threads that prepare starts."""
        self._threads.close()

    def _state(self, task: int, starts: Sequence[Start]) -> _State:
        return _State(self._simulator.table(task, starts), first_episodes(starts))

    def _traced_step(self, states: list[_State], action: jax.Array, goal: jax.Array) -> tuple[list[_State], list[Step]]:
        count = len(self._tasks)
        actions, goals = jnp.split(action, count), jnp.split(goal, count)
        moved = self._simulator.advance([state.physics for state in states], actions)
        next_states, steps = [], []
        for task, state, each, act, seen in zip(self._tasks, states, moved, actions, goals, strict=True):
            episode, step = judge(task, state.episode, each.scene, each.unstable, act, seen)
            next_states.append(_State(each.state, episode))
            steps.append(step)
        return next_states, steps


class _State(NamedTuple):
    """The worlds of one task."""

    physics: State
    episode: Episode
