"""Random actions find no state in which a task breaks."""

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="the models are not installed: pip install 'mutatis[worlds]'")

from mutatis.worlds import TASKS, make

TERMS = ("success", "near_object", "grasp_success", "grasp_reward", "in_place_reward", "obj_to_target")


def play_at_random(worlds, steps):
    """Plays, checks every number, and returns how many worlds ended at each step and which were unstable."""
    generator = np.random.default_rng(0)
    worlds.reset(seed=0)
    ended, unstable = 0, 0
    for _ in range(steps):
        act = generator.uniform(-1, 1, (worlds.num_envs, 4)).astype(np.float32)
        observation, reward, terminated, truncated, info = worlds.step(act)
        assert np.isfinite(observation).all() and observation in worlds.observation_space
        assert np.isfinite(reward).all() and (reward >= 0).all() and (reward <= 10).all()
        assert all(np.isfinite(info[term]).all() for term in TERMS)
        assert not terminated.any()
        ended += truncated.sum()
        unstable += info.get("final_info", info)["unstable"].sum()
    return ended, unstable


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the simulator writes a log


def test_every_task_survives_eight_short_episodes():
    worlds = make("MT50", worlds_per_task=4, horizon=25, measure_touch=True, autoreset_mode="SameStep")
    assert play_at_random(worlds, 50) == (2 * 4 * 50, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_task_survives_a_thousand_episodes(name):
    worlds = make(name, worlds_per_task=100, measure_touch=True, autoreset_mode="SameStep")
    ended, unstable = play_at_random(worlds, 5000)
    print(f"{name}: {ended} episodes, {unstable} unstable")
    assert ended >= 1000 and unstable == 0
