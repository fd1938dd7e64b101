"""The 9 x 9 grids of DREAM: buses whose ends are the task, a map that tells them, and buses that only distract."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mutatis._types import Key
from mutatis.rl._family import AbstractFamily, Discrete, Move

SIDE = 9
CELLS = SIDE * SIDE
LEFT, UP, RIGHT, DOWN, WAIT, RIDE, STOP = range(7)

Cell = tuple[int, int]
START, MAP = (4, 4), (7, 3)
GOALS = ((0, 0), (8, 8), (0, 8), (8, 0))
"""The four corners; the index of one is the episode's instruction."""
BUSES = (((4, 5), (5, 4), (3, 4), (4, 3)), ((0, 1), (0, 7), (8, 1), (8, 7)))
"""Near ends and far ends; a task joins them one to one."""
DISTRACTIONS = (((5, 5), (3, 3), (3, 5), (5, 3)), ((0, 4), (4, 0), (8, 4), (4, 8)))
"""The same of the buses that lead nowhere useful."""

_WAYS = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (0, 0), (0, 0), (0, 0)])
_ORDERS = tuple(itertools.permutations(range(4)))


def cell_number(cell: Cell) -> int:
    """The number of the cell (x, y): 9 x + y."""
    return SIDE * cell[0] + cell[1]


class GridState(eqx.Module):
    """Of one world."""

    cell: Int[Array, ""]
    goal: Int[Array, ""]
    steps: Int[Array, ""]


class BusGrids(AbstractFamily):
    """Walk to a corner of a grid, or take the right bus; where buses lead is the task (Liu et al. 2021, "DREAM", 6.1).

    A task is a number, below 24 or, with distraction, below 576. Every episode starts at (4, 4) and has a goal of its
    own, an instruction. Actions: left, up, right, down, wait, ride, stop. Buses run both ways. The step that reaches
    the goal pays 1 and ends the episode, others -0.1; stopping pays all that are left.

    The observation is one number out of 9 for x, 9 for y, whether a bus stops here, with `has_map` one out of
    `num_tasks` when on (7, 3) and else none, and last one out of 4 for the goal, which DREAM's exploring policy does
    not see.

    - `has_map`: the cell (7, 3) tells the task.
    - `distraction`: four more buses that lead to the middles of the edges. Every 11th task is one to train on, the
      others are for testing; without it all 24 are both.

    **Deviations** from github.com/ezliu/dream: fields of the observation are one-hot, which is what a table of
    embeddings makes of numbers; the actions that pick up and drop, without effect here, are left out; the horizon
    truncates, so that it is the learner's choice whether to bootstrap there.
    """

    has_map: bool = eqx.field(static=True, default=False)
    distraction: bool = eqx.field(static=True, default=False)
    horizon: int = eqx.field(static=True, default=20)

    @property
    def num_tasks(self) -> int:
        """24 or 576."""
        return 576 if self.distraction else 24

    @property
    def train_tasks(self) -> Int[np.ndarray, "tasks"]:
        """The numbers of the tasks to train on."""
        return np.arange(0, self.num_tasks, 11 if self.distraction else 1)

    @property
    def test_tasks(self) -> Int[np.ndarray, "tasks"]:
        """The numbers of the tasks to test on."""
        every = np.arange(self.num_tasks)
        return np.setdiff1d(every, self.train_tasks) if self.distraction else every

    @property
    def observation_size(self) -> int:
        """23, and `num_tasks` more with a map."""
        return 2 * SIDE + 1 + self.num_tasks * self.has_map + self.instruction_size

    @property
    def instruction_size(self) -> int:
        """The last 4 features are the goal."""
        return len(GOALS)

    @property
    def actions(self) -> Discrete:
        """Left, up, right, down, wait, ride, stop."""
        return Discrete(len(_WAYS))

    def identify(self, task: Int[Array, ""]) -> Float[Array, "num_tasks"]:
        """The task's number as one out of all."""
        return jax.nn.one_hot(task, self.num_tasks)

    def sample(self, key: Key, count: int) -> Int[Array, "tasks"]:
        """From those to train on, all equally likely."""
        return jax.random.choice(key, jnp.asarray(self.train_tasks, jnp.int32), (count,))

    def begin(self, task: Int[Array, ""], key: Key) -> tuple[GridState, Float[Array, "features"]]:
        """In the middle, with any goal."""
        goal = jax.random.randint(key, (), 0, len(GOALS))
        place = GridState(jnp.asarray(cell_number(START), goal.dtype), goal, jnp.zeros_like(goal))
        return place, self._seen(task, place)

    def move(self, task: Int[Array, ""], place: GridState, action: Int[Array, ""], key: Key) -> Move:
        """Walks, rides, waits or stops."""
        del key
        cell = jnp.asarray(self.table())[task, action, place.cell].astype(place.cell.dtype)
        place = GridState(cell, place.goal, place.steps + 1)
        reached = cell == jnp.array([cell_number(goal) for goal in GOALS])[place.goal]
        stopped = (action == STOP) & ~reached
        reward = jnp.where(reached, 1.0, -0.1) - jnp.where(stopped, 0.1 * (self.horizon - place.steps), 0.0)
        return Move(place, self._seen(task, place), reward, reached | stopped)

    def table(self) -> Int[np.ndarray, "tasks actions cells"]:
        """The cell that every action leads to from every cell, in every task."""
        x, y = np.divmod(np.arange(CELLS), SIDE)
        walked = [SIDE * np.clip(x + dx, 0, SIDE - 1) + np.clip(y + dy, 0, SIDE - 1) for dx, dy in _WAYS]
        table = np.tile(np.stack(walked), (self.num_tasks, 1, 1))
        for task in range(self.num_tasks):
            for near, far in self.ends(task):
                table[task, RIDE, cell_number(near)] = cell_number(far)
                table[task, RIDE, cell_number(far)] = cell_number(near)
        return table

    def ends(self, task: int) -> tuple[tuple[Cell, Cell], ...]:
        """The near and far end of every bus of a task."""
        useful, useless = _ORDERS[task % 24], _ORDERS[task // 24]
        joined = tuple((near, BUSES[1][far]) for near, far in zip(BUSES[0], useful, strict=True))
        if not self.distraction:
            return joined
        return joined + tuple((near, DISTRACTIONS[1][far]) for near, far in zip(DISTRACTIONS[0], useless, strict=True))

    def _seen(self, task: Int[Array, ""], place: GridState) -> Float[Array, "features"]:
        x, y = place.cell // SIDE, place.cell % SIDE
        stops = [cell_number(end) for pair in self.ends(0) for end in pair]
        parts = [jax.nn.one_hot(x, SIDE), jax.nn.one_hot(y, SIDE), jnp.isin(place.cell, np.array(stops))[None]]
        if self.has_map:
            parts.append(jax.nn.one_hot(task, self.num_tasks) * (place.cell == cell_number(MAP)))
        parts.append(jax.nn.one_hot(place.goal, len(GOALS)))
        return jnp.concatenate([part.astype(parts[0].dtype) for part in parts])
