"""Pictures of worlds."""

import json
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed")

import mujoco

from mutatis.worlds import TASKS, _render, make
from mutatis.worlds._render import CAMERAS, NoGraphicsError, Renderer

SIZE = {"width": 160, "height": 120}
NAMES = ["reach", "drawer-open", "door-lock"]


@pytest.fixture(scope="module")
def worlds():
    """Two worlds of each of three tasks, or a skip where nothing can be drawn."""
    worlds = make(NAMES, worlds_per_task=2, render_mode="rgb_array", **SIZE)
    worlds.reset(seed=0)
    try:
        worlds.frame()
    except NoGraphicsError as error:
        pytest.skip(str(error))
    yield worlds
    worlds.close()


@pytest.fixture(scope="module")
def renderer(worlds):
    del worlds  # it skips
    renderer = Renderer()
    yield renderer
    renderer.close()


def ball(renderer, pose, camera):
    """The rows and columns where the goal is seen, be it through something else: where it turns pink."""
    shown, hidden = (renderer(pose, camera, **SIZE, show_goal=show).astype(int) for show in (True, False))
    return np.argwhere((shown - hidden) @ [1, -2, 1] > 40)


def test_a_frame_has_the_size_that_was_asked_for(worlds):
    frames = worlds.render()
    assert isinstance(frames, tuple) and len(frames) == 6
    assert all(frame.shape == (120, 160, 3) and frame.dtype == np.uint8 for frame in frames)
    assert worlds.frame(0, width=800, height=601).shape == (601, 800, 3)  # more than the models' own 640 x 480
    assert np.array_equal(worlds.frame(0), frames[0])


def test_cameras_tasks_and_goals_look_different(worlds):
    views = [worlds.frame(2, camera) for camera in CAMERAS]
    views += [worlds.frame(world) for world in (0, 1, 3, 4)]
    for k, view in enumerate(views):
        assert view.std() > 10  # not empty
        assert all((np.abs(view.astype(int) - other) > 20).any() for other in views[:k])


def test_a_world_that_acts_looks_different(worlds):
    before = worlds.frame(0), worlds.frame(2)
    actions = np.zeros((6, 4), np.float32)
    actions[0] = 1.0
    for _ in range(5):
        worlds.step(actions)
    change = [np.abs(worlds.frame(world).astype(int) - old).mean() for world, old in zip((0, 2), before, strict=True)]
    assert change[0] > 2 * change[1]


@pytest.mark.parametrize("camera", ["front", "corner", "corner2", "corner3", "behindGripper"])
def test_pictures_are_upright_and_not_mirrored(worlds, renderer, camera):
    pose = worlds.pose(0)
    low, high, left, right = (
        ball(renderer, pose._replace(target=np.array(place)), camera).mean(axis=0)
        for place in ((0, 0.85, 0.1), (0, 0.85, 0.25), (-0.12, 0.85, 0.12), (0.12, 0.85, 0.12))
    )
    assert low[0] - high[0] > 5 and abs(low[1] - high[1]) < 10
    # All these cameras look along the robot's arm, with its right (+x) on their right.
    assert right[1] - left[1] > 5


def test_the_goal_is_where_the_target_is_in_every_camera(worlds, renderer):
    pose = worlds.pose(0)._replace(target=np.array([-0.2, 0.75, 0.1]))
    moved = pose._replace(target=np.array([0.2, 0.75, 0.1]))
    for camera in ("front", "topview", "corner2", "corner3"):
        here, there = (ball(renderer, each, camera) for each in (pose, moved))
        assert len(here) > 2 and len(there) > 2
        assert np.abs(here.mean(axis=0) - there.mean(axis=0)).max() > 10
        assert np.ptp(here, axis=0).max() < 16  # one compact ball: what shines through lies on what is drawn


def test_a_goal_behind_something_shines_through(worlds, renderer):
    pose = worlds.pose(2)
    behind = pose._replace(target=np.array([0.0, 1.2, -0.2]))  # under the table's far edge
    with_goal, without = (renderer(behind, "front", **SIZE, show_goal=show).astype(int) for show in (True, False))
    change = with_goal - without
    assert 5 < (np.abs(change).sum(axis=2) > 60).sum() < 150
    assert change[..., 0].sum() > 0 > change[..., 1].sum()


def test_other_markers_are_hidden(worlds, renderer):
    # The lock's model marks two goals, green and blue, of which one misleads; the drawer's a green one.
    picture = renderer(worlds.pose(4), "front", width=320, height=240, show_goal=False).astype(int)
    bright_green = (picture[..., 1] > 130) & (picture[..., 0] < 60) & (picture[..., 2] < 60)
    bright_blue = (picture[..., 2] > 130) & (picture[..., 0] < 60) & (picture[..., 1] < 60)
    assert not bright_green.any() and not bright_blue.any()


def test_drawing_other_models_in_between_changes_nothing(worlds, renderer):
    # The graphics' state is shared: without care the picture of one model is drawn over its last one.
    first = [renderer(worlds.pose(world), **SIZE) for world in (0, 2, 4, 1, 3, 5)]
    again = [renderer(worlds.pose(world), **SIZE) for world in (5, 3, 1, 4, 2, 0)]
    fresh = Renderer()
    assert all(np.array_equal(a, b) for a, b in zip(first, again[::-1], strict=True))
    assert np.array_equal(fresh(worlds.pose(3), **SIZE), first[4])
    fresh.close()
    assert np.array_equal(fresh(worlds.pose(3), **SIZE), first[4])  # begins anew
    fresh.close()


def test_what_lay_in_the_goals_memory_before_is_not_seen(worlds, renderer, monkeypatch):
    pose, update = worlds.pose(0), mujoco.mjv_updateScene

    def littered(*arguments):
        update(*arguments)
        scene = arguments[-1]
        scene.geoms[scene.ngeom].category = int(mujoco.mjtCatBit.mjCAT_DECOR)  # what this is throws no shadow
        scene.geoms[scene.ngeom].transparent = 1

    clean = renderer(pose, **SIZE)
    monkeypatch.setattr(mujoco, "mjv_updateScene", littered)
    np.testing.assert_array_equal(renderer(pose, **SIZE), clean)


def test_the_scenery_stands_where_the_world_has_it(worlds, renderer):
    drawers = [renderer(worlds.pose(world), "topview", **SIZE, show_goal=False).astype(int) for world in (2, 3)]
    columns = [np.argwhere(each[..., 1] - each[..., 0] > 40)[:, 1].mean() for each in drawers]
    moved = worlds.pose(3).body_pos - worlds.pose(2).body_pos
    side = moved[np.abs(moved).argmax() // 3, 0]
    assert abs(side) > 0.02
    assert np.sign(columns[1] - columns[0]) == np.sign(side)


def test_what_cannot_be_drawn_is_refused(worlds):
    with pytest.raises(ValueError, match=r"camera: there is no 'cornr3'; did you mean corner3"):
        worlds.frame(0, "cornr3")
    with pytest.raises(ValueError, match=r"camera: there is no 'zzz'; there are: front, topview"):
        worlds.frame(0, "zzz")
    with pytest.raises(ValueError, match="height: must be at least 1"):
        worlds.frame(0, height=0)
    for world in (6, -1):
        with pytest.raises(ValueError, match=f"world: must be from 0 to 5, not {world}"):
            worlds.frame(world)
    with pytest.raises(ValueError, match="width: must be a whole number of at least 1"):
        make("reach", width=0)


def test_worlds_are_drawn_after_a_reset_and_in_the_right_mode():
    worlds = make("reach")
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) first"):
        worlds.frame()
    worlds.reset(seed=0)
    with pytest.raises(gymnasium.error.Error, match="render_mode='rgb_array'"):
        worlds.render()
    worlds.close()


def test_the_device_engine_gives_the_same_poses():
    pytest.importorskip("mujoco_warp", reason="mujoco-warp is not installed")
    poses = []
    for backend in ("cpu", "gpu"):
        worlds = make(["reach", "drawer-open"], worlds_per_task=2, backend=backend)
        worlds.reset(seed=0)
        poses.append([worlds.pose(world) for world in range(4)])
        worlds.close()
    for here, there in zip(*poses, strict=True):
        assert here.task is there.task
        for a, b in zip(here[1:], there[1:], strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_error_says_what_was_tried_and_what_helps(monkeypatch):
    def broken():
        raise ImportError("no such library")

    monkeypatch.setattr(_render, "_candidates", lambda: iter([("EGL", broken)]))
    pose = _render.Pose(TASKS["reach"], *(np.zeros(0),) * 4)
    with pytest.raises(NoGraphicsError, match=r"tried EGL: no such library.*libegl1.*MUJOCO_GL=osmesa"):
        Renderer()(pose)


def test_the_users_choice_of_graphics_goes_before_ours(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    names = lambda: [name for name, _ in _render._candidates()]
    assert names() == ["EGL"]
    monkeypatch.setenv("DISPLAY", ":0")
    assert names() == ["EGL", "the display"]
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert names() == ["MUJOCO_GL=osmesa"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there are no such displays")
def test_a_display_that_is_not_there_is_an_error_and_no_crash():
    program = """
import mutatis.worlds
worlds = mutatis.worlds.make("reach")
worlds.reset(seed=0)
for _ in range(2):
    try:
        worlds.frame()
    except RuntimeError as error:
        print(error)
"""
    environment = {**os.environ, "MUJOCO_GL": "glfw", "DISPLAY": ":7654"}
    environment.pop("WAYLAND_DISPLAY", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tried MUJOCO_GL=glfw: no window can be opened") == 2


def test_importing_the_worlds_opens_no_graphics():
    program = """
import json, os, sys
before = dict(os.environ)
import mutatis.worlds
print(json.dumps([sorted({"OpenGL", "mujoco.egl", "PIL"} & set(sys.modules)), before == dict(os.environ)]))
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [[], True]
