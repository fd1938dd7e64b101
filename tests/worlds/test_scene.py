"""Orientations against SciPy, and what a scene gives by name."""

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("metaworld", reason="the models are not installed: pip install 'mutatis[worlds]'")

from mutatis.worlds import _models
from mutatis.worlds._scene import READ, Layout, Scene, distance, norm, quaternion

HALF_TURNS = np.stack([np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)])
"""Around x, y and z, and none: each is the pure case of one branch."""


def branch(matrix):
    """Which of x, y, z, w SciPy computes from a square root: the largest of the diagonal and the trace."""
    diagonal = np.einsum("nii->ni", matrix)
    return np.argmax(np.column_stack([diagonal, diagonal.sum(axis=1)]), axis=1)


def matrices(count, seed):
    return Rotation.random(count, np.random.default_rng(seed)).as_matrix()


@pytest.mark.parametrize("xp", [np, jnp])
def test_quaternions_are_scipy_s_in_every_branch(xp):
    turns = np.concatenate([matrices(2000, 0), HALF_TURNS])
    assert np.bincount(branch(turns), minlength=4).min() > 100
    ours = np.asarray(quaternion(xp.asarray(turns.reshape(-1, 9))))
    theirs = Rotation.from_matrix(turns).as_quat()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-16)  # the sign is part of it
    np.testing.assert_array_equal(np.sign(ours[np.arange(len(turns)), branch(turns)]), 1)


def test_numpy_s_quaternions_have_scipy_s_bits():
    turns = matrices(500, 1)
    np.testing.assert_array_equal(quaternion(turns), Rotation.from_matrix(turns).as_quat())


@given(
    axis=st.sampled_from(range(3)),
    nearly=st.sampled_from([0.0, 1e-12, 1e-6, 1e-3]),
    angle=st.sampled_from([0.0, np.pi / 2, np.pi, -np.pi, 2 * np.pi / 3]),
)
def test_quaternions_where_two_branches_meet(axis, nearly, angle):
    vector = np.zeros(3)
    vector[axis] = angle + nearly
    turn = Rotation.from_rotvec(vector).as_matrix()[None]
    ours = quaternion(turn)
    np.testing.assert_allclose(ours, Rotation.from_matrix(turn).as_quat(), rtol=0, atol=1e-15)
    np.testing.assert_allclose(Rotation.from_quat(ours).as_matrix(), turn, rtol=0, atol=1e-14)


def test_quaternions_have_unit_length_and_mean_the_same_turn():
    turns = matrices(100, 2)
    ours = quaternion(turns.reshape(-1, 9))
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(Rotation.from_quat(ours).as_matrix(), turns, rtol=0, atol=1e-15)


@pytest.mark.parametrize("xp", [np, jnp])
def test_lengths_are_euclidean(xp):
    a, b = np.random.default_rng(0).normal(size=(2, 50, 3))
    np.testing.assert_allclose(norm(xp.asarray(a)), np.linalg.norm(a, axis=1), rtol=1e-15)
    np.testing.assert_allclose(distance(xp.asarray(a), xp.asarray(b)), np.linalg.norm(a - b, axis=1), rtol=1e-15)


@pytest.mark.parametrize("name", ["pick_place_v3", "coffee", "stick_obj"])
def test_a_scene_gives_by_name_what_the_simulator_has(name):
    model = _models.load(name)
    data = mujoco.MjData(model)
    data.qpos += 0.1
    mujoco.mj_forward(model, data)
    scene = Scene(Layout.of(model), *(getattr(data, field)[None] for field in READ))
    for body in filter(None, (model.body(k).name for k in range(model.nbody))):
        np.testing.assert_array_equal(scene.body(body)[0], data.body(body).xpos)
        np.testing.assert_array_equal(scene.body_quat(body)[0], data.body(body).xquat)
    for site in filter(None, (model.site(k).name for k in range(model.nsite))):
        np.testing.assert_array_equal(scene.site(site)[0], data.site(site).xpos)
        turn = Rotation.from_matrix(data.site(site).xmat.reshape(3, 3))
        np.testing.assert_allclose(scene.site_quat(site)[0], turn.as_quat(), rtol=0, atol=1e-15)
    for geom in filter(None, (model.geom(k).name for k in range(model.ngeom))):
        np.testing.assert_array_equal(scene.geom(geom)[0], data.geom(geom).xpos)
    for joint in filter(None, (model.joint(k).name for k in range(model.njnt))):
        assert scene.joint(joint)[0] == data.joint(joint).qpos[0]
    middle = (data.site("rightEndEffector").xpos + data.site("leftEndEffector").xpos) / 2
    np.testing.assert_array_equal(scene.tcp[0], middle)
