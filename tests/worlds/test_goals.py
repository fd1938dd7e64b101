"""The goals are the official ones, and goals of one's own are checked."""

import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("metaworld", reason="the original goals are not installed: pip install 'mutatis[worlds]'")

import _farama  # noqa: F401 (lets the original run on this simulator)
import metaworld
import mujoco
from metaworld import env_dict
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from mutatis.worlds import BENCHMARKS, TASKS, goal_vectors, make
from mutatis.worlds._benchmarks import select
from mutatis.worlds._goals import OFFICIAL_COUNT, checked, separation

SEEDS = st.integers(0, 2**32 - 1)


def grouped(official):
    """Names in order, and the vectors of each, of the original's list of pickled tasks."""
    vectors = {}
    for task in official:
        vectors.setdefault(task.env_name.removesuffix("-v3"), []).append(pickle.loads(task.data)["rand_vec"])
    return {name: np.stack(each) for name, each in vectors.items()}


def assert_official(selection, official):
    expected = grouped(official)
    assert [task.name for task in selection.tasks] == list(expected)
    for ours, theirs in zip(selection.vectors, expected.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


@pytest.fixture
def no_physics(monkeypatch):
    """The original draws its goals between simulations that have no part in them and take nearly all the time."""
    forward = lambda self, *_: mujoco.mj_forward(self.model, self.data)
    monkeypatch.setattr(SawyerXYZEnv, "do_simulation", forward)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_goals_of_mt10_are_the_official_ones(no_physics, seed):
    assert_official(select("MT10", "train", seed), metaworld.MT10(seed=seed).train_tasks)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_goals_of_ml10_are_the_official_ones(no_physics, seed):
    official = metaworld.ML10(seed=seed)
    assert_official(select("ML10", "train", seed), official.train_tasks)
    assert_official(select("ML10", "test", seed), official.test_tasks)


@pytest.mark.parametrize("name", ["reach", "drawer-open"])
def test_the_goals_of_a_single_task_are_the_official_ones_and_tested_on_the_next_seed(no_physics, name):
    official = metaworld.ML1(f"{name}-v3", seed=5)
    assert_official(select(name, "train", 5), official.train_tasks)
    assert_official(select(name, "test", 5), official.test_tasks)


def test_a_single_task_with_the_physics_left_on():
    assert_official(select("sweep-into", "train", 2), metaworld.ML1("sweep-into-v3", seed=2).train_tasks)


@pytest.mark.parametrize("seed", [0, 1])
def test_ml25_tests_on_its_new_tasks_only_with_their_official_goals(no_physics, seed):
    # The class would draw the goals of its 25 training tasks too; this is how it draws those of its test tasks.
    classes, arguments = env_dict.ML25_V3["test"], env_dict.ML25_ARGS_KWARGS["test"]
    expected = grouped(metaworld._make_tasks(classes, arguments, metaworld._ML_OVERRIDE, seed=seed))
    assert "basketball" in expected
    selection = select("ML25", "test", seed)
    assert [task.name for task in selection.tasks] == [name for name in expected if name != "basketball"]
    for task, ours in zip(selection.tasks, selection.vectors, strict=True):
        np.testing.assert_array_equal(ours, expected[task.name], strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
def test_the_goals_of_the_largest_benchmarks_are_the_official_ones(seed):
    assert_official(select("MT50", "train", seed), metaworld.MT50(seed=seed).train_tasks)
    official = metaworld.ML45(seed=seed)
    assert_official(select("ML45", "train", seed), official.train_tasks)
    assert_official(select("ML45", "test", seed), official.test_tasks)
    assert_official(select("ML25", "train", seed), metaworld.ML25(seed=seed).train_tasks)


def test_the_goals_in_the_worlds_are_those_of_the_selection():
    worlds = make("MT10", seed=4)
    for ours, selected in zip(worlds.vectors, select("MT10", "train", 4).vectors, strict=True):
        np.testing.assert_array_equal(ours, selected)


def test_drawing_leaves_the_global_generator_alone():
    state = np.random.get_state()
    select("MT50", "train", 0)
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    assert np.random.get_state()[2] == state[2]


@pytest.mark.parametrize("name", [name for name, each in BENCHMARKS.items() if each.test])
def test_no_test_goal_is_a_training_goal(name):
    pairs = {
        split: {
            (task.name, vector.tobytes())
            for task, vectors in zip(*select(name, split, 0)[:2], strict=True)
            for vector in vectors
        }
        for split in ("train", "test")
    }
    assert len(pairs["train"]) == OFFICIAL_COUNT * len(BENCHMARKS[name].train)
    assert not pairs["train"] & pairs["test"]
    assert not {task for task, _ in pairs["train"]} & {task for task, _ in pairs["test"]}


@pytest.mark.parametrize("name", TASKS)
def test_a_single_task_is_tested_on_new_goals(name):
    (train,), (test,) = (select(name, split, 0).vectors for split in ("train", "test"))
    assert train.shape == test.shape == (OFFICIAL_COUNT, len(TASKS[name].low))
    assert len({vector.tobytes() for vector in (*train, *test)}) == 2 * OFFICIAL_COUNT


@given(name=st.sampled_from(list(TASKS)), seed=SEEDS, count=st.integers(1, 20))
def test_goals_are_in_the_bounds_and_apart_from_the_object(name, seed, count):
    task = TASKS[name]
    (vectors,) = goal_vectors([task], seed, count)
    assert vectors.shape == (count, len(task.low))
    assert (vectors >= task.low).all() and (vectors <= task.high).all()
    if task.apart:
        goal = vectors[:, -3:-1] if task.apart_from is None else np.array([task.apart_from])
        assert (np.linalg.norm(vectors[:, :2] - goal, axis=1) >= task.apart).all()
    np.testing.assert_array_equal(checked(task, vectors), vectors)


@given(name=st.sampled_from(list(TASKS)), seed=SEEDS)
def test_the_first_goals_do_not_depend_on_how_many_are_drawn(name, seed):
    (few,), (many,) = (goal_vectors([TASKS[name]], seed, count) for count in (3, 7))
    np.testing.assert_array_equal(few, many[:3])


@pytest.mark.parametrize(("seed", "count", "cause"), [(-1, 5, "seed: "), (2**32, 5, "seed: "), (0, 0, "count: ")])
def test_seeds_and_counts_that_make_no_sense_are_refused(seed, count, cause):
    with pytest.raises(ValueError, match=cause):
        goal_vectors([TASKS["reach"]], seed, count)


@cache
def one_goal(name):
    return goal_vectors([TASKS[name]], 0, 1)[0]


@given(
    name=st.sampled_from(list(TASKS)),
    column=st.integers(0, 5),
    beyond=st.sampled_from([-np.inf, -1.0, -1e-9, 1e-9, 1.0, np.inf, np.nan]),
)
@settings(max_examples=200)
def test_a_number_out_of_bounds_is_refused(name, column, beyond):
    task = TASKS[name]
    vectors = np.repeat(one_goal(name), 3, axis=0)
    column %= vectors.shape[1]
    vectors[1, column] = (task.low if beyond < 0 else task.high)[column] + beyond
    with pytest.raises(ValueError, match=rf"goals of {name}: row 1 is .* must lie between"):
        checked(task, vectors)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 7), (1, 2, 6)])
def test_goals_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"goals of reach: have shape .*; needed are rows of 6 numbers"):
        checked(TASKS["reach"], np.zeros(shape))


def test_no_goals_at_all_are_refused():
    with pytest.raises(ValueError, match="goals of reach: there are none"):
        checked(TASKS["reach"], np.zeros((0, 6)))


def nearest(task):
    """A vector within the bounds that has the object as near to the goal as they allow."""
    low, high = np.array(task.low), np.array(task.high)
    vector = (low + high) / 2
    goal = vector[-3:-1].copy() if task.apart_from is None else np.array(task.apart_from)
    vector[:2] = np.clip(goal, low[:2], high[:2])
    if task.apart_from is None:
        vector[-3:-1] = np.clip(vector[:2], low[-3:-1], high[-3:-1])
    return vector


CROWDED = [name for name, task in TASKS.items() if separation(task, nearest(task)) < task.apart]
"""Tasks whose bounds let the object start too near to the goal."""


@pytest.mark.parametrize("name", CROWDED)
def test_a_goal_too_near_is_refused_at_once(name):
    task = TASKS[name]
    with pytest.raises(ValueError, match=rf"goals of {name}: in row 1 .* at least {task.apart} m away"):
        checked(task, np.stack([one_goal(name)[0], nearest(task)]))


def test_several_tasks_have_goals_that_are_too_near():
    assert len(CROWDED) >= 8


def test_checked_goals_are_a_copy():
    given = one_goal("reach").copy()
    kept = checked(TASKS["reach"], given)
    given[:] = 0
    np.testing.assert_array_equal(kept, one_goal("reach"))
