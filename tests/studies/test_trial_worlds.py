"""Studies of trials on Meta-World from start to end, at a size for tests."""

import dataclasses
import json
import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("mutatis.worlds", reason="the simulator is not installed")

from mutatis import rl, worlds
from mutatis.shift._metrics import seed_interval
from mutatis.studies import SerialExecutor, StoppedError, run_study, train
from mutatis.studies._config import decode_settings, encode_settings
from mutatis.studies._report import write_report
from mutatis.studies._study import Job
from mutatis.studies.trials._arenas import WorldTasks
from mutatis.studies.trials._parts import Judged, episode_rows
from mutatis.studies.trials._words import success_gain
from mutatis.studies.trials._world_recipes import Ml1Maml, Ml1Pearl, Ml1Reach, Ml10RL2, Ml45RL2
from mutatis.studies.trials._worlds import OFFICIAL

SMALL: dict[str, Any] = {
    "seeds": 1,
    "evaluations": 2,
    "horizon": 5,
    "goals": 3,
    "progress_goals": 2,
    "worlds_per_task": 2,
    "width": 8,
    "films": False,
}
ONE_GOAL = 1
TARGET = worlds.make("ML1-reach", "test").vectors[0][ONE_GOAL, 3:]
STUDIES = {
    "RL2": Ml1Reach(**SMALL, environment_steps=4 * 4 * 10, episodes=2, trials=4, epochs=1, minibatches=2),
    "MAML": Ml1Maml(**SMALL, environment_steps=4 * 2 * 2 * 2 * 5, episodes=3, tasks_per_step=2, depth=1),
    "PEARL": Ml1Pearl(
        **SMALL, environment_steps=4 * 2 * 10, episodes=2, prior_episodes=1, training_goals=2, meta_batch=2, updates=2,
        batch=4, context=4, latent=2, depth=1,
    ),
}  # fmt: skip


@rl.Memoryless
def to_one_goal(observation, key):
    """Reaches one of the test goals, whatever the goal is."""
    del key
    way = jnp.clip(10 * (jnp.asarray(TARGET)[None] - observation[:, :3]), -1, 1)
    return jnp.concatenate([way, jnp.zeros((way.shape[0], 1), way.dtype)], axis=1)


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    study = STUDIES["RL2"]
    trainer = study.trainer(study.data(0), Job("RL2", 0))
    assert trainer.schedule.steps == 4
    whole = train(trainer, tmp_path / "whole")
    answers = iter([False, False, True])
    with pytest.raises(StoppedError):
        train(trainer, tmp_path / "halves", should_stop=lambda: next(answers))
    resumed = train(trainer, tmp_path / "halves")
    leaves = zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True)
    assert all(np.array_equal(_plain(a), _plain(b)) for a, b in leaves)
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "halves/metrics.jsonl").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert [line["environment steps"] for line in lines if "score" in line] == [80, 160]
    assert len(lines[-1]["success by episode"]) == 2


def _plain(leaf):
    is_key = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf)) if is_key else np.asarray(leaf) if hasattr(leaf, "shape") else leaf


@pytest.mark.parametrize("method", ["MAML", "PEARL"])
def test_every_learner_is_trained_and_judged_on_worlds(method):
    study = STUDIES[method]
    data, job = study.data(0), Job(method, 0)
    trainer = study.trainer(data, job)
    state, losses = trainer.agent.advance(trainer.init(), 1)
    assert np.isfinite(losses).all() and trainer.agent.environment_steps_per_step * 4 == study.environment_steps
    rows = study.outcome(data, state, job).rows
    found = {(row["split"], row["metric"], row["support"]) for row in rows}
    assert found >= {("test", "success", study.episodes - 1), ("test", OFFICIAL, study.episodes - 1)}
    assert all(np.isfinite(row["value"]) for row in rows)


def test_who_reaches_one_of_four_goals_has_a_quarter_and_officially_all():
    """The rows are what `worlds.evaluate` counts of a policy without memory, and the official one is biased."""
    study = Ml1Reach(**SMALL | {"horizon": 60, "goals": 4}, episodes=2)
    found = study.judge(4, to_one_goal)
    np.testing.assert_array_equal(found.success, np.repeat(np.arange(4)[:, None] == ONE_GOAL, 2, axis=1))
    np.testing.assert_array_equal(study.judge(3, to_one_goal).success, found.success[:3])
    for split, suffix in (("test", ""), ("train", " on training tasks")):
        told = {(row["metric"], row["group"]): row["value"] for row in study._rows(split, to_one_goal)}
        judges = worlds.evaluation_worlds("ML1-reach", split, goals=4, horizon=60, threads=1)
        expected = worlds.evaluate(lambda seen: np.asarray(to_one_goal.policy(seen, None)), judges, episodes=2)
        success, returns = expected.success.mean(axis=(0, 1)), expected.returns.mean(axis=(0, 1))
        for episode in range(2):
            assert told[f"success{suffix}", f"episode {episode + 1}"] == success[episode]
            assert told[f"return{suffix}", f"episode {episode + 1}"] == pytest.approx(returns[episode], rel=1e-5)
        assert told[f"success by task{suffix}", "reach"] == success[1]
        assert told[f"return{suffix}", "whole trial"] == pytest.approx(returns.sum(), rel=1e-5)
    (row,) = study._official_rows(to_one_goal)
    assert row["metric"] == OFFICIAL and row["bias"].startswith("upwards") and row["n"] == 6
    assert row["value"] >= 0.5


def test_episodes_are_those_of_the_worlds():
    """Equal settings are one family, simulated once, and it pays what `worlds.evaluate` says."""
    made = [WorldTasks("ML1-reach", "test", 0, "v2", 20, 3) for _ in range(2)]
    assert made[0] == made[1] and hash(made[0]) == hash(made[1])
    trials = rl.play(made[0], made[1].every(3), to_one_goal, key=jax.random.key(0))
    judges = worlds.evaluation_worlds("ML1-reach", "test", goals=3, horizon=20, threads=1)
    expected = worlds.evaluate(lambda seen: np.asarray(to_one_goal.policy(seen, None)), judges)
    np.testing.assert_allclose(trials.returns()[:, 0], expected.returns[0, :, 0], rtol=1e-9)
    whole = rl.WorldFamily(worlds.make("ML1-reach", "test", worlds_per_task=1, threads=1)).every(3)
    assert all(np.array_equal(a, b) for a, b in zip(made[0].every(3), whole, strict=True))
    several = WorldTasks("ML10", "test", 0, "v2", 20, 3)
    assert several.every(2).task.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and several.names[0] == "drawer-open"


def test_a_run_leaves_rows_a_page_and_closing_lines(tmp_path):
    study = dataclasses.replace(STUDIES["RL2"], films=True)
    rows = run_study(study, tmp_path, executor=SerialExecutor())
    found = {(row["split"], row["metric"], row["group"]) for row in rows}
    assert found == {
        *(("test", metric, f"episode {k}") for metric in ("return", "success") for k in (1, 2)),
        *(("train", f"{metric} on training tasks", f"episode {k}") for metric in ("return", "success") for k in (1, 2)),
        *(
            (split, f"{metric}{suffix}", "whole trial")
            for metric in ("return", "gain in success")
            for split, suffix in (("test", ""), ("train", " on training tasks"))
        ),
        ("test", "success by task", "reach"),
        ("train", "success by task on training tasks", "reach"),
        ("test", "success, official evaluation", "reach"),
    }
    assert {row["environment steps"] for row in rows} == {160}
    said = study.closing(rows).splitlines()
    assert said[0] == "Success in the last of 2 episodes, 3 goals of the test tasks:"
    assert re.search(r"RL2: \d+\.\d%, [+-]\d+\.\d points \[.*\] from the first; officially counted", said[1])
    assert "bias: upwards" in said[1] and said[1].endswith("(160 steps)")
    page = write_report([tmp_path], tmp_path / "report.html").read_text()
    assert "Success in each episode, %" in page and "goals are hidden" in page and "Gain, points" in page
    has_films = (tmp_path / "jobs/RL2/seed-0/gallery.npz").exists()  # where OpenGL can draw
    assert ("What the policies do" in page) == has_films and page.count("data:image/webp") == 2 * has_films
    assert decode_settings(Ml1Reach, encode_settings(study)) == study


def test_films_show_the_episodes_that_were_played(monkeypatch):
    """Played again with the same actions they are solved at the same step; named by task and episode."""
    from mutatis.studies.control import _filming

    goal = worlds.make("ML1-reach", "test").vectors[0][0, 3:]

    @rl.Memoryless
    def player(observation, key):
        way = jnp.clip(10 * (jnp.asarray(goal)[None] - observation[:, :3]), -1, 1)
        noise = 0.5 * jax.random.normal(key, (way.shape[0], 3), way.dtype)
        return jnp.concatenate([way + noise, jnp.zeros((way.shape[0], 1), way.dtype)], axis=1)

    shown = []
    monkeypatch.setattr(_filming, "_filmed", lambda episode, *rest: shown.append(episode) or b"film")
    study = Ml1Reach(**SMALL | {"horizon": 60, "films": True}, episodes=3)
    found = study._films(player)
    assert found["films_tasks"].tolist() == ["reach, episode 1", "reach, episode 3"]
    assert found["film_1"].tobytes() == b"film"
    family, chance = study._tasks("test"), jax.random.fold_in(jax.random.key(study.test_seed), 3)
    success = rl.play(family, family.every(1), player, key=chance, episodes=3).info["success"][0]
    solved = [1 + int(np.argmax(success[episode] > 0)) for episode in (0, 2)]
    assert [episode.solved for episode in shown] == solved and solved[0] != solved[1]
    monkeypatch.setattr(_filming, "_filmed", lambda episode, *rest: None)
    assert study._films(player) == {}


def test_what_adapting_gains_has_the_interval_of_paired_goals():
    """Against SciPy's; of several seeds the interval is theirs."""
    stats = pytest.importorskip("scipy.stats")
    success = np.random.default_rng(0).random((40, 3)) < [0.3, 0.5, 0.6]
    rows = episode_rows(Judged(np.zeros((40, 3)), success, None), "episode", {"method": "RL2", "seed": 0, "n": 40})
    (gain,) = (row for row in rows if row["metric"] == "gain in success")
    expected = stats.ttest_rel(success[:, 2].astype(float), success[:, 0].astype(float)).confidence_interval(0.95)
    assert (gain["low"], gain["high"]) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert gain["value"] == pytest.approx(success[:, 2].mean() - success[:, 0].mean(), rel=1e-12)
    assert success_gain(rows, "RL2")[:3] == (gain["value"], gain["low"], gain["high"])
    other = [row | {"seed": 1, "value": gain["value"] + 0.1} for row in rows if row is gain]
    assert success_gain(rows + other, "RL2") == seed_interval([gain["value"], gain["value"] + 0.1])
    assert success_gain(rows, "MAML") is None
    for few in (success[:1], success[:, :1]):
        rows = episode_rows(Judged(np.zeros(few.shape), few, None), "episode", {})
        assert "gain in success" not in {row["metric"] for row in rows}


def test_published_numbers_stand_in_the_description_and_at_the_end():
    study = Ml10RL2()
    described = study.data(0).description
    assert "MAML 31.6 %, RL2 35.8 %, PEARL 13.0 % (20 M steps, version 2 rewards, 500 actions, maximum" in described
    rows = [
        {"method": "RL2", "seed": 0, "metric": metric, "group": group, "value": value, "support": 1,
         "environment steps": 20_000_000}
        for metric, group, value in (
            ("success", "episode 1", 0.1), ("success", "episode 11", 0.25),
            ("success by task on training tasks", "reach", 1.0), ("success by task on training tasks", "push", 0.5),
        )
    ]  # fmt: skip
    said = study.closing(rows).splitlines()
    assert said[0] == "Success in the last of 11 episodes, 250 goals of the test tasks:"
    assert said[1] == "  RL2: 25.0%; training tasks 75.0% (20 M steps)"
    assert said[3].startswith("  published, RL2: 35.8%, training tasks 86.9% (20 M steps; version 2 rewards, 500 act")
    assert not Ml10RL2(reward="v1").reported() and not Ml1Reach().reported()
    assert [one["success"] for one in Ml45RL2().reported()[:3]] == [0.399, 0.333, 0.22]


def test_settings_that_cannot_be_are_refused_before_anything_is_built(monkeypatch):
    def built(*arguments, **options):
        raise AssertionError("simulations are built")

    monkeypatch.setattr("mutatis.worlds.make", built)
    with pytest.raises(ValueError, match="benchmark is 'MT10', which shows its goals; pass ML10"):
        Ml10RL2(benchmark="MT10").data(0)
    with pytest.raises(ValueError, match="benchmark: there is no 'reech'; did you mean"):
        Ml1Reach(benchmark="ML1-reech").data(0)
    with pytest.raises(ValueError, match="goals is 60; a task has 1 to 50 goals"):
        Ml1Reach(goals=60).data(0)
    with pytest.raises(ValueError, match="progress_goals is 0; pass a positive number"):
        Ml1Reach(progress_goals=0)
    with pytest.raises(ValueError, match="trials is 45, which the 10 training tasks of ML10 cannot share evenly"):
        Ml10RL2(trials=45).data(0)
    with pytest.raises(ValueError, match="tasks_per_step is 15, which the 10 training tasks"):
        Ml1Maml(benchmark="ML10", tasks_per_step=15).data(0)
    with pytest.raises(ValueError, match="minibatches is 3, which does not divide the 20 trials"):
        Ml10RL2(minibatches=3).data(0)
    with pytest.raises(ValueError, match="episodes is 1, and the official evaluation adapts in all but the last"):
        Ml10RL2(episodes=1)
    with pytest.raises(ValueError, match="environment_steps is 100; one step of learning alone takes 110000"):
        Ml1Reach(environment_steps=100).data(0)


def test_without_the_simulator_studies_are_listed_and_say_what_is_missing():
    said = """
import sys
sys.modules["mutatis.worlds"] = None
from mutatis.studies.trials._world_recipes import Ml10RL2
try:
    Ml10RL2().data(0)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert "this study needs the simulator" in done.stdout and "pip install 'mutatis[worlds]'" in done.stdout
