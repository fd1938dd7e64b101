"""A method is a row of five values: here one that nobody published, context adaptation with group DRO."""

import jax
import jax.numpy as jnp
import optax

import mutatis
from mutatis import nn

seen, unseen = 3 * jax.random.normal(jax.random.key(0), (2, 100, 2))


def sample_tasks(key, centres=seen):
    """8 groups of 32 points: two classes, left and right of a centre that every group has for itself."""
    group_key, label_key, noise_key = jax.random.split(key, 3)
    group = jax.random.randint(group_key, (8,), 0, len(centres))
    y = jax.random.randint(label_key, (8, 32), 0, 2)
    x = jnp.stack([2.0 * y - 1, 0.0 * y], axis=-1) + 0.5 * jax.random.normal(noise_key, (8, 32, 2))
    x = x + centres[group][:, None]
    return mutatis.Task(context=x, query=(x, y), index=group)


def accuracy_on_new_groups(learner, weighting):
    state = mutatis.outer_init(learner, weighting, optax.adam(1e-2), num_groups=len(seen), key=jax.random.key(1))
    learner, *_ = mutatis.outer_scan(learner, state, sample_tasks, steps=300, objective=mutatis.cross_entropy)
    tasks, key = sample_tasks(jax.random.key(2), unseen), jax.random.key(3)
    logits = jax.vmap(lambda x: mutatis.adapt(learner, x, key=key)(x))(tasks.context)
    return jnp.mean(jnp.argmax(logits, axis=-1) == tasks.query[1])


first, second, third = jax.random.split(jax.random.key(4), 3)
plain = mutatis.Learner(nn.mlp((2, 32, 2), key=first), mutatis.NoAdaptation())
rule = mutatis.ContextMean(nn.mlp((2, 32, 4), key=second), shape=(4,))
adaptive = mutatis.Learner(nn.mlp((2 + 4, 32, 2), key=third), rule)
print(f"without adaptation  {accuracy_on_new_groups(plain, mutatis.Average()):.2f}")
print(f"context x group DRO {accuracy_on_new_groups(adaptive, mutatis.GroupDRO()):.2f}")
