"""Pictures of worlds, by MuJoCo's own renderer, off screen."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules come without stubs.)
from __future__ import annotations

import copy
import difflib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import mujoco
import numpy as np

from mutatis.worlds import _models
from mutatis.worlds._pose import Pose

CAMERAS = ("front", "topview", "corner", "corner2", "corner3", "behindGripper", "gripperPOV")
"""Where one can look from: our own view first, then the cameras of the models."""

_LOOKAT, _DISTANCE, _AZIMUTH, _ELEVATION = (0.05, 0.68, 0.11), 1.12, 140.0, -37.0
"""The view "front": a point of the table, metres from it, and degrees."""
_GOAL_COLOUR, _GOAL_RADIUS = (1.0, 0.1, 0.75), 0.02
_GLOW = 0.45
"""How much of the goal's colour shines through what stands before it."""
_SHADOWS = 1024
"""Texels of the shadows' side; the models' own 4096 take 64 MB for each model and hardly show more."""


class NoGraphicsError(RuntimeError):
    """No OpenGL can be had for drawing off screen; the text says what was tried and what helps."""


class Renderer:
    """Draws poses. What the graphics hold of a model is kept for its next picture, until `close`."""

    def __init__(self):
        self._graphics: Any = None
        self._stages: dict[str, _Stage] = {}

    def __call__(
        self, pose: Pose, camera: str = "front", *, width: int = 480, height: int = 360, show_goal: bool = True
    ) -> np.ndarray:
        """One picture, (height, width, 3), uint8, upright.

        The goal is a pink ball at the target, the same in all tasks, and shines through what hides it; the models' own
        sites, which mark it in some tasks and mislead in others, are not drawn. Pictures of `corner`, `corner2` and
        `corner3`, which hang upside down in the models, are turned by half a turn.

        **Raises:** `ValueError` for a camera or size that does not exist. `NoGraphicsError` where there is no OpenGL.
        """
        if camera not in CAMERAS:
            near = difflib.get_close_matches(camera, CAMERAS, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(CAMERAS)}"
            raise ValueError(f"camera: there is no {camera!r}; {hint}")
        for name, value in (("width", width), ("height", height)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1 pixel, not {value}")
        if self._graphics is None:
            self._graphics = _graphics()
        with self._graphics.as_current():
            model = pose.task.model
            if model not in self._stages:
                self._stages[model] = _Stage(model, width, height)
            return self._stages[model].draw(pose, camera, width, height, show_goal)

    def close(self) -> None:
        """Frees what the graphics hold; the next picture would begin anew."""
        if self._graphics is not None:
            with self._graphics.as_current():
                for stage in self._stages.values():
                    stage.context.free()
            self._graphics.free()
        self._graphics, self._stages = None, {}

    def __del__(self):
        self.close()


class _Stage:
    """A model that is ready to be drawn in any pose."""

    def __init__(self, name: str, width: int, height: int):
        self._model = copy.copy(_models.load(name))
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        self._model.vis.quality.shadowsize = _SHADOWS
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 100)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self.context = mujoco.MjrContext(self._model, int(mujoco.mjtFontScale.mjFONTSCALE_100))

    def draw(self, pose: Pose, camera: str, width: int, height: int, show_goal: bool) -> np.ndarray:
        model, data, scene, context = self._model, self._data, self._scene, self.context
        model.body_pos[:], data.qpos[:], data.mocap_pos[:] = pose.body_pos, pose.qpos, pose.mocap_pos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        view = _view(model, camera)
        everything = int(mujoco.mjtCatBit.mjCAT_ALL)
        mujoco.mjv_updateScene(model, data, self._option, None, view, everything, scene)
        if show_goal:
            _add_ball(scene, pose.target)
        if width > context.offWidth or height > context.offHeight:
            mujoco.mjr_resizeOffscreen(max(width, context.offWidth), max(height, context.offHeight), context)
        mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), context)  # or it clears another model's picture
        picture, whole = np.empty((height, width, 3), np.uint8), mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(whole, scene, context)
        mujoco.mjr_readPixels(picture, None, whole, context)
        if show_goal:
            _add_glow(picture, mujoco.mjv_averageCamera(*scene.camera), pose.target)
        # OpenGL's rows begin at the bottom; a camera that hangs upside down is turned by half a turn.
        return np.ascontiguousarray(picture[:, ::-1] if scene.camera[0].up[2] < -_TILT else picture[::-1])


_TILT = 0.3
"""How far a camera's upward direction points down when it hangs upside down; one that looks straight down has 0."""


def _view(model: mujoco.MjModel, camera: str) -> mujoco.MjvCamera:
    view = mujoco.MjvCamera()
    if camera == "front":
        view.type = int(mujoco.mjtCamera.mjCAMERA_FREE)
        view.lookat[:], view.distance, view.azimuth, view.elevation = _LOOKAT, _DISTANCE, _AZIMUTH, _ELEVATION
    else:
        view.type = int(mujoco.mjtCamera.mjCAMERA_FIXED)
        view.fixedcamid = model.camera(camera).id
    return view


def _add_ball(scene: mujoco.MjvScene, position: np.ndarray) -> None:
    ball = scene.geoms[scene.ngeom]
    size, turn = np.array([_GOAL_RADIUS, 0.0, 0.0]), np.eye(3).reshape(-1)
    colour = np.array([*_GOAL_COLOUR, 1.0], np.float32)
    mujoco.mjv_initGeom(ball, int(mujoco.mjtGeom.mjGEOM_SPHERE), size, np.asarray(position, float), turn, colour)
    # What is left unsaid would be what last lay there in memory.
    ball.category, ball.transparent, ball.camdist = int(mujoco.mjtCatBit.mjCAT_STATIC), 0, 0.0
    ball.objtype, ball.objid, ball.segid = int(mujoco.mjtObj.mjOBJ_UNKNOWN), -1, -1
    ball.emission = 0.4
    scene.ngeom += 1


def _add_glow(picture: np.ndarray, camera: mujoco.MjvGLCamera, position: np.ndarray) -> None:
    """Lets the ball's disc shine through what hides it, in a picture whose first row is at the bottom."""
    forward, up = np.array(camera.forward), np.array(camera.up)
    offset = position - np.array(camera.pos)
    depth = offset @ forward
    if depth <= camera.frustum_near:
        return
    height, width = picture.shape[:2]
    focal = height * camera.frustum_near / (camera.frustum_top - camera.frustum_bottom)  # pixels at depth 1
    x = width / 2 + focal * (offset @ np.cross(forward, up)) / depth
    y = height / 2 + focal * (offset @ up) / depth
    away = np.hypot(np.arange(width) + 0.5 - x, np.arange(height)[:, None] + 0.5 - y)
    share = _GLOW * np.clip(focal * _GOAL_RADIUS / depth - away + 0.5, 0, 1)[:, :, None]
    picture[:] = np.rint((1 - share) * picture + share * 255 * np.array(_GOAL_COLOUR))


def _graphics() -> Any:
    """The first of this machine's OpenGL contexts that works.

    That is what the user's `MUJOCO_GL` names; else, on Linux, EGL, which needs no display, or else one of the display.
    """
    tried = []
    for name, opened in _candidates():
        try:
            context = opened()
            with context.as_current():  # some fail only when they are used
                mujoco.MjrContext(mujoco.MjSpec().compile(), int(mujoco.mjtFontScale.mjFONTSCALE_100)).free()
            return context
        except (ImportError, AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
            tried.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    raise NoGraphicsError(
        f"no OpenGL to draw off screen with; tried {'; '.join(tried) or 'nothing'}. On Linux, install EGL "
        "(apt-get install libegl1), or libosmesa6 and set MUJOCO_GL=osmesa before Python starts"
    )


def _candidates() -> Iterator[tuple[str, Callable[[], Any]]]:
    chosen = os.environ.get("MUJOCO_GL", "")
    if chosen or not sys.platform.startswith("linux"):
        yield f"MUJOCO_GL={chosen}", _usual
        return
    yield "EGL", _egl
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        yield "the display", _usual


def _usual() -> Any:
    """What MuJoCo chose when it was imported."""
    from mujoco.gl_context import GLContext

    if GLContext.__module__ != "mujoco.glfw":
        return GLContext(640, 480)
    import glfw

    with warnings.catch_warnings(action="ignore"):  # it only warns of what it cannot do
        context = GLContext(640, 480)
        with context.as_current():
            if not glfw.get_current_context():  # MuJoCo would end the process when it is asked twice
                raise OSError("no window can be opened")
    return context


def _egl() -> Any:
    import mujoco.egl

    return mujoco.egl.GLContext(640, 480)
