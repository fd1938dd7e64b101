"""Meta-World as a family: the worlds' own numbers, in any number of worlds, learned from and judged without bias."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="worlds are not installed: pip install 'mutatis[worlds]'")

import mutatis
from mutatis import nn, rl, worlds

KEY = jax.random.key(0)
NAMES = ("reach", "door-lock", "push")
TARGETS = worlds.make("ML1-reach").vectors[0][:4, 3:]


def family_of(names=NAMES, split="train", **options):
    return rl.WorldFamily(worlds.make(names, split, **({"observe_goal": False, "threads": 1} | options)))


@rl.Memoryless
def at_random(observation, key):
    return jax.random.uniform(key, (observation.shape[0], 4), minval=-1, maxval=1)


def towards(point, observation):
    """Where reach's hand must go, (worlds, 4)."""
    way = jnp.clip(10 * (point - observation[:, :3]), -1, 1)
    return jnp.concatenate([way, jnp.zeros((way.shape[0], 1), way.dtype)], axis=1)


def going_to(number):
    return rl.Memoryless(lambda observation, key: towards(jnp.asarray(TARGETS[number])[None], observation))


@pytest.mark.parametrize("options", [{}, {"observe_goal": True, "one_hot": True, "worlds_per_task": 2, "threads": 2}])
def test_trials_are_those_of_the_worlds(options):
    """The same actions at the same goals, through `Worlds`: nothing is hidden, scaled or shifted on the way."""
    family = family_of(horizon=6, **options)
    tasks = family.sample(KEY, 9)
    trials = rl.play(family, tasks, at_random, key=jax.random.key(1), episodes=2)
    options = options | {"worlds_per_task": 3}
    checked = worlds.make(NAMES, autoreset_mode="Disabled", **({"observe_goal": False, "horizon": 6} | options))
    assert trials.observation.shape[-1] == family.observation_size == checked.single_observation_space.shape[0]
    for episode in range(2):
        observation, _ = checked.reset(options={"goals": np.asarray(tasks.goal)})
        for step in range(6):
            np.testing.assert_allclose(trials.observation[:, episode, step], observation, rtol=0, atol=1e-12)
            action = np.asarray(trials.action[:, episode, step])
            observation, reward, _, truncated, info = checked.step(action)
            np.testing.assert_allclose(trials.last_observation[:, episode, step], observation, rtol=0, atol=1e-12)
            np.testing.assert_allclose(trials.reward[:, episode, step], reward, rtol=1e-12, atol=1e-12)
            np.testing.assert_array_equal(trials.info["success"][:, episode, step], info["success"])
            assert truncated.all() == (step == 5)
    assert trials.real.all() and not trials.terminated.any() and not trials.info["unstable"].any()


def test_any_number_of_worlds_from_simulations_that_are_built_once(monkeypatch):
    options = {"threads": 2, "horizon": 3}
    few, many = (family_of("push", worlds_per_task=built, **options) for built in (3, 7))

    def built(*arguments, **options):
        raise AssertionError("simulations are built anew")

    monkeypatch.setattr("mutatis.worlds._simulator.Physics", built)

    @eqx.filter_jit
    def both(tasks, fewer):
        return [rl.play(few, each, going_to(0), key=KEY) for each in (tasks, fewer)]

    trials, fewer = both(few.every(7), few.every(1))
    expected = rl.play(many, many.every(7), going_to(0), key=KEY)
    for one, other in zip(jax.tree.leaves(trials), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(jax.tree.leaves(fewer), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other[::7])


def test_worlds_are_shared_evenly_and_goals_drawn_from_all():
    family = family_of()
    tasks = family.sample(KEY, 3_000)
    np.testing.assert_array_equal(tasks.task, np.repeat(np.arange(3), 1_000))
    counts = np.stack([np.bincount(each, minlength=50) for each in np.asarray(tasks.goal).reshape(3, 1_000)])
    assert counts.shape == (3, 50) and counts.min() > 4 and counts.max() < 45  # 20 each, deviation 4.4
    with pytest.raises(ValueError, match="count: 10 worlds cannot be shared evenly by 3 tasks"):
        family.sample(KEY, 10)


def test_every_goal_once():
    made = worlds.make(["reach", "push"], observe_goal=False)
    made.set_goals([made.vectors[0][:5], made.vectors[1][:7]])
    family = rl.WorldFamily(made)
    tasks = family.every(3)
    assert tasks.task.tolist() == [0, 0, 0, 1, 1, 1] and tasks.goal.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="goals: the tasks have from 5 to 7"):
        family.every()
    with pytest.raises(ValueError, match="goals is 6; every task has 1 to 5"):
        family.every(6)
    assert set(family.sample(KEY, 200).goal[:100].tolist()) == set(range(5))


def test_wrong_worlds_and_tasks_are_named():
    with pytest.raises(ValueError, match="make them with terminate_on_success=False"):
        family_of("reach", terminate_on_success=True)
    family = family_of(["reach", "push"], horizon=2)
    for wrong in (
        rl.WorldTask(jnp.array([0, 1, 0, 1]), jnp.zeros(4, int)),
        rl.WorldTask(jnp.array([0, 1]), jnp.full(2, 50)),
    ):
        with pytest.raises(RuntimeError, match="must stand next to each other"):
            jax.block_until_ready(eqx.filter_jit(family.reset)(wrong, KEY))
    with pytest.raises(ValueError, match="tasks: 3 worlds cannot be shared evenly by 2 tasks"):
        rl.play(family, rl.WorldTask(jnp.zeros(3, int), jnp.zeros(3, int)), at_random, key=KEY)


def test_a_world_whose_episode_is_over_stays_as_it_is():
    family = family_of("pick-place", worlds_per_task=2, horizon=3)
    tasks, step = family.every(2), eqx.filter_jit(family.step)
    state, _ = family.reset(tasks, KEY)
    for _ in range(3):
        state, shown = step(tasks, state, jnp.ones((2, 4)), KEY)
    assert shown.truncated.all() and not shown.terminated.any() and (shown.reward > 0).all()
    after, still = step(tasks, state, -jnp.ones((2, 4)), KEY)
    np.testing.assert_array_equal(still.observation, shown.observation)
    assert not still.reward.any() and still.truncated.all() and not still.info["success"].any()
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_the_physics_diverges_the_episode_ends_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the simulator writes a log
    family = family_of("pick-place", worlds_per_task=3, horizon=4)
    tasks, step = family.every(3), eqx.filter_jit(family.step)
    state, before = family.reset(tasks, KEY)
    physics = np.array(state.places[0].physics["physics"])
    velocity = 1 + worlds._models.load("pick_place_v3").nq
    physics.view(np.float64)[1, velocity] = 1e12
    place = state.places[0]._replace(physics=state.places[0].physics | {"physics": jnp.asarray(physics)})
    shaken, others = state._replace(places=[place]), np.array([True, False, True])
    for k in range(4):
        state, expected = step(tasks, state, jnp.full((3, 4), 0.3), KEY)
        shaken, shown = step(tasks, shaken, jnp.full((3, 4), 0.3), KEY)
        np.testing.assert_array_equal(shown.observation[others], expected.observation[others])
        np.testing.assert_array_equal(shown.reward[others], expected.reward[others])
        assert shown.truncated.tolist() == [k == 3, True, k == 3] and not shown.reward[1]
        assert shown.info["unstable"].tolist() == [False, k == 0, False]
        np.testing.assert_array_equal(shown.observation[1, :18], before[1, :18])


def test_rl2_learns_from_it():
    family = family_of(("reach", "push"), worlds_per_task=2, horizon=3)
    learner = rl.RL2(family, episodes=2, trials=4, minibatches=2, epochs=1)
    begun = learner.init(rl.recurrent_policy(family, width=8, key=KEY), key=KEY)
    state, progress = learner.train(begun, 2)
    assert int(state.updates) == 2 and bool(jnp.isfinite(progress.returns).all())
    assert float(jnp.abs(state.policy.policy.weight - begun.policy.policy.weight).max()) > 0


def test_pearl_learns_from_it():
    family = family_of(("reach", "push"), worlds_per_task=2, horizon=3)
    learner = rl.PEARL(family, latent=2, updates=2, meta_batch=2, batch=8, context=4)
    begun = learner.init(family.sample(KEY, 4), hidden=(8,), key=KEY)
    state, progress = learner.train(begun, 2)
    assert int(state.iterations) == 2 and bool(jnp.isfinite(progress.critic_loss).all())
    trials = rl.play(family, family.every(1), state.player(noise=False), key=KEY, episodes=2)
    assert trials.returns().shape == (2, 2)


def test_maml_learns_from_it():
    family = family_of("ML1-reach", worlds_per_task=4, horizon=3)
    policy = rl.GaussianPolicy(nn.UntoldTask(nn.mlp((39, 8, 4), key=KEY)), 4)
    learner = rl.MAML(family, tasks=2, episodes=2)
    adapting = mutatis.Learner(policy, mutatis.GradientSteps(rl.surrogate_loss, learning_rate=0.1))
    state, progress = learner.train(learner.init(adapting, key=KEY), 1)
    assert bool(jnp.isfinite(progress.after).all())
    player = rl.AdaptingPlayer(state.learner, family, episodes=2)
    result = rl.evaluate_trials(family, player, key=KEY, episodes=3, goals=4)
    assert result.returns.shape == (1, 4, 3) and np.isfinite(result.returns).all()


def officially(player, goals, adaptation, **options):
    once = rl.Stepwise(player, key=KEY, episodes=adaptation)
    settings = {"goals": goals, "worlds_per_task": goals, "threads": 1} | options
    hooks = {"adapt": once.adapt, "begin": once.begin, "learn": once.learn}
    return worlds.evaluate_officially(once.act, "ML1-reach", **hooks, **settings)


def test_one_of_four_goals_is_a_quarter_here_and_all_officially():
    player = going_to(2)
    result = rl.evaluate_trials(family_of("ML1-reach", worlds_per_task=4), player, key=KEY, episodes=2, goals=4)
    np.testing.assert_array_equal(result.success[0], np.tile(np.arange(4)[:, None] == 2, 2))
    first, second = result.by_episode()
    assert first.mean().value == second.mean().value == 0.25
    assert first.mean().low == 0 and first.mean().high == 0.75  # of 4 drawn, 0 to 3 in 95 of 100
    official = officially(player, 4, 1)
    assert official.mean() == 1.0 and (official.goal == 2).all()


def test_numbers_are_those_of_the_evaluation_without_memory():
    made = worlds.evaluation_worlds("ML1-reach", "test", goals=3, horizon=60)
    point = made.targets[1]
    expected = worlds.evaluate(lambda seen: np.asarray(towards(point[None], jnp.asarray(seen))), made)
    player = rl.Memoryless(lambda seen, key: towards(point[None], seen))
    result = rl.evaluate_trials(family_of("ML1-reach", "test", horizon=60), player, key=KEY, episodes=1, goals=3)
    assert 0 < expected.mean().value < 1
    for name in ("success", "success_at_end", "steps"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    np.testing.assert_allclose(result.returns, expected.returns, rtol=1e-9)
    unlike = {"trials", "threads"}
    assert {k: v for k, v in result.row().items() if k not in unlike} == expected.row()


class Found(eqx.Module):
    """The memory of `Searching`, in N worlds."""

    best: jax.Array
    where: jax.Array
    earned: jax.Array
    episode: jax.Array


class Searching(eqx.Module):
    """Goes to one point after the other, one in each episode, and from then on where it has earned most."""

    points: jax.Array

    def start(self, count):
        return Found(jnp.zeros(count), jnp.zeros(count, int), jnp.zeros(count), jnp.full((), -1))

    def begin(self, memory, key):
        better = memory.earned > memory.best
        where = jnp.where(better, memory.episode, memory.where)
        best = jnp.where(better, memory.earned, memory.best)
        return Found(best, where, jnp.zeros_like(best), memory.episode + 1)

    def act(self, memory, observation, key):
        searches = memory.episode < self.points.shape[0]
        return memory, towards(self.points[jnp.where(searches, memory.episode, memory.where)], observation)

    def learn(self, memory, observation, action, shown):
        return eqx.tree_at(lambda memory: memory.earned, memory, memory.earned + shown.reward)


def test_what_is_learned_in_a_trial_is_seen_in_both_evaluations():
    player = Searching(jnp.asarray(TARGETS))
    family = family_of("ML1-reach", worlds_per_task=4, horizon=50)
    result = rl.evaluate_trials(family, player, key=KEY, episodes=6, goals=4)
    rates = [each.mean().value for each in result.by_episode()]
    assert max(rates[:4]) <= 0.5 and rates[4:] == [1.0, 1.0]
    assert result.success[0, np.arange(4), np.arange(4)].all()
    row = result.row()
    assert [each[0] for each in row["success_by_episode"]] == rates and row["trials"]
    official = officially(player, 4, 4, horizon=50, episodes=8)
    assert official.mean() == 1.0 and set(official.goal.ravel().tolist()) == {0, 1, 2, 3}
    unadapted = officially(player, 4, 1, horizon=50, episodes=8)
    assert unadapted.mean() < 1  # it still searches: the episodes that are evaluated teach it nothing


def test_stepwise_plays_on_as_the_trial_does():
    """A quiet recurrent policy: the first episode that is evaluated is the trial's next one, reward for reward."""
    family = family_of("ML1-reach", worlds_per_task=3, horizon=4)
    policy = rl.recurrent_policy(family, width=8, key=KEY)
    policy = eqx.tree_at(lambda p: p.policy.weight, policy, replace_fn=lambda w: 200 * w)
    player = rl.RecurrentPlayer(policy, noise=False)
    trials = rl.play(family, family.every(3), player, key=KEY, episodes=3)
    official = officially(player, 3, 2, horizon=4, episodes=3)
    np.testing.assert_allclose(official.returns[0, 0], trials.returns()[official.goal[0, 0], 2], rtol=1e-5)
    other = officially(player, 3, 1, horizon=4, episodes=3)
    assert np.abs(other.returns - official.returns).max() > 1e-4  # memory matters
    with pytest.raises(ValueError, match="adapt: it has not been called"):
        rl.Stepwise(player, key=KEY).act(np.zeros((3, 39)))
    with pytest.raises(ValueError, match="episodes"):
        rl.Stepwise(player, key=KEY, episodes=0)
