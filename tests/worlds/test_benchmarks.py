"""The benchmarks name the published tasks in the official order."""

import pytest

pytest.importorskip("metaworld", reason="the original benchmarks are not installed: pip install 'mutatis[worlds]'")

import pickle

import metaworld
import numpy as np
from _farama import CLASSES
from metaworld import _ML_OVERRIDE, _MT_OVERRIDE, env_dict

from mutatis.worlds import BENCHMARKS, TASKS
from mutatis.worlds._benchmarks import select


def plain(names):
    return tuple(name.removesuffix("-v3") for name in names)


def test_the_tasks_are_those_of_the_original_in_its_order():
    assert tuple(TASKS) == plain(env_dict.ALL_V3_ENVIRONMENTS)
    assert all(name == task.name for name, task in TASKS.items())


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name.startswith("MT")])
def test_multi_task_benchmarks(name):
    benchmark = BENCHMARKS[name]
    assert benchmark.train == plain(getattr(env_dict, f"{name}_V3"))
    assert benchmark.test == ()
    assert benchmark.goal_observed is not _MT_OVERRIDE["partially_observable"]


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name.startswith("ML")])
def test_meta_learning_benchmarks(name):
    benchmark, official = BENCHMARKS[name], getattr(env_dict, f"{name}_V3")
    assert benchmark.train == plain(official["train"])
    assert benchmark.test == plain(official["test"])
    assert benchmark.goal_observed is not _ML_OVERRIDE["partially_observable"]


def test_ml45_divides_the_fifty_tasks():
    assert sorted((*BENCHMARKS["ML45"].train, *BENCHMARKS["ML45"].test)) == sorted(TASKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_bounds_are_the_original_s(name):
    task, original = TASKS[name], CLASSES[name]()
    np.testing.assert_array_equal(task.low, original._random_reset_space.low)
    np.testing.assert_array_equal(task.high, original._random_reset_space.high)
    np.testing.assert_array_equal(task.hand_low, original.mocap_low)
    np.testing.assert_array_equal(task.hand_high, original.mocap_high)
    assert f"sawyer_{task.model}.xml" == original.model_name.rpartition("/")[2]


def test_several_tasks_keep_their_order_and_show_the_goal():
    selection = select(["window-open", "reach-v3"], "train", 0)
    assert [task.name for task in selection.tasks] == ["window-open", "reach"]
    assert selection.goal_observed


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_tasks_goals_as_a_benchmark_are_the_original_s(split):
    original = getattr(metaworld.ML1("push-v3", seed=4), f"{split}_tasks")
    settings = [pickle.loads(task.data) for task in original]
    selection = select("ML1-push", split, 4)
    assert [task.name for task in selection.tasks] == ["push"]
    np.testing.assert_array_equal(selection.vectors[0], [each["rand_vec"] for each in settings])
    assert selection.goal_observed is not settings[0]["partially_observable"]


@pytest.mark.parametrize(
    ("benchmark", "split", "message"),
    [
        ("MT11", "train", r"benchmark: there is no 'MT11'; did you mean .*MT10"),
        ("mt10", "train", r"benchmark: there is no 'mt10'"),
        ("peg-insert", "train", r"did you mean peg-insert-side"),
        (["reach", "fly"], "train", r"benchmark: there is no 'fly'; .*mutatis\.worlds\.TASKS"),
        (["MT10"], "train", r"benchmark: there is no 'MT10'; name tasks \(all 50 tasks"),
        ("ML1-fly", "train", r"benchmark: there is no 'fly'"),
        ("", "train", r"benchmarks are MT10, MT25, MT50, ML10, ML25, ML45"),
        ([], "train", r"benchmark: an empty list of tasks; name at least one"),
        ("MT10", "test", r"split: MT10 has no test tasks; .*split='train'"),
        ("ML10", "valid", r"split: must be 'train' or 'test', not 'valid'"),
        ("reach", None, r"split: must be 'train' or 'test', not None"),
    ],
)
def test_what_does_not_exist_is_refused_with_a_cure(benchmark, split, message):
    with pytest.raises(ValueError, match=message):
        select(benchmark, split, 0)
