"""TRPO, against dense linear algebra."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree
from reach_toy import tanh_net

import mutatis
from core_problems import draw
from mutatis import nn
from mutatis._tree import trainable
from mutatis.rl._batch import Batch
from mutatis.rl._gaussian import GaussianPolicy
from mutatis.rl._trust_region import _damped, trust_region
from mutatis.rl._trust_region_update import mean_divergence, surrogate_loss, trpo_update, trust_region_step

TASKS, ROWS, FEATURES, ACTIONS, RADIUS, DAMPING = 2, 15, 4, 2, 0.01, 1e-5


def policy(dtype=jnp.float64):
    net = nn.OneHotTask(tanh_net(FEATURES + TASKS, 3, ACTIONS, key=jax.random.key(0), dtype=dtype), TASKS)
    return GaussianPolicy(net, ACTIONS, num_tasks=TASKS, std=0.7, dtype=dtype)


def batch(net, seed=0):
    """Actions drawn with the policy."""
    x = draw(TASKS, ROWS, FEATURES, seed=seed).astype(net.log_std.dtype)
    every = jax.vmap(net)(x, jnp.arange(TASKS))
    action = every.sample(key=jax.random.key(seed))
    none = jnp.zeros((TASKS, ROWS), x.dtype)
    advantage = draw(TASKS, ROWS, seed=seed + 1).astype(x.dtype)
    time = jnp.zeros((TASKS, ROWS), jnp.int32)
    return Batch(jnp.arange(TASKS), x, time, action, every.log_prob(action), advantage, none, none, none)


def flattened(model):
    flat, rebuild = ravel_pytree(eqx.filter(model, trainable(model)))
    static = eqx.filter(model, trainable(model), inverse=True)
    return flat, lambda x: eqx.combine(rebuild(x), static)


def query_of(net, rows):
    return rows, jax.vmap(net)(rows.observation, rows.task)


def pick(tree, task):
    return jax.tree.map(lambda leaf: leaf[task], tree)


def mean_over_tasks(judge, net, query):
    return jnp.mean(jnp.stack([judge(net, pick(query, task)) for task in range(TASKS)]))


def fisher_matrix(net, rows):
    """E[score score'] in closed form: J' diag(1 / std^2) J for the means, 2 for each log std."""
    flat, rebuild = flattened(net)
    total = np.zeros((flat.size, flat.size))
    for task in range(TASKS):
        gaussian = lambda x, task=task: rebuild(x)(rows.observation[task], jnp.asarray(task))
        jacobian = jax.jacfwd(gaussian)(flat)
        of_mean, of_log_std = (np.reshape(of, (ROWS * ACTIONS, -1)) for of in (jacobian.mean, jacobian.log_std))
        precision = np.exp(-2 * np.ravel(gaussian(flat).log_std))
        total += (of_mean.T * precision[None]) @ of_mean + 2 * of_log_std.T @ of_log_std
    return total / (TASKS * ROWS)


def test_products_are_those_with_the_fisher_matrix():
    net = policy()
    rows = batch(net)
    flat, rebuild = flattened(net)
    query = query_of(net, rows)
    divergence = lambda x: mean_over_tasks(mean_divergence, rebuild(x), query)
    product = jax.jit(jax.vmap(_damped(divergence, flat, 0.125)))(jnp.eye(flat.size))
    np.testing.assert_allclose(product, fisher_matrix(net, rows) + 0.125 * np.eye(flat.size), atol=1e-12)


def quadratic(seed=0, size=6):
    root = draw(size, size, seed=seed)
    return np.asarray(root @ root.T + np.eye(size)), np.asarray(draw(size, seed=seed + 1))


def run(optim, gradient, params, **functions):
    state = optim.init(params)
    return eqx.filter_jit(lambda g, s, p: optim.update(g, s, p, **functions))(gradient, state, params)


def test_a_linear_value_in_a_quadratic_region_is_solved_exactly():
    matrix, slope = quadratic()
    functions = {"value_fn": lambda x: slope @ x, "constraint_fn": lambda x: 0.5 * x @ matrix @ x}
    step, state = run(trust_region(RADIUS, damping=DAMPING, tolerance=1e-12), slope, jnp.zeros(6), **functions)
    solution = np.linalg.solve(matrix + DAMPING * np.eye(6), slope)
    np.testing.assert_allclose(step, -np.sqrt(2 * RADIUS / (slope @ solution)) * solution, rtol=1e-9)
    assert bool(state.accepted) and state.tries == 1
    np.testing.assert_allclose(state.constraint, RADIUS, rtol=1e-4)
    assert state.constraint <= RADIUS
    np.testing.assert_allclose(state.improvement, -(slope @ step), rtol=1e-12)


def test_few_iterations_give_the_best_step_of_a_krylov_space():
    matrix, slope = quadratic()
    functions = {"value_fn": lambda x: slope @ x, "constraint_fn": lambda x: 0.5 * x @ matrix @ x}
    step, _ = run(trust_region(RADIUS, damping=0.0, iterations=3), slope, jnp.zeros(6), **functions)
    basis = np.stack([np.linalg.matrix_power(matrix, power) @ slope for power in range(3)], axis=1)
    natural = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T @ slope)
    expected = -np.sqrt(2 * RADIUS / (natural @ matrix @ natural)) * natural
    np.testing.assert_allclose(step, expected, rtol=1e-8)


@pytest.mark.parametrize("level", [1e-12, 1.0, 1e12])
def test_the_step_does_not_depend_on_the_units_of_the_value(level):
    matrix, slope = quadratic()
    optim = trust_region(RADIUS)
    step = lambda k: run(
        optim, k * slope, jnp.zeros(6), value_fn=lambda x: k * slope @ x, constraint_fn=lambda x: 0.5 * x @ matrix @ x
    )[0]
    np.testing.assert_allclose(step(level), step(1.0), rtol=1e-6)


def test_the_search_shortens_until_constraint_and_value_agree():
    # Along -e1 the constraint is quartic as well, and the value has a trough at a fifth of the first step.
    first = np.sqrt(2 * RADIUS / (1 + DAMPING))
    constraint = lambda x: 0.5 * x[0] ** 2 + 40 * x[0] ** 4
    value = lambda x: x[0] + 2 * x[0] ** 2 / first
    step, state = run(trust_region(RADIUS), jnp.array([1.0]), jnp.zeros(1), value_fn=value, constraint_fn=constraint)
    lengths = first * 0.8 ** np.arange(15)
    good = [constraint([-length]) <= RADIUS and value(np.array([-length])) < 0 for length in lengths]
    number = good.index(True)
    assert constraint([-lengths[number - 1]]) <= RADIUS < constraint([-lengths[0]])
    np.testing.assert_allclose(step, [-lengths[number]], rtol=1e-6)
    assert state.tries == number + 1


REFUSED = {
    "the value never falls": ({"value_fn": lambda x: x @ x}, 15),
    "the value is unchanged": ({"value_fn": lambda x: 0.0 * jnp.sum(x)}, 15),
    "the constraint always breaks": ({"constraint_fn": lambda x: 0.5 * x @ x + jnp.where(x @ x > 0, 1.0, 0.0)}, 15),
    "the constraint is no number": ({"constraint_fn": lambda x: 0.5 * x @ x + jnp.where(x @ x > 0, jnp.nan, 0.0)}, 15),
    "the value is no number": ({"value_fn": lambda x: jnp.where(x @ x > 0, jnp.nan, 0.0)}, 15),
    "the curvature is negative": ({"constraint_fn": lambda x: -0.5 * x @ x}, 0),
    "the curvature is zero": ({"constraint_fn": lambda x: 0.0 * jnp.sum(x)}, 0),
    "the gradient is zero": ({"gradient": jnp.zeros(3)}, 0),
    "the gradient is no number": ({"gradient": jnp.full(3, jnp.nan)}, 0),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_step_leaves_the_parameters(case):
    given, tries = REFUSED[case]
    given = {"gradient": jnp.ones(3), "value_fn": jnp.sum, "constraint_fn": lambda x: 0.5 * x @ x, **given}
    damping = 0.0 if "curvature" in case else DAMPING
    step, state = run(trust_region(damping=damping), given.pop("gradient"), jnp.zeros(3), **given)
    np.testing.assert_array_equal(step, 0)
    assert not state.accepted and state.tries == tries and state.constraint == 0 and state.improvement == 0


def test_what_is_missing_is_named():
    optim = trust_region()
    with pytest.raises(ValueError, match="trust_region_step"):
        optim.update(jnp.ones(3), optim.init(jnp.ones(3)), jnp.ones(3))


def dense_step(value, divergence, fisher, flat):
    """The same algorithm with matrices; the new parameters and the number of trials."""
    gradient = np.asarray(jax.grad(value)(flat))
    damped = fisher + DAMPING * np.eye(flat.size)
    natural = np.linalg.solve(damped, gradient)
    longest = np.sqrt(2 * RADIUS / (natural @ damped @ natural))
    for number in range(15):
        there = flat - 0.8**number * longest * natural
        if divergence(there) <= RADIUS and value(there) < value(flat):
            return there, number + 1
    return flat, 15


def started(net, optim, rule=None, weighting=None):
    learner = mutatis.Learner(net, rule or mutatis.NoAdaptation())
    weighting = weighting or mutatis.Average()
    return learner, mutatis.outer_init(learner, weighting, optim, num_groups=TASKS, key=jax.random.key(3))


@pytest.mark.parametrize("seed", range(3))
def test_an_update_is_the_step_of_dense_linear_algebra(seed):
    net = policy()
    rows = batch(net, seed)
    query = query_of(net, rows)
    flat, rebuild = flattened(net)
    value, divergence = (
        jax.jit(lambda x, judge=judge: mean_over_tasks(judge, rebuild(x), query))
        for judge in (surrogate_loss, mean_divergence)
    )
    expected, tries = dense_step(value, divergence, fisher_matrix(net, rows), flat)
    learner, state = started(net, trust_region(RADIUS, iterations=200, tolerance=1e-13))
    learner, state, report = trpo_update(learner, state, rows)
    np.testing.assert_allclose(flattened(learner.model)[0], expected, rtol=1e-6, atol=1e-8)
    assert state.optim_state.tries == tries and state.step == 1
    np.testing.assert_allclose(state.optim_state.constraint, report.kl.mean(), rtol=1e-10)
    np.testing.assert_allclose(state.optim_state.improvement, (report.losses - report.losses_after).mean(), rtol=1e-8)
    # Before the step the ratio is 1; after it, the mean of the integrals and of the weighted advantages.
    np.testing.assert_allclose(report.losses, -rows.advantage.mean(axis=1), rtol=1e-12)
    old, new = (jax.vmap(each)(rows.observation, rows.task) for each in (net, learner.model))
    s, t = np.exp(old.log_std), np.exp(new.log_std)
    kl = np.log(t / s) + (s**2 + (old.mean - new.mean) ** 2) / (2 * t**2) - 0.5
    np.testing.assert_allclose(report.kl, kl.sum(axis=2).mean(axis=1), rtol=1e-9)
    densities = [scipy.stats.norm(g.mean, np.exp(g.log_std)).logpdf(rows.action).sum(axis=2) for g in (old, new)]
    gain = (np.exp(densities[1] - densities[0]) * rows.advantage).mean(axis=1)
    np.testing.assert_allclose(report.losses_after, -gain, rtol=1e-9)


def test_adapted_policies_are_differentiated_through():
    # MAML-TRPO: one step of the policy gradient on the context, then loss and KL of the adapted policy on the query.
    net, rate = policy(), 0.1
    context, rows = batch(net, 5), batch(net, 6)

    def inner_loss(model, of_task):
        log_prob = model(of_task.observation, of_task.task).log_prob(of_task.action)
        return -jnp.mean(log_prob * of_task.advantage)

    flat, rebuild = flattened(net)

    def adapted(x, task):
        return x - rate * jax.grad(lambda at: inner_loss(rebuild(at), pick(context, task)))(x)

    rows = rows._replace(
        log_prob=jnp.stack(
            [rebuild(adapted(flat, t))(rows.observation[t], jnp.asarray(t)).log_prob(rows.action[t]) for t in (0, 1)]
        )
    )
    old = [rebuild(adapted(flat, t))(rows.observation[t], jnp.asarray(t)) for t in (0, 1)]
    query = rows, jax.tree.map(lambda *each: jnp.stack(each), *old)

    def mean_of(judge, x):
        return jnp.mean(jnp.stack([judge(rebuild(adapted(x, t)), pick(query, t)) for t in (0, 1)]))

    value, divergence = (jax.jit(functools.partial(mean_of, judge)) for judge in (surrogate_loss, mean_divergence))
    hessian = np.asarray(jax.jit(jax.hessian(divergence))(flat))
    expected, tries = dense_step(value, divergence, hessian, flat)
    rule = mutatis.GradientSteps(inner_loss, learning_rate=rate)
    learner, state = started(net, trust_region(RADIUS, iterations=300, tolerance=1e-13), rule)
    learner, state, _ = eqx.filter_jit(trust_region_step)(learner, state, mutatis.Task(context, query, rows.task))
    np.testing.assert_allclose(flattened(learner.model)[0], expected, rtol=1e-4, atol=1e-6)
    assert state.optim_state.tries == tries and bool(state.optim_state.accepted)


def test_the_weighting_gives_the_direction():
    # The first task of a worst-case weighting alone: the step is that of its own gradient.
    net = policy()
    rows = batch(net)
    query = query_of(net, rows)
    flat, rebuild = flattened(net)
    first = pick(query, 0)
    gradient = np.asarray(jax.grad(lambda x: surrogate_loss(rebuild(x), first))(flat))
    natural = np.linalg.solve(fisher_matrix(net, rows) + DAMPING * np.eye(flat.size), gradient)

    class First(mutatis.Average):
        def weigh(self, losses, gramian, index, state, *, key):
            return jnp.array([1.0, 0.0]), None

    learner, state = started(net, trust_region(RADIUS, iterations=200, tolerance=1e-13), weighting=First())
    learner, state, _ = trpo_update(learner, state, rows)
    step = flattened(learner.model)[0] - flat
    assert state.optim_state.accepted
    np.testing.assert_allclose(step / np.linalg.norm(step), -natural / np.linalg.norm(natural), atol=1e-7)


def test_it_is_one_link_of_a_chain_and_other_optimisers_do_too():
    net = policy(jnp.float32)
    rows = batch(net)
    alone = trpo_update(*started(net, trust_region(RADIUS)), rows)[0]
    chained = trpo_update(*started(net, optax.chain(optax.identity(), trust_region(RADIUS))), rows)[0]
    np.testing.assert_array_equal(flattened(alone.model)[0], flattened(chained.model)[0])
    assert flattened(alone.model)[0].dtype == jnp.float32
    adam = trpo_update(*started(net, optax.adam(1e-3)), rows)[2]
    assert adam.losses_after.mean() < adam.losses.mean()
