"""Files of scripted episodes: whole, exact, and refused where damaged."""

import json

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="worlds are not installed: pip install 'mutatis[worlds]'")

from mutatis.worlds import make, version
from mutatis.worlds._demonstrations import collect_demonstrations, load_demonstrations

ARRAYS = {
    *("observations", "actions", "rewards", "success", "terminations", "truncations", "offsets"),
    *("final_observations", "tasks", "goals", "vectors"),
}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    path = tmp_path_factory.mktemp("demonstrations") / "two tasks.npz"
    calls = []
    made = collect_demonstrations(
        ["reach", "drawer-open"],
        path,
        episodes_per_task=3,
        seed=1,
        noise=0.1,
        stop_after_success=4,
        horizon=200,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("reach", 3, 3), ("drawer-open", 3, 3)]
    return made, path


def rewritten(path, tmp_path, **changes):
    """A copy of a file with other arrays; None takes one out."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files} | changes
    copy = tmp_path / "changed.npz"
    np.savez(copy, **{name: array for name, array in arrays.items() if array is not None})
    return copy


def test_round_trip(collected):
    made, path = collected
    loaded = load_demonstrations(path)
    assert loaded.metadata == made.metadata and len(loaded) == 6
    for name in ARRAYS:
        array = getattr(loaded, name)
        np.testing.assert_array_equal(array, getattr(made, name))
        assert array.dtype == getattr(made, name).dtype
    assert loaded.metadata["simulator"] == version() and loaded.metadata["tasks"] == ["reach", "drawer-open"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_actions_replayed_in_fresh_worlds_give_the_same(collected):
    demonstrations = load_demonstrations(collected[1])
    for k in range(len(demonstrations)):
        episode = demonstrations.episode(k)
        worlds = make(episode.task)
        worlds.set_goals([episode.vector[None]])
        observation, _ = worlds.reset()
        for step, action in enumerate(episode.actions):
            np.testing.assert_array_equal(observation[0], episode.observations[step])
            observation, reward, *_, info = worlds.step(action[None])
            assert reward[0] == episode.rewards[step] and info["success"][0] == episode.success[step]
        np.testing.assert_array_equal(observation[0], episode.observations[-1])
        worlds.close()


def test_an_episode_ends_soon_after_success(collected):
    demonstrations = collected[0]
    for k in range(len(demonstrations)):
        episode = demonstrations.episode(k)
        assert len(episode.actions) == np.argmax(episode.success) + 1 + 4
        assert len(episode.observations) == len(episode.actions) + 1
        np.testing.assert_array_equal(np.flatnonzero(episode.truncations), [len(episode.actions) - 1])
        assert not episode.terminations.any()
        assert episode.actions.dtype == np.float32 and np.abs(episode.actions).max() <= 1
    assert demonstrations.episode(-1).task == "drawer-open" and demonstrations.episode(0).goal == 0
    assert demonstrations.episode(-1).vector.shape == (3,) and demonstrations.episode(0).vector.shape == (6,)
    np.testing.assert_array_equal(demonstrations.goals, [0, 1, 2, 0, 1, 2])
    with pytest.raises(IndexError):
        demonstrations.episode(6)


def test_whole_episodes_of_failures_too_and_hidden_goals(tmp_path):
    options = {"split": "test", "episodes_per_task": 2, "horizon": 60}
    every = collect_demonstrations("ML10", tmp_path / "every.npz", only_successful=False, **options)
    some = collect_demonstrations("ML10", tmp_path / "some.npz", **options)
    assert (np.diff(every.offsets) == 60).all() and len(every) == 10 > len(some) > 0
    assert not every.observations[:, 36:].any() and not every.metadata["goal_observed"]
    solved = [bool(every.episode(k).success.any()) for k in range(10)]
    kept = [(d.tasks[k], d.goals[k]) for d in (some,) for k in range(len(some))]
    assert kept == [(every.tasks[k], every.goals[k]) for k in range(10) if solved[k]]
    last = every.episode(0)
    assert np.any(last.observations[-1] != last.observations[0])  # the last moment, not the start of the next episode
    np.testing.assert_array_equal(last.observations[-1][18:36], last.observations[-2][:18])


def test_goals_come_round_again_with_other_noise(tmp_path):
    made = collect_demonstrations(
        "reach", tmp_path / "a.npz", episodes_per_task=52, noise=0.5, only_successful=False, horizon=3
    )
    np.testing.assert_array_equal(made.goals, [*range(50), 0, 1])
    assert np.any(made.episode(0).actions != made.episode(50).actions)
    again = collect_demonstrations(
        "reach", tmp_path / "b.npz", episodes_per_task=52, noise=0.5, only_successful=False, horizon=3
    )
    np.testing.assert_array_equal(made.actions, again.actions)


def test_errors_before_any_work(tmp_path):
    path = tmp_path / "never.npz"
    with pytest.raises(FileNotFoundError, match="path: there is no folder"):
        collect_demonstrations("reach", tmp_path / "missing" / "a.npz")
    with pytest.raises(ValueError, match="episodes_per_task: 51; give 1 to 50, the number of goals, or noise"):
        collect_demonstrations("reach", path, episodes_per_task=51)
    with pytest.raises(ValueError, match="noise: must be a number from 0 on"):
        collect_demonstrations("reach", path, noise=-0.1)
    with pytest.raises(ValueError, match="stop_after_success: must be at least 0"):
        collect_demonstrations("reach", path, stop_after_success=-1)
    with pytest.raises(ValueError, match="no episode had success"):
        collect_demonstrations("reach", path, episodes_per_task=1, horizon=2)
    assert not path.exists()


@pytest.mark.parametrize("where", [0, 0.3, 0.9])
def test_damaged_files(collected, tmp_path, where):
    content = bytearray(collected[1].read_bytes())
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content[: int(where * len(content))])
    with pytest.raises(ValueError, match=r"damaged\.npz: is damaged, or no \.npz file"):
        load_demonstrations(damaged)
    content[int(where * len(content))] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.npz: is damaged, or no \.npz file"):
        load_demonstrations(damaged)


def test_other_files(collected, tmp_path):
    path = collected[1]
    with pytest.raises(FileNotFoundError):
        load_demonstrations(tmp_path / "missing.npz")
    other = tmp_path / "other.npz"
    np.savez(other, X=np.zeros(3))
    with pytest.raises(ValueError, match="holds no demonstrations of this version"):
        load_demonstrations(other)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"array\.npy: is damaged, or no \.npz file"):
        load_demonstrations(tmp_path / "array.npy")
    later = json.dumps(collected[0].metadata | {"format": "mutatis demonstrations 9"})
    changes = {
        "of this version": {"metadata": later},
        "lacks arrays or has others": {"actions": None},
        "offsets are not those of 6 episodes": {"offsets": collected[0].offsets[:-1]},
        r"rewards has shape \(5,\)": {"rewards": np.zeros(5)},
        "observations holds numbers that are not finite": {"observations": collected[0].observations * np.nan},
        "tasks are numbered outside of 0 to 1": {"tasks": collected[0].tasks + 1},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=message):
            load_demonstrations(rewritten(path, tmp_path, **change))
