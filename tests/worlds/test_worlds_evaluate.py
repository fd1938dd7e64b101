"""Our evaluation, the official one, and why they differ."""

import json
from functools import partial

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="worlds are not installed: pip install 'mutatis[worlds]'")

import gymnasium
import metaworld
from _farama import CLASSES, expert
from metaworld.evaluation import evaluation as original_evaluation
from metaworld.evaluation import metalearning_evaluation as original_metalearning_evaluation
from scipy.stats import trim_mean

from mutatis.worlds import TASKS, goal_vectors, make
from mutatis.worlds._evaluate import Evaluation, evaluate, evaluation_worlds
from mutatis.worlds._experts import Experts
from mutatis.worlds._official import evaluate_officially


class Scripted:
    """Scripted policies where the task's object is right of a line, nothing elsewhere."""

    def __init__(self, names, line=-np.inf):
        self.experts = [expert(name) for name in names]
        self.line = line

    def __call__(self, observations):
        rows = zip(self.experts, observations, strict=True)
        return np.stack([act(row) if row[4] > self.line else np.zeros(4, np.float32) for act, row in rows])


class OriginalAgent:
    """A policy as the original's evaluation wants it."""

    def __init__(self, policy):
        self.eval_action = policy

    def init(self):
        pass

    def adapt(self):
        pass

    def reset(self, mask):
        pass


def original_worlds(names, shares, select, seed):
    """The original's vector environment: for each name, environments that draw from some of its 50 official goals."""
    environments = []
    for name, vectors in zip(names, goal_vectors([TASKS[name] for name in names], seed), strict=True):
        kind = CLASSES[name]
        settings = [{"rand_vec": vector, "env_cls": kind, "partially_observable": False} for vector in vectors]
        goals = [metaworld._encode_task(f"{name}-v3", each) for each in settings]
        environments += [
            partial(metaworld._init_each_env, kind, [goals[k] for k in share], seed=seed, task_select=select)
            for share in shares
        ]
    return gymnasium.vector.SyncVectorEnv(environments, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP)


def first_goal_only(worlds):
    experts, chosen = Experts(worlds), worlds.goal_index[:, None] == 0
    return lambda observations: np.where(chosen, experts(observations), 0)


def made_up(success, at_end=None):
    success = np.asarray(success, bool)
    at_end = success if at_end is None else np.asarray(at_end, bool)
    names = tuple(f"task {k}" for k in range(len(success)))
    return Evaluation(names, success, at_end, np.full(success.shape, 7), np.ones(success.shape), {"horizon": 9})


def test_one_of_four_goals_is_a_quarter_for_us_and_all_officially():
    worlds = evaluation_worlds("drawer-open", goals=4)
    ours = evaluate(first_goal_only(worlds), worlds, episodes=2)
    worlds.close()
    assert ours.mean().value == 0.25
    np.testing.assert_array_equal(ours.success[0], [[True, True], [False, False], [False, False], [False, False]])

    policy = {}
    official = evaluate_officially(
        lambda observations: policy["present"](observations),
        "drawer-open",
        worlds_per_task=4,
        goals=4,
        adapt=lambda worlds: policy.update(present=first_goal_only(worlds)),
    )
    assert official.mean() == 1.0
    assert (official.goal == 0).all()
    assert official.row()["bias"].startswith("upwards: of 4 worlds of a task the first 3 episodes to end count")


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")  # from the scripted policies
def test_multi_task_numbers_are_the_originals():
    names, seed, episodes = ["drawer-open", "window-close"], 5, 3
    envs = original_worlds(names, [range(50)], "random", seed)
    policy = Scripted(names, line=0.0)
    mean, mean_return, by_task, returns = original_evaluation(OriginalAgent(policy), envs, episodes)
    ours = evaluate_officially(policy, names, seed=seed, episodes=episodes)
    assert 0 < mean < 1 and ours.mean() == mean
    assert ours.row()["success"]["by_task"] == {name.removesuffix("-v3"): rate for name, rate in by_task.items()}
    for k, name in enumerate(names):
        np.testing.assert_allclose(ours.returns[0, k], returns[f"{name}-v3"], rtol=1e-6)
    assert ours.returns.mean() == pytest.approx(mean_return, rel=1e-6)
    assert "with replacement" in ours.bias()


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")
def test_meta_learning_numbers_are_the_originals():
    names, seed, goals = ["drawer-open"], 1, 6
    envs = original_worlds(names, [range(goals)[k::3] for k in range(3)], "pseudorandom", seed)
    policy = Scripted(names * 3, line=0.0)
    mean, mean_return, _ = original_metalearning_evaluation(OriginalAgent(policy), envs, 2, 0, 0, 2)
    ours = evaluate_officially(policy, "drawer-open", seed=seed, worlds_per_task=3, goals=goals, episodes=2)
    assert ours.success.shape == (2, 1, 2)
    assert ours.mean() == mean
    assert ours.returns.mean() == pytest.approx(mean_return, rel=1e-6)

    worlds = evaluation_worlds("drawer-open", seed=seed, goals=goals)
    truth = evaluate(Scripted(names * goals, line=0.0), worlds).mean().value
    worlds.close()
    assert truth < mean


@pytest.mark.parametrize(
    ("benchmark", "split", "shape"),
    [("ML10", "test", (10, 5, 3)), ("ML45", "test", (5, 5, 3)), ("ML1-push", "test", (2, 1, 3))],
)
def test_official_sizes(benchmark, split, shape):
    result = evaluate_officially(lambda o: np.zeros((len(o), 4)), benchmark, split, horizon=2)
    assert result.success.shape == shape and not result.success.any()
    row = json.loads(json.dumps(result.row()))
    assert row["worlds_per_task"] * shape[0] == row["goals"] and not row["goal_observed"]


def test_every_goal_has_its_world_and_stays():
    worlds = evaluation_worlds("MT10", seed=2, goals=3, horizon=2)
    for vectors, official in zip(worlds.vectors, goal_vectors([TASKS[n] for n in worlds.tasks], 2), strict=True):
        np.testing.assert_array_equal(vectors, official[:3])
    for _ in range(5):
        np.testing.assert_array_equal(worlds.goal_index, np.tile(np.arange(3), 10))
        worlds.step(np.zeros((30, 4)))
    worlds.reset(seed=9)
    np.testing.assert_array_equal(worlds.goal_index, np.tile(np.arange(3), 10))
    worlds.close()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_both_successes_the_first_step_and_begin(mode):
    """Reach the goal, then leave it; what the policy remembers makes the second episode like the first."""
    worlds = evaluation_worlds("reach", goals=3, horizon=100, autoreset_mode=mode)
    experts, step, masks, solved = Experts(worlds), [0], [], []
    plain_step = worlds.step

    def begin(mask):
        step[0] = 0
        masks.append(mask)

    def policy(observations):
        step[0] += 1
        return experts(observations) if step[0] <= 60 else np.tile([0.0, -1.0, 1.0, 0.0], (3, 1))

    def watched(actions):
        result = plain_step(actions)
        solved.append(result[-1].get("final_info", result[-1])["success"])
        return result

    worlds.step = watched
    result = evaluate(policy, worlds, episodes=2, begin=begin)
    worlds.close()
    assert len(masks) == 2 and all(mask.all() for mask in masks)
    assert result.success.all() and not result.success_at_end.any()
    first = np.argmax(np.stack(solved).reshape(2, 100, 3), axis=1) + 1
    np.testing.assert_array_equal(result.steps[0].T, first)
    np.testing.assert_array_equal(result.returns[..., 0], result.returns[..., 1])


def test_an_episode_that_breaks_off_keeps_what_it_had():
    worlds = evaluation_worlds("reach", goals=2, horizon=100)
    plain_step, steps = worlds.step, [0]

    def breaking(actions):
        observation, _, terminated, truncated, info = plain_step(actions)
        steps[0] += 1
        truncated[0] |= steps[0] == 3
        return observation, np.ones(2), terminated, truncated, info

    worlds.step = breaking
    result = evaluate(Experts(worlds), worlds)
    worlds.close()
    np.testing.assert_array_equal(result.success.ravel(), [False, True])
    np.testing.assert_array_equal(result.returns.ravel(), [3, 100])
    assert result.steps[0, 0, 0] == 100


def test_interquartile_mean_is_scipys():
    success = np.random.default_rng(0).random((11, 20, 2)) < np.linspace(0, 1, 11)[:, None, None]
    result = made_up(success)
    assert result.interquartile_mean().value == pytest.approx(trim_mean(result.rates(), 0.25))
    assert result.mean().value == pytest.approx(success.mean())


def test_intervals():
    halves = np.tile([True, False], 50).reshape(1, 100, 1)
    value, low, high = made_up(halves).mean()
    assert value == 0.5
    np.testing.assert_allclose([low, high], 0.5 + 1.96 * 0.05 * np.array([-1, 1]), atol=0.015)  # binomial
    tasks_differ = np.repeat([[True], [False]], 10, axis=1)[..., None]
    assert made_up(tasks_differ).mean() == (0.5, 0.5, 0.5)  # goals are drawn anew within tasks, tasks are not
    assert made_up(halves).mean(seed=1, resamples=9) != made_up(halves).mean(resamples=9)
    assert made_up(halves).mean(resamples=9) == made_up(halves).mean(resamples=9)


def test_row_and_table():
    worlds = evaluation_worlds(["reach", "push"], seed=4, goals=2, horizon=3)
    result = evaluate(lambda o: np.zeros((4, 4)), worlds)
    worlds.close()
    row = json.loads(json.dumps(result.row()))
    expected = {"benchmark": ["reach", "push"], "split": "train", "seed": 4, "goals": 2, "episodes": 1, "horizon": 3}
    assert row.items() >= (expected | {"tasks": ["reach", "push"], "reward": "v2", "goal_observed": True}).items()
    assert row["success"]["mean"] == 0 and row["success_at_end"]["by_task"] == {"reach": 0, "push": 0}
    assert row["simulator"].startswith("mujoco ")
    assert "each of 2 goals of a task in a world of its own, 1 whole episode of 3 actions each" in row["protocol"]
    lines = result.table().splitlines()
    assert len(lines) == 2 + 2 + 2 and {line.count("|") for line in lines} == {6}


def test_last_step_has_its_own_numbers():
    result = made_up([[[1], [1]], [[1], [0]]], at_end=[[[0], [1]], [[0], [0]]])
    assert result.mean().value == 0.75 and result.mean(at_end=True).value == 0.25
    assert result.row()["success_at_end"]["by_task"] == {"task 0": 0.5, "task 1": 0.0}


def test_each_episode_has_its_own_numbers():
    success = np.random.default_rng(0).random((3, 8, 2)) < [[[0.2, 0.9]]]
    result = made_up(success)
    first, second = result.by_episode()
    for one, k in ((first, 0), (second, 1)):
        np.testing.assert_array_equal(one.success[..., 0], success[..., k])
        assert one.mean() == made_up(success[..., k : k + 1]).mean()
    assert result.row()["success_by_episode"] == [list(first.mean()), list(second.mean())]
    assert result.mean_return() == (1, 1, 1) and len(result.row()["return_by_episode"]) == 2


def test_what_the_official_evaluation_tells_a_policy_that_learns():
    """Two goals, one solved by its expert: its episodes end in termination, those of the other in truncation."""
    told, experts = [], {}

    def policy(observations):
        moves = experts["act"](observations)
        moves[1] = 0
        return moves

    official = evaluate_officially(
        policy,
        "ML1-reach",
        goals=2,
        worlds_per_task=2,
        episodes=4,
        horizon=70,
        observe_goal=True,
        adapt=lambda worlds: experts.update(act=Experts(worlds)),
        learn=lambda *row: told.append(row),
    )
    _, moves, shown = (np.stack(each) if k < 2 else each for k, each in enumerate(zip(*told, strict=True)))
    rewards, ended, truncated = (
        np.stack([getattr(each, name) for each in shown]) for name in ("reward", "terminated", "truncated")
    )
    assert moves.shape == (len(told), 2, 4) and not moves[:, 1].any()
    assert not truncated[:, 0].any() and not ended[:, 1].any() and np.flatnonzero(truncated[:, 1])[0] == 69
    ends = np.flatnonzero(ended[:, 0])
    parts = np.split(rewards[:, 0], ends + 1)
    mine = official.returns[0, 0][official.goal[0, 0] == 0]
    np.testing.assert_allclose(mine, [part.sum() for part in parts[: len(mine)]])
    last = np.flatnonzero(truncated[:, 1])[0]
    seen = told[last][0]
    np.testing.assert_array_equal(shown[last].last_observation[1, 18:36], seen[1, :18])
    assert np.abs(shown[last].observation[1] - shown[last].last_observation[1]).max() > 1e-3  # the next one has begun


def idle(observations):
    return np.zeros((len(observations), 4))


def test_errors():
    with pytest.raises(TypeError, match="decides terminate_on_success itself"):
        evaluation_worlds("reach", terminate_on_success=True)
    with pytest.raises(TypeError, match="decides redraw_goals itself"):
        evaluate_officially(idle, "reach", redraw_goals=True)
    with pytest.raises(ValueError, match=r"goals: a task has 50 goals; use 1 to 50 of them, not 51"):
        evaluation_worlds("reach", goals=51)
    with pytest.raises(ValueError, match="goals: 50 cannot be shared by 4 worlds"):
        evaluate_officially(idle, "reach", worlds_per_task=4, goals=50)
    with pytest.raises(ValueError, match="worlds_per_task: must be at least 1"):
        evaluate_officially(idle, "reach", worlds_per_task=0)
    with pytest.raises(ValueError, match="worlds: reach has 2 worlds for 50 goals"):
        evaluate(idle, make("reach", worlds_per_task=2))
    with pytest.raises(ValueError, match="episodes: must be at least 1"):
        evaluate(idle, make("reach", worlds_per_task=50), episodes=0)
    with pytest.raises(ValueError, match="'SameStep' or 'NextStep'"):
        evaluate(idle, evaluation_worlds("reach", goals=1, autoreset_mode="Disabled"))
    ending = make("reach", worlds_per_task=4, terminate_on_success=True)
    ending.set_goals([ending.vectors[0][:4]])
    with pytest.raises(ValueError, match="end on success"):
        evaluate(Experts(ending), ending)
