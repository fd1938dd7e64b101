"""Where the things of a model are, in many worlds at once: what observations and rewards are computed from.

Shapes: N worlds, each array (N, ...). The arrays are NumPy's (float64, from the CPU engine) or JAX's (from the GPU
engine); whatever reads a scene is written in their common language, the array interface `scene.xp`.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import mujoco

Array = Any
"""A NumPy or a JAX array."""

READ = ("qpos", "xpos", "xquat", "site_xpos", "site_xmat", "geom_xpos", "geom_xmat")
"""The fields of a simulation that a scene is made of, named as in MuJoCo's `mjData`."""


def interface(array: Array) -> ModuleType:
    """The functions for an array: `numpy`, or what its library offers in NumPy's place (`jax.numpy`)."""
    return np if type(array) is np.ndarray else array.__array_namespace__()


class Layout(NamedTuple):
    """The row of each named thing in the arrays of a model."""

    body: dict[str, int]
    site: dict[str, int]
    geom: dict[str, int]
    joint: dict[str, int]
    """The first coordinate in `qpos` that belongs to the joint."""
    pads: np.ndarray
    """The bodies of the left and the right pad, (2,)."""

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Layout:
        """Read from a compiled model."""
        body = {model.body(i).name: i for i in range(model.nbody)}
        return cls(
            body,
            {model.site(i).name: i for i in range(model.nsite)},
            {model.geom(i).name: i for i in range(model.ngeom)},
            {model.joint(i).name: int(model.jnt_qposadr[i]) for i in range(model.njnt)},
            np.array([body["leftpad"], body["rightpad"]]),
        )


class Scene:
    """Positions (metres), orientations and joint coordinates of everything named in N worlds of one model."""

    def __init__(
        self,
        layout: Layout,
        qpos: Array,
        xpos: Array,
        xquat: Array,
        site_xpos: Array,
        site_xmat: Array,
        geom_xpos: Array,
        geom_xmat: Array,
        pad_forces: Array | None = None,
    ):
        self.layout = layout
        self.qpos = qpos
        self.xpos = xpos
        self.xquat = xquat
        self.site_xpos = site_xpos
        self.site_xmat = site_xmat
        self.geom_xpos = geom_xpos
        self.geom_xmat = geom_xmat
        self.pad_forces = pad_forces
        """(N, 2): the normal force of the left and the right pad on the object, in newtons, where it is measured."""

    @property
    def arrays(self) -> dict[str, Array]:
        """What the scene was made from, by the names of its parameters."""
        names = (*READ, *(["pad_forces"] if self.pad_forces is not None else []))
        return {name: getattr(self, name) for name in names}

    @property
    def xp(self) -> ModuleType:
        """The array interface: `numpy` or `jax.numpy`."""
        return interface(self.xpos)

    def body(self, name: str) -> Array:
        """Position of a body's frame, (N, 3)."""
        return self.xpos[:, self.layout.body[name]]

    def body_quat(self, name: str) -> Array:
        """Orientation of a body as a unit quaternion (w, x, y, z), (N, 4)."""
        return self.xquat[:, self.layout.body[name]]

    def site(self, name: str) -> Array:
        """Position of a site, (N, 3)."""
        return self.site_xpos[:, self.layout.site[name]]

    def geom(self, name: str) -> Array:
        """Position of a geom's centre, (N, 3)."""
        return self.geom_xpos[:, self.layout.geom[name]]

    def geom_quat(self, name: str) -> Array:
        """Orientation of a geom as a unit quaternion (x, y, z, w), (N, 4), in the convention and sign of SciPy."""
        return quaternion(self.geom_xmat[:, self.layout.geom[name]])

    def site_quat(self, name: str) -> Array:
        """Orientation of a site as a unit quaternion (x, y, z, w), (N, 4), likewise."""
        return quaternion(self.site_xmat[:, self.layout.site[name]])

    def joint(self, name: str) -> Array:
        """The coordinate of a slide (metres) or hinge (radians), (N,)."""
        return self.qpos[:, self.layout.joint[name]]

    @cached_property
    def tcp(self) -> Array:
        """The tool centre point, half way between the finger tips, (N, 3)."""
        return (self.site("rightEndEffector") + self.site("leftEndEffector")) / 2.0


def quaternion(matrix: Array) -> Array:
    """Unit quaternions (x, y, z, w), (N, 4), of rotation matrices, (N, 9) or (N, 3, 3), row-major.

    The largest of the diagonal's entries and their sum decides which component is computed as a square root, and is
    positive, as in `scipy.spatial.transform.Rotation.from_matrix`: the sign is part of the observation.
    """
    xp = interface(matrix)
    m = matrix.reshape(-1, 9)
    diagonal = m[:, ::4]
    trace = diagonal[:, 0] + diagonal[:, 1] + diagonal[:, 2]
    trace = trace[:, None]
    lower, upper = m[:, _LOWER], m[:, _UPPER]
    entries = xp.concatenate([1 - trace + 2 * diagonal, 1 + trace, lower + upper, _SIGNS * (lower - upper)], axis=1)
    largest = xp.argmax(xp.concatenate([diagonal, trace], axis=1), axis=1)
    chosen = entries[xp.arange(len(m))[:, None], xp.asarray(_ROWS)[largest]]
    # Added in this order, as SciPy does: a product from BLAS would be rounded as the processor likes.
    squares = chosen * chosen
    return chosen / xp.sqrt(squares[:, 0] + squares[:, 1] + squares[:, 2] + squares[:, 3])[:, None]


_LOWER, _UPPER = np.array([3, 6, 7]), np.array([1, 2, 5])
"""Entries xy, xz, yz below and above the diagonal."""
_SIGNS = np.array([[1, -1, 1]])
_ROWS = np.array([[0, 4, 5, 9], [4, 1, 6, 8], [5, 6, 2, 7], [9, 8, 7, 3]])
"""Rows of the matrix 4 q q' among the entries x2, y2, z2, w2, xy, xz, yz, zw, yw, xw."""


def clip(x: Array, low: float | Array, high: float | Array) -> Array:
    """Between two bounds; several times quicker than NumPy's own on the short arrays here."""
    xp = interface(x)
    return xp.minimum(xp.maximum(x, low), high)


def norm(vector: Array) -> Array:
    """Euclidean length over the last axis."""
    xp = interface(vector)
    return xp.sqrt(xp.vecdot(vector, vector))


def distance(a: Array, b: Array) -> Array:
    """Euclidean distance over the last axis."""
    return norm(a - b)
