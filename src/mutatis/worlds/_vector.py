"""Many worlds as one `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mutatis.worlds._benchmarks import Selection
from mutatis.worlds._engine import AbstractEngine
from mutatis.worlds._episode import Step
from mutatis.worlds._functional import FunctionalWorlds
from mutatis.worlds._goals import checked
from mutatis.worlds._observation import FRAME, HAND_HIGH, HAND_LOW, SIZE, stack
from mutatis.worlds._pose import Pose
from mutatis.worlds._render import Renderer
from mutatis.worlds._situation import INFO

HORIZON = 500
"""Actions in an episode."""


class Worlds(VectorEnv):
    """W worlds of each of T tasks, M = T W in all: those of the first task come first.

    Made by `mutatis.worlds.make`. Observations are (M, 39), float64, with T more columns where `one_hot` is asked for;
    actions (M, 4); rewards, terminations and truncations (M,). What a step's info holds: `success` and the original's
    other terms, `goal` (the index of the goal in the task's list) and `unstable` (the physics diverged: the world
    reports truncation and is reset, the others go on).

    **Attributes:**

    - `tasks`: names of the tasks, T.
    - `task_index`: the task of each world, (M,).
    - `goal_index`: the present goal of each world, (M,).
    - `targets`: where each world's task wants the object, (M, 3), in metres; what the last three numbers of an
      observation show, or would show if the goal were not hidden.
    - `vectors`: the goals of each task as random vectors, T arrays.
    - `terminate_on_success`: whether success ends an episode.
    - `origin`: how the worlds were made: benchmark, split, seed, backend, version of the rewards.
    - `camera`, `width`, `height`: of the pictures.
    """

    def __init__(
        self,
        selection: Selection,
        engine: AbstractEngine,
        origin: dict[str, Any],
        *,
        worlds_per_task: int,
        seed: int,
        observe_goal: bool,
        one_hot: bool,
        horizon: int,
        terminate_on_success: bool,
        redraw_goals: bool,
        autoreset_mode: AutoresetMode,
        render_mode: str | None,
        camera: str,
        width: int,
        height: int,
    ):
        self.tasks = [task.name for task in selection.tasks]
        self.vectors = selection.vectors
        self.origin = origin
        self._rows = selection.tasks
        self.horizon = horizon
        self.num_envs = len(self.tasks) * worlds_per_task
        self.task_index = np.repeat(np.arange(len(self.tasks)), worlds_per_task)
        self.goal_index = np.zeros(self.num_envs, int)
        self.targets = np.zeros((self.num_envs, 3))
        self.metadata = {"autoreset_mode": autoreset_mode, "render_modes": ["rgb_array"], "render_fps": 80}
        self.render_mode = render_mode
        self.camera, self.width, self.height = camera, width, height
        self.single_observation_space = _observation_space(len(self.tasks) if one_hot else 0, observe_goal)
        self.single_action_space = Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._engine = engine
        self._renderer = Renderer()
        self._autoreset = autoreset_mode
        self.terminate_on_success = terminate_on_success
        self._redraw_goals = redraw_goals
        self._observe_goal = observe_goal
        self._one_hot = np.eye(len(self.tasks))[self.task_index] if one_hot else None
        self._goal = self.targets if observe_goal else np.zeros((self.num_envs, 3))
        self._frame = np.zeros((self.num_envs, FRAME))
        self._seen = np.zeros((self.num_envs, SIZE + one_hot * len(self.tasks)))
        self._steps = np.zeros(self.num_envs, int)
        self._done = np.zeros(self.num_envs, bool)
        self._started = False
        self._draws = [_Draws(np.random.SeedSequence(seed, spawn_key=(world,))) for world in range(self.num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode in every world.

        **Arguments:**

        - `seed`: of the order in which each world meets its goals: a number, or one for each world. None goes on with
          the order under way.
        - `options`: `goals` (M,), the goal each world is to meet now, by index; `reset_mask` (M,), boolean: the worlds
          to reset, while the others stay as they are.
        """
        options = options or {}
        mask = self._checked_mask(options.get("reset_mask"))
        goals = options.get("goals")
        chosen = None if goals is None else self._checked_goals(np.asarray(goals))
        self._seed(seed, mask)
        if chosen is None:
            self._draw(mask)
        else:
            self.goal_index[mask] = chosen[mask]
        self._place(mask)
        self._started = True
        self._seen[mask] = self._first(mask)
        return self._seen.copy(), _masked({"goal": self.goal_index.copy()}, mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Acts in every world, (M, 4)."""
        actions = self._checked_actions(actions)
        stale = self._done.copy()
        if self._autoreset is AutoresetMode.DISABLED and stale.any():
            raise gymnasium.error.ResetNeeded(
                f"world {np.flatnonzero(stale)[0]} has ended; reset it first: "
                "reset(options={'reset_mask': terminated | truncated})"
            )
        steps = self._engine.step(actions, self._goal)
        observation = np.concatenate([step.observation for step in steps], dtype=float)
        if self._one_hot is not None:
            observation = np.concatenate([observation, self._one_hot], axis=1)
        reward = np.concatenate([step.outcome.reward for step in steps], dtype=float)
        info = _info(steps)
        self._steps += 1
        terminated = info["success"] & self.terminate_on_success
        truncated = ((self._steps >= self.horizon) | info["unstable"]) & ~terminated
        if self._autoreset is AutoresetMode.NEXT_STEP and stale.any():
            # These worlds ended at the last step; this one starts their next episode, whatever the action.
            self._draw(stale)
            self._place(stale)
            observation[stale] = self._first(stale)
            reward[stale], terminated[stale], truncated[stale] = 0.0, False, False
            for term in info.values():
                term[stale] = 0
        info = _masked(info, ~stale) | _masked({"goal": self.goal_index.copy()}, np.ones_like(stale))
        self._done = terminated | truncated
        if self._autoreset is AutoresetMode.SAME_STEP and self._done.any():
            ended = self._done.copy()
            final, info = _narrowed(info, ended), _narrowed(info, ~ended)
            self._draw(ended)
            self._place(ended)
            info |= _masked({"goal": self.goal_index.copy()}, np.ones_like(ended))
            info |= _masked({"final_obs": _rows_where(ended, observation), "final_info": final}, ended)
            observation[ended] = self._first(ended)
        self._seen[:] = observation
        return observation, reward, terminated, truncated, info

    def set_goals(self, vectors: Sequence[np.ndarray]) -> None:
        """Gives each task other goals, T arrays (n, 3) or (n, 6); the next reset draws from them.

        **Raises:** `ValueError` for a vector that is out of the task's bounds, or puts the object too near to the goal.
        """
        if len(vectors) != len(self.tasks):
            raise ValueError(f"vectors: {len(vectors)} arrays for {len(self.tasks)} tasks ({', '.join(self.tasks)})")
        self.vectors = [checked(task, each) for task, each in zip(self._rows, vectors, strict=True)]

    def functional(self) -> FunctionalWorlds:
        """The same worlds as pure functions, for programs that JAX compiles; prepares the start of every goal."""
        return FunctionalWorlds(
            self._rows,
            self._engine.starts(self.vectors),
            self._engine.simulator(),
            worlds_per_task=self.num_envs // len(self.tasks),
            observe_goal=self._observe_goal,
            one_hot=self._one_hot is not None,
            horizon=self.horizon,
            terminate_on_success=self.terminate_on_success,
            redraw_goals=self._redraw_goals,
        )

    def render(self) -> tuple[np.ndarray, ...]:
        """Pictures of all worlds, M arrays (height, width, 3), uint8."""
        if self.render_mode is None:
            raise gymnasium.error.Error(
                "render: these worlds have no render_mode; make them with render_mode='rgb_array', or use frame(world)"
            )
        return tuple(self.frame(world) for world in range(self.num_envs))

    def frame(
        self,
        world: int = 0,
        camera: str | None = None,
        *,
        width: int | None = None,
        height: int | None = None,
        show_goal: bool = True,
    ) -> np.ndarray:
        """A picture of one world, (height, width, 3), uint8; in software one of 320 x 240 takes about 0.04 s.

        The goal is a pink ball, the same in all tasks, and shines through what hides it; the pictures are therefore not
        those of the original. What the graphics hold, about 60 MB for each of the tasks' models, is kept until `close`.

        **Arguments:**

        - `world`: which of the M.
        - `camera`: "front", "topview", "corner", "corner2", "corner3", "behindGripper" or "gripperPOV"; by default,
          like the size, what the worlds were made with.
        - `width`: in pixels.
        - `height`: in pixels.
        - `show_goal`: whether the ball is drawn; a policy that sees pictures is not to see a hidden goal.

        **Raises:** `ValueError` for a world, camera or size that does not exist. `NoGraphicsError` where OpenGL cannot
        draw.
        """
        size = {"width": self.width if width is None else width, "height": self.height if height is None else height}
        camera = self.camera if camera is None else camera
        return self._renderer(self.pose(world), camera, **size, show_goal=show_goal)

    def pose(self, world: int = 0) -> Pose:
        """What there is to see of one world now, for a `Renderer` to draw later."""
        if not self._started:
            raise gymnasium.error.ResetNeeded("there is nothing to see before the first reset; call reset() first")
        if not 0 <= world < self.num_envs:
            raise ValueError(f"world: must be from 0 to {self.num_envs - 1}, not {world}")
        return self._engine.pose(world)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the threads and frees the graphics."""
        del kwargs
        self._engine.close()
        self._renderer.close()

    def _seed(self, seed: int | Sequence[int | None] | None, mask: np.ndarray) -> None:
        """Begins the order of the goals anew in some worlds."""
        if seed is None:
            return
        single = isinstance(seed, int | np.integer)
        seeds: list[int | None] = [int(seed)] * self.num_envs if single else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed: {len(seeds)} numbers for {self.num_envs} worlds; give one number, or one for each")
        for each in seeds:
            if each is not None and each < 0:
                raise ValueError(f"seed: must be 0 or more, not {each}")
        for world in np.flatnonzero(mask).tolist():
            if seeds[world] is not None:
                spawn_key = (world,) if single else ()
                self._draws[world] = _Draws(np.random.SeedSequence(seeds[world], spawn_key=spawn_key))

    def _draw(self, mask: np.ndarray) -> None:
        """Chooses the next goal of some worlds."""
        for world in np.flatnonzero(mask):
            count = len(self.vectors[self.task_index[world]])
            if self._redraw_goals or not self._started or self.goal_index[world] >= count:
                self.goal_index[world] = self._draws[world].next(count)

    def _place(self, mask: np.ndarray) -> None:
        """Puts some worlds at the start of their goals."""
        worlds = np.flatnonzero(mask)
        chosen = [worlds[self.task_index[worlds] == task] for task in range(len(self.tasks))]
        vectors = [each[self.goal_index[rows]] for each, rows in zip(self.vectors, chosen, strict=True)]
        starts = [start for task in self._engine.starts(vectors) for start in task]
        self._engine.place(worlds, starts)
        self._frame[worlds] = [start.frame for start in starts]
        self.targets[worlds] = [start.memory["target"] for start in starts]
        self._steps[worlds] = 0
        self._done[worlds] = False

    def _first(self, mask: np.ndarray) -> np.ndarray:
        """What some worlds show at the start of an episode: one moment twice."""
        frame = self._frame[mask]
        observation = stack(frame, frame, self._goal[mask])
        return observation if self._one_hot is None else np.concatenate([observation, self._one_hot[mask]], axis=1)

    def _checked_actions(self, actions: np.ndarray) -> np.ndarray:
        if not self._started:
            raise gymnasium.error.ResetNeeded("step before reset: call reset() first")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs, 4):
            raise ValueError(
                f"actions: have shape {actions.shape}; needed is ({self.num_envs}, 4), a row for each world: "
                "three numbers for the hand and one for the gripper, from -1 to 1"
            )
        if not np.isfinite(actions).all():
            world = np.flatnonzero(~np.isfinite(actions).all(axis=1))[0]
            raise ValueError(
                f"actions: world {world} ({self.tasks[self.task_index[world]]}) is to do {actions[world].tolist()}; "
                "nothing has been done in any world"
            )
        return actions

    def _checked_mask(self, mask: np.ndarray | None) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(
                f"options['reset_mask']: shape {mask.shape} of {mask.dtype}; needed is ({self.num_envs},) of bool"
            )
        if not mask.any():
            raise ValueError("options['reset_mask']: selects no world; at least one must be True")
        if not self._started and not mask.all():
            raise gymnasium.error.ResetNeeded("the first reset must be of all worlds; leave out options['reset_mask']")
        return mask

    def _checked_goals(self, goals: np.ndarray) -> np.ndarray:
        counts = np.array([len(each) for each in self.vectors])[self.task_index]
        if goals.shape != (self.num_envs,) or not np.issubdtype(goals.dtype, np.integer):
            raise ValueError(
                f"options['goals']: shape {goals.shape} of {goals.dtype}; needed is ({self.num_envs},) of integers"
            )
        wrong = np.flatnonzero((goals < 0) | (goals >= counts))
        if len(wrong):
            world = wrong[0]
            raise ValueError(
                f"options['goals']: world {world} ({self.tasks[self.task_index[world]]}) is to meet goal "
                f"{goals[world]}; its goals are 0 to {counts[world] - 1}"
            )
        return goals


class _Draws:
    """The order in which one world meets its goals: all of them in random order, then all again in another."""

    def __init__(self, seed: np.random.SeedSequence):
        self._generator = np.random.default_rng(seed)
        self._left: list[int] = []

    def next(self, count: int) -> int:
        if not self._left or max(self._left) >= count:
            self._left = self._generator.permutation(count).tolist()
        return self._left.pop()


def _observation_space(one_hot: int, observe_goal: bool) -> Box:
    """Bounds of one world's observation: those of the hand, the gripper and the task's number are known."""
    frame = np.full((2, FRAME), [[-np.inf], [np.inf]])
    frame[:, :4] = [*HAND_LOW, 0.0], [*HAND_HIGH, 1.0]
    goal = np.full((2, 3), [[-np.inf], [np.inf]]) if observe_goal else np.zeros((2, 3))
    task = np.tile([[0.0], [1.0]], (1, one_hot))
    low, high = np.concatenate([frame, frame, goal, task], axis=1)
    return Box(low, high, dtype=np.float64)


def _info(steps: Sequence[Step]) -> dict[str, np.ndarray]:
    joined = lambda name, kind: np.concatenate([getattr(step.outcome, name) for step in steps], dtype=kind)
    terms = {name: joined(name, bool if name == "success" else float) for name in INFO}
    return terms | {"unstable": np.concatenate([step.unstable for step in steps])}


def _masked(info: dict[str, Any], worlds: np.ndarray) -> dict[str, Any]:
    """Adds to each entry, as Gymnasium wants it, the mask of the worlds that it speaks of."""
    return info | {f"_{key}": worlds.copy() for key in info}


def _narrowed(info: dict[str, Any], worlds: np.ndarray) -> dict[str, Any]:
    """The same entries, which now speak of fewer worlds."""
    return {key: value & worlds if key.startswith("_") else value for key, value in info.items()}


def _rows_where(mask: np.ndarray, observation: np.ndarray) -> np.ndarray:
    """An array of objects: the rows at a mask, None elsewhere."""
    rows = np.full(len(mask), None, dtype=object)
    for world in np.flatnonzero(mask):
        rows[world] = observation[world].copy()
    return rows
