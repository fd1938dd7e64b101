"""The vector environment against Gymnasium's own: its checker, its autoreset, its wrappers."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_shares_objects
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers import vector as wrappers

pytest.importorskip("metaworld", reason="the original environments are not installed: pip install 'mutatis[worlds]'")

from _farama import original
from world_tools import actions, assert_equal, play, rows, run_python

from mutatis.worlds import TASKS, goal_vectors, make

MODES = [mode.value for mode in AutoresetMode]
TERMS = ("success", "near_object", "grasp_success", "grasp_reward", "in_place_reward", "obj_to_target")


class OneWorld(gymnasium.Env):
    """A vector environment of one world as the single environment that Gymnasium's checker takes; adds nothing."""

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's form)
    render_mode = None

    def __init__(self, **options):
        self._worlds = make(**options)
        self.observation_space = self._worlds.single_observation_space
        self.action_space = self._worlds.single_action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        observation, info = self._worlds.reset(seed=seed, options=options)
        return observation[0], self._of_one(info)

    def step(self, action):
        observation, reward, terminated, truncated, info = self._worlds.step(action[None])
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), self._of_one(info)

    def close(self):
        self._worlds.close()

    def _of_one(self, info):
        assert all(info[f"_{key}"][0] for key in info if not key.startswith("_"))
        return {key: value[0] for key, value in info.items() if not key.startswith("_")}


@pytest.mark.filterwarnings("ignore:.*A Box observation space (minimum|maximum) value is")  # objects may fly off
@pytest.mark.filterwarnings("ignore:.*A Box observation space maximum and minimum values are equal")  # a hidden goal
@pytest.mark.parametrize(
    "options",
    [
        {"benchmark": "door-open"},
        {"benchmark": "push", "measure_touch": True, "observe_goal": False},
        {"benchmark": "reach", "one_hot": True, "autoreset_mode": "Disabled"},
    ],
    ids=lambda options: options["benchmark"],
)
def test_gymnasium_s_checker_is_content(options):
    identity = "tests/OneWorld-v0"
    gymnasium.register(identity, OneWorld, kwargs=options)
    try:
        check_env(gymnasium.make(identity).unwrapped)
    finally:
        del gymnasium.registry[identity]


class OriginalEpisodes(gymnasium.Env):
    """The original environment, which meets given goals one after another and says what our info says."""

    def __init__(self, name, vectors, goals, space, terminate):
        self._original = original(name, vectors[0])
        self._vectors, self._goals, self._terminate = vectors, iter(goals), terminate
        self.observation_space = space
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._goal = next(self._goals)
        self._original._last_rand_vec = self._vectors[self._goal]
        observation, _ = self._original.reset()
        return observation, {"goal": self._goal}

    def step(self, action):
        observation, reward, _, _, info = self._original.step(action)
        terms = {term: info[term] for term in TERMS} | {"goal": self._goal, "unstable": False}
        return observation, reward, self._terminate and bool(info["success"]), False, terms


def assert_same_info(ours, theirs, where):
    """Equal wherever the masks say that there is something; an entry that no world fills may be left out."""
    for key in {key.removeprefix("_") for key in (*ours, *theirs)}:
        none = np.zeros(len(where), bool)
        mask = ours.get(f"_{key}", none)
        np.testing.assert_array_equal(mask, theirs.get(f"_{key}", none), err_msg=f"the worlds that have {key}")
        if not mask.any():
            continue
        if isinstance(theirs[key], dict):
            assert_same_info(ours[key], theirs[key], mask)
        elif theirs[key].dtype == object:
            assert ours[key].dtype == object
            assert_equal(list(ours[key]), list(theirs[key]))
        else:
            np.testing.assert_allclose(
                ours[key][mask].astype(float), theirs[key][mask].astype(float), rtol=1e-6, atol=1e-7, err_msg=key
            )


def side_by_side(worlds, horizon, policy, steps, reset_at=None, terminate=False):
    """Plays our worlds, then the original's in Gymnasium's own vector environment with the same goals; compares."""
    acts = []
    mask = np.arange(worlds.num_envs) % 3 == 0
    ours = [worlds.reset(seed=3)]
    goals = [[goal] for goal in ours[0][1]["goal"]]
    for step in range(steps):
        if step == reset_at or (worlds.metadata["autoreset_mode"] is AutoresetMode.DISABLED and worlds._done.any()):
            chosen = mask if step == reset_at else worlds._done.copy()
            ours.append((chosen, *worlds.reset(options={"reset_mask": chosen})))
            note(goals, ours[-1][2]["goal"], ours[-1][2]["_goal"])
        done = worlds._done.copy()
        acts.append(policy(worlds._seen))
        ours.append(worlds.step(acts[-1]))
        mode = worlds.metadata["autoreset_mode"]
        began = {AutoresetMode.NEXT_STEP: done, AutoresetMode.SAME_STEP: ours[-1][2] | ours[-1][3]}.get(mode)
        if began is not None:
            note(goals, ours[-1][4]["goal"], began)
    makers = [
        lambda world=world, task=task: TimeLimit(
            OriginalEpisodes(
                worlds.tasks[task], worlds.vectors[task], goals[world], worlds.single_observation_space, terminate
            ),
            horizon,
        )
        for world, task in enumerate(worlds.task_index)
    ]
    theirs = SyncVectorEnv(makers, autoreset_mode=worlds.metadata["autoreset_mode"])
    assert worlds.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert (worlds.num_envs, worlds.observation_space) == (theirs.num_envs, theirs.observation_space)
    assert (worlds.action_space, worlds.single_action_space) == (theirs.action_space, theirs.single_action_space)
    everyone = np.ones(worlds.num_envs, bool)
    upcoming = iter(acts)
    for number, mine in enumerate(ours):
        if len(mine) == 5:
            other = theirs.step(next(upcoming))
        elif len(mine) == 3:
            other = theirs.reset(options={"reset_mask": mine[0]})
            mine = mine[1:]
        else:
            other = theirs.reset(seed=3)
        np.testing.assert_array_equal(mine[0], other[0], strict=True, err_msg=f"observation of call {number}")
        if len(mine) == 5:
            np.testing.assert_allclose(mine[1], other[1], rtol=1e-6, atol=1e-7)
            np.testing.assert_array_equal(mine[2], other[2], strict=True)
            np.testing.assert_array_equal(mine[3], other[3], strict=True)
        assert_same_info(mine[-1], other[-1], everyone)
    return ours


def note(goals, met, where):
    for world in np.flatnonzero(where):
        goals[world].append(met[world])


@pytest.mark.parametrize("mode", MODES)
def test_autoreset_and_reset_masks_are_gymnasium_s(mode):
    worlds = make(["reach", "window-close"], worlds_per_task=2, horizon=5, autoreset_mode=mode, seed=1)
    script = iter(actions(13, 4))
    steps = side_by_side(worlds, 5, lambda _: next(script), 13, reset_at=3)
    ends = [tuple(np.flatnonzero(step[3])) for step in steps if len(step) == 5 and step[3].any()]
    assert {(0, 3), (1, 2)} <= set(ends)  # the mask has put the worlds out of step


@pytest.mark.parametrize("mode", MODES)
def test_termination_on_success_is_gymnasium_s(mode):
    worlds = make("reach", worlds_per_task=2, horizon=60, autoreset_mode=mode, terminate_on_success=True)

    def policy(observation):  # one world goes to the goal, the other stays where it is
        act = np.zeros((2, 4), np.float32)
        act[0, :3] = np.clip(10 * (observation[0, -3:] - observation[0, :3]), -1, 1)
        return act

    steps = side_by_side(worlds, 60, policy, 100, terminate=True)
    ends = [step[2:4] for step in steps if len(step) == 5]
    assert any(terminated[0] for terminated, _ in ends), "no world has met success: the test tests nothing"
    assert any(truncated[1] for _, truncated in ends)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("observe_goal", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_returned_has_gymnasium_s_form(one_hot, observe_goal, mode):
    worlds = make(
        ["reach", "push"], worlds_per_task=2, one_hot=one_hot, observe_goal=observe_goal, autoreset_mode=mode, horizon=6
    )
    size = 39 + 2 * one_hot
    assert worlds.single_observation_space.shape == (size,)
    assert worlds.observation_space == batch_space(worlds.single_observation_space, 4)
    assert worlds.action_space == batch_space(worlds.single_action_space, 4)
    observation, info = worlds.reset(seed=0)
    assert observation in worlds.observation_space and observation.dtype == np.float64
    np.testing.assert_array_equal(info["_goal"], np.ones(4, bool))
    for act in actions(6, 4):
        assert act in worlds.action_space
        observation, reward, terminated, truncated, info = worlds.step(act)
        assert observation in worlds.observation_space
        assert all(row in worlds.single_observation_space for row in observation)
        assert (reward.shape, reward.dtype) == ((4,), np.float64)
        assert (terminated.shape, terminated.dtype) == (truncated.shape, truncated.dtype) == ((4,), bool)
        for key in TERMS:
            assert info[key].shape == info[f"_{key}"].shape == (4,) and info[f"_{key}"].dtype == bool
    assert truncated.all()
    if not observe_goal:
        assert not observation[:, 36:39].any()
    if one_hot:
        np.testing.assert_array_equal(observation[:, 39:], np.repeat(np.eye(2), 2, axis=0))


def test_success_of_an_episode_s_end_is_not_shown_again_when_the_next_begins():
    worlds = make("reach", horizon=3)
    worlds.reset(seed=0)
    moments = play(worlds, actions(4, 1))
    assert moments[2].truncated.all() and moments[2].info["_success"].all()
    begin = moments[3].info
    assert begin["_goal"].all()
    for key in (*TERMS, "unstable"):
        assert not begin[f"_{key}"].any() and not begin[key].any()


def test_an_episode_has_as_many_actions_as_the_horizon_says():
    worlds = make("reach", worlds_per_task=2, horizon=4, autoreset_mode="SameStep")
    worlds.reset()
    assert [bool(moment.truncated.all()) for moment in play(worlds, actions(9, 2))] == [k % 4 == 3 for k in range(9)]


def test_data_that_was_returned_does_not_change():
    for mode in MODES[:2]:
        worlds = make("reach", worlds_per_task=2, horizon=2, autoreset_mode=mode)
        calls = [worlds.reset(seed=0)]
        calls += [worlds.step(act) for act in actions(5, 2)]
        calls += [worlds.reset(seed=0), worlds.reset(options={"reset_mask": np.array([True, False])})]
        for k, one in enumerate(calls):
            for other in calls[k + 1 :]:
                assert not data_shares_objects(one[0], other[0])
                assert not data_shares_objects(one[-1], other[-1])


def test_data_that_was_returned_may_be_written_to():
    steady, spoilt = (make("push", worlds_per_task=2, horizon=3) for _ in range(2))
    steady.reset(seed=0)
    observation, info = spoilt.reset(seed=0)
    act = actions(7, 2)
    for k in range(7):
        observation[:] = np.nan
        info["goal"][:] = 99
        mine = act[k].copy()
        observation, reward, terminated, truncated, info = spoilt.step(mine)
        expected = steady.step(act[k])
        assert_equal((observation, reward, terminated, truncated), expected[:4])
        np.testing.assert_array_equal(info["goal"], expected[4]["goal"])
        mine[:], terminated[:], truncated[:], reward[:] = 0, True, True, 0


def goals_met(worlds, count, **reset):
    met = [worlds.reset(**reset)[1]["goal"]]
    return np.stack(met + [worlds.reset()[1]["goal"] for _ in range(count - 1)])


def test_every_world_meets_every_goal_once_before_any_twice():
    worlds = make("reach", worlds_per_task=3)
    worlds.set_goals([worlds.vectors[0][:5]])
    met = goals_met(worlds, 15).reshape(3, 5, 3)
    np.testing.assert_array_equal(np.sort(met, axis=1), np.broadcast_to(np.arange(5)[None, :, None], met.shape))
    assert len({tuple(order) for order in met.transpose(0, 2, 1).reshape(9, 5).tolist()}) > 5


def test_one_number_seeds_all_worlds_differently():
    worlds = make("reach", worlds_per_task=4)
    first, again, other = (goals_met(worlds, 6, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({tuple(column) for column in first.T.tolist()}) == 4


def test_a_list_seeds_each_world():
    worlds = make("reach", worlds_per_task=3)
    met = goals_met(worlds, 6, seed=[5, 6, 5])
    np.testing.assert_array_equal(met[:, 0], met[:, 2])
    assert not np.array_equal(met[:, 0], met[:, 1])
    alone = goals_met(make("reach"), 6, seed=[5])
    np.testing.assert_array_equal(met[:, :1], alone)


def test_no_seed_goes_on_with_the_order_under_way():
    straight, broken = (make("reach", worlds_per_task=2) for _ in range(2))
    whole = goals_met(straight, 8, seed=1)
    parts = [goals_met(broken, 3, seed=1), goals_met(broken, 5, seed=None)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    worlds = make("reach", worlds_per_task=2)
    one = goals_met(worlds, 2, seed=[1, 2])
    two = goals_met(worlds, 2, seed=[None, 2])
    np.testing.assert_array_equal(two[:, 1], one[:, 1])
    assert not np.array_equal(two[:, 0], one[:, 0])


def test_without_any_seed_the_order_is_that_of_make():
    assert_equal(goals_met(make("reach", seed=2), 4), goals_met(make("reach", seed=2), 4))
    assert not np.array_equal(goals_met(make("reach", seed=2), 4), goals_met(make("reach", seed=3), 4))


def test_a_seed_with_a_mask_is_for_those_worlds_alone():
    steady, masked = (make("reach", worlds_per_task=2) for _ in range(2))
    expected = goals_met(steady, 6, seed=1)
    first = goals_met(masked, 2, seed=1)
    masked.reset(seed=9, options={"reset_mask": np.array([True, False])})
    rest = goals_met(masked, 4)
    np.testing.assert_array_equal(np.concatenate([first, rest])[:, 1], expected[:, 1])
    assert not np.array_equal(rest[:, 0], expected[2:, 0])


def test_autoreset_goes_on_with_the_same_order():
    by_hand = goals_met(make("reach", worlds_per_task=2), 4, seed=1)
    worlds = make("reach", worlds_per_task=2, horizon=1, autoreset_mode="SameStep")
    met = [worlds.reset(seed=1)[1]["goal"], *(moment.info["goal"] for moment in play(worlds, actions(3, 2)))]
    np.testing.assert_array_equal(by_hand, np.stack(met))


PROGRAM = """
import hashlib, sys
import numpy as np
from mutatis.worlds import make
worlds = make(["reach", "push", "stick-push"], worlds_per_task=2, horizon=7, seed=2, threads=int(sys.argv[1]))
digest = hashlib.sha256(worlds.reset(seed=5)[0].tobytes())
generator = np.random.default_rng(0)
for _ in range(20):
    observation, reward, *_ = worlds.step(generator.uniform(-1, 1, (6, 4)))
    digest.update(observation.tobytes() + reward.tobytes())
print(digest.hexdigest())
"""


def test_a_seed_gives_the_same_trajectory_in_another_process(tmp_path, capsys):
    answer = run_python(PROGRAM, "2", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["", "1"])
        exec(PROGRAM, {})
    assert capsys.readouterr().out == answer.stdout != ""
    assert answer.stderr == ""


def test_redraw_goals_off_keeps_a_goal_until_another_is_given():
    worlds = make("reach", worlds_per_task=2, redraw_goals=False, horizon=2, autoreset_mode="SameStep")
    _, info = worlds.reset(seed=0)
    drawn = info["goal"]
    assert all((moment.info["goal"] == drawn).all() for moment in play(worlds, actions(5, 2)))
    np.testing.assert_array_equal(worlds.reset()[1]["goal"], drawn)
    np.testing.assert_array_equal(worlds.reset(options={"goals": np.array([3, 8])})[1]["goal"], [3, 8])
    assert all((moment.info["goal"] == [3, 8]).all() for moment in play(worlds, actions(5, 2)))


def test_a_kept_goal_that_is_gone_is_drawn_anew():
    worlds = make("reach", worlds_per_task=2, redraw_goals=False)
    worlds.reset(options={"goals": np.array([40, 1])})
    worlds.set_goals([worlds.vectors[0][:3]])
    _, info = worlds.reset()
    assert info["goal"][0] < 3 and info["goal"][1] == 1


def test_given_goals_are_met_at_once():
    worlds = make(["reach", "drawer-open"], worlds_per_task=2)
    goals = np.array([4, 49, 0, 7])
    observation, info = worlds.reset(options={"goals": goals})
    np.testing.assert_array_equal(info["goal"], goals)
    np.testing.assert_array_equal(worlds.goal_index, goals)
    np.testing.assert_array_equal(observation[:2, -3:], worlds.vectors[0][goals[:2], 3:])


def test_given_goals_with_a_mask():
    worlds = make("reach", worlds_per_task=3)
    worlds.reset(options={"goals": np.array([1, 2, 3])})
    play(worlds, actions(2, 3))
    before = worlds._seen.copy()
    mask = np.array([False, True, False])
    observation, info = worlds.reset(options={"goals": np.array([7, 8, 9]), "reset_mask": mask})
    np.testing.assert_array_equal(info["goal"], [1, 8, 3])
    np.testing.assert_array_equal(info["_goal"], mask)
    np.testing.assert_array_equal(observation[~mask], before[~mask])
    np.testing.assert_array_equal(observation[1, -3:], worlds.vectors[0][8, 3:])


def test_set_goals_holds_from_the_next_reset():
    worlds = make(["reach", "window-close"], horizon=3, autoreset_mode="SameStep")
    worlds.reset(seed=0)
    own = goal_vectors([TASKS["reach"], TASKS["window-close"]], 77, 1)
    worlds.set_goals(own)
    moments = play(worlds, actions(3, 2))
    targets = np.stack([own[0][0, 3:], own[1][0]])
    assert not np.array_equal(moments[1].observation[:, -3:], targets)
    np.testing.assert_array_equal(moments[2].observation[:, -3:], targets)
    own[0][:] = 0  # the worlds have their own copy
    np.testing.assert_array_equal(worlds.reset()[0][:, -3:], targets)


def test_different_worlds_see_different_goals_and_go_their_own_ways():
    worlds = make("push", worlds_per_task=3)
    observation, _ = worlds.reset(seed=0)
    assert len(np.unique(observation[:, -3:], axis=0)) == 3
    same = np.tile(actions(1, 1)[0], (3, 1))
    assert len(np.unique(worlds.step(same)[0], axis=0)) == 3


def test_statistics_of_episodes_are_those_of_the_worlds():
    for mode in ("NextStep", "SameStep"):
        bare, wrapped = (make("reach", worlds_per_task=2, horizon=4, autoreset_mode=mode) for _ in range(2))
        wrapped = wrappers.RecordEpisodeStatistics(wrapped)
        bare.reset(seed=0)
        wrapped.reset(seed=0)
        moments = play(bare, actions(4, 2))
        info = [wrapped.step(act)[4] for act in actions(4, 2)][-1]
        np.testing.assert_array_equal(info["_episode"], [True, True])
        np.testing.assert_array_equal(info["episode"]["l"], [4, 4])
        np.testing.assert_allclose(info["episode"]["r"], sum(moment.reward for moment in moments), rtol=1e-6)


def test_a_tower_of_wrappers_stands():
    worlds = make(["reach", "push"], worlds_per_task=2, horizon=3)
    tower = wrappers.RecordEpisodeStatistics(worlds)
    tower = wrappers.TransformAction(tower, lambda act: act / 2)
    tower = wrappers.NormalizeObservation(tower)
    tower = wrappers.NormalizeReward(tower)
    tower = wrappers.ClipReward(tower, -1, 1)
    tower = wrappers.DictInfoToList(tower)
    observation, info = tower.reset(seed=0)
    assert observation.shape == (4, 39) and [set(each) for each in info] == [{"goal"}] * 4
    for k, act in enumerate(actions(9, 4)):
        observation, reward, terminated, truncated, info = tower.step(act)
        assert observation in tower.observation_space
        assert np.isfinite(observation).all() and (np.abs(reward) <= 1).all()
        assert truncated.all() == (k % 4 == 2) and not terminated.any()
        for each in info:
            begins = k % 4 == 3  # Gymnasium starts the next episode with a step of its own
            assert ("episode" in each) == truncated.all()
            assert set(TERMS) <= set(each) or (begins and set(each) == {"goal"})
    tower.close()


def test_halved_actions_are_what_the_wrapper_hands_on():
    bare, wrapped = make("reach"), wrappers.TransformAction(make("reach"), lambda act: act / 2)
    bare.reset(seed=0)
    wrapped.reset(seed=0)
    (act,) = actions(1, 1)
    np.testing.assert_array_equal(wrapped.step(act)[0], bare.step(act / 2)[0])


def test_the_observation_does_not_depend_on_what_is_added_to_it():
    plain, marked, hidden = (make("push", **options) for options in ({}, {"one_hot": True}, {"observe_goal": False}))
    for worlds in (plain, marked, hidden):
        worlds.reset(seed=0)
    (act,) = actions(1, 1)
    seen, more, less = (worlds.step(act)[0] for worlds in (plain, marked, hidden))
    np.testing.assert_array_equal(more, np.concatenate([seen, [[1.0]]], axis=1))
    np.testing.assert_array_equal(less, np.concatenate([seen[:, :36], np.zeros((1, 3))], axis=1))


def thread_counts(names, worlds, count, **options):
    for threads in (1, 2, 3):
        made = make(names, worlds_per_task=worlds, threads=threads, **options)
        yield [made.reset(seed=0), *play(made, actions(count, made.num_envs))]
        made.close()


def test_the_number_of_threads_changes_nothing():
    # 70 worlds of a task are too many for one part, and 3 threads share a task among more parts than 1 does.
    one, two, three = thread_counts(["push", "faucet-open"], 70, 6, horizon=4, measure_touch=True)
    assert_equal(one, two)
    assert_equal(one, three)


def test_a_world_alone_is_the_same_as_among_others():
    together = make("MT50", worlds_per_task=3, threads=2)
    together.reset(seed=0)
    acts = actions(8, 150)
    moments = play(together, acts)
    for task, name in enumerate(together.tasks):
        world = 3 * task + 1
        alone = make(name, threads=1)
        alone.set_goals([together.vectors[task][[together.goal_index[world]]]])
        alone.reset()
        for moment, act in zip(moments, acts, strict=True):
            mine = rows(moment, slice(world, world + 1))
            other = rows(play(alone, act[None, world : world + 1])[0], slice(None))
            mine.info.pop("goal"), other.info.pop("goal")
            assert_equal(mine, other)
        alone.close()


def test_closing_twice_is_allowed():
    worlds = make("reach")
    worlds.reset()
    worlds.close()
    worlds.close()
