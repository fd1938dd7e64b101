"""Studies of control from start to end, at a size for tests."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("mutatis.worlds", reason="the simulator is not installed")

from mutatis.studies import SerialExecutor, StoppedError, Study, run_study, train
from mutatis.studies._study import Job
from mutatis.studies.control._recipes import Mt10MtmhSac, Mt10Ppo, Mt10Riddle, Mt10Single, Mt50MtmhSac
from mutatis.studies.control._study import DivergedError

TASKS = ("reach", "drawer-close")
SMALL: dict[str, Any] = {
    "tasks": TASKS,
    "seeds": 1,
    "width": 16,
    "depth": 2,
    "batch": 16,
    "horizon": 60,
    "environment_steps": 800,
    "warm_up": 100,
    "steps_per_dispatch": 50,
    "checkpoint_every": 100,
    "evaluations": 2,
    "progress_goals": 2,
    "goals": 3,
    "capacity": 300,
    "diagnosis_batch": 32,
    "films": False,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("control")
    study = Mt10Riddle(**SMALL, methods=("MTMH-SAC, PCGrad", "SAC, each task alone"))
    return directory, run_study(study, directory, executor=SerialExecutor())


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_rows_name_method_task_and_budget(run):
    found = {(row["method"], row["group"], row["metric"]) for row in run[1]}
    metrics = ("success", "success at end", "return")
    assert found == {
        (method, task, metric)
        for method in ("MTMH-SAC, PCGrad", "SAC, each task alone")
        for task in TASKS
        for metric in metrics
    }
    assert {row["n"] for row in run[1]} == {3}
    steps = {row["method"]: row["environment steps"] for row in run[1]}
    # A task that is learned alone gets its share of all steps.
    assert steps == {"MTMH-SAC, PCGrad": 800, "SAC, each task alone": 400}


def test_curves_hold_success_and_conflicts_by_task(run):
    together = [line for line in lines(run[0]) if line["method"] == "MTMH-SAC, PCGrad"]
    assert [line["step"] for line in together] == [50, 100, 150, 200, 250, 300, 350, 400]
    assert ["loss" in line for line in together] == [False, False] + [True] * 6
    judged = [line for line in together if "success" in line]
    assert [line["environment steps"] for line in judged] == [400, 800]
    last = judged[-1]
    assert np.mean(last["success by task"]) == pytest.approx(last["success"])
    cosines = np.array(last["critic conflicts"])
    np.testing.assert_allclose(np.diag(cosines), 1, rtol=1e-5)
    assert abs(cosines[0, 1]) < 1 and cosines[0, 1] == cosines[1, 0]
    assert len(last["actor norms"]) == 2 and min(last["actor norms"]) > 0
    alone = [line for line in lines(run[0]) if line["method"] == "SAC, each task alone: reach"]
    assert len(alone[-1]["success by task"]) == 1 and "critic conflicts" not in alone[-1]


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    study = Mt10MtmhSac(**SMALL)
    trainer = study.trainer(study.data(0), Job("MTMH-SAC", 0))
    whole = train(trainer, tmp_path / "whole")
    answers = iter([False, False, False, True])
    with pytest.raises(StoppedError):
        train(trainer, tmp_path / "halves", should_stop=lambda: next(answers))
    resumed = train(trainer, tmp_path / "halves")
    leaves = zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True)
    assert all(np.array_equal(_plain(a), _plain(b)) for a, b in leaves)
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "halves/metrics.jsonl").read_bytes()
    assert int(resumed.replay.added) == 400


def _plain(leaf):
    is_key = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf)) if is_key else np.asarray(leaf) if hasattr(leaf, "shape") else leaf


def test_networks_are_drawn_anew_and_the_replay_stays(tmp_path):
    study = Mt10MtmhSac(**SMALL | {"resets": 1, "environment_steps": 600})
    trainer = study.trainer(study.data(0), Job("MTMH-SAC", 0))
    assert trainer.agent.restart_every == 150
    state = trainer.init()
    for _ in range(3):
        state, _, _ = trainer.advance(state, 50)
    before = jax.tree.leaves(state.actor.model)[0]
    after, _, _ = trainer.advance(state, 50)
    assert int(after.replay.added) == 200
    # 50 updates of at most 3e-4 each cannot take a weight further than this; a new draw does.
    assert np.abs(jax.tree.leaves(after.actor.model)[0] - before).max() > 50 * 3e-4 * 2


def test_a_diverging_critic_is_stopped_and_the_task_named():
    study = Mt10MtmhSac(**SMALL)
    trainer = dataclasses.replace(study.trainer(study.data(0), Job("MTMH-SAC", 0)), most_loss=1e-9)
    state = trainer.init()
    for _ in range(2):
        state, losses, _ = trainer.advance(state, 50)
        assert losses is None
    with pytest.raises(DivergedError, match=r"the critic of (reach|drawer-close) diverges.*Lower --learning-rate"):
        trainer.advance(state, 50)
    assert study.most_loss() == pytest.approx((10 * 10 / 0.01) ** 2)


def test_jobs_of_tasks_that_are_learned_alone():
    jobs = Mt10Single(seeds=2, tasks=TASKS).jobs()
    assert [str(job) for job in jobs] == [
        f"SAC, each task alone: {task}, seed {seed}" for task in TASKS for seed in range(2)
    ]
    assert len(Mt10Single(seeds=1).jobs()) == 10


def test_the_tasks_and_the_memory_they_take_are_said_up_front():
    said = Mt10MtmhSac(**SMALL).data(0).description
    assert said.startswith(f"2 tasks ({', '.join(TASKS)}). Rewards v2, 60 actions an episode")
    assert "The replay of all tasks takes 0.00 GiB" in said
    assert Mt10Single(tasks=("reach",)).data(0).description.startswith("1 task (reach). ")


def test_settings_that_cannot_be_are_refused_before_anything_is_done():
    with pytest.raises(ValueError, match="methods has no 'MTSAC'; there are:"):
        Mt10MtmhSac(methods=("MTSAC",))
    with pytest.raises(ValueError, match="warm_up is 130; pass a multiple of steps_per_dispatch"):
        Mt10MtmhSac(**SMALL | {"warm_up": 130})
    with pytest.raises(ValueError, match="used up by warm_up"):
        study = Mt10MtmhSac(**SMALL | {"environment_steps": 200})
        study.trainer(study.data(0), Job("MTMH-SAC", 0))
    with pytest.raises(ValueError, match=r"capacity is 1000000000: the replay of 2 tasks takes .* GiB.*pass at most"):
        Mt10MtmhSac(**SMALL | {"capacity": 10**9}).data(0)
    with pytest.raises(ValueError, match=r"^tasks: there is no 'reech'; did you mean reach"):
        Mt10MtmhSac(tasks=("reech",)).data(0)
    for study, names in ((Mt10MtmhSac, ("discount", "polyak")), (Mt10Ppo, ("discount", "trace"))):
        for name in names:
            with pytest.raises(ValueError, match=f"{name}: must be from 0 to 1, not 2.0"):
                study(**{name: 2.0})


def test_without_a_discount_no_loss_is_too_large():
    assert Mt10MtmhSac().most_loss() == pytest.approx(10_000**2)
    assert Mt10MtmhSac(discount=1.0).most_loss() == np.inf


def test_published_numbers_come_with_their_protocol():
    study = Mt50MtmhSac(width=1000)
    entries = study.published()
    curve = [entry for entry in entries if entry["method"] == "MTMH-SAC, width 1024"]
    assert [entry["success"] for entry in curve] == [0.31, 0.48, 0.61, 0.67, 0.71, 0.72]
    assert all(entry["protocol"] and entry["source"] for entry in entries)
    assert Mt10MtmhSac(width=256, environment_steps=2_000_000).published()[1]["success"] == 0.50
    assert isinstance(study, Study) and not Mt10MtmhSac(reward="v1").published()
