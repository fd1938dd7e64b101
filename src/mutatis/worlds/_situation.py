"""What a reward is a function of, and what it gives."""

from __future__ import annotations

from functools import cached_property
from types import ModuleType
from typing import NamedTuple

from mutatis.worlds._scene import Array, Scene


class Situation:
    """One moment in N worlds of one task: the scene, what the agent sees and did, what the task remembers.

    **Attributes:**

    - `scene`: where things are after the action.
    - `observation`: as the agent gets it, (N, 39).
    - `action`: as the agent gave it, (N, 4).
    - `memory`: arrays of N rows that a task keeps for an episode. Always there: `target` (N, 3), `object_start`
      (N, 3), `tcp_start` (N, 3), in metres; further entries are the task's own.
    """

    def __init__(self, scene: Scene, observation: Array, action: Array, memory: dict[str, Array]):
        self.scene = scene
        self.observation = observation
        self.action = action
        self.memory = memory

    @property
    def xp(self) -> ModuleType:
        """The array interface: `numpy` or `jax.numpy`."""
        return self.scene.xp

    @property
    def tcp(self) -> Array:
        """The tool centre point, (N, 3)."""
        return self.scene.tcp

    @cached_property
    def left_pad(self) -> Array:
        """(N, 3)."""
        return self.scene.body("leftpad")

    @property
    def pads_y(self) -> Array:
        """The pads' coordinates along y, in which they close: left, right, (N, 2)."""
        return self.scene.xpos[:, self.scene.layout.pads, 1]

    @property
    def touching(self) -> Array:
        """Whether both pads press the object, (N,); no world does where the forces are not measured."""
        forces = self.scene.pad_forces
        return self.opening < 0 if forces is None else (forces > 0).all(axis=1)

    @property
    def object(self) -> Array:
        """The first object's position as observed, (N, 3)."""
        return self.observation[:, 4:7]

    @property
    def opening(self) -> Array:
        """The gripper's opening as observed, from 0 to 1, (N,)."""
        return self.observation[:, 3]

    @property
    def target(self) -> Array:
        """Where the task wants the object, (N, 3)."""
        return self.memory["target"]

    @property
    def object_start(self) -> Array:
        """Where the object was at the start of the episode, (N, 3)."""
        return self.memory["object_start"]

    @property
    def tcp_start(self) -> Array:
        """Where the tool centre point was at the start of the episode, (N, 3)."""
        return self.memory["tcp_start"]


class Outcome(NamedTuple):
    """What a step was worth, in the original's own terms; each (N,)."""

    reward: Array
    """0 to 10, dense."""
    success: Array
    """Boolean."""
    near_object: Array
    """Whether the hand is at the object; in some tasks a number from 0 to 1, in reach the distance."""
    grasp_success: Array
    """Whether the object is held; NaN where that needs contact forces which are not measured."""
    grasp_reward: Array
    in_place_reward: Array
    obj_to_target: Array
    """Metres; always 0 in some tasks."""
    memory: dict[str, Array] = {}  # noqa: RUF012 (never written to)
    """Entries of the task's memory that this step changes."""


INFO = ("success", "near_object", "grasp_success", "grasp_reward", "in_place_reward", "obj_to_target")
"""The terms of an `Outcome` that a step's info shows, as the original names them."""
