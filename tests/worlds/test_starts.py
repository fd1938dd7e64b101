"""An episode begins where the original's does, and its start is computed once."""

import mujoco
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="the original environments are not installed: pip install 'mutatis[worlds]'")

from _farama import original

from mutatis.worlds import TASKS, _models, goal_vectors, make
from mutatis.worlds._bench import Bench
from mutatis.worlds._start import INTEGRATION, Starts

SOME = ("window-close", "door-lock", "box-close", "hammer", "lever-pull", "coffee-pull", "plate-slide-back")


@pytest.fixture
def physics_steps(monkeypatch):
    """Counts the simulator's steps on the bench."""
    count = [0]
    step = Bench.step

    def counting(self, substeps):
        count[0] += substeps
        step(self, substeps)

    monkeypatch.setattr(Bench, "step", counting)
    return count


@pytest.mark.parametrize("name", SOME)
def test_starts_are_the_original_s_resets_whatever_goal_came_before(name):
    task = TASKS[name]
    (vectors,) = goal_vectors([task], 3, 3)
    cycled = vectors[[0, 1, 2, 0, 2]]
    reference = original(name, vectors[0])
    for start, vector in zip(Starts(task)(cycled), cycled, strict=True):
        reference._last_rand_vec = vector
        observation, _ = reference.reset()
        np.testing.assert_array_equal(start.frame, observation[:18])
        np.testing.assert_array_equal(start.memory["target"], reference._target_pos)
        state = np.empty_like(start.physics)
        mujoco.mj_getState(reference.model, reference.data, state, INTEGRATION)
        joints = slice(1, 1 + reference.model.nq + reference.model.nv)
        np.testing.assert_array_equal(start.physics[joints], state[joints])


@pytest.mark.parametrize("name", SOME)
def test_the_scenery_stands_where_the_original_puts_it(name):
    task = TASKS[name]
    (vectors,) = goal_vectors([task], 0, 2)
    reference = original(name, vectors[0])
    for start, vector in zip(Starts(task)(vectors), vectors, strict=True):
        reference._last_rand_vec = vector
        reference.reset()
        np.testing.assert_array_equal(start.body_pos, reference.model.body_pos)
    moved = not np.array_equal(*(start.body_pos for start in Starts(task)(vectors)))
    assert moved == (task.moves is not None)


def test_a_known_start_is_the_same_object_and_costs_no_physics(physics_steps):
    starts = Starts(TASKS["drawer-open"])
    (vectors,) = goal_vectors([TASKS["drawer-open"]], 0, 3)
    first = starts(vectors[:2])
    assert physics_steps == [2 * 250]  # one pass of 50 actions for each, where the original makes two
    again = starts(vectors[[1, 0, 1, 2]].copy())
    assert physics_steps == [3 * 250]
    assert [each is first[k] for each, k in zip(again[:3], (1, 0, 1), strict=True)] == [True] * 3


def test_a_goal_twice_in_one_call_is_prepared_once(physics_steps):
    (vectors,) = goal_vectors([TASKS["reach"]], 0, 1)
    one, two = Starts(TASKS["reach"])(vectors[[0, 0]])
    assert one is two
    assert physics_steps == [250]


def test_no_goals_no_starts(physics_steps):
    assert Starts(TASKS["reach"])(np.zeros((0, 6))) == []
    assert physics_steps == [0]


def contents(model):
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer


@pytest.mark.parametrize("name", SOME)
def test_preparing_starts_leaves_the_model_as_it_was_loaded(name):
    task = TASKS[name]
    Starts(task)(goal_vectors([task], 0, 2)[0])
    afresh = _models.load.__wrapped__(task.model)
    np.testing.assert_array_equal(contents(_models.load(task.model)), contents(afresh))


def test_playing_leaves_the_starts_as_they_were():
    task = TASKS["bin-picking"]  # its reward changes what the task remembers
    worlds = make(task.name, worlds_per_task=2)
    worlds.set_goals(goal_vectors([task], 0, 2))
    goals = {"goals": np.array([0, 1])}
    (known,) = worlds._engine.starts(worlds.vectors)
    kept = [
        (start.physics.copy(), start.frame.copy(), {k: v.copy() for k, v in start.memory.items()}) for start in known
    ]
    worlds.reset(options=goals)
    for _ in range(20):
        worlds.step(np.ones((2, 4)))
    for start, (physics, frame, memory) in zip(worlds._engine.starts(worlds.vectors)[0], kept, strict=True):
        np.testing.assert_array_equal(start.physics, physics)
        np.testing.assert_array_equal(start.frame, frame)
        assert memory.keys() == start.memory.keys()
        for key, value in memory.items():
            np.testing.assert_array_equal(start.memory[key], value)


@pytest.mark.parametrize("name", ["pick-place", "stick-push"])
def test_touch_sensors_change_the_sensors_alone(name):
    task = TASKS[name]
    plain, measured = _models.load(task.model), _models.load(task.model, task.touches)
    assert (plain.nsensor, measured.nsensor) == (0, 2)
    for size in ("nq", "nv", "nbody", "ngeom", "nsite", "nu", "neq", "nmocap"):
        assert getattr(plain, size) == getattr(measured, size)
    for field in ("qpos0", "body_mass", "body_pos", "geom_size", "geom_solref", "eq_data", "opt"):
        if field == "opt":
            assert plain.opt.timestep == measured.opt.timestep
        else:
            np.testing.assert_array_equal(getattr(plain, field), getattr(measured, field))


def test_the_weld_is_the_original_s():
    model = _models.load("reach_v3")
    reference = original("reach", goal_vectors([TASKS["reach"]], 0, 1)[0][0])
    reference.reset()
    np.testing.assert_array_equal(model.eq_data, reference.model.eq_data)
    assert model.eq_data[0, 10] == 5
