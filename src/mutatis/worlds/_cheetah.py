"""Gymnasium's half-cheetah in many worlds at once, by MuJoCo's C engine behind a callback from the compiled program."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import importlib.util
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32
from mujoco.batch import Batch

JOINTS, MOTORS, SEEN = 9, 6, 17
"""Sizes of a position, an action and an observation."""
SUBSTEPS = 5
"""Physics steps for each action; a twentieth of a second."""
_STATE = ("qpos", "qvel", "qacc_warmstart")
"""What the next step depends on besides the action."""
_CLOCK = 1.0
"""What the clock shows before every action. A simulation that diverges is reset, and its clock with it."""


class Run(NamedTuple):
    """One action later."""

    state: UInt32[Array, "*worlds 54"]
    observation: Float[Array, "*worlds 17"]
    velocity: Float[Array, "*worlds"]
    """Along the track, the mean over the time of the action, in metres a second."""
    unstable: Bool[Array, "*worlds"]
    """Whether the physics diverged; the cheetah then stays as it was."""


class HalfCheetah:
    """The half-cheetah of Gymnasium's `HalfCheetah-v5`, in any number of worlds; JAX can trace `place` and `act`.

    A state is a value: positions and velocities of the joints and the solver's warm start. It is of 64-bit numbers
    whatever JAX's precision, and travels as pairs of 32-bit integers. An observation is all positions but the first,
    how far it has come, and all velocities; in metres, radians and seconds. Results do not depend on the number of
    threads.
    """

    def __init__(self, threads: int | None):
        self._model = _model()
        self._threads = threads or 0  # MuJoCo's word for all cores
        self._batch = Batch(self._model, 1, self._threads)
        self._lock = Lock()

    def place(
        self, position: Float[Array, "9"], velocity: Float[Array, "9"]
    ) -> tuple[UInt32[Array, "54"], Float[Array, "17"]]:
        """The state and what is seen in some position, relative to that of rest, and at some velocity."""
        real = position.dtype
        like = jax.ShapeDtypeStruct((6 * JOINTS,), jnp.uint32), jax.ShapeDtypeStruct((SEEN,), real)
        put = partial(self._place, real)
        return jax.pure_callback(put, like, position, velocity, vmap_method="broadcast_all")

    def act(self, state: UInt32[Array, "54"], action: Float[Array, "6"]) -> Run:
        """Applies torques, from -1 to 1 of what each motor can, for the time of one action."""
        real = action.dtype
        flag, number = jax.ShapeDtypeStruct((), bool), jax.ShapeDtypeStruct((), real)
        like = (jax.ShapeDtypeStruct(state.shape, jnp.uint32), jax.ShapeDtypeStruct((SEEN,), real), number, flag)
        return Run(*jax.pure_callback(partial(self._act, real), like, state, action, vmap_method="broadcast_all"))

    def _place(self, real: np.dtype, position: Array, velocity: Array) -> tuple[np.ndarray, np.ndarray]:
        moved, speed = np.asarray(position, np.float64), np.asarray(velocity, np.float64)
        state = np.concatenate([self._model.qpos0 + moved, speed, np.zeros_like(speed)], axis=-1)
        return state.view(np.uint32), _seen(state).astype(real)

    def _act(self, real: np.dtype, state: Array, action: Array) -> tuple[np.ndarray, ...]:
        """The parts of a `Run`, on the host; for any axes of worlds."""
        before = np.ascontiguousarray(state).view(np.float64)
        rows, worlds = before.reshape(-1, 3 * JOINTS), before.shape[:-1]
        with self._lock:
            after, unstable = self._steps(rows, np.asarray(action).reshape(-1, MOTORS))
        after[unstable] = rows[unstable]
        velocity = (after[:, 0] - rows[:, 0]) / (SUBSTEPS * self._model.opt.timestep)
        after = after.reshape(before.shape)
        velocity = velocity.reshape(worlds).astype(real)
        return after.view(np.uint32), _seen(after).astype(real), velocity, unstable.reshape(worlds)

    def _steps(self, rows: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next states, (n, 27), and which simulations diverged, (n,)."""
        n = len(rows)
        if n > self._batch.nsim:
            self._batch = Batch(self._model, n, self._threads)
        batch = self._batch
        fields, clock = [batch.bind(name)[:n] for name in _STATE], batch.bind("time")[:n]
        for field, values in zip(fields, np.split(rows, 3, axis=1), strict=True):
            field[:] = values
        batch.bind("ctrl")[:n] = action
        clock[:] = _CLOCK
        batch.step(None if n == batch.nsim else np.arange(n), nstep=SUBSTEPS)
        return np.concatenate(fields, axis=1), clock < _CLOCK


@cache
def half_cheetah(threads: int | None) -> HalfCheetah:
    """The physics; the same for all who ask for as many threads, so that programs that use it are compiled once."""
    return HalfCheetah(threads)


def _seen(state: np.ndarray) -> np.ndarray:
    return state[..., 1 : 2 * JOINTS]


def _model() -> mujoco.MjModel:
    """Gymnasium's own model file, compiled to the same numbers.

    The file scales the masses by an attribute about which MuJoCo 4 writes a warning, and that into a file where the
    program runs. So the scaling is done here, as the warning advises.
    """
    found = importlib.util.find_spec("gymnasium")
    assert found is not None and found.origin is not None  # or this package had not been imported
    spec = mujoco.MjSpec.from_file(str(Path(found.origin).parent / "envs/mujoco/assets/half_cheetah.xml"))
    mass, spec.compiler.settotalmass = spec.compiler.settotalmass, -1
    model = spec.compile()
    mujoco.mj_setTotalmass(model, mass)
    data = mujoco.MjData(model)
    mujoco.mj_setConst(model, data)
    # What follows from the masses, but for the mean inertia, by which the solver knows when to stop.
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_forward(model, data)
    mujoco.mj_fullM(model, data, inertia)
    model.stat.meaninertia = np.trace(inertia) / model.nv
    return model
