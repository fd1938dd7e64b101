"""Points: the best return in closed form, against play and against numbers computed elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.rl import Memoryless, families, play

TEST_GOALS = jnp.asarray(families.oyster_goals()[1], jnp.float32)
HALF_CIRCLE = jnp.asarray(families.oyster_goals(half_circle=True)[1], jnp.float32)


def straight_to(goal):
    return Memoryless(lambda observation, key: (goal[None] - observation) / 0.1)


def returns(family, tasks, player, seed=0):
    return play(family, tasks, player, key=jax.random.key(seed)).returns()[:, 0]


def test_published_goals_have_the_known_returns():
    points = families.PointGoals()
    assert float(points.mean_best_return(TEST_GOALS).mean()) == pytest.approx(-4.62, abs=0.01)
    many = jnp.repeat(TEST_GOALS, 2000, axis=0)
    assert float(returns(points, many, straight_to(jnp.zeros(2))).mean()) == pytest.approx(-14.36, abs=0.05)
    stay = Memoryless(lambda observation, key: jnp.zeros_like(observation))
    assert float(returns(points, many, stay).mean()) == pytest.approx(-19.74, abs=0.15)


def test_going_straight_is_the_best_that_is_claimed():
    points = families.PointGoals(show_goal=True)
    tasks = points.sample(jax.random.key(0), 5000)
    straight = Memoryless(lambda seen, key: (seen[:, 2:] - seen[:, :2]) / 0.1)
    earned = returns(points, tasks, straight)
    assert float(earned.mean()) == pytest.approx(-5.19, abs=0.1)
    # From the same starts, exactly.
    state, seen = points.reset(tasks, jax.random.key(3))
    total = jnp.zeros(5000)
    for _ in range(points.horizon):
        state, shown = points.step(tasks, state, straight.policy(seen, None), jax.random.key(0))
        seen, total = shown.observation, total + shown.reward
    start = points.reset(tasks, jax.random.key(3))[1][:, :2]
    np.testing.assert_allclose(total, points.best_return(tasks, start), atol=2e-5)


def test_sparse_goals_have_the_known_returns():
    sparse = families.SparsePointGoals()
    best = sparse.best_return(HALF_CIRCLE)
    assert float(best.mean()) == pytest.approx(13.38, abs=0.01)
    assert float(best.min()) > 11.8 and float(best.max()) < 15
    seen = [float(returns(sparse, goal[None], straight_to(goal))[0]) for goal in HALF_CIRCLE]
    np.testing.assert_allclose(seen, best, atol=1e-4)
    up = Memoryless(lambda observation, key: jnp.tile(jnp.array([0.0, 1.0]), (observation.shape[0], 1)))
    up_and_stay = Memoryless(lambda observation, key: (jnp.array([[0.0, 1.0]]) - observation) / 0.1)
    assert float(returns(sparse, HALF_CIRCLE, up_and_stay).mean()) == pytest.approx(0.51, abs=0.02)
    assert float(returns(sparse, HALF_CIRCLE, up).mean()) < 0.51


def test_sparse_world_tells_the_dense_reward_beside():
    sparse = families.SparsePointGoals()
    state, _ = sparse.reset(HALF_CIRCLE, jax.random.key(0))
    _, shown = sparse.step(HALF_CIRCLE, state, jnp.ones((20, 2)), jax.random.key(0))
    distance = np.linalg.norm(np.asarray(HALF_CIRCLE) - 0.1, axis=1)
    np.testing.assert_allclose(shown.info["dense_reward"], -distance, rtol=1e-6)
    np.testing.assert_array_equal(shown.reward, 0)


def test_a_compass_goes_eight_ways_at_full_speed_and_stays():
    wide, nine = families.SparsePointGoals(), families.SparsePointGoals(goals=HALF_CIRCLE, compass=True)
    assert nine.actions.count == 9
    tasks = jnp.broadcast_to(HALF_CIRCLE[:1], (9, 2))
    state, _ = nine.reset(tasks, jax.random.key(0))
    _, shown = nine.step(tasks, state, jnp.arange(9), jax.random.key(0))
    ways = np.round(np.asarray(shown.observation) / 0.1).astype(int)
    assert {tuple(way) for way in ways} == {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
    _, same = wide.step(tasks, state, jnp.asarray(ways, jnp.float32), jax.random.key(0))
    np.testing.assert_allclose(shown.info["dense_reward"], same.info["dense_reward"], atol=1e-6)
    for number in (0, 7):
        np.testing.assert_array_equal(nine.identify(HALF_CIRCLE[number] + 0.001), np.eye(len(HALF_CIRCLE))[number])
    with pytest.raises(ValueError, match="goals is None"):
        wide.identify(HALF_CIRCLE[0])


def test_actions_are_clipped():
    points = families.PointGoals()
    state, start = points.reset(TEST_GOALS, jax.random.key(0))
    _, shown = points.step(TEST_GOALS, state, jnp.full((20, 2), -7.0), jax.random.key(0))
    np.testing.assert_allclose(shown.observation, start - 0.1, atol=1e-6)


@pytest.mark.parametrize("family", [families.PointGoals(), families.SparsePointGoals()])
def test_episode_is_truncated_at_the_horizon_and_then_stands_still(family):
    tasks = family.sample(jax.random.key(0), 4)
    state, _ = family.reset(tasks, jax.random.key(1))
    for step in range(family.horizon):
        state, shown = family.step(tasks, state, jnp.ones((4, 2)), jax.random.key(step))
        assert bool((shown.truncated == (step == family.horizon - 1)).all()) and not bool(shown.terminated.any())
    _, after = family.step(tasks, state, -jnp.ones((4, 2)), jax.random.key(9))
    np.testing.assert_array_equal(after.observation, shown.observation)
    np.testing.assert_array_equal(after.reward, 0)
    assert bool(after.truncated.all())


def test_goals_to_draw_from():
    family = families.PointGoals(goals=TEST_GOALS[:2])
    drawn = np.unique(family.sample(jax.random.key(0), 50), axis=0)
    np.testing.assert_array_equal(drawn, np.unique(TEST_GOALS[:2], axis=0))
    on_circle = families.SparsePointGoals().sample(jax.random.key(0), 500)
    np.testing.assert_allclose(jnp.linalg.norm(on_circle, axis=1), 1, rtol=1e-5)
    assert float(on_circle[:, 1].min()) >= 0
