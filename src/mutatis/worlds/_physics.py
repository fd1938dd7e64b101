"""The physics of many worlds of one task, on one thread, by MuJoCo's C engine."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch

from mutatis.worlds import _models
from mutatis.worlds._bench import MOCAP_QUAT, SUBSTEPS
from mutatis.worlds._scene import READ, Array, Layout, Scene, clip
from mutatis.worlds._start import Start
from mutatis.worlds._task import Task

ACTION_SCALE = 1 / 100
"""Metres that the hand's target moves for an action of 1."""


def hand_sent(hand: Array, action: Array, low: Array, high: Array) -> Array:
    """Where an action sends the hand from where it was sent before, (N, 3) each, in metres.

    The product keeps the action's own precision, as the original's does.
    """
    return clip(hand + clip(action[:, :3], -1, 1) * ACTION_SCALE, low, high)


class Physics:
    """N simulations of one model.

    **Attributes:**

    - `state`: MuJoCo's integration states, (N, S), float64; a write is the state at the next action.
    - `body_pos`: the bodies' places in each simulation's model, (N, nbody, 3), likewise.
    """

    def __init__(self, task: Task, worlds: int, *, measure_touch: bool = False):
        touches = task.touches if measure_touch or task.needs_touch else None
        model = _models.load(task.model, touches)
        batch = Batch(model, nsim=worlds, nthread=1)
        self.state = batch.state
        self.body_pos = batch.expand("body_pos")
        self._batch = batch
        self.layout = Layout.of(model)
        self._mocap_pos, self._mocap_quat = batch.bind("mocap_pos"), batch.bind("mocap_quat")
        self._ctrl, self._time = batch.bind("ctrl"), batch.bind("time")
        self._fields = {name: batch.bind(name) for name in READ}
        self._sensors = batch.bind("sensordata") if touches else None
        self._low, self._high = np.array(task.hand_low), np.array(task.hand_high)
        # Positions are wanted after the last substep; forces need the whole of the forward pass.
        self._stage = int(mujoco.mjtStage.mjSTAGE_ACC if touches else mujoco.mjtStage.mjSTAGE_POS)

    def place(self, world: int, start: Start) -> None:
        """Puts a world at the start of an episode."""
        self.state[world] = start.physics
        self.body_pos[world] = start.body_pos

    def act(self, action: np.ndarray) -> np.ndarray:
        """Moves the hand (three numbers, in centimetres) and the gripper (one), (n, 4), for the time of one action.

        Numbers beyond -1 and 1 are clipped. Where n is less than N, the first n simulations act and the others rest.

        **Returns:** Which simulations diverged, (n,). MuJoCo resets them to its model's default state.
        """
        n = len(action)
        self._mocap_pos[:n, 0] = hand_sent(self._mocap_pos[:n, 0], action, self._low, self._high)
        self._mocap_quat[:n, 0] = MOCAP_QUAT
        self._ctrl[:n, 0] = action[:, 3]
        self._ctrl[:n, 1] = -action[:, 3]
        before = self._time[:n].copy()
        self.substeps(n)
        return (self._time[:n] <= before).reshape(-1)  # the reset sets the clock back

    def substeps(self, count: int | None = None) -> None:
        """The physics of one action alone, in the first so many simulations or in all."""
        some = None if count in (None, len(self.state)) else np.arange(count)
        self._batch.step(some, nstep=SUBSTEPS, stage=self._stage)

    def places(self, world: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of a simulation's joint coordinates, of where its hand is sent and of where its scenery stands."""
        return self._fields["qpos"][world].copy(), self._mocap_pos[world].copy(), self.body_pos[world].copy()

    @property
    def scene(self) -> Scene:
        """Where things are now; the arrays change with the next action."""
        forces = None if self._sensors is None else _models.pad_forces(self._sensors)
        return Scene(self.layout, **self._fields, pad_forces=forces)
