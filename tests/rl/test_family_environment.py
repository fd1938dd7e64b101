"""Tasks of a family as an environment: tasks in order, episodes one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points import points

from mutatis import rl
from mutatis.rl import families

GOALS = jnp.array([[0.5, 0.5], [-0.5, 0.3], [0.0, -0.7]])


def test_worlds_of_a_task_lie_together_and_pay_by_their_goal():
    env = points(GOALS, worlds_per_task=2)
    assert (env.num_tasks, env.num_envs, env.observation_size, env.action_size) == (3, 6, 2, 2)
    state, observation = env.reset(jax.random.key(0))
    action = jnp.linspace(-1, 1, 12).reshape(6, 2)
    _, shown = env.step(state, action)
    goals = np.repeat(np.asarray(GOALS), 2, axis=0)
    np.testing.assert_allclose(shown.observation, observation + 0.1 * action, atol=1e-6)
    np.testing.assert_allclose(shown.reward, -np.linalg.norm(np.asarray(shown.observation) - goals, axis=1), rtol=1e-5)


def test_next_episode_begins_where_one_ends_and_the_last_observation_is_told():
    env = points(GOALS, horizon=3)
    state, observation = env.reset(jax.random.key(0))
    for step in range(1, 8):
        state, shown = env.step(state, jnp.zeros((3, 2)))
        np.testing.assert_allclose(shown.last_observation, observation, atol=1e-7)
        assert bool(shown.truncated.all()) == (step % 3 == 0) and not bool(shown.terminated.any())
        assert (float(jnp.abs(shown.observation - observation).max()) > 1e-3) == (step % 3 == 0)
        observation = shown.observation


def test_only_worlds_that_are_over_begin_anew():
    class Short(families.PointGoals):
        def move(self, task, place, action, key):
            moved = super().move(task, place, action, key)
            return moved._replace(terminated=task[0] > 0.4)

    env = rl.FamilyEnvironment(Short(), GOALS)
    state, observation = env.reset(jax.random.key(0))
    _, shown = env.step(state, jnp.zeros((3, 2)))
    np.testing.assert_array_equal(shown.terminated, [True, False, False])
    assert float(jnp.abs(shown.observation[0] - observation[0]).max()) > 1e-3
    np.testing.assert_allclose(shown.observation[1:], observation[1:], atol=1e-7)


def test_choices_are_no_box():
    with pytest.raises(ValueError, match="no Box"):
        rl.FamilyEnvironment(families.BernoulliBandits(), jnp.zeros((2, 5)))
