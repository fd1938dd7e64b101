"""One world on the bench: the simulation in which a task's start is prepared, once for each goal."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import mujoco
import numpy as np

from mutatis.worlds._scene import READ, Layout, Scene

SUBSTEPS = 5
"""Physics steps for each action; 12.5 milliseconds."""
MOCAP_QUAT = (1.0, 0.0, 1.0, 0.0)
"""The hand points down. Not of unit length, as in the original; MuJoCo normalises it."""
_SETTLING_ACTIONS = 50


class Bench:
    """A model and its state, with what a task needs to put its objects in place.

    **Attributes:**

    - `model`: the compiled model; a task may not change it.
    - `data`: the state.
    - `tcp_start`: the tool centre point when the hand had settled, (3,), as the original reads it: one substep old.
    """

    def __init__(self, model: mujoco.MjModel):
        self.model = model
        self.data = mujoco.MjData(model)
        self.layout = Layout.of(model)
        self.tcp_start = np.zeros(3)

    def settle(self, hand: tuple[float, ...]) -> None:
        """From the model's default state, holds the open hand at a place for 50 actions."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.ctrl[:] = -1, 1
        for _ in range(_SETTLING_ACTIONS):
            self.data.mocap_pos[0] = hand
            self.data.mocap_quat[0] = MOCAP_QUAT
            self.step(SUBSTEPS)
        self.tcp_start = self.tcp

    def step(self, substeps: int) -> None:
        """Runs the physics; positions are then one substep old."""
        mujoco.mj_step(self.model, self.data, nstep=substeps)

    def forward(self) -> None:
        """Brings positions up to date with the joints."""
        mujoco.mj_forward(self.model, self.data)

    def put(self, first: int, values: np.ndarray | float, *, still: tuple[int, int] | None = None) -> None:
        """Sets joint coordinates, from number `first` of `qpos` on, and the positions that follow from them.

        **Arguments:**

        - `first`: index of the first coordinate.
        - `values`: the coordinates.
        - `still`: the range of velocities, of `qvel`, that become 0.
        """
        values = np.atleast_1d(values)
        self.data.qpos[first : first + len(values)] = values
        if still is not None:
            self.data.qvel[slice(*still)] = 0
        self.forward()

    def put_object(self, position: np.ndarray) -> None:
        """Sets a free object down, at rest, where the robot's nine joints come first in the model."""
        self.put(9, position, still=(9, 15))

    @property
    def scene(self) -> Scene:
        """This one world as a scene of one; it shows later changes too."""
        return Scene(self.layout, *(getattr(self.data, name)[None] for name in READ))

    @property
    def tcp(self) -> np.ndarray:
        """The tool centre point, (3,)."""
        return self.scene.tcp[0]

    def body(self, name: str) -> np.ndarray:
        """Position of a body, (3,), a copy."""
        return self.scene.body(name)[0].copy()

    def site(self, name: str) -> np.ndarray:
        """Position of a site, (3,), a copy."""
        return self.scene.site(name)[0].copy()

    def geom(self, name: str) -> np.ndarray:
        """Position of a geom, (3,), a copy."""
        return self.scene.geom(name)[0].copy()
