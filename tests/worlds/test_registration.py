"""Gymnasium knows the worlds by name."""

import gymnasium
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="the models are not installed: pip install 'mutatis[worlds]'")

from world_tools import actions

from mutatis.worlds import BENCHMARKS, TASKS, Worlds, _registration, make

NAMES = (*BENCHMARKS, *TASKS, *(f"ML1-{task}" for task in TASKS))


def test_every_benchmark_and_task_is_registered():
    ours = {name.removeprefix("mutatis/") for name in gymnasium.registry if name.startswith("mutatis/")}
    assert ours == set(NAMES)


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    _registration.register()
    assert all(gymnasium.registry[name] is spec for name, spec in before.items())


@pytest.mark.parametrize("name", ["MT10", "ML10", "ML1-reach", "stick-push"])
def test_worlds_are_made_by_name(name):
    made, ours = gymnasium.make_vec(f"mutatis/{name}"), make(name)
    assert isinstance(made, Worlds)
    assert made.spec.id == f"mutatis/{name}"
    assert made.num_envs == ours.num_envs == len(made.tasks)
    observation, _ = made.reset(seed=0)
    np.testing.assert_array_equal(observation, ours.reset(seed=0)[0])
    assert observation in made.observation_space
    for act in actions(3, made.num_envs):
        np.testing.assert_array_equal(made.step(act)[0], ours.step(act)[0])
    made.close()


def test_options_are_those_of_make():
    made = gymnasium.make_vec("mutatis/ML10", num_envs=10, split="test", seed=3, horizon=7, one_hot=True)
    assert made.tasks == list(BENCHMARKS["ML10"].test)
    assert (made.num_envs, made.horizon) == (10, 7)
    assert made.single_observation_space.shape == (44,)
    for ours, theirs in zip(made.vectors, make("ML10", "test", seed=3).vectors, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "count", "worlds"), [("MT10", 1, 10), ("MT10", 30, 30), ("reach", 1, 1), ("push", 7, 7)]
)
def test_all_worlds_are_counted(name, count, worlds):
    made = gymnasium.make_vec(f"mutatis/{name}", num_envs=count)
    assert made.num_envs == worlds
    assert np.bincount(made.task_index).tolist() == [worlds // len(made.tasks)] * len(made.tasks)


@pytest.mark.parametrize(("count", "cure"), [(15, "give 10 or 20"), (7, "give 10 or 20"), (29, "give 20 or 30")])
def test_a_count_that_cannot_be_shared_is_refused(count, cure):
    with pytest.raises(ValueError, match=f"num_envs: {count} worlds cannot be shared evenly by the 10 tasks.*{cure}"):
        gymnasium.make_vec("mutatis/MT10", num_envs=count)


@pytest.mark.parametrize("count", [0, -10])
def test_no_worlds_are_refused(count):
    with pytest.raises(ValueError, match=f"num_envs: .*{count}"):
        gymnasium.make_vec("mutatis/MT10", num_envs=count)


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="split: MT10 has no test tasks"):
        gymnasium.make_vec("mutatis/MT10", split="test")


def test_the_autoreset_mode_is_where_gymnasium_looks_for_it():
    made = gymnasium.make_vec("mutatis/reach", num_envs=2, autoreset_mode="SameStep")
    assert made.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    assert isinstance(gymnasium.wrappers.vector.RecordEpisodeStatistics(made), gymnasium.vector.VectorEnv)
