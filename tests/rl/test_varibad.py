"""VariBAD: its bound by hand, which loss reaches which parameters, beliefs over whole trials, and learning."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis import rl
from mutatis.rl import families
from mutatis.rl._varibad import believed
from mutatis.rl._varibad_model import lived

KEY = jax.random.key(0)
GRIDS = families.BusGrids(horizon=6)
WORLDS, EPISODES = 6, 3


@functools.cache
def on_grids(**options):
    """A learner, its state, and trials whose episodes end early, at different times."""
    learner = rl.VariBAD(GRIDS, latent=2, episodes=EPISODES, trials=WORLDS, minibatches=2, decoded=4)
    actor, model = learner.networks(width=8, hidden=(8,), **options, key=KEY)
    head = lambda m: m.encoder.head.weight
    model = eqx.tree_at(head, model, 3 * head(model))  # beliefs that differ from row to row
    state = learner.init(actor, model, key=jax.random.key(1))
    tasks = GRIDS.sample(jax.random.key(2), WORLDS)
    trials = rl.play(GRIDS, tasks, state.player(), key=jax.random.key(3), episodes=EPISODES)
    assert not bool(trials.real.all())
    return learner, state, trials


lived_on_grids = jax.jit(lambda trials: lived(trials, GRIDS.actions))
judge = eqx.filter_jit(lambda bound, model, query: bound(model, query))
read_on = eqx.filter_jit(lambda encoder, state, seen: encoder.step(state, seen))
beliefs_of = eqx.filter_jit(lambda state, trials: state.beliefs(trials))


def one_of(tree, world):
    return jax.tree.map(lambda x: x[world], tree)


def perceptron(net, x):
    x = np.asarray(x, float)
    layers = [layer for layer in net.layers if hasattr(layer, "weight")]
    for number, layer in enumerate(layers):
        x = x @ np.asarray(layer.weight, float) + np.asarray(layer.bias, float)
        x = np.maximum(x, 0) if number < len(layers) - 1 else x
    return x


def met_beliefs(encoder, seen):
    """Means and log variances, read row by row without those that are not real."""
    memory = encoder.memory.start()[None]
    means, log_variances = [], []
    for row in range(seen.reward.shape[0]):
        if seen.real[row]:
            memory, belief = read_on(encoder, memory, jax.tree.map(lambda x, r=row: x[r][None], seen))
        means.append(np.asarray(belief.mean[0]))
        log_variances.append(2 * np.asarray(belief.log_std[0]))
    return np.array(means), np.array(log_variances)


@pytest.mark.parametrize("options", [{}, {"by_arrival": True}, {"outcomes": True}], ids=str)
def test_bound_is_the_formula(options):
    _, state, trials = on_grids(**options)
    bound = rl.TrialBound(jnp.asarray(0.3), decoded=100)
    every = lived_on_grids(trials)
    for world in (0, 3):
        rows = one_of(every, world)
        key = jax.random.key(7)
        got = float(judge(bound, state.model, (rows, key)))

        mean, log_variance = met_beliefs(state.model.encoder, rows.seen)
        _, draw_key = jax.random.split(key)
        noise = np.asarray(jax.random.normal(draw_key, mean.shape, mean.dtype))
        m = mean + np.exp(log_variance / 2) * noise
        real = np.flatnonzero(rows.seen.real)
        action = np.eye(GRIDS.actions.count)[np.asarray(rows.action)]
        taken = np.concatenate([rows.seen.observation, action], axis=1)
        surprises, divergences, before = [], [], (np.zeros(2), np.zeros(2))
        for t in real:
            error = 0.0
            for i in real:
                told = rows.outcome[i] if "by_arrival" in options else np.concatenate([taken[i], rows.outcome[i]])
                said = perceptron(state.model.decoder.reward, np.concatenate([told, m[t]])[None])
                error += 0.5 * (said[0, 0] - float(rows.reward[i])) ** 2
                if "outcomes" in options:
                    led = perceptron(state.model.decoder.outcome, np.concatenate([taken[i], m[t]])[None])[0]
                    error += 0.5 * np.sum((led - np.asarray(rows.outcome[i])) ** 2)
            surprises.append(error)
            (mu, log_v), (old_mu, old_log_v) = (mean[t], log_variance[t]), before
            shift = (np.exp(log_v) + (mu - old_mu) ** 2) / np.exp(old_log_v)
            divergences.append(0.5 * np.sum(shift - 1 + old_log_v - log_v))
            before = mean[t], log_variance[t]
        assert got == pytest.approx(np.mean(surprises) + 0.3 * np.mean(divergences), rel=1e-4)
        assert np.mean(divergences) > 1e-3


def test_divergence_is_the_integral():
    """KL(q || p) of two Gaussians over one number, by the sum of q log(q / p) on a fine grid."""
    x = np.linspace(-12, 12, 200_001)
    density = lambda mean, std: np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    for mean, std, other_mean, other_std in ((0.3, 0.5, 0.0, 1.0), (-1.0, 1.5, 0.4, 0.8)):
        q, p = density(mean, std), density(other_mean, other_std)
        integral = np.sum(np.where(q > 1e-300, q * np.log(np.maximum(q, 1e-300) / p), 0)) * (x[1] - x[0])
        make = lambda m, s: rl.Gaussian(jnp.array([m]), jnp.log(jnp.array([s])))
        assert float(make(mean, std).kl(make(other_mean, other_std))) == pytest.approx(integral, rel=1e-6)


def test_some_rows_decoded_are_all_of_them_on_average():
    _, state, trials = on_grids()
    rows = one_of(lived_on_grids(trials), 1)
    bias = state.model.encoder.head.bias.at[2:].set(-60.0)  # hardly any variance: the draws do not matter
    model = eqx.tree_at(lambda m: m.encoder.head.bias, state.model, bias)
    some, every = rl.TrialBound(jnp.asarray(0.0), 3), rl.TrialBound(jnp.asarray(0.0), 100)
    drawn = eqx.filter_jit(jax.vmap(lambda key: some(model, (rows, key))))(jax.random.split(KEY, 4_000))
    drawn, whole = np.asarray(drawn), float(judge(every, model, (rows, KEY)))
    assert drawn.std() > 0.01 * whole
    assert abs(drawn.mean() - whole) < 5 * drawn.std() / np.sqrt(4_000)


def largest(tree):
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))


def moved(before, after):
    inexact = lambda tree: eqx.filter(tree, eqx.is_inexact_array)
    return largest(jax.tree.map(lambda a, b: a - b, inexact(before), inexact(after)))


def test_policys_loss_trains_no_belief():
    learner, state, trials = on_grids()
    rows = one_of(eqx.filter_jit(learner.control.assess)(state.policy, trials), 0)
    loss = rl.TrialLoss(rl.ProximalLoss(entropy=0.1))
    gradient = eqx.filter_jit(eqx.filter_grad(lambda policy: loss(policy, rows)))(state.policy)
    assert largest(gradient.encoder) == 0 and largest(gradient.actor.policy) > 0 and largest(gradient.actor.value) > 0


def test_player_acts_on_the_beliefs_of_the_whole_trial():
    """Its distributions, met step by step over the episodes, are those that training learns from."""
    _, state, trials = on_grids()
    state = state._replace(acting=jax.tree.map(lambda x: 3 * x if eqx.is_inexact_array(x) else x, state.acting))
    belief = beliefs_of(state, trials)
    told = believed(trials.observation, belief).reshape(WORLDS * EPISODES * 6, -1)
    learned = state.policy.actor.distribution(told).logits.reshape(WORLDS, EPISODES, 6, -1)
    whole, _ = eqx.filter_jit(eqx.filter_vmap(state.policy.trial))(lived_on_grids(trials).seen)
    np.testing.assert_allclose(whole.logits.reshape(learned.shape), learned, atol=1e-5)

    player, memory, gaps = state.player(), state.player().start(WORLDS), []
    step_on = eqx.filter_jit(state.policy.step)
    for episode in range(EPISODES):
        memory = player.begin(memory, KEY)
        for step in range(6):
            at = lambda x, e=episode, s=step: x[:, e, s]
            observation, action, real = at(trials.observation), at(trials.action), at(trials.real)
            now = rl.Seen(observation, memory.action, memory.reward, memory.first, ~memory.over)
            read, met = step_on(memory.memory, now)
            gaps.append(float(jnp.abs(met.logits - at(learned))[real].max(initial=0)))
            ended = at(trials.terminated) | (step == 5)
            shown = rl.Timestep(observation, observation, at(trials.reward), at(trials.terminated), ended, {})
            memory = player.learn(memory._replace(memory=read), observation, action, shown)
    assert max(gaps) < 1e-5
    # What is believed as the last episode begins depends on what the first has paid.
    other = beliefs_of(state, trials._replace(reward=trials.reward.at[:, 0, 0].add(1.0)))
    assert float(jnp.abs(other.mean - belief.mean)[:, 2, 0].max(axis=1).min()) > 1e-4
    np.testing.assert_array_equal(other.mean[:, 0, 0], belief.mean[:, 0, 0])


def from_saved(tree):
    """The same state, its arrays as if read from a file."""

    def leaf(x):
        if not eqx.is_array(x):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(np.array(jax.random.key_data(x))))
        return jnp.asarray(np.array(x))

    return jax.tree.map(leaf, tree)


def test_two_arms_are_played_nearly_as_well_as_can_be_and_training_goes_on_to_the_same_bits():
    family = families.BernoulliBandits(arms=2, horizon=6)
    keys = jax.random.split(KEY, 4)
    settings = {"discount": 1.0, "trace": 0.3, "learning_rate": 3e-3, "model_rate": 3e-3}
    learner = rl.VariBAD(family, latent=4, trials=512, model_epochs=2, **settings)
    begun = learner.init(*learner.networks(width=16, hidden=(16,), key=keys[0]), key=keys[1])
    middle, progress = learner.train(begun, 40)
    state, _ = learner.train(middle, 40)
    again, _ = learner.train(from_saved(middle), 40)
    same = lambda a, b: not eqx.is_array(a) or bool(jnp.array_equal(a, b))
    assert all(jax.tree.leaves(jax.tree.map(same, state, again)))
    assert all(x.shape == (40, *rest) for x, rest in zip(progress, [(1,), (), (), (), ()], strict=True))
    assert int(state.updates) == 80 and float(progress.reconstruction[-1]) < float(progress.reconstruction[0])

    trials = rl.play(family, family.sample(keys[2], 10_000), state.player(noise=False), key=keys[3])
    best = families.bandit_value(2, 6)
    assert 0.95 * best < float(trials.returns().mean()) < 1.02 * best


def test_beliefs_are_what_bayes_says_of_random_pulls():
    """The best guess of what an arm pays in the rows of a trial, past and future, is exactly known.

    After s successes and f failures, with n pulls to come of which half are this arm's, it is
    (s + p n / 2) / (s + f + n / 2), where p = (s + 1) / (s + f + 2).
    """
    family = families.BernoulliBandits(arms=2, horizon=6)
    keys = jax.random.split(KEY, 5)
    settings = {"latent": 4, "trials": 512, "epochs": 1, "model_epochs": 4, "minibatches": 2}
    learner = rl.VariBAD(family, divergence=0.01, learning_rate=0.0, model_rate=5e-3, **settings)
    actor, model = learner.networks(width=16, hidden=(16,), key=keys[0])
    actor = jax.tree.map(lambda x: 0 * x if eqx.is_inexact_array(x) else x, actor)  # all actions equally likely
    begun = learner.init(actor, model, key=keys[1])
    state, _ = learner.train(begun, 160)
    assert moved(begun.acting.model, state.acting.model) == 0  # the bound trains no policy
    assert moved(begun.model.encoder, state.model.encoder) > 0 < moved(begun.model.decoder, state.model.decoder)

    trials = rl.play(family, family.sample(keys[2], 500), state.player(), key=keys[3])
    ones, arms = jnp.ones((2, 1), jnp.float32), jnp.arange(2)
    expect = lambda belief, key: state.model.expected_rewards(belief, ones, ones, arms, key=key)
    beliefs, expect = beliefs_of(state, trials), eqx.filter_jit(jax.vmap(expect))
    for pulls in (0, 2, 4):
        got = expect(jax.tree.map(lambda x, t=pulls: x[:, 0, t], beliefs), jax.random.split(keys[4], 500))
        pulled = np.asarray(trials.action[:, 0, :pulls])[..., None] == np.arange(2)
        won = (pulled * np.asarray(trials.reward[:, 0, :pulls])[..., None]).sum(1)
        tried, later = pulled.sum(1), (6 - pulls) / 2
        exact = (won + later * (won + 1) / (tried + 2)) / (tried + later)
        assert np.abs(got - exact).mean() < 0.06


def test_expected_rewards_are_those_of_arriving_by_staying_unless_told_otherwise():
    _, state, _ = on_grids()
    places = jax.random.normal(KEY, (5, GRIDS.observation_size), jnp.float32)
    belief = rl.Gaussian(jnp.array([0.4, -1.0]), jnp.full(2, -40.0))  # certain
    got = state.model.expected_rewards(belief, places, draws=3, key=KEY)
    numbers = [places, np.zeros((5, GRIDS.actions.count)), places, np.tile(belief.mean, (5, 1))]
    np.testing.assert_allclose(got, perceptron(state.model.decoder.reward, np.concatenate(numbers, 1))[:, 0], atol=1e-5)


def test_bad_settings_are_named():
    for name in ("latent", "episodes", "trials", "epochs", "minibatches", "model_epochs", "decoded"):
        with pytest.raises(ValueError, match=name):
            rl.VariBAD(GRIDS, **{name: 0})
    with pytest.raises(ValueError, match="does not divide the 10 trials"):
        rl.VariBAD(GRIDS, trials=10, minibatches=4)
    learner, state, _ = on_grids()
    wider = rl.BeliefActor(GRIDS, 3, hidden=(4,), key=KEY)
    with pytest.raises(ValueError, match="actor: takes"):
        learner.init(wider, state.model, key=KEY)
    with pytest.raises(ValueError, match="draws"):
        state.model.expected_rewards(rl.Gaussian(jnp.zeros(2), jnp.zeros(2)), jnp.zeros((1, 1)), draws=0, key=KEY)
