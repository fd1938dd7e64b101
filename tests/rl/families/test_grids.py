"""DREAM's grids: exact values of knowing and of not having explored, and a player who reaches them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.rl import families, play
from mutatis.rl.families._grids import DOWN, LEFT, RIDE, RIGHT, STOP, UP, WAIT

GRIDS = {
    "bus": families.BusGrids(),
    "map": families.BusGrids(has_map=True),
    "distraction": families.BusGrids(distraction=True),
}


@pytest.mark.parametrize("name", GRIDS)
def test_who_knows_the_buses_is_three_steps_from_every_goal(name):
    np.testing.assert_allclose(families.best_returns(GRIDS[name]), 0.8, atol=1e-12)


@pytest.mark.parametrize("name", ["bus", "map"])
def test_who_has_not_explored_walks(name):
    np.testing.assert_allclose(families.unexplored_returns(GRIDS[name]), 0.3, atol=1e-12)


@pytest.mark.slow
def test_who_has_not_explored_walks_past_distractions():
    np.testing.assert_allclose(families.unexplored_returns(GRIDS["distraction"]), 0.3, atol=1e-12)


@pytest.mark.parametrize("name, steps", [("bus", 10), ("map", 4)])
def test_perfect_explorer_is_perfect_from_the_second_episode_on(name, steps):
    grid = GRIDS[name]
    tasks = jnp.asarray(grid.test_tasks, jnp.int32)
    explorer = families.PerfectExplorer(grid)
    trials = play(grid, tasks, explorer, key=jax.random.key(0), episodes=6)
    np.testing.assert_allclose(trials.returns()[:, 1:], 0.8, atol=1e-6)
    # Three steps to the goal; the rest of the episode is not real.
    np.testing.assert_array_equal(trials.real[:, 1:].sum(axis=2), 3)
    np.testing.assert_array_equal(trials.terminated[:, 1:].sum(axis=2), grid.horizon - 2)
    assert int((explorer.script != WAIT).sum()) == steps


def path(grid, task, actions, seed=0):
    tasks = jnp.array([task])
    state, seen = grid.reset(tasks, jax.random.key(seed))
    steps = []
    for action in actions:
        state, shown = grid.step(tasks, state, jnp.array([action]), jax.random.key(0))
        steps.append(shown)
    return seen[0], state, steps


def cell(observation):
    return int(jnp.argmax(observation[:9])), int(jnp.argmax(observation[9:18]))


def test_walking_riding_and_walls():
    grid = GRIDS["bus"]
    seen, _, steps = path(grid, 0, [UP, RIDE, LEFT, LEFT, UP])
    assert cell(seen) == (4, 4) and float(seen[18]) == 0
    places = [cell(step.observation[0]) for step in steps]
    # Task 0 joins each near end to the far end of the same place in the list; the walls are at 0 and 8.
    assert places == [(4, 5), (0, 1), (0, 1), (0, 1), (0, 2)]
    assert [float(step.observation[0, 18]) for step in steps] == [1, 1, 1, 1, 0]
    back = path(grid, 0, [UP, RIDE, RIDE])[2]
    assert cell(back[-1].observation[0]) == (4, 5)


def test_goal_pays_one_and_ends_and_stopping_pays_the_rest():
    grid = GRIDS["bus"]
    for seed in range(8):
        seen, _, steps = path(grid, 0, [UP, RIDE, DOWN, WAIT], seed)
        wanted = int(jnp.argmax(seen[-4:])) == 0  # the goal (0, 0) is below (0, 1)
        paid = [round(float(step.reward[0]), 6) for step in steps]
        assert paid == ([-0.1, -0.1, 1, 0] if wanted else [-0.1] * 4)
        assert bool(steps[2].terminated[0]) == wanted
    _, _, steps = path(grid, 0, [WAIT, STOP, RIGHT])
    assert sum(float(step.reward[0]) for step in steps) == pytest.approx(-0.1 * grid.horizon)
    assert bool(steps[1].terminated[0]) and float(steps[2].reward[0]) == 0


def test_map_shows_the_task_there_and_nowhere_else():
    grid = GRIDS["map"]
    for task in (0, 17):
        _, _, steps = path(grid, task, [RIGHT, RIGHT, RIGHT, DOWN, LEFT])
        shown = [np.asarray(step.observation[0, 19:-4]) for step in steps]
        assert [s.sum() for s in shown] == [0, 0, 0, 1, 0] and int(shown[3].argmax()) == task


def test_tasks_are_all_different_and_split_as_published():
    tables = GRIDS["distraction"].table().reshape(576, -1)
    assert len(np.unique(tables, axis=0)) == 576
    grid = GRIDS["distraction"]
    assert len(grid.train_tasks) == 53 and len(grid.test_tasks) == 523
    drawn = np.asarray(grid.sample(jax.random.key(0), 1000))
    assert np.isin(drawn, grid.train_tasks).all() and len(np.unique(drawn)) > 40
