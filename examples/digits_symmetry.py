"""An ordinary network, its layers reparameterised, finds out which moves of small images do not matter.

The queries of every task are flipped at random, the examples to learn from are not; nobody tells the network. Run it
with `0` behind its name, and no query is flipped: the answer becomes no.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import mutatis
from mutatis import nn, symmetry

flips = symmetry.Augmentation(flip=float(sys.argv[1]) if sys.argv[1:] else 0.5, angle=0, area=1)
episodes = {"shots": 5, "queries": 10, "tasks_per_step": 16}  # of 5 classes
train, _, test = symmetry.digit_episodes(**episodes, query_view=flips)
first_key, second_key, sharing_key, key = jax.random.split(jax.random.key(0), 4)
layers = [eqx.nn.Lambda(jnp.ravel), eqx.nn.LayerNorm(64), eqx.nn.Linear(64, 16, key=first_key)]
network = nn.PerExample(eqx.nn.Sequential([*layers, eqx.nn.Lambda(nn.relu), eqx.nn.Linear(16, 5, key=second_key)]))
weights = lambda tree: [tree.module[2].weight, tree.module[4].weight]
model = mutatis.reparameterise(network, weights, nn.KroneckerSharing, key=sharing_key)
rule = mutatis.GradientSteps(mutatis.cross_entropy, mutatis.Positive(0.4), where=mutatis.is_filter)
learner = mutatis.Learner(model, rule)
state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-2), num_groups=16, key=key)
trained, *_ = mutatis.outer_scan(learner, state, train, steps=600, objective=mutatis.cross_entropy)


def accuracy(learner):
    tasks = jax.vmap(test)(jax.random.split(jax.random.key(1), 20))
    right = lambda x, query: jnp.mean(jnp.argmax(mutatis.adapt(learner, x, key=key)(query[0]), axis=-1) == query[1])
    return jnp.mean(jax.vmap(jax.vmap(right))(tasks.context, tasks.query))


print(f"right on new characters: {accuracy(learner):.2f} before, {accuracy(trained):.2f} after")
candidates = symmetry.image_candidates(8, outputs=symmetry.best_permutation)
print(symmetry.discover(nn.shared_weights(trained.model)[0].sharing, (16, 64), candidates, key=key, dimension=8))
