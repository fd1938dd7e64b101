"""RL2: memories, what a policy sees of its trial, advantages over a trial, and learning to the known optimum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis import rl
from mutatis.rl import families
from mutatis.rl._memory import read_step
from mutatis.rl._recurrent import inputs
from mutatis.rl._rl2 import trial_rows

read = eqx.filter_jit(lambda memory, *arguments: memory.read(*arguments))
step = eqx.filter_jit(read_step)

MEMORIES = {
    "gru": lambda key: rl.GRU(3, 8, key=key),
    "attention": lambda key: rl.CausalAttention(3, 12, width=8, depth=2, heads=2, key=key),
}


@pytest.mark.parametrize("kind", MEMORIES)
def test_reading_at_once_and_step_by_step_are_the_same(kind):
    memory = MEMORIES[kind](jax.random.key(0))
    rows = jax.random.normal(jax.random.key(1), (12, 3))
    real = jnp.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1], bool)
    _, at_once = read(memory, memory.start(), rows, real)
    state = jax.tree.map(lambda x: x[None], memory.start())
    for k in range(12):
        state, said = step(memory, state, rows[k][None], real[k][None])
        if real[k]:
            np.testing.assert_allclose(said[0], at_once[k], atol=2e-6)


@pytest.mark.parametrize("kind", MEMORIES)
def test_rows_that_are_not_real_leave_no_trace_and_later_rows_none_on_earlier(kind):
    memory = MEMORIES[kind](jax.random.key(0))
    rows = jax.random.normal(jax.random.key(1), (9, 3))
    real = jnp.array([1, 1, 0, 1, 1, 0, 0, 1, 1], bool)
    _, said = read(memory, memory.start(), rows, real)
    _, without = read(memory, memory.start(), rows[real], jnp.ones(6, bool))
    np.testing.assert_allclose(said[real], without, atol=2e-6)
    _, other = read(memory, memory.start(), rows.at[4:].add(1.0), real)
    np.testing.assert_array_equal(other[:4], said[:4])
    assert float(jnp.abs(other[4:][real[4:]] - said[4:][real[4:]]).min()) > 1e-6
    assert bool(jnp.isfinite(said).all())


def test_attention_reads_on_from_a_cache():
    memory = MEMORIES["attention"](jax.random.key(0))
    rows, real = jax.random.normal(jax.random.key(1), (12, 3)), jnp.ones(12, bool).at[3].set(False)
    _, whole = read(memory, memory.start(), rows, real)
    state, first = read(memory, memory.start(), rows[:5], real[:5])
    _, rest = read(memory, state, rows[5:], real[5:])
    np.testing.assert_allclose(jnp.concatenate([first, rest])[real], whole[real], atol=2e-6)


def trials_on_grids(policy_key=0, worlds=6, episodes=3):
    """Episodes there end early, at different times."""
    family = families.BusGrids(horizon=6)
    policy = rl.recurrent_policy(family, width=16, key=jax.random.key(policy_key))
    tasks = family.sample(jax.random.key(1), worlds)
    trials = rl.play(family, tasks, rl.RecurrentPlayer(policy), key=jax.random.key(2), episodes=episodes)
    assert not bool(trials.real.all())
    return family, policy, tasks, trials


def test_policy_sees_what_came_of_the_last_real_action():
    family, _, _, trials = trials_on_grids()
    for world in range(6):
        trial = jax.tree.map(lambda x, w=world: x[w], trials)
        seen, action = trial_rows(trial, family.actions)
        last = (-1, 0.0)
        for row in range(18):
            episode, step = divmod(row, 6)
            assert bool(seen.first[row]) == (step == 0) and bool(seen.real[row]) == bool(trial.real[episode, step])
            assert (int(seen.action[row]), float(seen.reward[row])) == last
            if seen.real[row]:
                last = int(action[row]), float(trial.reward[episode, step])
                assert int(action[row]) == int(trial.action[episode, step])


@pytest.mark.parametrize("kind", ["gru", "attention"])
def test_training_reads_the_trial_as_the_player_did(kind):
    """The player's distributions, met step by step, are those of the whole trial; memory goes on over episodes."""
    family = families.BusGrids(horizon=6)
    make = {
        "gru": lambda n, key: rl.GRU(n, 8, key=key),
        "attention": lambda n, key: rl.CausalAttention(n, 18, width=8, depth=1, key=key),
    }
    memory = make[kind](inputs(family), jax.random.key(0))
    policy = rl.RecurrentPolicy(family, memory, reward_scale=0.5, key=jax.random.key(1))
    policy = jax.tree.map(lambda x: 20 * x if x.shape == policy.policy.weight.shape else x, policy)
    tasks, key = family.sample(jax.random.key(2), 5), jax.random.key(3)
    trials = rl.play(family, tasks, rl.RecurrentPlayer(policy), key=key, episodes=3)
    seen, _ = jax.jit(jax.vmap(lambda trial: trial_rows(trial, family.actions)))(trials)
    chances, _ = eqx.filter_jit(eqx.filter_vmap(policy.trial))(seen)

    player, step_on = rl.RecurrentPlayer(policy), eqx.filter_jit(policy.step)
    memory, differences = player.start(5), []
    for episode in range(3):
        memory = player.begin(memory, key)
        for step in range(6):
            observation, action = trials.observation[:, episode, step], trials.action[:, episode, step]
            now = rl.Seen(observation, memory.action, memory.reward, memory.first, ~memory.over)
            state, met = step_on(memory.memory, now)
            gap = jnp.abs(met.logits - chances.logits[:, 6 * episode + step])[trials.real[:, episode, step]]
            differences.append(float(gap.max(initial=0)))
            ended = trials.terminated[:, episode, step] | (step == 5)
            reward = trials.reward[:, episode, step]
            shown = rl.Timestep(observation, observation, reward, trials.terminated[:, episode, step], ended, {})
            memory = player.learn(memory._replace(memory=state), observation, action, shown)
    assert max(differences) < 1e-5
    # The memory matters: without what came before, the last episode would look different.
    fresh, _ = eqx.filter_jit(eqx.filter_vmap(policy.trial))(jax.tree.map(lambda x: x[:, 12:], seen))
    assert float(jnp.abs(fresh.logits - chances.logits[:, 12:])[trials.real[:, 2]].max()) > 1e-3


def test_advantages_go_on_over_episodes_and_skip_what_is_not_real():
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=12), rng.normal(size=12)
    real = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0], bool)
    got = rl.trial_advantages(jnp.array(reward), jnp.array(value), jnp.array(real), discount=0.9, trace=0.7)
    rows = np.flatnonzero(real)
    expected, later, next_value = np.zeros(12), 0.0, 0.0
    for row in rows[::-1]:
        later = reward[row] + 0.9 * next_value - value[row] + 0.9 * 0.7 * later
        expected[row], next_value = later, value[row]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_loss_counts_real_rows_alone():
    family, policy, _, trials = trials_on_grids()
    learner = rl.RL2(family, episodes=3, trials=6, minibatches=2)
    rows = learner.assess(policy, trials)
    advantage = np.asarray(rows.advantage)[np.asarray(rows.seen.real)]
    assert abs(advantage.mean()) < 1e-5 and advantage.std() == pytest.approx(1, abs=1e-4)
    loss = rl.TrialLoss(rl.ProximalLoss(entropy=0.01))
    one = jax.tree.map(lambda x: x[0], rows)
    spoilt = one._replace(
        advantage=jnp.where(one.seen.real, one.advantage, 1e3), target=jnp.where(one.seen.real, one.target, 1e3)
    )
    assert float(loss(policy, spoilt)) == float(loss(policy, one))
    # At the policy that played the ratio is 1: the loss is known.
    chances, value = policy.trial(one.seen)
    real = np.asarray(one.seen.real, float)
    surprise = np.square(np.asarray(value) - np.asarray(one.target))
    each = -np.asarray(one.advantage) - 0.01 * np.asarray(chances.entropy()) + 0.5 * surprise
    assert float(loss(policy, one)) == pytest.approx(np.mean(real * each), abs=1e-5)


@pytest.mark.parametrize("kind", ["gru", "attention"])
def test_two_arms_are_played_nearly_as_well_as_can_be(kind):
    family = families.BernoulliBandits(arms=2, horizon=6)
    keys = jax.random.split(jax.random.key(0), 4)
    learner = rl.RL2(family, trials=512, minibatches=8, epochs=8, discount=1.0, trace=0.3, learning_rate=3e-3)
    policy = rl.recurrent_policy(family, width=16, key=keys[0])
    if kind == "attention":
        memory = rl.CausalAttention(inputs(family), 6, width=16, depth=1, heads=2, key=keys[0])
        policy = rl.RecurrentPolicy(family, memory, key=keys[0])
    state, progress = learner.train(learner.init(policy, key=keys[1]), 60)
    player = rl.RecurrentPlayer(state.policy, noise=False)
    earned = float(rl.play(family, family.sample(keys[2], 20_000), player, key=keys[3]).returns().mean())
    best = families.bandit_value(2, 6)
    assert 0.97 * best < earned < 1.02 * best
    assert progress.returns.shape == (60, 1) and int(state.updates) == 60


def test_training_goes_on_to_the_same_bits():
    family = families.BernoulliBandits(arms=2, horizon=3)
    learner = rl.RL2(family, trials=8, minibatches=2)
    begun = learner.init(rl.recurrent_policy(family, width=4, key=jax.random.key(0)), key=jax.random.key(1))
    whole, _ = learner.train(begun, 4)
    parts, _ = learner.train(learner.train(begun, 2)[0], 2)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), whole, parts)))


def test_bad_settings_are_named():
    family = families.BernoulliBandits(2, 3)
    for name in ("episodes", "trials", "epochs", "minibatches"):
        with pytest.raises(ValueError, match=name):
            rl.RL2(family, **{name: 0})
    with pytest.raises(ValueError, match="does not divide the 10 trials"):
        rl.RL2(family, trials=10, minibatches=4)
    with pytest.raises(ValueError, match="heads is 3"):
        rl.CausalAttention(3, 4, width=8, heads=3, key=jax.random.key(0))
