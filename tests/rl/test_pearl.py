"""PEARL: which loss reaches which parameters, its numbers by hand, what its player holds true, and that it helps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis import nn, rl
from mutatis.nn._layers import beside
from mutatis.rl import families
from mutatis.rl._pearl_losses import BelievingCriticLoss

GOALS = jnp.array([[0.8, 0.0], [-0.8, 0.0], [0.0, 0.8], [0.0, -0.8]], jnp.float32)
FAMILY = families.PointGoals(horizon=8)
KEY = jax.random.key(0)


def agent(**options):
    settings = {"latent": 2, "updates": 3, "meta_batch": 4, "batch": 16, "context": 8, "learning_rate": 1e-3}
    return rl.PEARL(FAMILY, **settings | options)


def begun(made, width=16):
    state = made.init(GOALS, hidden=(width, width), key=KEY)
    trials = rl.play(FAMILY, GOALS, state.player(1), key=KEY, episodes=2)
    full = made._transitions(trials, None)
    prior = made._transitions(jax.tree.map(lambda x: x[:, :1], trials), None)
    return state._replace(replay=state.replay.add(full), contexts=state.contexts.add(prior)), trials


def moved(before, after):
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return max(float(jnp.abs(a - b).max()) for a, b in leaves if eqx.is_inexact_array(a))


def deaf_to_z(critics):
    """The same critics, whose first layer does not see z (places 2 and 3)."""
    first = lambda twin: (twin.first.module.layers[0].weight, twin.second.module.layers[0].weight)
    return eqx.tree_at(first, critics, tuple(weight.at[2:4].set(0) for weight in first(critics)))


def test_replays_hold_each_tasks_own_rows():
    made = agent()
    state, trials = begun(made)
    for task in range(4):
        rows = np.asarray(trials.observation[task]).reshape(-1, 2)
        np.testing.assert_array_equal(state.replay.storage.observation[task, :16], rows)
        np.testing.assert_array_equal(state.contexts.storage.observation[task], rows[:8])
    drawn = state.replay.sample_of(jnp.array([2, 0, 2]), 50, key=KEY)
    for place, task in enumerate((2, 0, 2)):
        mine = np.asarray(trials.observation[task]).reshape(-1, 2)
        assert all((row == mine).all(axis=1).any() for row in np.asarray(drawn.observation[place]))


def test_belief_is_reached_by_the_critics_loss_and_the_divergence_alone():
    for divergence, deaf, expected in ((0.0, True, False), (0.0, False, True), (0.1, True, True)):
        made = agent(divergence=divergence)
        state, _ = begun(made)
        if deaf:  # actor and targets still listen to z, and must not teach the belief
            state = state._replace(critics=mutatis.Learner(deaf_to_z(state.critics.model), state.critics.rule))
        after, _ = eqx.filter_jit(made.update)(state, key=jax.random.key(1))
        assert (moved(state.critics.rule, after.critics.rule) > 0) == expected
        assert moved(state.critics.model, after.critics.model) > 0 and moved(state.actor.model, after.actor.model) > 0


def test_critics_loss_is_the_formula():
    wide = lambda tree: jax.tree.map(lambda x: x.astype(float) if eqx.is_inexact_array(x) else x, tree)
    make = lambda inputs, outputs, seed: nn.UntoldTask(wide(nn.mlp((inputs, 8, outputs), key=jax.random.key(seed))))
    critics, targets = rl.Twin(make(6, 1, 0), make(6, 1, 1)), rl.Twin(make(6, 1, 2), make(6, 1, 3))
    actor = make(4, 4, 4)
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.array(rng.normal(size=shape))
    batch = rl.Transitions(draw(7, 2), draw(7, 2), draw(7), draw(7, 2), jnp.array([0.0, 1, 0, 0, 1, 0, 0]))
    adapted = mutatis.Believing(critics, draw(2), jnp.array([0.5, 2.0]))
    loss = BelievingCriticLoss(targets, actor, *map(jnp.asarray, (0.2, 0.9, 3.0, 0.7)))
    got = float(loss(adapted, (batch, KEY)))

    draw_key, next_key = jax.random.split(KEY)
    z = adapted.mean + np.sqrt(adapted.variance) * np.asarray(jax.random.normal(draw_key, (2,), jnp.float64))
    outputs = np.asarray(actor(beside(batch.next_observation, z), None))
    mean, std = outputs[:, :2], np.exp(outputs[:, 2:])
    u = mean + std * np.asarray(jax.random.normal(next_key, (7, 2), jnp.float64))
    log_prob = (
        -0.5 * ((u - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi) - np.log(1 - np.tanh(u) ** 2)
    ).sum(1)
    value = lambda net, o, a: np.asarray(net(jnp.concatenate([beside(o, z), a], axis=1), None))[:, 0]
    after = np.minimum(*(value(net, batch.next_observation, jnp.tanh(u)) for net in (targets.first, targets.second)))
    target = 3 * batch.reward + 0.9 * (1 - batch.terminated) * (after - 0.2 * log_prob)
    nets = (critics.first, critics.second)
    errors = sum(0.5 * np.mean((value(net, batch.observation, batch.action) - target) ** 2) for net in nets)
    divergence = 0.5 * np.sum(np.array([0.5, 2.0]) + np.asarray(adapted.mean) ** 2 - 1 - np.log([0.5, 2.0]))
    assert got == pytest.approx(float(errors + 0.7 * divergence), rel=1e-9)


def test_player_holds_one_draw_true_in_an_episode_and_then_draws_from_all_it_saw():
    made = agent()
    state, _ = begun(made)
    player = state.player(1)
    begin, learn, act = eqx.filter_jit(player.begin), eqx.filter_jit(player.learn), eqx.filter_jit(player.act)
    memory = begin(player.start(4), KEY)
    first = memory.z
    rows = []
    place, observation = FAMILY.reset(GOALS, KEY)
    for step in range(8):
        memory, action = act(memory, observation, jax.random.key(step))
        place, shown = FAMILY.step(GOALS, place, action, KEY)
        memory = learn(memory, observation, action, shown)
        rows.append(jnp.concatenate([observation, action, shown.reward[:, None]], axis=1))
        observation = shown.observation
        np.testing.assert_array_equal(memory.z, first)
    belief = player.belief
    for world in range(4):
        seen = jnp.stack([row[world] for row in rows])
        expected = belief.update(None, belief.init(None), seen, key=KEY)
        for got, wanted in zip(memory.state, expected, strict=True):
            np.testing.assert_allclose(got[world], wanted, rtol=1e-4)
        drawn = belief.bind(None, expected).draw(jax.random.split(jax.random.key(5), 4)[world])
        np.testing.assert_allclose(begin(memory, jax.random.key(5)).z[world], drawn, rtol=1e-3, atol=1e-4)
    assert float(jnp.abs(begin(memory, jax.random.key(5)).z - first).min()) > 0


def test_beliefs_before_each_episode_are_what_the_player_had_seen_by_then():
    state, trials = begun(agent())
    beliefs, belief = state.beliefs(trials), state.critics.rule
    assert beliefs.mean.shape == (4, 2, 2)
    np.testing.assert_array_equal(beliefs.mean[:, 0], np.zeros((4, 2)))
    np.testing.assert_array_equal(beliefs.log_std[:, 0], np.zeros((4, 2)))
    for task in range(4):
        rows = [x[task, 0] for x in (trials.observation, trials.action, trials.reward[..., None])]
        held = belief.bind(None, belief.measure(None, jnp.concatenate(rows, axis=1), key=KEY))
        np.testing.assert_allclose(beliefs.mean[task, 1], held.mean, rtol=1e-4)
        np.testing.assert_allclose(2 * beliefs.log_std[task, 1], jnp.log(held.variance), rtol=1e-4)
    cut = trials._replace(real=trials.real.at[:, 0, 4:].set(False), reward=trials.reward.at[:, 0, 4:].set(1e6))
    half = [x[0, 0, :4] for x in (trials.observation, trials.action, trials.reward[..., None])]
    held = belief.bind(None, belief.measure(None, jnp.concatenate(half, axis=1), key=KEY))
    np.testing.assert_allclose(state.beliefs(cut).mean[0, 1], held.mean, rtol=1e-4)


def test_later_episodes_know_what_the_first_has_shown():
    family = families.PointGoals(horizon=12)
    settings = {"latent": 2, "updates": 100, "meta_batch": 8, "batch": 32, "context": 12, "polyak": 0.02}
    made = rl.PEARL(family, learning_rate=3e-3, discount=0.8, temperature=0.01, divergence=1e-3, episodes=2, **settings)
    tasks = jnp.repeat(GOALS, 6, axis=0)
    state, progress = made.train(made.init(tasks, hidden=(32, 32), key=KEY), 20)
    player = state.player(1, noise=False)
    returns = rl.play(family, jnp.repeat(GOALS, 100, axis=0), player, key=KEY, episodes=3).returns().mean(axis=0)
    assert float(returns[1] - returns[0]) > 1.5 and float(returns[2] - returns[0]) > 2
    assert progress.returns.shape == (20, 2) and int(state.iterations) == 20


def test_bad_settings_are_named():
    for name in ("latent", "prior_episodes", "updates", "meta_batch", "batch", "context"):
        with pytest.raises(ValueError, match=name):
            agent(**{name: 0})
    with pytest.raises(ValueError, match="episodes is 1"):
        agent(episodes=1, prior_episodes=2)
    with pytest.raises(ValueError, match="Box"):
        rl.PEARL(families.BernoulliBandits())
