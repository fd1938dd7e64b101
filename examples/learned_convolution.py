"""A linear layer learns from data which of its weights are tied, and says which symmetry that is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import mutatis
from mutatis import nn, symmetry

layer_key, sharing_key, key = jax.random.split(jax.random.key(0), 3)
problem = symmetry.LinearProblem(rank=1, key=key)  # every task is a convolution with another filter, seen once
layer = nn.PerExample(eqx.nn.Linear(70, 68, use_bias=False, key=layer_key))
layer = mutatis.reparameterise(layer, lambda tree: tree.module.weight, num_filters=3, key=sharing_key)  # vec(W) = U v


def overlap(model):
    (weight,) = nn.shared_weights(model)
    return float(symmetry.subspace_overlap(problem.truth, weight.sharing.matrix()))


squared_error = lambda model, query: jnp.mean((model(query[0]) - query[1]) ** 2)
rule = mutatis.GradientSteps(squared_error, jnp.asarray(0.1, jnp.float32), where=mutatis.is_filter)  # the inner loop: v
learner = mutatis.Learner(layer, rule)
state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-2), num_groups=1, key=key)  # the outer loop: U
learner, state, history = mutatis.outer_scan(learner, state, problem, steps=1000, objective=squared_error)

print(f"overlap of U with all convolutions: {overlap(layer):.4f} before, {overlap(learner.model):.4f} after")
(weight,) = nn.shared_weights(learner.model)
print(symmetry.discover(weight.sharing, (68, 70), symmetry.line_candidates(70, 68), key=key))
