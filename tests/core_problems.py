"""Small problems in float64 on which the tests of the core agree."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mutatis
from mutatis import nn

TASKS, ROWS, INPUTS, CLASSES = 3, 5, 3, 2
WIDE = jnp.float64


def mean_square(model, data):
    inputs, targets = data
    return jnp.mean(jnp.square(model(inputs) - targets))


def smooth_net(*sizes, norm=False, seed=0, dtype=WIDE):
    """A net without kinks, so that finite differences are accurate; with `norm`, normalised before the activation."""
    layers = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(inputs, outputs, key=jax.random.key(seed + number), dtype=dtype))
        if number < len(sizes) - 2:
            layers += [nn.BatchNorm(outputs, dtype=dtype)] if norm else []
            layers.append(nn.Activation(jnp.tanh))
    return nn.Sequential(layers)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def tasks_of(context, query, index=None):
    count = jax.tree.leaves(query)[0].shape[0]
    return mutatis.Task(context, query, jnp.arange(count) if index is None else jnp.asarray(index))


def labelled_tasks(seed=0):
    """Regression with separate labelled context and query."""
    pairs = [(draw(TASKS, ROWS, INPUTS, seed=s), draw(TASKS, ROWS, CLASSES, seed=s + 50)) for s in (seed, seed + 1)]
    return tasks_of(*pairs)


def unlabelled_tasks(seed=0):
    """The same inputs, without labels, are the context."""
    inputs = draw(TASKS, ROWS, INPUTS, seed=seed)
    return tasks_of(inputs, (inputs, draw(TASKS, ROWS, CLASSES, seed=seed + 50)))


def start(learner, weighting=None, optim=None, groups=TASKS):
    weighting = mutatis.Average() if weighting is None else weighting
    optim = optax.sgd(1.0) if optim is None else optim
    return mutatis.outer_init(learner, weighting, optim, num_groups=groups, key=jax.random.key(7))


outer_step = eqx.filter_jit(mutatis.outer_step)


@eqx.filter_jit
def gradient_of(learner, tasks, objective=mean_square, direction=None, weighting=None, map_tasks=False):
    """The outer step's gradient and losses: what one step of gradient descent with rate 1 takes away."""
    direction = mutatis.Unrolled() if direction is None else direction
    after, _, losses = mutatis.outer_step(
        learner, start(learner, weighting), tasks, objective=objective, direction=direction, map_tasks=map_tasks
    )
    before, moved = (eqx.filter(tree, mutatis.trainable(tree)) for tree in (learner, after))
    return jax.tree.map(jnp.subtract, before, moved), losses


def assert_close(left, right, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)
