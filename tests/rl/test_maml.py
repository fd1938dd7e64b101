"""MAML for policies: gradients by hand and by differences, what the player does, and that adaptation comes to help."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis import nn, rl
from mutatis.rl import families
from mutatis.rl._judged import judged

GOALS = jnp.array([[0.8, 0.0], [-0.8, 0.0], [0.0, 0.8], [0.0, -0.8]])


def policy(width=8, seed=0, std=0.5):
    net = nn.mlp((2, width, width, 2), activation=jnp.tanh, key=jax.random.key(seed))
    return rl.GaussianPolicy(nn.UntoldTask(net), 2, std=std)


def learner(rate=0.3, **options):
    return mutatis.Learner(policy(**options), mutatis.GradientSteps(rl.surrogate_loss, learning_rate=rate))


def rows(action, log_prob, advantage):
    """A batch of one task in which only these matter."""
    nothing = jnp.zeros(len(action))
    return rl.Batch(
        jnp.zeros((), int), jnp.zeros((len(action), 1)), nothing.astype(int), action[:, None], log_prob, advantage,
        nothing, nothing, nothing,
    )  # fmt: skip


class Constant(eqx.Module):
    """The same mean everywhere: a quadratic log-likelihood."""

    mean: jax.Array

    def __call__(self, observation, task):
        mean = jnp.broadcast_to(self.mean[None, None], (observation.shape[0], 1))
        return rl.Gaussian(mean, jnp.full_like(mean, jnp.log(0.7)))


def test_gradient_of_a_quadratic_policy_is_the_one_derived_by_hand():
    rng = np.random.default_rng(0)
    theta, rate, variance = 0.3, 0.2, 0.49
    action, advantage = rng.normal(theta, 0.7, 40), rng.normal(size=40)
    after_action, after_advantage = rng.normal(0.5, 0.7, 30), rng.normal(size=30)

    # Inner: the ratio is 1 at theta, so the gradient is that of log pi times A, and the second derivative has a square.
    score = (action - theta) / variance
    gradient = -np.mean(advantage * score)
    curvature = -np.mean(advantage * (score**2 - 1 / variance))
    adapted = theta - rate * gradient
    # Outer: the episodes were played by the adapted policy, whose ratio is 1 too.
    outer = -np.mean(after_advantage * (after_action - adapted) / variance)
    expected = (1 - rate * curvature) * outer

    model = Constant(jnp.asarray(theta))
    chances = lambda mean, n: rl.Gaussian(jnp.full((n, 1), mean), jnp.full((n, 1), np.log(0.7)))
    before, after = chances(theta, 40), chances(adapted, 30)
    pair = lambda action, advantage, old: (
        rows(jnp.array(action), old.log_prob(jnp.array(action)[:, None]), jnp.array(advantage)),
        old,
    )
    task = mutatis.Task(pair(action, advantage, before), pair(after_action, after_advantage, after), jnp.zeros((), int))
    made = mutatis.Learner(model, mutatis.GradientSteps(rl.surrogate_loss, learning_rate=jnp.asarray(rate)))
    loss = lambda m: mutatis.Unrolled().loss(
        mutatis.Learner(m, made.rule), task, rl.surrogate_loss, key=jax.random.key(0)
    )[0]
    assert float(jax.grad(loss)(model).mean) == pytest.approx(expected, rel=1e-9)


def episodes_of_a_task(made, goal, seed):
    many = jnp.broadcast_to(goal[None], (5, 2))
    player = rl.Memoryless(rl.Acting(made))
    return rl.play(families.PointGoals(horizon=6), many, player, key=jax.random.key(seed))


def test_gradients_through_adaptation_are_those_of_differences():
    """Of the surrogate, and of the KL, whose own second derivative the natural gradient needs."""
    to64 = lambda tree: jax.tree.map(lambda x: x.astype(float) if eqx.is_inexact_array(x) else x, tree)
    made = to64(learner(rate=0.5, width=4))
    context = judged(made.model, to64(episodes_of_a_task(made.model, GOALS[0], 1)), discount=0.9, trace=0.9)
    adapted = mutatis.adapt(made, context, key=jax.random.key(0))
    query = judged(adapted, to64(episodes_of_a_task(adapted, GOALS[0], 2)), discount=0.9, trace=0.9)
    params, static = eqx.partition(made.model, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    @jax.jit
    def value(flat):
        model = eqx.combine(unravel(flat), static)
        adapted = mutatis.adapt(mutatis.Learner(model, made.rule), context, key=jax.random.key(0))
        return rl.surrogate_loss(adapted, query), rl.mean_divergence(adapted, query)

    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape))
    for which in (0, 1):
        at = flat + 0.05 * direction  # where the divergence has a gradient
        along = jax.grad(lambda x, which=which: value(x)[which])(at) @ direction
        step = 1e-5
        difference = (value(at + step * direction)[which] - value(at - step * direction)[which]) / (2 * step)
        assert float(along) == pytest.approx(float(difference), rel=1e-6)
    assert abs(float(value(flat)[1])) < 1e-12 and float(jnp.abs(jax.grad(lambda x: value(x)[1])(flat)).max()) < 1e-9


def test_player_adapts_as_the_rule_does_and_only_then():
    family, made, task = families.PointGoals(horizon=5), learner(rate=1.0), jnp.zeros((), int)
    play = lambda **options: rl.play(
        family,
        GOALS,
        rl.AdaptingPlayer(made, family, episodes=3, discount=0.9, trace=0.8, **options),
        key=jax.random.key(0),
        episodes=5,
    )
    trials, quiet = play(), play(noise=False)
    np.testing.assert_array_equal(trials.action[:, :3], quiet.action[:, :3])
    for world in range(4):
        seen = jax.tree.map(lambda x, w=world: x[w, :3], trials)
        adapted = mutatis.adapt(made, judged(made.model, seen, discount=0.9, trace=0.8), key=jax.random.key(0))
        for episode in (3, 4):
            row = quiet.observation[world, episode]
            np.testing.assert_allclose(quiet.action[world, episode], adapted(row, task).mean, atol=1e-5)
        assert float(jnp.abs(adapted(row, task).mean - made.model(row, task).mean).max()) > 1e-3


@pytest.mark.parametrize(
    "method", [rl.TrustRegion(0.02), rl.Proximal(epochs=4, learning_rate=3e-3)], ids=["TRPO", "PPO"]
)
def test_adaptation_comes_to_help(method):
    family = families.PointGoals(goals=GOALS, horizon=10)
    agent = rl.MAML(family, method, tasks=12, episodes=10, discount=0.9, trace=0.9)
    begun = agent.init(learner(rate=0.3, width=16), key=jax.random.key(1))
    state, progress = agent.train(begun, 40)
    assert float(progress.accepted.mean()) > 0.8
    goals = jnp.repeat(GOALS, 50, axis=0)
    gain = {}
    for name, each in {"untrained": begun, "trained": state}.items():
        player = rl.AdaptingPlayer(each.learner, family, episodes=10, discount=0.9, trace=0.9)
        returns = rl.play(family, goals, player, key=jax.random.key(2), episodes=11).returns()
        gain[name] = float(returns[:, 10].mean() - returns[:, :10].mean())
    assert gain["trained"] > 1.5 and gain["trained"] > gain["untrained"] + 1
    assert float((progress.after - progress.before)[-5:].mean()) > 1


def test_rows_after_the_end_of_an_episode_do_not_count():
    family = families.PointGoals(horizon=6)
    trials = episodes_of_a_task(policy(), GOALS[0], 0)
    cut = trials._replace(real=trials.real.at[:, :, 3:].set(False))
    batch, _ = judged(policy(), cut, discount=0.9, trace=0.9)
    advantage = batch.advantage.reshape(family.horizon, 5)
    assert float(jnp.abs(advantage[3:]).max()) == 0 and float(jnp.abs(advantage[:3]).min()) > 0


def test_advantages_as_they_are_tell_how_much_is_at_stake():
    """Rewards ten times as large: advantages ten times as large, or the same where they are normalised."""
    trials = episodes_of_a_task(policy(), GOALS[0], 0)
    larger = trials._replace(reward=10 * trials.reward)
    seen = lambda trials, **options: judged(policy(), trials, discount=0.9, trace=0.5, **options)[0].advantage
    scale = float(jnp.abs(seen(trials, normalise_advantages=False)).max())
    np.testing.assert_allclose(
        seen(larger, normalise_advantages=False) / 10, seen(trials, normalise_advantages=False), atol=1e-3 * scale
    )
    np.testing.assert_allclose(seen(larger), seen(trials), atol=1e-3)
    assert float(seen(trials).std()) == pytest.approx(1, abs=1e-4)


class Size(mutatis.AbstractRule):
    """Its state is the mean size of the advantages that it was given; the policy stays as it is."""

    def init(self, model):
        return jnp.zeros(())

    def update(self, model, state, context, *, key):
        return jnp.abs(context[0].advantage).mean()

    def bind(self, model, state):
        return model


def test_the_player_adapts_to_the_advantages_it_was_told():
    family, made, sizes = families.PointGoals(horizon=5), mutatis.Learner(policy(), Size()), {}
    seen = rl.play(family, GOALS[:1], rl.Memoryless(rl.Acting(made.model)), key=jax.random.key(0), episodes=3)
    seen = seen._replace(info={})
    for normalise in (True, False):
        player = rl.AdaptingPlayer(made, family, episodes=3, normalise_advantages=normalise)
        memory = player.start(1)._replace(trials=seen, episode=jnp.asarray(2))
        sizes[normalise] = float(player.begin(memory, jax.random.key(1)).state[0])
        one = jax.tree.map(lambda x: x[0], seen)
        batch, _ = judged(made.model, one, discount=0.99, trace=1.0, normalise_advantages=normalise)
        assert sizes[normalise] == pytest.approx(float(jnp.abs(batch.advantage).mean()), rel=1e-3)
    assert abs(sizes[True] - sizes[False]) > 0.05


def test_the_learner_adapts_to_the_advantages_it_was_told():
    family, after = families.PointGoals(horizon=5), {}
    for normalise in (True, False):
        agent = rl.MAML(family, tasks=2, episodes=3, normalise_advantages=normalise)
        after[normalise] = agent.train(agent.init(learner(rate=1.0), key=jax.random.key(0)), 1)[1]
    assert float(after[True].before[0]) == float(after[False].before[0])
    assert abs(float(after[True].after[0] - after[False].after[0])) > 1e-4


def test_what_is_seen_before_answers_for_the_return_after():
    """The term's gradient where the policy played: minus weight x credit x the mean of the gradient of log pi."""
    to64 = lambda tree: jax.tree.map(lambda x: x.astype(float) if eqx.is_inexact_array(x) else x, tree)
    made = to64(learner(rate=0.5, width=4))
    context = judged(made.model, to64(episodes_of_a_task(made.model, GOALS[0], 1)), discount=0.9, trace=0.9)
    task = mutatis.Task(context, context, jnp.asarray(1))
    row = lambda direction: jax.grad(
        lambda m: direction.loss(mutatis.Learner(m, made.rule), task, rl.surrogate_loss, key=jax.random.key(0))[0]
    )(made.model)
    term = jax.tree.map(jnp.subtract, row(rl.Exploring(0.3, jnp.array([5.0, -2.0]))), row(mutatis.Unrolled()))
    batch, _ = context
    mean_log = lambda m: m(batch.observation, batch.task).log_prob(batch.action).mean()
    for found, gradient in zip(jax.tree.leaves(term), jax.tree.leaves(jax.grad(mean_log)(made.model)), strict=True):
        np.testing.assert_allclose(found, 0.3 * 2.0 * gradient, atol=1e-9)


@pytest.mark.parametrize("method", [rl.TrustRegion(0.02), rl.Proximal()], ids=["TRPO", "PPO"])
def test_exploration_changes_the_outer_step_and_not_what_is_played(method):
    family, after = families.PointGoals(horizon=5), {}
    for weight in (0.0, 1e-30, 1.0):
        agent = rl.MAML(family, method, tasks=3, episodes=3, exploration=weight)
        after[weight] = agent.train(agent.init(learner(rate=1.0), key=jax.random.key(0)), 1)
    flat = {weight: jax.flatten_util.ravel_pytree(eqx.filter(state.learner, mutatis.trainable(state.learner)))[0]
            for weight, (state, _) in after.items()}  # fmt: skip
    assert after[1.0][1].after[0] == after[0.0][1].after[0]
    np.testing.assert_allclose(flat[1e-30], flat[0.0], atol=1e-5)
    assert float(jnp.abs(flat[1.0] - flat[0.0]).max()) > 1e-3


def test_bad_settings_are_named():
    for name in ("tasks", "episodes"):
        with pytest.raises(ValueError, match=name):
            rl.MAML(families.PointGoals(), **{name: 0})
    with pytest.raises(ValueError, match="exploration is -1; pass a weight of at least 0"):
        rl.MAML(families.PointGoals(), exploration=-1)
    with pytest.raises(ValueError, match="weighting: FAMO"):
        rl.MAML(families.PointGoals(), weighting=mutatis.FAMO())
