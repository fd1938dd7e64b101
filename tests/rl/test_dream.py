"""DREAM: which part of the loss reaches which network, what exploring is paid, what its player sees, that it helps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis import rl
from mutatis._tree import repeated
from mutatis.rl import families
from mutatis.rl._dream import DREAMLoss
from mutatis.rl._dream_networks import Episode, step_row, without_instruction

KEY = jax.random.key(0)
GRIDS = families.BusGrids(horizon=8)
PARTS = ("explorer", "exploiter", "identity", "trajectory")


class Doors(rl.AbstractFamily):
    """One of four doors pays 1, others cost 1 and end the episode; looking, for .1, shows which, in that step alone.

    Looking takes all the time there is, so that it helps only in an episode that is not for walking.
    """

    observation_size: int = eqx.field(static=True, default=6)
    horizon: int = eqx.field(static=True, default=2)

    @property
    def actions(self):
        return rl.Discrete(6)

    def sample(self, key, count):
        return jax.random.randint(key, (count,), 0, 4)

    def begin(self, task, key):
        return jnp.zeros((), jnp.int32), jnp.zeros(6)

    def move(self, task, place, action, key):
        door, looked = action < 4, action == 5
        shown = jnp.where(looked, jax.nn.one_hot(task, 6), jax.nn.one_hot(5, 6))
        reward = jnp.where(door, jnp.where(action == task, 1.0, -1.0), jnp.where(looked, -2.0, -0.1))
        return rl.Move(place + 1, shown, reward, door)


def agent(**options):
    settings = {"instruction": 4, "trials": 6, "updates": 2, "batch": 4, "latent": 5, "anneal": 3}
    return rl.DREAM(GRIDS, GRIDS.identify, **settings | options)


def begun(made, width=8):
    net_key, key = jax.random.split(KEY)
    state = made.init(made.networks(width=width, key=net_key), key=key)
    explored, _ = made._played(state.networks, jnp.full(made.trials, 0.7), KEY)
    return state._replace(replay=state.replay.add(explored)), explored


def first_of(trials):
    return jax.tree.map(lambda x: x[0], trials)


def reached(made, part):
    """The networks that this part of the loss on some trials moves."""
    state, trials = begun(made)
    loss = DREAMLoss(made, state.targets)
    total = lambda nets: jnp.sum(jax.vmap(lambda trial: part(loss, nets, trial))(trials))
    gradient = eqx.filter_grad(total)(state.networks)
    size = lambda tree: sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))
    return {name for name in PARTS if size(getattr(gradient, name)) > 0}


@pytest.mark.parametrize(
    ("decoupled", "part", "expected"),
    [
        (True, lambda loss, nets, trial: loss.exploiting(nets, trial, KEY)[0], {"exploiter", "identity"}),
        (True, lambda loss, nets, trial: loss.embedding(nets, trial), {"trajectory"}),
        (True, lambda loss, nets, trial: loss.exploring(nets, trial), {"explorer"}),
        (True, lambda loss, nets, trial: loss(nets, (trial, KEY)), set(PARTS)),
        (False, lambda loss, nets, trial: loss.exploiting(nets, trial, KEY)[0], {"exploiter", "trajectory"}),
        (False, lambda loss, nets, trial: loss.exploring(nets, trial), {"explorer"}),
        (False, lambda loss, nets, trial: loss(nets, (trial, KEY)), {"explorer", "exploiter", "trajectory"}),
    ],
)
def test_every_part_of_the_loss_reaches_its_own_networks(decoupled, part, expected):
    assert reached(agent(decoupled=decoupled), part) == expected


def test_the_bottleneck_costs_length_beyond_its_bound():
    bottleneck = lambda loss, nets, trial: loss.exploiting(nets, trial, KEY)[1]
    assert reached(agent(bound=1e-4), bottleneck) == {"identity"}
    assert reached(agent(bound=1e4), bottleneck) == set()
    made = agent(bound=1e-4)
    state, trials = begun(made)
    trial = first_of(trials)
    known = state.networks.identity(jax.nn.one_hot(trial.task, 24)[None])[0]
    cost = DREAMLoss(made, state.targets).exploiting(state.networks, trial, KEY)[1]
    np.testing.assert_allclose(cost, np.sum(np.square(known)), rtol=1e-6)


def test_exploring_is_paid_what_the_embeddings_of_the_moment_say():
    made = agent(trials=4)
    state, trials = begun(made)
    later, _ = made.train(state, 2)

    @eqx.filter_jit
    def by_steps(networks, trial):
        """The rewards, the trajectory embedded step by step."""
        known = networks.identity(jax.nn.one_hot(trial.task, 24)[None])[0]
        explored, memory = trial.explored, repeated(networks.trajectory.memory.start(), 1)
        said = [networks.trajectory.head(memory)[0]]
        for step in range(GRIDS.horizon):
            before, after = (explored.observation[at, :-4][None] for at in (step, step + 1))
            action, reward = jax.nn.one_hot(explored.action[step], 7)[None], explored.reward[step][None]
            rows = step_row(before, action, reward, after)
            memory, word = networks.trajectory.step(memory, rows, explored.real[step][None])
            said.append(word[0])
        distance = jnp.square(jnp.stack(said) - known[None]).sum(axis=1)
        return jnp.where(explored.real, distance[:-1] - distance[1:] - 0.1, 0)

    paid = eqx.filter_jit(DREAMLoss(made, state.targets).exploring_rewards)
    for networks in (state.networks, later.networks):
        for number in range(made.trials):
            trial = jax.tree.map(lambda x, number=number: x[number], trials)
            np.testing.assert_allclose(paid(networks, trial), by_steps(networks, trial), rtol=1e-4, atol=1e-5)
    first, second = (paid(each, first_of(trials)) for each in (state.networks, later.networks))
    assert jnp.abs(first - second).max() > 1e-4, "rewards do not follow the embeddings"


def test_not_decoupled_the_last_step_of_exploring_is_paid_what_exploiting_got():
    made = agent(decoupled=False)
    state, trials = begun(made)
    for number in range(made.trials):
        trial = jax.tree.map(lambda x, number=number: x[number], trials)
        found = np.asarray(DREAMLoss(made, state.targets).exploring_rewards(state.networks, trial))
        last = int(np.sum(trial.explored.real)) - 1
        np.testing.assert_allclose(found[last], np.sum(trial.exploited.reward), rtol=1e-6)
        assert not np.any(np.delete(found, last))


def test_episodes_are_kept_as_they_were_played():
    made = agent()
    state, _ = begun(made)
    tasks = jnp.arange(6)
    player = rl.DREAMPlayer(state.networks, jnp.full(6, 0.7))
    trials = rl.play(GRIDS, tasks, player, key=KEY, episodes=2)
    for number in (0, 1):
        episode = Episode.of(trials, number)
        np.testing.assert_array_equal(episode.observation[:, :-1], trials.observation[:, number])
        np.testing.assert_array_equal(episode.observation[:, 1:], trials.last_observation[:, number])
        np.testing.assert_array_equal(episode.reward, trials.reward[:, number])
    assert not np.all(trials.real), "no episode ended early: the case that differs was not met"


def test_exploiting_is_judged_by_what_it_read():
    made = agent(noise=0.0)
    state, trials = begun(made)
    loss = DREAMLoss(made, state.targets)
    np.testing.assert_array_equal(trials.is_told, [True, False] * 3)
    nowhere = eqx.tree_at(lambda nets: nets.identity.layers[-1].bias, state.networks, replace_fn=lambda b: b + 1)
    nothing = eqx.tree_at(lambda nets: nets.trajectory.head.layers[-1].bias, state.networks, replace_fn=lambda b: b + 1)
    for number in range(made.trials):
        trial = jax.tree.map(lambda x, number=number: x[number], trials)
        error = lambda nets, trial=trial: float(loss.exploiting(nets, trial, KEY)[0])
        as_it_is = error(state.networks)
        assert (error(nowhere) != as_it_is) == bool(trial.is_told)
        assert (error(nothing) != as_it_is) == (not trial.is_told)


def test_the_player_acts_by_the_networks_on_what_it_may_see():
    made = agent()
    state, _ = begun(made)
    nets = state.networks
    trials = rl.play(GRIDS, jnp.arange(6), state.player(), key=KEY, episodes=3)
    one_hot = lambda action: jax.nn.one_hot(action, 7)

    @eqx.filter_jit
    def expected(explored, starts):
        """Actions of exploring, of the whole episode at once; the first ones of both that exploit."""
        seen = without_instruction(explored.observation, 4)
        before = jnp.concatenate([jnp.zeros((1, 7)), one_hot(explored.action[:-1])])
        paid = jnp.concatenate([jnp.zeros(1), explored.reward[:-1]])[:, None]
        values = nets.explorer.episode(jnp.concatenate([seen[:-1], before, paid], axis=1), explored.real)
        steps = step_row(seen[:-1], one_hot(explored.action), explored.reward, seen[1:])
        said = nets.trajectory.prefixes(steps, explored.real)[-1]
        rows = jnp.concatenate([starts, jnp.zeros((2, 7)), jnp.stack([said, said])], axis=1)
        each = jax.vmap(lambda row: nets.exploiter.episode(row[None], jnp.ones(1, bool)))(rows)
        return jnp.argmax(values, axis=1), jnp.argmax(each[:, 0], axis=1)

    explored = Episode.of(trials, 0)
    for world in range(6):
        mine = jax.tree.map(lambda x, world=world: x[world], explored)
        exploring, exploiting = expected(mine, trials.observation[world, 1:, 0])
        np.testing.assert_array_equal(exploring[mine.real], mine.action[mine.real])
        np.testing.assert_array_equal(exploiting, trials.action[world, 1:, 0])


def test_worlds_that_are_told_read_that():
    made = agent()
    state, _ = begun(made)
    told, is_told = jnp.full((4, 5), 100.0), jnp.array([True, False, True, False])
    tasks = jnp.zeros(4, jnp.int32)
    play = lambda player: rl.play(GRIDS, tasks, player, key=KEY, episodes=2)
    plain, with_told = play(state.player()), play(rl.DREAMPlayer(state.networks, 0.0, told, is_told))
    np.testing.assert_array_equal(plain.action[:, 0], with_told.action[:, 0])
    np.testing.assert_array_equal(plain.action[1::2, 1], with_told.action[1::2, 1])
    assert np.any(np.asarray(plain.action[::2, 1] != with_told.action[::2, 1]))


def test_the_share_of_random_actions_falls_to_one_of_each_worlds_own():
    made = agent(anneal=10, random=(0.01, 0.4), trials=6)
    np.testing.assert_allclose(made.random_shares(jnp.asarray(0)), np.ones(6))
    end = np.asarray(made.random_shares(jnp.asarray(99)))
    np.testing.assert_allclose(end, np.repeat([0.01, np.sqrt(0.004), 0.4], 2), rtol=1e-5)
    np.testing.assert_allclose(made.random_shares(jnp.asarray(5)), (1 + end) / 2, rtol=1e-5)
    state, _ = begun(made)
    player = rl.DREAMPlayer(state.networks, jnp.array([0.0, 1.0]))
    tasks = jnp.zeros(2, jnp.int32)
    first = lambda seed: np.asarray(rl.play(GRIDS, tasks, player, key=jax.random.key(seed)).action[:, 0, 0])
    actions = np.stack([first(seed) for seed in range(30)])
    assert len(set(actions[:, 0])) == 1
    assert len(set(actions[:, 1])) > 3


def test_training_goes_on_from_its_state():
    made = agent()
    state, _ = begun(made)
    whole, progress = made.train(state, 4)
    half, first = made.train(state, 2)
    arrays, rest = eqx.partition(half, eqx.is_array)
    again, second = made.train(eqx.combine(jax.tree.map(lambda x: x.copy(), arrays), rest), 2)
    for left, right in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        if eqx.is_array(left) and not jnp.issubdtype(left.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(progress.returns, np.concatenate([first.returns, second.returns]))


def test_learns_to_look_first_and_then_to_know():
    family = Doors()
    made = rl.DREAM(
        family,
        lambda task: jax.nn.one_hot(task, 4),
        trials=32,
        updates=8,
        batch=32,
        anneal=40,
        latent=4,
        learning_rate=3e-3,
    )
    net_key, key = jax.random.split(KEY)
    state = made.init(made.networks(width=16, key=net_key), key=key)
    state, _ = made.train(state, 150)
    tasks = jnp.arange(80) % 4
    trials = rl.play(family, tasks, state.player(), key=KEY, episodes=2)
    assert np.mean(np.any(trials.action[:, 0] == 5, axis=1)) > 0.95, "does not look"
    # Without having looked before, one in four doors is right: -.2 for waiting is the best.
    assert trials.returns()[:, 1].mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials"),
        ({"batch": 0}, "batch"),
        ({"capacity": 3}, "capacity is 3, less than the 6 trials"),
        ({"random": (0.0, 0.4)}, "random is .*; choose shares with 0 < least"),
        ({"random": (0.5, 0.4)}, "random is"),
        ({"instruction": 23}, "instruction is 23; an observation has 23"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        agent(**options)


def test_refuses_a_box():
    with pytest.raises(ValueError, match="family: its actions are not Discrete"):
        rl.DREAM(families.PointGoals(), lambda task: task)
