"""Our worlds beside the original environments: the same bits."""

import pytest

pytest.importorskip("metaworld", reason="the original environments are not installed: pip install 'mutatis[worlds]'")

import worlds_parity

from mutatis.worlds import TASKS
from mutatis.worlds.tasks._first_rewards import FIRST_REWARDS

SOME = (
    *("reach", "push", "pick-place", "door-open", "drawer-open", "drawer-close", "button-press-topdown"),
    *("peg-insert-side", "window-open", "window-close", "stick-push", "door-lock", "bin-picking", "lever-pull"),
    *("button-press-topdown-wall", "soccer", "coffee-pull", "hammer"),
)


@pytest.mark.parametrize("name", SOME)
def test_equal_to_the_original(name):
    assert not worlds_parity.failures(worlds_parity.compare(name, goals=2, steps=100))


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_equal_to_the_original(name):
    assert not worlds_parity.failures(worlds_parity.compare(name, goals=3, steps=500))


@pytest.mark.parametrize("name", FIRST_REWARDS)
def test_first_rewards_are_equal_to_the_original(name):
    assert not worlds_parity.failures(worlds_parity.compare(name, goals=2, steps=60, reward="v1"))


def test_a_difference_would_be_found(monkeypatch):
    monkeypatch.setitem(TASKS, "reach", TASKS["reach"]._replace(hand=(0.0, 0.6, 0.2 + 1e-12)))
    assert worlds_parity.failures(worlds_parity.compare("reach", goals=1, steps=2))
