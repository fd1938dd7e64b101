"""Where learners with a belief take the goal to be: against agents whose answer is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis import rl
from mutatis.rl import families
from mutatis.studies.trials._believed import where_draws_end, where_rewards_are

KEY = jax.random.key(0)
GOALS = jnp.array([[0.5, 0.5], [-0.5, 0.3]], jnp.float32)


class ToZ(eqx.Module):
    """An actor that walks to z: mean and log of the deviation of actions, from places and z."""

    def __call__(self, rows, task):
        way = jnp.clip(10 * (rows[:, 2:4] - rows[:, :2]), -0.999, 0.999)
        return jnp.concatenate([jnp.arctanh(way), jnp.zeros_like(way)], axis=1)


def test_pearls_draws_end_where_its_actor_goes():
    """With an actor that walks to z the places are the draws: of the prior at first, of the belief then."""
    family = families.PointGoals(horizon=60)
    made = rl.PEARL(family, latent=2, updates=1)
    state = made.init(GOALS, hidden=(8,), key=KEY)
    state = state._replace(actor=eqx.tree_at(lambda learner: learner.model, state.actor, ToZ()))
    trials = rl.play(family, GOALS, state.player(1), key=KEY, episodes=3)
    found = where_draws_end(family, GOALS, state, trials, np.array([0, 2]), KEY)
    assert found.shape == (2, 2, 24, 2)
    beliefs, z_key = state.beliefs(trials), jax.random.split(KEY)[0]
    held = jax.tree.map(lambda x: jnp.repeat(x[:, np.array([0, 2]), None], 24, axis=2), beliefs)
    np.testing.assert_allclose(found, held.sample(key=z_key), atol=0.02)
    assert found[:, 1].std() < found[:, 0].std()  # it has seen two episodes


def test_varibads_places_are_those_of_most_expected_reward():
    """With a decoder that pays for being near m the places are the draws, to the spacing of the lattice."""
    family = families.SparsePointGoals(horizon=5)
    made = rl.VariBAD(family, episodes=2, trials=4, epochs=1, minibatches=1, latent=2)
    state = made.init(*made.networks(width=8, hidden=(8,), by_arrival=True, key=KEY), key=KEY)
    near = lambda rows: -jnp.square(rows[:, :2] - jnp.tanh(rows[:, 2:4])).sum(axis=1, keepdims=True)
    where = lambda learner: learner.model.decoder.reward
    state = state._replace(modelling=eqx.tree_at(where, state.modelling, near))
    trials = rl.play(family, family.sample(KEY, 3), state.player(), key=KEY, episodes=2)
    found = where_rewards_are(state, trials, np.array([0, 1]), KEY)
    belief = jax.tree.map(lambda x: jnp.repeat(x[:, np.array([0, 1]), :1], 24, axis=2), state.beliefs(trials))
    assert found.shape == (3, 2, 24, 2)
    np.testing.assert_allclose(found, jnp.tanh(belief.sample(key=KEY)), atol=0.0251)
