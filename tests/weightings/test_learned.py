"""FAMO, GradNorm and uncertainty weights: one number per group, learned beside the model."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matrices import ZOO, weigh

import mutatis
from core_problems import INPUTS, labelled_tasks, mean_square, smooth_net, start
from mutatis import FAMO, GradNorm, UncertaintyWeights

outer_step = eqx.filter_jit(mutatis.outer_step)
ROWS = np.random.default_rng(0).standard_normal((3, 5)) * np.array([[1.0], [4.0], [0.2]])
LOSSES = np.exp(np.random.default_rng(1).standard_normal((30, 3)))


def _exact(kind, **settings):
    return kind(**{name: jnp.asarray(value, jnp.float64) for name, value in settings.items()})


class _Adam:
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, values, rate):
        self.values, self.rate, self.first, self.second, self.steps = values, rate, 0.0, 0.0, 0

    def step(self, gradient):
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first, second = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        self.values = self.values - self.rate * first / (np.sqrt(second) + 1e-8)


def _softmax(x):
    return np.exp(x) / np.exp(x).sum()


def test_famo_is_the_published_algorithm():
    bound, rate, decay = np.array([0.0, -1.0, -2.0]), 0.1, 0.01
    weighting = _exact(FAMO, step_size=rate, decay=decay, lower_bound=bound)
    state, adam = weighting.init(3), _Adam(np.zeros(3), rate)
    for before, after in itertools.pairwise(LOSSES):
        z = _softmax(adam.values)
        above, above_after = before - bound + 1e-8, after - bound + 1e-8
        scale = 1 / np.sum(z / above)
        weights, state = weigh(weighting, ROWS, losses=before, state=state)
        np.testing.assert_allclose(weights, scale * z / above, rtol=1e-11)  # of the gradient of scale * z log D
        jacobian = np.diag(z) - np.outer(z, z)
        adam.step(jacobian @ (np.log(above) - np.log(above_after)) + decay * adam.values)
        state = weighting.observe(before, after, jnp.arange(3), state)
        np.testing.assert_allclose(state.values, adam.values, rtol=1e-8)


def test_famo_raises_the_weight_of_the_task_that_fell_least():
    weighting = _exact(FAMO, step_size=0.1)
    state, index = weighting.init(3), jnp.arange(3)
    for _ in range(10):
        state = weighting.observe(jnp.array([1.0, 5.0, 0.1]), jnp.array([0.9, 2.5, 0.1]), index, state)
    assert state.values[2] > state.values[0] > state.values[1]


def test_famo_descends_the_mean_log_loss_at_first():
    weights, _ = weigh(_exact(FAMO), ROWS, losses=[1.0, 2.0, 4.0])
    np.testing.assert_allclose(weights, np.array([4, 2, 1]) / 7, rtol=1e-7)


def test_famo_says_nothing_sensible_of_losses_below_the_bound():
    assert np.isnan(weigh(FAMO(), ROWS, losses=[1.0, -1.0, 2.0])[0]).any()
    assert np.isfinite(weigh(FAMO(lower_bound=-2.0), ROWS, losses=[1.0, -1.0, 2.0])[0]).all()


def _gradnorm(norms, losses, first, weights, alpha):
    """The gradient of eq. 2 of Chen et al. 2018 by the weights, whose target is constant."""
    lengths, ratios = weights * norms, losses / first
    target = lengths.mean() * (ratios / ratios.mean()) ** alpha
    return np.sign(lengths - target) * norms


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_gradnorm_is_the_published_algorithm(alpha):
    weighting = _exact(GradNorm, asymmetry=alpha, step_size=0.02)
    norms = np.linalg.norm(ROWS, axis=1) / np.linalg.norm(ROWS, axis=1).max()
    state, adam = weighting.init(3), _Adam(np.ones(3), 0.02)
    for losses in LOSSES:
        weights, state = weigh(weighting, ROWS, losses=losses, state=state)
        np.testing.assert_allclose(weights, adam.values / 3, rtol=1e-8)
        adam.step(_gradnorm(norms, losses, LOSSES[0], adam.values, alpha))
        adam.values = adam.values / adam.values.sum() * 3
    np.testing.assert_allclose(state.first, LOSSES[0], rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_gradnorm_comes_to_rest_at_the_target_lengths(alpha):
    weighting, ratios = _exact(GradNorm, asymmetry=alpha, step_size=0.002), np.array([0.5, 0.25, 1.0])
    step = jax.jit(lambda losses, gramian, state: weighting.weigh(losses, gramian, jnp.arange(3), state, key=None))
    state = weighting.init(3)
    for number in range(3000):
        losses = np.ones(3) if number == 0 else ratios
        weights, state = step(losses, ROWS @ ROWS.T, state)
    lengths = np.asarray(weights) * np.linalg.norm(ROWS, axis=1)
    np.testing.assert_allclose(lengths / lengths.mean(), (ratios / ratios.mean()) ** alpha, rtol=0.05)


def test_gradnorm_stays_on_the_simplex_whatever_the_step():
    weighting = GradNorm(1.5, 3.0)
    for name, matrix in ZOO.items():
        state = weighting.init(20)
        for losses in LOSSES[:4, :1] * np.ones((1, len(matrix))):
            weights, state = weigh(weighting, matrix, losses=losses, state=state)
            assert np.all(np.asarray(weights) >= 0), name
            np.testing.assert_allclose(np.sum(weights), 1, rtol=1e-6, err_msg=name)


def test_uncertainty_is_descent_of_the_papers_objective():
    weighting = _exact(UncertaintyWeights, step_size=0.05)
    objective = lambda s, losses: jnp.sum(jnp.exp(-s) * losses + s)
    state, adam = weighting.init(3), _Adam(np.zeros(3), 0.05)
    for losses in LOSSES:
        weights, state = weigh(weighting, ROWS, losses=losses, state=state)
        np.testing.assert_allclose(weights, np.exp(-adam.values) / 3, rtol=1e-10)
        adam.step(np.asarray(jax.grad(objective)(jnp.asarray(adam.values), losses)))
        np.testing.assert_allclose(state.values, adam.values, rtol=1e-9, atol=1e-12)


def test_uncertainty_comes_to_rest_at_the_log_of_the_loss():
    weighting, losses = _exact(UncertaintyWeights, step_size=0.02), jnp.array([0.1, 1.0, 5.0])
    step = jax.jit(lambda state: weighting.weigh(losses, None, jnp.arange(3), state, key=None))
    state = weighting.init(3)
    for _ in range(2000):
        weights, state = step(state)
    np.testing.assert_allclose(state.values, np.log(losses), atol=1e-3)
    np.testing.assert_allclose(weights, 1 / (3 * losses), rtol=1e-3)


LEARNING = [FAMO(0.3), GradNorm(1.0, 0.3), UncertaintyWeights(0.3)]
NAMES = [type(weighting).__name__ for weighting in LEARNING]


def _after_a_step(weighting, losses, index, state):
    tasks = len(losses)
    _, state = weigh(weighting, np.diag(np.arange(1.0, tasks + 1)), losses=losses, index=index, state=state)
    return weighting.observe(jnp.asarray(losses), 0.5 * jnp.asarray(losses) ** 1.1, jnp.asarray(index), state)


@pytest.mark.parametrize("weighting", LEARNING, ids=NAMES)
def test_absent_groups_keep_everything(weighting):
    state = _after_a_step(weighting, [1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3], weighting.init(6))
    later = _after_a_step(weighting, [2.0, 5.0], [1, 4], state)
    for new, old in zip(jax.tree.leaves(later), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(new[jnp.array([0, 2, 3, 5])], old[jnp.array([0, 2, 3, 5])])
    assert all(jnp.any(new != old) for new, old in zip(jax.tree.leaves(later), jax.tree.leaves(state), strict=True))


@pytest.mark.parametrize("weighting", LEARNING, ids=NAMES)
def test_a_groups_first_step_is_a_first_step_whenever_it_comes(weighting):
    early = _after_a_step(weighting, [2.0, 5.0], [1, 4], weighting.init(6))
    state = weighting.init(6)
    for _ in range(5):
        state = _after_a_step(weighting, [1.0, 2.0], [0, 2], state)
    late = _after_a_step(weighting, [2.0, 5.0], [1, 4], state)
    for new, old in zip(jax.tree.leaves(late), jax.tree.leaves(early), strict=True):
        np.testing.assert_allclose(new[jnp.array([1, 4])], old[jnp.array([1, 4])], rtol=1e-6)


@pytest.mark.parametrize("map_tasks", [False, True])
@pytest.mark.parametrize(
    "rule", [mutatis.NoAdaptation(), mutatis.BatchMoments(pool_tasks=True)], ids=["plain", "pooled"]
)
def test_the_outer_step_shows_the_losses_of_the_same_tasks_after_it(rule, map_tasks):
    if map_tasks and rule.couples_tasks:
        pytest.skip("a rule that pools over the tasks needs them side by side")

    class Witness(mutatis.AbstractWeighting):
        needs_gramian = False
        needs_losses_after = True

        def init(self, num_groups):
            return jnp.zeros(3), jnp.zeros(3), jnp.zeros(3, int)

        def weigh(self, losses, gramian, index, state, *, key):
            return jnp.full_like(losses, 1 / 3), state

        def observe(self, before, after, index, state):
            return before, after, index

    tasks, learner = labelled_tasks(), mutatis.Learner(smooth_net(INPUTS, 4, 2, norm=rule.couples_tasks), rule)
    if rule.couples_tasks:
        tasks = mutatis.Task(tasks.query[0], tasks.query, tasks.index)
    state = start(learner, Witness(), optax.sgd(0.3))
    after, state, losses = outer_step(learner, state, tasks, objective=mean_square, map_tasks=map_tasks)
    _, _, again = outer_step(after, state, tasks, objective=mean_square, map_tasks=map_tasks)
    before_seen, after_seen, index = state.weighting_state
    np.testing.assert_array_equal(before_seen, losses)
    np.testing.assert_allclose(after_seen, again, rtol=1e-12)
    np.testing.assert_array_equal(index, tasks.index)
    assert jnp.all(jnp.abs(after_seen / before_seen - 1) > 1e-4)


def test_only_who_asks_for_the_losses_after_the_step_pays_for_them():
    learner = mutatis.Learner(smooth_net(INPUTS, 2), mutatis.NoAdaptation())
    objective = lambda model, query: jax.lax.erf(mean_square(model, query))  # which no derivative evaluates again

    def evaluations(weighting):
        def step(tasks):
            after, state, losses = mutatis.outer_step(learner, start(learner, weighting), tasks, objective=objective)
            return eqx.filter(after, eqx.is_array), state.weighting_state, losses

        return jax.jit(step).lower(labelled_tasks()).as_text().count("chlo.erf")

    assert evaluations(mutatis.Average()) == evaluations(GradNorm()) == 1
    assert evaluations(FAMO()) == 2


@pytest.mark.parametrize(
    "build, name",
    [
        (lambda: FAMO(-1.0), "step_size"),
        (lambda: FAMO(decay=-1.0), "decay"),
        (lambda: FAMO(lower_bound=jnp.zeros(2)).init(3), "lower_bound"),
        (lambda: GradNorm(-1.0), "asymmetry"),
        (lambda: GradNorm(1.0, -1.0), "step_size"),
        (lambda: UncertaintyWeights(-1.0), "step_size"),
    ],
)
def test_bad_settings_are_named(build, name):
    with pytest.raises(ValueError, match=name):
        build()
