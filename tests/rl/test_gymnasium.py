"""Gymnasium's vector environments inside compiled programs, step by step as by hand."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from reach_toy import tanh_net

from mutatis import nn, rl

MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


class Walk(gymnasium.Env):
    """Adds up actions; episodes of 3 to 7 steps, drawn at their start, terminate or are truncated."""

    observation_space = Box(-np.inf, np.inf, (2, 2), np.float64)
    action_space = Box(np.array([-1.0, 0.0], np.float32), np.array([3.0, 10.0], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(3, 8))
        self.steps, self.where = 0, self.np_random.normal(size=2)
        return self._seen(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        self.where = self.where + action
        over = self.steps >= self.length
        info = {"success": float(self.where[0] > 0)}
        return self._seen(), float(self.where.sum()), over and self.length % 2 == 0, over and self.length % 2 == 1, info

    def _seen(self):
        return np.array([self.where, [self.steps, self.length]])


class Spy(SyncVectorEnv):
    """Remembers the seed of its reset."""

    seed = None

    def reset(self, *, seed=None, options=None):
        self.seed = self.seed if seed is None else seed
        return super().reset(seed=seed, options=options)


def walks(mode, worlds=3):
    return Spy([Walk] * worlds, autoreset_mode=mode)


def policy(features, actions, tasks=1):
    net = nn.OneHotTask(tanh_net(features + tasks, 8, actions, key=jax.random.key(0)), tasks)
    return rl.GaussianPolicy(net, actions, std=0.5)


def by_hand(seed, actions):
    """Every world on its own, with the actions of the roll-out."""
    rows = []
    for world in range(actions.shape[1]):
        env = Walk()
        seen, _ = env.reset(seed=seed + world)
        for action in actions[:, world]:
            low, high = env.action_space.low.astype(float), env.action_space.high.astype(float)
            chosen = (low + (np.clip(action, -1, 1) + 1) / 2 * (high - low)).astype(np.float32)
            last, reward, terminated, truncated, info = env.step(chosen)
            rows.append((seen.ravel(), last.ravel(), reward, terminated, truncated, info["success"]))
            seen = env.reset()[0] if terminated or truncated else last
    columns = zip(*rows, strict=True)
    return [np.array(x).reshape(actions.shape[1], len(actions), -1).swapaxes(0, 1).squeeze() for x in columns]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_episodes_are_those_of_stepping_by_hand(mode):
    worlds = walks(mode)
    env = rl.from_gymnasium(worlds, success="success", num_tasks=3)
    assert (env.num_envs, env.num_tasks, env.observation_size, env.action_size) == (3, 3, 4, 2)
    state, observation = env.reset(jax.random.key(1))
    acting, run = policy(4, 2, 3), jax.jit(rl.collect, static_argnums=(0,), static_argnames="steps")
    parts = []
    for key in jax.random.split(jax.random.key(0), 2):
        state, observation, rollout, seen = run(env, state, observation, acting, steps=20, key=key)
        parts.append((rollout, seen))
    whole = jax.tree.map(lambda *x: np.concatenate(x), *(rollout for rollout, _ in parts))
    seen, last, reward, terminated, truncated, success = by_hand(worlds.seed, whole.action)
    np.testing.assert_array_equal(whole.terminated, terminated)
    np.testing.assert_array_equal(whole.truncated, truncated)
    assert terminated.any() and truncated.any()
    np.testing.assert_allclose(whole.observation, seen, rtol=1e-6)
    np.testing.assert_allclose(whole.last_observation, last, rtol=1e-6)
    np.testing.assert_allclose(whole.reward, reward, rtol=1e-6)
    np.testing.assert_allclose(np.mean([seen.success for _, seen in parts], axis=0), success.mean(axis=0))
    np.testing.assert_array_equal(sum(seen.ended for _, seen in parts), (terminated | truncated).sum(axis=0))


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_pendulum_swings_in_both_agents(mode):
    make = lambda: gymnasium.make("Pendulum-v1", max_episode_steps=30)
    worlds = SyncVectorEnv([make, make], autoreset_mode=mode)
    env = rl.from_gymnasium(worlds)
    agent = rl.PolicyGradient(env, rl.Proximal(epochs=2, minibatches=4), steps=32, normalise_observations=True)
    state = agent.init(policy(3, 1), rl.LinearBaseline(1, 3), key=jax.random.key(0))
    state, progress = agent.train(state, 3)
    assert progress.episodes.sum() == 6 and (progress.reward < 0).all()
    assert np.isfinite(progress.episode_return[np.asarray(progress.episodes) > 0]).all()

    soft = rl.SoftActorCritic(env, batch=16)
    nets = [
        nn.multi_head_net((inputs, 8, outputs), 1, key=jax.random.key(inputs)) for inputs, outputs in ((3, 2), (4, 1))
    ]
    soft_state = soft.init(nets[0], rl.Twin(nets[1], nets[1]), capacity=200, key=jax.random.key(1))
    soft_state, _ = soft.explore(soft_state, 40)
    soft_state, seen = soft.train(soft_state, 10)
    assert np.isfinite(seen.critic_loss).all() and np.isfinite(seen.reward).all()


def started(worlds):
    agent = rl.PolicyGradient(rl.from_gymnasium(worlds), rl.Proximal(epochs=1, minibatches=1), steps=4)
    return agent, agent.init(policy(4, 2), rl.LinearBaseline(1, 4), key=jax.random.key(0))


def test_a_state_that_the_worlds_have_left_is_refused():
    agent, state = started(walks(MODES[0]))
    stale = state.environment
    state, _ = agent.train(state, 1)
    state = state._replace(environment=jnp.array(0))
    with pytest.raises(jax.errors.JaxRuntimeError, match="vector_env has taken 4 steps"):
        jax.block_until_ready(agent.train(state, 1))
    agent, state = started(walks(MODES[0]))
    state, _ = agent.train(state, 1)
    state, _ = agent.train(agent.restarted(state, key=jax.random.key(1)), 1)
    assert int(state.environment) == 4 and stale is not state.environment


def test_a_failure_of_the_environment_is_told():
    class Broken(Walk):
        def step(self, action):
            raise KeyError("no motor")

    agent, state = started(SyncVectorEnv([Broken]))
    with pytest.raises(jax.errors.JaxRuntimeError, match="step failed with KeyError: 'no motor'"):
        jax.block_until_ready(agent.train(state, 1))


def test_wrong_environments_are_named():
    class With(gymnasium.Env):
        def __init__(self, observation_space, action_space):
            self.observation_space, self.action_space = observation_space, action_space

    box, free = Box(-1, 1, (2,), np.float32), Box(-np.inf, np.inf, (2,), np.float32)
    for spaces, said in (
        ((box, Discrete(3)), "action space is Discrete"),
        ((Dict(a=box), box), "observation space is Dict"),
        ((box, free), "finite bounds"),
    ):
        with pytest.raises(ValueError, match=said):
            rl.from_gymnasium(SyncVectorEnv([lambda spaces=spaces: With(*spaces)]))
    with pytest.raises(ValueError, match="make_vec"):
        rl.from_gymnasium(Walk())
    with pytest.raises(ValueError, match="num_tasks is 2, which does not divide 3"):
        rl.from_gymnasium(walks(MODES[0]), num_tasks=2)


def test_a_vector_environment_must_keep_the_others_as_they_are():
    class Careless(SyncVectorEnv):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)

    agent, state = started(Careless([Walk] * 2))
    with pytest.raises(jax.errors.JaxRuntimeError, match="changed other worlds"):
        jax.block_until_ready(agent.train(state, 5))
