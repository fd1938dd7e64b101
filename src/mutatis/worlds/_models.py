"""The models of the robot and its scenery, which the package `metaworld` carries, compiled for our use."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import mujoco
import numpy as np


def assets() -> Path:
    """The folder of the model files, found without importing the package that carries them.

    **Raises:** `ModuleNotFoundError` if `metaworld` is not installed.
    """
    found = importlib.util.find_spec("metaworld")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "the models of the robot come with the package metaworld, which is not installed: "
            "pip install 'mutatis[worlds]'"
        )
    return Path(found.origin).parent / "assets" / "sawyer_xyz"


@cache
def load(name: str, touches: str | None = None) -> mujoco.MjModel:
    """Compiles a model and sets the weld that ties the hand to its mocap body as the original does.

    **Arguments:**

    - `name`: of the file, without `sawyer_` and `.xml`.
    - `touches`: a geom for which the forces of the left and the right pad are to be measured: adds two sensors and
      changes nothing else. Read them with `pad_forces`.
    """
    spec = mujoco.MjSpec.from_file(str(assets() / f"sawyer_{name}.xml"))
    if touches is not None:
        for pad in ("leftpad_geom", "rightpad_geom"):
            _add_touch_sensor(spec, pad, touches)
    model = spec.compile()
    for weld in np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_WELD):
        model.eq_data[weld] = 0
        model.eq_data[weld, [6, 10]] = -1, 5  # identity pose (the quaternion's sign is the original's); torque scale 5
    return model


_SLOTS = 8
"""Contacts of a pad with the object that are measured; a pad is a box, and more than four is rare."""


def _add_touch_sensor(spec: mujoco.MjSpec, pad: str, geom: str) -> None:
    force, keep_all = 1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), 0
    spec.add_sensor(
        name=f"{pad}_touch",
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=mujoco.mjtObj.mjOBJ_GEOM,
        objname=pad,
        reftype=mujoco.mjtObj.mjOBJ_GEOM,
        refname=geom,
        intprm=[force, keep_all, _SLOTS],
    )


def pad_forces(sensordata: np.ndarray) -> np.ndarray:
    """Sums of the normal forces on the left and the right pad, (N, 2), from the sensors' data of N worlds."""
    return sensordata.reshape(len(sensordata), 2, _SLOTS, 3)[..., 0].sum(axis=2)


@cache
def version() -> str:
    """The simulator's version and a digest of the model files: what results and stored starts depend on."""
    digest = hashlib.sha256()
    root = assets().parent
    for file in sorted(root.rglob("*.xml")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return f"mujoco {mujoco.__version__}, models {digest.hexdigest()[:12]}"
