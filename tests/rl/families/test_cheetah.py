"""The half-cheetah: Gymnasium's own numbers, in any number of worlds, with rewards by the formula."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="worlds are not installed: pip install 'mutatis[worlds]'")

import gymnasium

from mutatis import rl
from mutatis.rl import families

KEY = jax.random.key(0)
BOTH = jnp.array([-1.0, 1.0])


@rl.Memoryless
def at_random(observation, key):
    """Beyond the motors' range too."""
    return jax.random.uniform(key, (observation.shape[0], 6), minval=-1.3, maxval=1.3)


@rl.Memoryless
def limp(observation, key):
    return jnp.zeros((observation.shape[0], 6))


@pytest.fixture
def in_gymnasium(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the simulator writes a log about Gymnasium's model
    return gymnasium.make("HalfCheetah-v5").unwrapped


def doubles(place):
    """Positions, velocities and the solver's warm start, (worlds, 3, 9)."""
    return np.array(place).view(np.float64).reshape(len(place), 3, 9)


@eqx.filter_jit
def walked(family, tasks, state, action):
    """The state after some actions, (steps, worlds, 6), and what they showed."""
    return jax.lax.scan(lambda state, action: family.step(tasks, state, action, KEY), state, action)


def put_into(env, place):
    env.reset()
    env.set_state(place[0], place[1])


def test_steps_are_those_of_gymnasium_to_the_last_bit(in_gymnasium):
    """200 actions in three worlds, from the same starts: the difference is 0, so no chaos can hide anything."""
    family = families.CheetahVelocity(threads=1)
    tasks, action = family.sample(KEY, 3), jax.random.uniform(KEY, (200, 3, 6), minval=-1.3, maxval=1.3)
    state, first = family.reset(tasks, KEY)
    _, shown = walked(family, tasks, state, action)
    for world, place in enumerate(doubles(state.place)):
        put_into(in_gymnasium, place)
        np.testing.assert_array_equal(first[world], in_gymnasium._get_obs())
        for step, each in enumerate(np.clip(np.asarray(action[:, world]), -1, 1)):
            seen, _, terminated, _, info = in_gymnasium.step(each)
            np.testing.assert_array_equal(shown.observation[step, world], seen)
            assert float(shown.info["velocity"][step, world]) == info["x_velocity"]
            expected = -abs(info["x_velocity"] - float(tasks[world])) - 0.05 * np.sum(each**2)
            assert float(shown.reward[step, world]) == pytest.approx(expected, rel=1e-12)
            assert not terminated
    assert family.observation_size == seen.shape[0] and family.actions.size == in_gymnasium.action_space.shape[0]
    assert not shown.terminated.any() and not shown.info["unstable"].any()
    assert not shown.truncated[:-1].any() and shown.truncated[-1].all()


def test_trials_earn_the_velocity_in_the_direction(in_gymnasium):
    """Gymnasium's reward is the forward one, but for its control cost of 0.1."""
    family = families.CheetahDirection(horizon=30)
    trials = rl.play(family, BOTH, at_random, key=KEY, episodes=2)
    action = np.clip(np.asarray(trials.action), -1, 1)
    cost = 0.05 * np.sum(action**2, axis=-1)
    expected = np.array([-1.0, 1.0])[:, None, None] * trials.info["velocity"] - cost
    np.testing.assert_allclose(trials.reward, expected, rtol=1e-12)
    for episode in range(2):
        seen = trials.observation[1, episode, 0]  # but how far it has come, on which nothing depends
        put_into(in_gymnasium, (np.concatenate([[0.0], seen[:8]]), seen[8:]))
        rewards = [in_gymnasium.step(each)[1] for each in action[1, episode]]
        np.testing.assert_allclose(trials.reward[1, episode], rewards + cost[1, episode], rtol=0, atol=1e-9)
        np.testing.assert_allclose(trials.last_observation[1, episode, -1], in_gymnasium._get_obs(), atol=1e-9)


def test_the_physics_is_of_64_bits_in_every_precision():
    family, action = families.CheetahDirection(), np.array([0.3, -0.7, 0.1, 0.9, -0.2, 0.5], np.float32)
    start = family.reset(BOTH, KEY)[0].place[0]
    ends = []
    for precise in (True, False):
        with jax.enable_x64(precise):
            state = jnp.asarray(np.asarray(start))
            for _ in range(20):
                run = family.physics.act(state, jnp.asarray(action, float))
                state = run.state
            assert run.observation.dtype == run.velocity.dtype == (jnp.float64 if precise else jnp.float32)
            ends.append(np.asarray(state))
    np.testing.assert_array_equal(*ends)


def test_the_model_is_that_of_the_file(in_gymnasium):
    from mutatis.worlds._cheetah import half_cheetah

    ours, theirs = half_cheetah(1)._model, in_gymnasium.model
    for name in ("body_mass", "body_inertia", "dof_M0", "body_invweight0", "dof_invweight0", "qpos0", "actuator_gear"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert ours.body_mass.sum() == pytest.approx(14) and ours.opt.timestep == theirs.opt.timestep
    assert ours.stat.meaninertia == theirs.stat.meaninertia


def test_starts_are_distributed_as_gymnasium_says():
    """Positions uniform within 0.1, velocities normal with deviation 0.1; all independent."""
    family = families.CheetahDirection()
    state, seen = family.reset(family.sample(KEY, 20_000), jax.random.key(3))
    position, velocity, warm = doubles(state.place).transpose(1, 0, 2)
    np.testing.assert_array_equal(seen, np.concatenate([position[:, 1:], velocity], axis=1))
    assert not warm.any()
    shares = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(position, shares, axis=0), np.tile(0.2 * shares - 0.1, (9, 1)).T, atol=3e-3)
    assert -0.1 <= position.min() < -0.0999 and 0.0999 < position.max() <= 0.1
    normal = np.asarray(jax.scipy.stats.norm.ppf(shares))
    np.testing.assert_allclose(np.quantile(velocity, shares, axis=0), np.tile(0.1 * normal, (9, 1)).T, atol=5e-3)
    correlation = np.corrcoef(np.concatenate([position, velocity], axis=1).T) - np.eye(18)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_tasks_are_drawn_from_all():
    drawn = np.sort(families.CheetahVelocity().sample(KEY, 10_000))
    np.testing.assert_allclose(drawn, np.linspace(0, 3, 10_000), atol=0.06)
    training, _ = families.oyster_velocities()
    some = families.CheetahVelocity(jnp.asarray(training[:5])).sample(KEY, 1_000)
    counts = [(some == each).sum() for each in training[:5]]
    assert sum(counts) == 1_000 and min(counts) > 140  # 200 each, deviation 13
    directions = families.CheetahDirection().sample(KEY, 10_000)
    assert set(directions.tolist()) == {-1.0, 1.0} and abs(float(directions.mean())) < 0.05


def test_published_velocities_are_of_the_stream_of_the_published_goals():
    """Both of PEARL's environments draw uniformly from the seed 1337, at first the same numbers."""
    velocities = np.concatenate(families.oyster_velocities())
    goals = np.concatenate(families.oyster_goals()).ravel()
    np.testing.assert_allclose(velocities, 1.5 * (goals[:130] + 1), rtol=1e-12)
    assert [len(each) for each in families.oyster_velocities()] == [100, 30]


def test_who_does_not_know_the_task_stays_below_the_bound():
    family = families.CheetahVelocity(horizon=50)
    tasks = jnp.asarray(families.oyster_velocities()[1])
    bound = float(family.uninformed_return(tasks))
    constants = np.linspace(0, 3, 3001)
    best = -50 * np.abs(constants[:, None] - np.asarray(tasks)[None]).mean(axis=1).min()
    assert bound == pytest.approx(best, rel=1e-3) and bound >= best - 1e-9
    assert float(family.uninformed_return(jnp.linspace(0, 3, 1001))) == pytest.approx(-50 * 0.75, rel=1e-2)
    trials = rl.play(family, tasks, limp, key=KEY)
    # Who does not move pays for the whole of each velocity, but for what it falls and rocks.
    np.testing.assert_allclose(trials.returns()[:, 0], -50 * tasks, atol=2)
    assert float(trials.returns().mean()) < bound


def test_a_world_whose_episode_is_over_stays_as_it_is():
    family = families.CheetahDirection(horizon=3)
    step = eqx.filter_jit(family.step)
    state, _ = family.reset(BOTH, KEY)
    for k in range(3):
        state, shown = step(BOTH, state, jnp.ones((2, 6)), KEY)
        assert shown.truncated.tolist() == [k == 2] * 2 and not shown.terminated.any()
    after, still = step(BOTH, state, -jnp.ones((2, 6)), KEY)
    np.testing.assert_array_equal(still.observation, shown.observation)
    assert not still.reward.any() and still.truncated.all() and not still.info["velocity"].any()
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_the_physics_diverges_the_cheetah_stays_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the simulator writes a log
    family = families.CheetahVelocity(horizon=3)
    tasks, step = jnp.array([0.0, 1.0, 2.0]), eqx.filter_jit(family.step)
    state, _ = family.reset(tasks, KEY)
    place = doubles(state.place)
    place[1, 1, 4] = 1e12
    place = jnp.asarray(place.reshape(3, 27).view(np.uint32))
    action = jnp.full((3, 6), 0.3)
    _, expected = step(tasks, state, action, KEY)
    after, shown = step(tasks, state._replace(place=place), action, KEY)
    assert shown.info["unstable"].tolist() == [False, True, False] and not expected.info["unstable"].any()
    np.testing.assert_array_equal(shown.observation[::2], expected.observation[::2])
    np.testing.assert_array_equal(after.place[1], place[1])
    assert float(shown.info["velocity"][1]) == 0
    assert float(shown.reward[1]) == pytest.approx(-1 - 0.05 * 6 * 0.3**2)


def test_worlds_do_not_depend_on_each_other_nor_on_threads():
    one, two = (families.CheetahVelocity(horizon=5, threads=count) for count in (1, 2))
    tasks = one.sample(KEY, 7)
    state, _ = one.reset(tasks, KEY)
    action = jax.random.uniform(KEY, (5, 7, 6), minval=-1, maxval=1)
    expected = walked(one, tasks, state, action)
    for family, rows in ((two, slice(None)), (one, slice(2, 3)), (two, slice(4, 7))):
        some = jax.tree.map(lambda leaf, rows=rows: leaf[rows], state)
        final, shown = walked(family, tasks[rows], some, action[:, rows])
        for found, leaf in zip(jax.tree.leaves(final), jax.tree.leaves(expected[0]), strict=True):
            np.testing.assert_array_equal(found, leaf[rows])
        np.testing.assert_array_equal(shown.reward, expected[1].reward[:, rows])


def test_a_saved_state_goes_on_to_the_same_bits(tmp_path):
    family = families.CheetahDirection(horizon=8)
    state, _ = family.reset(BOTH, KEY)
    action = jax.random.uniform(KEY, (8, 2, 6), minval=-1, maxval=1)
    whole, _ = walked(family, BOTH, state, action)
    half, _ = walked(family, BOTH, state, action[:4])
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", half)
    walked(family, BOTH, state, -action)  # the simulator has done other things since
    half = eqx.tree_deserialise_leaves(tmp_path / "state.eqx", state)
    again, _ = walked(family, BOTH, half, action[4:])
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_trials_are_one_program_for_all_families_alike():
    traced = []

    @rl.Memoryless
    def watched(observation, key):
        traced.append(observation.shape)
        return jnp.zeros((observation.shape[0], 6))

    for seed in range(3):
        family = families.CheetahDirection(horizon=4)
        trials = rl.play(family, BOTH, watched, key=jax.random.key(seed), episodes=2)
    assert traced == [(2, 17)] and trials.returns().shape == (2, 2)
    assert not np.array_equal(trials.observation[:, 0], trials.observation[:, 1])


def test_rl2_learns_from_it():
    family = families.CheetahVelocity(horizon=4)
    learner = rl.RL2(family, episodes=2, trials=4, minibatches=2, epochs=1)
    begun = learner.init(rl.recurrent_policy(family, width=8, key=KEY), key=KEY)
    state, progress = learner.train(begun, 1)
    assert int(state.updates) == 1 and bool(jnp.isfinite(progress.returns).all())
    assert (progress.returns < 0).all()
    assert float(jnp.abs(state.policy.policy.weight - begun.policy.policy.weight).max()) > 0


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"velocities: their shape is \(2, 1\)"):
        families.CheetahVelocity(jnp.ones((2, 1)))
    with pytest.raises(ValueError, match="horizon: must be at least 1, not 0"):
        families.CheetahVelocity(horizon=0)
    with pytest.raises(ValueError, match="threads: must be at least 1, not 0"):
        families.CheetahDirection(threads=0)


def test_without_mujoco_only_the_cheetahs_are_missing():
    program = """
import sys
sys.modules["mujoco"] = sys.modules["gymnasium"] = None
from mutatis.rl import families
assert families.oyster_velocities()[0].shape == (100,)
try:
    families.CheetahDirection()
except ModuleNotFoundError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "mujoco" in said and "gymnasium" in said and "pip install 'mutatis[worlds]'" in said
