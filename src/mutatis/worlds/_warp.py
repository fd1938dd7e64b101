"""The physics on a GPU, by MuJoCo Warp, as functions that JAX compiles; on a CPU too, slowly, for tests."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import mujoco_warp
import numpy as np
import warp

from mutatis.worlds import _models
from mutatis.worlds._bench import MOCAP_QUAT, SUBSTEPS
from mutatis.worlds._physics import hand_sent
from mutatis.worlds._scene import READ, Layout, Scene
from mutatis.worlds._simulator import Advance, State
from mutatis.worlds._start import INTEGRATION, Start
from mutatis.worlds._task import Task

warp.config.log_level = warp.LOG_WARNING  # by default it prints a line for each kernel that it loads

_CONTACTS, _ROWS = 64, 400
"""Contacts and constraint rows that are kept for a world; the most that was seen is 38 and 140."""

_VECTORS = {"mocap_pos": warp.vec3, "xpos": warp.vec3, "site_xpos": warp.vec3, "geom_xpos": warp.vec3}
_TYPES = _VECTORS | {"body_pos": warp.vec3, "xquat": warp.quat, "site_xmat": warp.mat33, "geom_xmat": warp.mat33}
_STATE = ("qpos", "qvel", "qacc_warmstart", "mocap_pos", "ctrl", "body_pos", "geom_xpos", "geom_xmat")
"""What a step reads. The places of geoms belong to it: those fixed to the world are computed once, for the scenery of
world 0, and would stay there in all worlds; so every world brings its own."""
_RESULT = ("qpos", "qvel", "qacc_warmstart", "xpos", "xquat", "site_xpos", "site_xmat", "geom_xpos", "geom_xmat")


class WarpSimulator:
    """State in float32 (see `Simulator`)."""

    def __init__(self, tasks: Sequence[Task], worlds: int):
        self._tasks = tasks
        self._models = [_models.load(task.model, task.touches if task.needs_touch else None) for task in tasks]
        self._layouts = [Layout.of(model) for model in self._models]
        self._steps = [_in_turns(_step_function(model, worlds), worlds) for model in self._models]

    def table(self, task: int, starts: Sequence[Start]) -> State:
        """The physics of a task's starts, stacked."""
        model = self._models[task]
        data = mujoco.MjData(model)
        rows = []
        for start in starts:
            mujoco.mj_setState(model, data, start.physics, INTEGRATION)
            fields = {name: getattr(data, name).copy() for name in ("qpos", "qvel", "qacc_warmstart", "mocap_pos")}
            rows.append(fields | {name: getattr(start, name) for name in ("body_pos", "geom_xpos", "geom_xmat")})
        table = {key: jnp.asarray(np.stack([row[key] for row in rows]), jnp.float32) for key in rows[0]}
        return table | {"geom_xmat": table["geom_xmat"].reshape(len(rows), -1, 3, 3)}

    def advance(self, states: Sequence[State], actions: Sequence[jax.Array]) -> list[Advance]:
        """Acts in the worlds of every task."""
        return [self._advance(k, *each) for k, each in enumerate(zip(states, actions, strict=True))]

    def _advance(self, task: int, state: State, action: jax.Array) -> Advance:
        bounds = self._tasks[task].hand_low, self._tasks[task].hand_high
        low, high = jnp.asarray(bounds, jnp.float32)[:, None]
        action = action.astype(jnp.float32)
        mocap = hand_sent(state["mocap_pos"][:, 0], action, low, high)[:, None]
        ctrl = jnp.stack([action[:, 3], -action[:, 3]], axis=1)
        inputs = state | {"mocap_pos": mocap, "ctrl": ctrl}
        outputs = self._steps[task](*(inputs[name] for name in _STATE))
        results = dict(zip(_results(self._models[task]), outputs, strict=True))
        unstable = ~jnp.isfinite(results["qpos"]).all(axis=1)
        moved = {name: results[name] for name in _STATE if name in results}
        forces = _models.pad_forces(results["sensordata"]) if "sensordata" in results else None
        scene = Scene(self._layouts[task], **{name: results[name] for name in READ}, pad_forces=forces)
        return Advance(state | moved | {"mocap_pos": mocap}, scene, unstable)


def _step_function(model: mujoco.MjModel, worlds: int) -> Any:
    """One action's physics in all worlds of a model, as a function of the fields in `_STATE` that JAX can compile."""
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    with warp.ScopedDevice(device):
        m = mujoco_warp.put_model(model, batch_sizes={"body_pos": worlds})
        d = mujoco_warp.make_data(model, nworld=worlds, nconmax=_CONTACTS, njmax=_ROWS)
        d.mocap_quat.assign(np.tile(np.array(MOCAP_QUAT, np.float32), (worlds, 1, 1)))

    results = _results(model)

    def step(*arrays: Any) -> None:
        given, wanted = arrays[: len(_STATE)], arrays[len(_STATE) :]
        for name, array in zip(_STATE, given, strict=True):
            warp.copy(m.body_pos if name == "body_pos" else getattr(d, name), array)
        for _ in range(SUBSTEPS):
            _refresh_velocities(m, d)
            mujoco_warp.step(m, d)
        # Positions are wanted after the last substep; forces need the whole of the forward pass.
        (mujoco_warp.forward if model.nsensor else mujoco_warp.kinematics)(m, d)
        for name, array in zip(results, wanted, strict=True):
            warp.copy(array, getattr(d, name))

    names = [*(f"{name}_in" for name in _STATE), *(f"{name}_out" for name in results)]
    types = [warp.array(dtype=_TYPES.get(name, warp.float32), ndim=2) for name in (*_STATE, *results)]
    _declare(step, names, types)
    return warp.jax_callable(
        step,
        num_outputs=len(results),
        output_dims={f"{name}_out": getattr(d, name).shape for name in results},
        # The solver stops by a conditional node of the graph, which JAX's own capture does not know.
        graph_mode=warp.JaxCallableGraphMode.WARP if device == "cuda" else warp.JaxCallableGraphMode.NONE,
    )


def _in_turns(step: Any, width: int) -> Any:
    """The same function of any number of rows: so many at a time, the last ones with copies of a row beside them."""

    def stepped(*arrays: jax.Array) -> Sequence[jax.Array]:
        rows = len(arrays[0])
        if rows == width:
            return step(*arrays)
        turns = -(-rows // width)
        filled = lambda array: jnp.concatenate([array, jnp.repeat(array[:1], turns * width - rows, axis=0)])
        lots = [filled(array).reshape(turns, width, *array.shape[1:]) for array in arrays]
        moved = jax.lax.map(lambda lot: tuple(step(*lot)), tuple(lots))  # not side by side: they share their memory
        return [lot.reshape(-1, *lot.shape[2:])[:rows] for lot in moved]

    return stepped


def _refresh_velocities(m: mujoco_warp.Model, d: mujoco_warp.Data) -> None:
    """Brings the bodies' velocities up to date with the joints.

    The weld's constraint reads them before Warp's step computes them, so it would see those of the substep before, and
    in the first substep those of whatever these simulations did last: a world that diverged would never recover.
    """
    mujoco_warp.kinematics(m, d)
    mujoco_warp.com_pos(m, d)
    mujoco_warp.com_vel(m, d)


def _results(model: mujoco.MjModel) -> tuple[str, ...]:
    return (*_RESULT, "sensordata") if model.nsensor else _RESULT


def _declare(function: Any, names: Sequence[str], types: Sequence[Any]) -> None:
    """Gives a function of `*arrays` the named and typed parameters that Warp reads."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, annotation=each) for name, each in zip(names, types, strict=True)]
    function.__signature__ = inspect.Signature(parameters)
    function.__annotations__ = dict(zip(names, types, strict=True))
