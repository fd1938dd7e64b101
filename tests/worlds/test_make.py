"""What `make` and `step` refuse, and that a mishap in one world leaves the others as they are."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="the models are not installed: pip install 'mutatis[worlds]'")

from world_tools import actions, assert_equal, play, rows, run_python

from mutatis.worlds import TASKS, _models, make
from mutatis.worlds.tasks._first_rewards import FIRST_REWARDS

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The simulator writes about an unstable simulation to a file where the program runs."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmark": "MT11"}, r"benchmark: there is no 'MT11'; did you mean"),
        ({"benchmark": []}, r"benchmark: an empty list of tasks; name at least one"),
        ({"split": "val"}, r"split: must be 'train' or 'test', not 'val'"),
        ({"benchmark": "MT10", "split": "test"}, r"split: MT10 has no test tasks"),
        ({"worlds_per_task": 0}, r"worlds_per_task: must be a whole number of at least 1, not 0"),
        ({"worlds_per_task": 1.5}, r"worlds_per_task: must be a whole number of at least 1, not 1\.5"),
        ({"horizon": 0}, r"horizon: must be a whole number of at least 1, not 0"),
        ({"horizon": -3}, r"horizon: must be a whole number of at least 1, not -3"),
        ({"seed": -1}, r"seed: must be from 0 to 4294967295, not -1"),
        ({"backend": "tpu"}, r"backend: must be 'cpu' or 'gpu', not 'tpu'"),
        ({"backend": "gpu", "measure_touch": True}, r"measure_touch: the GPU engine measures forces only where"),
        ({"reward": "v3"}, r"reward: must be 'v1' or 'v2', not 'v3'"),
        (
            {"benchmark": "hammer", "reward": "v1"},
            r"reward: version 'v1' is there for the tasks of MT10.*for hammer",
        ),
        ({"autoreset_mode": "Sometimes"}, r"autoreset_mode: must be 'NextStep', 'SameStep' or 'Disabled', not 'Some"),
        ({"render_mode": "human"}, r"render_mode: must be 'rgb_array' or None, not 'human'"),
        ({"threads": 0}, r"threads: must be at least 1, not 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_made_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**({"benchmark": "reach"} | options))


@pytest.mark.parametrize("mode", [*gymnasium.vector.AutoresetMode, "NextStep", "SameStep", "Disabled"])
def test_autoreset_modes_by_name_or_member(mode):
    expected = gymnasium.vector.AutoresetMode(mode)
    assert make("reach", autoreset_mode=mode).metadata["autoreset_mode"] is expected


@pytest.fixture
def three():
    worlds = make(["reach", "push", "hammer"])
    worlds.reset(seed=0)
    return worlds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goals": [0, 50, 0]}, r"options\['goals'\]: world 1 \(push\) is to meet goal 50; its goals are 0 to 49"),
        ({"goals": [0, 0, -1]}, r"options\['goals'\]: world 2 \(hammer\) is to meet goal -1"),
        ({"goals": [0, 1]}, r"options\['goals'\]: shape \(2,\) of int64; needed is \(3,\) of integers"),
        ({"goals": [0.0, 1.0, 2.0]}, r"options\['goals'\]: shape \(3,\) of float64; needed is \(3,\) of integers"),
        ({"reset_mask": [1, 0, 0]}, r"options\['reset_mask'\]: shape \(3,\) of int64; needed is \(3,\) of bool"),
        ({"reset_mask": [True]}, r"options\['reset_mask'\]: shape \(1,\) of bool; needed is \(3,\) of bool"),
        ({"reset_mask": [False] * 3}, r"options\['reset_mask'\]: selects no world; at least one must be True"),
    ],
)
def test_resets_that_cannot_be_are_refused_and_change_nothing(three, options, message):
    before = (three.goal_index.copy(), three._seen.copy())
    with pytest.raises(ValueError, match=message):
        three.reset(seed=3, options={key: np.array(value) for key, value in options.items()})
    assert_equal((three.goal_index, three._seen), before)
    untouched = make(["reach", "push", "hammer"])
    untouched.reset(seed=0)
    assert_equal(three.reset(), untouched.reset())  # the order of goals is where it was


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, r"seed: must be 0 or more, not -1"),
        ([1, -2, 3], r"seed: must be 0 or more, not -2"),
        ([1, 2], r"seed: 2 numbers for 3 worlds; give one number, or one for each"),
    ],
)
def test_seeds_that_cannot_be_are_refused(three, seed, message):
    with pytest.raises(ValueError, match=message):
        three.reset(seed=seed)


def test_the_first_reset_is_of_all_worlds():
    with pytest.raises(gymnasium.error.ResetNeeded, match="the first reset must be of all worlds"):
        make(["reach", "push"]).reset(options={"reset_mask": np.array([True, False])})


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded, match="step before reset"):
        make("reach").step(np.zeros((1, 4)))


def test_without_autoreset_a_step_beyond_the_end_is_refused():
    worlds = make("reach", worlds_per_task=2, horizon=2, autoreset_mode="Disabled")
    worlds.reset()
    play(worlds, actions(2, 2))
    with pytest.raises(gymnasium.error.ResetNeeded, match="world 0 has ended; reset it first"):
        worlds.step(np.zeros((2, 4)))
    worlds.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gymnasium.error.ResetNeeded, match="world 1 has ended"):
        worlds.step(np.zeros((2, 4)))


@pytest.mark.parametrize("shape", [(4,), (3,), (3, 3), (2, 4), (3, 4, 1)])
def test_actions_of_a_wrong_shape_are_refused(three, shape):
    with pytest.raises(ValueError, match=r"actions: have shape .*; needed is \(3, 4\), a row for each world"):
        three.step(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_no_number_is_refused_and_nothing_happens(bad):
    disturbed, steady = (make(["reach", "push"], worlds_per_task=2, horizon=4) for _ in range(2))
    assert_equal(disturbed.reset(seed=0), steady.reset(seed=0))
    for act in actions(7, 4):
        wrong = act.copy()
        wrong[2, 3] = bad
        with pytest.raises(ValueError, match=r"actions: world 2 \(push\) is to do .*; nothing has been done in any"):
            disturbed.step(wrong)
        assert_equal(disturbed.step(act), steady.step(act))


def test_actions_beyond_the_bounds_count_as_the_bounds():
    far, near = (make(["push", "drawer-open"]) for _ in range(2))
    far.reset(seed=0)
    near.reset(seed=0)
    for act in actions(5, 2):
        large = np.where(np.arange(4) < 3, 3 * act, act)
        np.testing.assert_array_equal(far.step(large)[0], near.step(np.clip(large, -1, 1))[0])


def test_goals_for_another_number_of_tasks_are_refused(three):
    with pytest.raises(ValueError, match=r"vectors: 1 arrays for 3 tasks \(reach, push, hammer\)"):
        three.set_goals([np.zeros((1, 6))])


def test_goals_that_cannot_be_are_refused_and_the_old_ones_stay(three):
    before = three.vectors
    with pytest.raises(ValueError, match="goals of push: row 0 is"):
        three.set_goals([before[0], np.zeros((1, 6)), before[2]])
    assert three.vectors is before


def disturb(worlds, world):
    """Gives a moving part of one world an impossible velocity."""
    for cell, part in zip(worlds._engine._cells, worlds._engine._slices, strict=True):
        if part.start <= world < part.stop:
            # MuJoCo's integration state begins with the time, the joints' coordinates and their velocities.
            first = 1 + _models.load(cell.task.model).nq
            cell.physics.state[world - part.start, first] = 1e12


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_world_whose_physics_diverges_ends_and_the_others_go_on(mode):
    options = {"worlds_per_task": 3, "autoreset_mode": mode, "threads": 2, "horizon": 50}
    steady, shaken = (make(["pick-place", "reach"], **options) for _ in range(2))
    before = steady.reset(seed=0)[0]
    shaken.reset(seed=0)
    others = np.arange(6) != 1
    acts = actions(8, 6)
    for step, act in enumerate(acts):
        if step == 3:
            disturb(shaken, 1)
        if mode == "Disabled" and step == 4:
            shaken.reset(options={"reset_mask": ~others})
            steady.reset(options={"reset_mask": ~others})
        expected, moment = play(steady, [act])[0], play(shaken, [act])[0]
        assert_equal(rows(moment, others), rows(expected, others))
        assert np.isfinite(moment.observation).all() and np.isfinite(moment.reward).all()
        if step == 3:
            ended = moment.info["final_info"] if mode == "SameStep" else moment.info
            shown = moment.info["final_obs"][1] if mode == "SameStep" else moment.observation[1]
            np.testing.assert_array_equal(ended["unstable"], ~others)
            np.testing.assert_array_equal(moment.truncated, ~others)
            assert not moment.terminated.any() and moment.reward[1] == 0 and not ended["success"][1]
            np.testing.assert_array_equal(shown[:18], before[1, :18])
            np.testing.assert_array_equal(shown[18:36], before[1, :18])
        elif step > 3:
            assert not moment.truncated.any() and not moment.info["unstable"].any()
        before = moment.observation
    # The world has begun an episode at a new goal, as if nothing had happened.
    np.testing.assert_array_equal(moment.observation[1, -3:], shaken.targets[1])
    fresh = make("pick-place")
    fresh.set_goals([shaken.vectors[0]])
    fresh.reset(options={"goals": shaken.goal_index[1:2]})
    begun = {"NextStep": 5, "SameStep": 4, "Disabled": 4}[mode]
    np.testing.assert_array_equal(play(fresh, acts[begun:, 1:2])[-1].observation[0], moment.observation[1])


def test_v1_rewards_leave_observations_and_success_as_they_are():
    names = list(FIRST_REWARDS)
    first, second = (make(names, reward=reward) for reward in ("v1", "v2"))
    assert (first.origin["reward"], second.origin["reward"]) == ("v1", "v2")
    first.reset(seed=0)
    second.reset(seed=0)
    for act in actions(5, len(names)):
        one, two = play(first, [act])[0], play(second, [act])[0]
        np.testing.assert_array_equal(one.observation, two.observation)
        np.testing.assert_array_equal(one.info["success"], two.info["success"])
        assert (one.reward != two.reward).all()


def test_grasp_success_is_there_or_plainly_missing():
    named = [name for name, task in TASKS.items() if task.touches]
    assert len(named) == 14
    (said,) = {line for line in make.__doc__.splitlines() if "grasp_success" in line}
    assert f"in {len(named)} tasks" in said
    for measure in (False, True):
        worlds = make("MT50", measure_touch=measure)
        worlds.reset(seed=0)
        info = play(worlds, actions(2, 50))[-1].info
        missing = [name for name, value in zip(worlds.tasks, info["grasp_success"], strict=True) if np.isnan(value)]
        assert missing == ([] if measure else [name for name in named if not TASKS[name].needs_touch])


@pytest.mark.parametrize("missing", ["mujoco", "gymnasium", "metaworld"])
def test_what_is_missing_is_named_with_its_cure(missing):
    answer = run_python(f"import sys; sys.modules[{missing!r}] = None; import mutatis.worlds")
    assert answer.returncode == 1
    expected = f"ModuleNotFoundError: mutatis.worlds needs {missing}: pip install 'mutatis[worlds]'"
    assert answer.stderr.strip().splitlines()[-1] == expected


def test_a_missing_gpu_package_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(ModuleNotFoundError, match=r"backend='gpu' needs warp: pip install 'mutatis\[gpu\]'"):
        make("reach", backend="gpu")


def test_the_cpu_s_worlds_load_neither_warp_nor_metaworld_s_code():
    program = (
        "import sys; from mutatis.worlds import make; w = make('reach'); w.reset(); w.functional(); w.close();"
        "print(sorted({'warp', 'mujoco_warp', 'metaworld', 'torch'} & {m.split('.')[0] for m in sys.modules}))"
    )
    answer = run_python(program)
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def test_threads_are_counted_where_the_system_does_not_say_which_cores_there_are(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    worlds = make("reach")
    assert worlds._engine._threads.count == 3
    worlds.close()


def test_a_program_that_forgets_to_close_ends_all_the_same():
    program = "from mutatis.worlds import make; w = make('reach', worlds_per_task=3, threads=2); w.reset()"
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], timeout=60, check=True).returncode == 0
