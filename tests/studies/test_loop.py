"""The training loop: exact continuation, selection, early stop, and losses that are not numbers."""

import itertools
import json
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from mutatis.studies import Job, NonFiniteLossError, Schedule, StoppedError, train
from mutatis.studies._loop import dispatch_length
from mutatis.studies._store import list_checkpoints


def toy_trainer(method="slow", **settings):
    study = toy.Toy(**settings)
    return study.trainer(study.data(0), Job(method, 1))


def leaves(carry):
    arrays = [carry.weights, carry.momentum, jax.random.key_data(carry.key), carry.step]
    return [np.asarray(array).tobytes() for array in arrays]


def train_in_pieces(trainer, directory):
    """Stop after every dispatch, and begin again."""
    for pieces in itertools.count(1):
        try:
            return train(trainer, directory, should_stop=lambda: True), pieces
        except StoppedError:
            continue


@pytest.mark.parametrize(
    "settings", [{}, {"selection": "score", "checkpoint_every": 0}, {"steps": 57, "evaluate_every": 0}]
)
def test_stopping_after_every_dispatch_changes_no_bit(tmp_path, settings):
    trainer = toy_trainer(**settings)
    whole = train(trainer, tmp_path / "whole")
    pieces, count = train_in_pieces(trainer, tmp_path / "pieces")
    assert count == 6
    assert leaves(pieces) == leaves(whole)
    metrics = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "pieces" / "metrics.jsonl").read_bytes() == metrics
    assert [json.loads(line)["step"] for line in metrics.splitlines()][-1] == trainer.schedule.steps


def test_continuing_compiles_nothing_again(tmp_path):
    trainer = toy_trainer(steps=57)
    train(trainer, tmp_path / "whole")
    before = len(toy.TRACES)
    train_in_pieces(trainer, tmp_path / "pieces")
    assert len(toy.TRACES) == before


def damage_newest(directory):
    list_checkpoints(directory)[0].write_bytes(b"{}")


def damage_all(directory):
    for path in list_checkpoints(directory):
        path.write_bytes(path.read_bytes()[:-3])


def lose_metrics(directory):
    (directory / "metrics.jsonl").unlink()


@pytest.mark.parametrize("damage", [damage_newest, damage_all, lose_metrics])
def test_damage_costs_time_but_changes_no_bit(tmp_path, damage):
    trainer = toy_trainer(selection="score")
    whole = train(trainer, tmp_path / "whole")
    stop = iter([False, False, False, True])
    with pytest.raises(StoppedError, match="step 40 of 60"):
        train(trainer, tmp_path / "part", should_stop=lambda: next(stop))
    damage(tmp_path / "part")
    warnings = []
    again = train(trainer, tmp_path / "part", on_warning=warnings.append)
    assert "going back" in warnings[0]
    assert leaves(again) == leaves(whole)
    assert (tmp_path / "part/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_lines_after_the_checkpoint_are_replaced(tmp_path):
    trainer = toy_trainer()
    train(trainer, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(trainer, tmp_path / "part", should_stop=lambda: True)
    with open(tmp_path / "part/metrics.jsonl", "a") as file:
        file.write('{"step": 20, "loss": 7.0}\n{"ste')
    train(trainer, tmp_path / "part")
    assert (tmp_path / "part/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_checkpoint_of_another_form_is_refused(tmp_path):
    train(toy_trainer(), tmp_path)
    with pytest.raises(ValueError, match="does not fit this study"):
        train(toy_trainer(selection="score"), tmp_path)


class Scripted:
    """Counts steps, and reads its validation metric from a list."""

    def __init__(self, values, **schedule):
        self.values, self.schedule, self.asked = values, Schedule(**schedule), []

    def init(self):
        return {"step": np.zeros((), np.int64)}

    def advance(self, carry, steps):
        self.asked.append(steps)
        step = carry["step"] + steps
        return {"step": step}, np.ones((steps, 2)), None

    def evaluate(self, carry):
        return {"worst": self.values[(carry["step"] - 1) // self.schedule.evaluate_every]}

    def task_name(self, index):
        raise AssertionError("tasks without ids have no names")


def test_the_carry_of_the_best_evaluation_is_returned(tmp_path):
    trainer = Scripted([0.1, math.nan, 0.6, 0.2, 0.6, 0.5], steps=30, evaluate_every=5, selection="worst")
    assert train(trainer, tmp_path)["step"] == 15
    assert train(trainer, tmp_path)["step"] == 15
    assert sum(trainer.asked) == 30, "a finished run is not run again"


def test_patience_stops_after_that_many_evaluations_without_improvement(tmp_path):
    values = [0.1, 0.3, 0.2, 0.3, 0.1, 0.9]
    trainer = Scripted(values, steps=30, evaluate_every=5, selection="worst", patience=3)
    assert train(trainer, tmp_path / "a")["step"] == 10
    assert sum(trainer.asked) == 25
    again = Scripted(values, steps=30, evaluate_every=5, selection="worst", patience=3)
    assert train_in_pieces(again, tmp_path / "b")[0]["step"] == 10
    assert sum(again.asked) == 25
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()


def test_the_last_carry_is_returned_without_selection(tmp_path):
    assert train(Scripted([0.9, 0.1], steps=10, evaluate_every=5), tmp_path)["step"] == 10


def test_selection_must_be_measured(tmp_path):
    with pytest.raises(ValueError, match="'wurst', but the evaluation gives: worst"):
        train(Scripted([1.0], steps=5, evaluate_every=5, selection="wurst"), tmp_path)


def test_progress_is_told_after_every_dispatch(tmp_path):
    told, trainer = [], Scripted([0.5] * 9, steps=18, evaluate_every=4, checkpoint_every=8)
    train(trainer, tmp_path, on_progress=told.append)
    assert [progress.step for progress in told] == [4, 8, 12, 16, 18]
    assert told[0].metrics == {"step": 4, "loss": 1.0, "worst": 0.5}
    assert all(progress.rate > 0 and progress.steps == 18 for progress in told)


def test_a_loss_that_is_not_a_number_names_step_task_and_cure(tmp_path):
    trainer = toy_trainer("fast", explode_at=33)
    with pytest.raises(NonFiniteLossError) as caught:
        train(trainer, tmp_path)
    _, _, indices = toy.advance(trainer.init(), trainer.truths, jax.numpy.float32(0.02), jax.numpy.int32(-1), 40)
    assert f"group 'truth {indices[33][1]}' is nan at step 34 " in str(caught.value)
    assert "Lower the learning rate" in str(caught.value)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "checkpoint-000000030.ckpt",
        "checkpoint-000000020.ckpt",
    ]
    with pytest.raises(NonFiniteLossError, match="at step 34 "):
        train(trainer, tmp_path)


def test_the_last_good_carry_is_saved_before_a_loss_stops_the_run(tmp_path):
    with pytest.raises(NonFiniteLossError):
        train(toy_trainer("fast", explode_at=33, checkpoint_every=0), tmp_path)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-000000030.ckpt"]


def test_a_task_without_id_is_named_by_its_place(tmp_path):
    trainer = Scripted([0.0], steps=5, evaluate_every=5)
    losses = np.where(np.arange(10).reshape(5, 2) == 1, np.inf, 1.0)
    broken = SimpleNamespace(
        schedule=trainer.schedule, init=trainer.init, advance=lambda carry, steps: (carry, losses, None)
    )
    with pytest.raises(NonFiniteLossError, match=r"task 2 of 2 is inf at step 1 \(after the first step\)"):
        train(broken, tmp_path)


@given(evaluate=st.integers(0, 300), checkpoint=st.integers(0, 300), most=st.integers(1, 50))
def test_dispatches_meet_every_event(evaluate, checkpoint, most):
    schedule = Schedule(steps=1000, evaluate_every=evaluate, checkpoint_every=checkpoint, steps_per_dispatch=most)
    length = dispatch_length(schedule)
    assert 1 <= length <= most
    assert evaluate % length == 0 and checkpoint % length == 0
    both = math.gcd(evaluate, checkpoint) or 1000
    assert not any(both % longer == 0 for longer in range(length + 1, most + 1)), "and are as long as they can be"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps and steps_per_dispatch must be at least 1"),
        ({"steps": 5, "evaluate_every": -1}, "evaluate_every must be 0"),
        ({"steps": 5, "patience": 2}, "patience .* selection is 'last'"),
    ],
)
def test_contradictory_schedules_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**settings)


def test_the_selection_rule_in_words():
    assert Schedule(steps=5).rule == "last step"
    assert Schedule(steps=5, selection="worst group").rule == "worst group, every 100 steps"
