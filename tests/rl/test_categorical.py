"""Choices: chances, entropy and divergence against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mutatis import rl


def test_numbers_are_scipys():
    rng = np.random.default_rng(0)
    logits, others = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    other_chances = np.exp(others) / np.exp(others).sum(axis=1, keepdims=True)
    made = rl.Categorical(jnp.array(logits))
    actions = np.array([0, 3, 1, 2, 2])
    np.testing.assert_allclose(made.log_prob(jnp.array(actions)), np.log(chances[np.arange(5), actions]), rtol=1e-12)
    np.testing.assert_allclose(made.entropy(), stats.entropy(chances, axis=1), rtol=1e-12)
    np.testing.assert_allclose(
        made.kl(rl.Categorical(jnp.array(others))), stats.entropy(chances, other_chances, axis=1)
    )
    np.testing.assert_array_equal(made.mode, logits.argmax(axis=1))


def test_draws_come_with_their_chances():
    made = rl.Categorical(jnp.log(jnp.tile(jnp.array([0.1, 0.2, 0.7]), (50_000, 1))))
    drawn = np.bincount(np.asarray(made.sample(key=jax.random.key(0))), minlength=3) / 50_000
    np.testing.assert_allclose(drawn, [0.1, 0.2, 0.7], atol=0.01)
