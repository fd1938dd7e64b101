"""Batch moments and context means, against plain batch normalisation, the published formulas and each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from core_problems import CLASSES, INPUTS, ROWS, TASKS, WIDE, draw, outer_step, smooth_net, start, tasks_of
from mutatis import nn

KEY = jax.random.key(0)


def _source_model(seed=0):
    model = smooth_net(INPUTS, 4, CLASSES, norm=True, seed=seed)
    source = (jnp.array([0.3, -0.2, 0.0, 1.0]), jnp.array([2.0, 1.0, 0.5, 1.5]))
    affine = (jnp.array([1.5, 1.0, 0.7, 2.0]), jnp.array([0.1, 0.0, -0.4, 0.2]))
    return eqx.tree_at(
        lambda m: (nn.batch_norms(m)[0].source.value, m.layers[1].weight, m.layers[1].bias), model, (source, *affine)
    )


def _by_hand(model, context, x, pseudo_count=0.0):
    """Schneider et al. 2020, eq. 1, for a linear layer, a batch norm, tanh and a linear layer."""
    first, norm, _, last = model.layers
    hidden, seen = (np.asarray(rows) @ np.asarray(first.weight) + np.asarray(first.bias) for rows in (x, context))
    mean, variance = map(np.asarray, norm.source.value)
    if np.isfinite(pseudo_count):
        total = pseudo_count + len(seen)
        mean = (pseudo_count * mean + len(seen) * seen.mean(0)) / total
        variance = (pseudo_count * variance + len(seen) * seen.var(0)) / total
    normal = (hidden - mean) / np.sqrt(variance + norm.eps) * np.asarray(norm.weight) + np.asarray(norm.bias)
    return np.tanh(normal) @ np.asarray(last.weight) + np.asarray(last.bias)


def _adapted(rule, model, context, x):
    return _adapt(mutatis.Learner(model, rule), context)(x)


@eqx.filter_jit
def _adapt(learner, context):
    return mutatis.adapt(learner, context, key=KEY)


@pytest.mark.parametrize("pseudo_count", [0.0, 1.0, 16.0, float("inf")])
@pytest.mark.parametrize("trained", [False, True])
def test_moments_are_mixed_by_the_published_formula(pseudo_count, trained):
    model, context, x = _source_model(), 2 + 3 * draw(7, INPUTS, seed=1), draw(4, INPUTS, seed=2)
    count = jnp.asarray(pseudo_count, WIDE) if trained else pseudo_count
    answer = _adapted(mutatis.BatchMoments(pseudo_count=count), model, context, x)
    # A plain number's logarithm is kept in single precision.
    tolerance = 1e-10 if trained or pseudo_count in (0.0, 1.0, float("inf")) else 1e-6
    np.testing.assert_allclose(answer, _by_hand(model, context, x, pseudo_count), rtol=tolerance, atol=tolerance)


def test_infinite_pseudo_count_is_the_source_model():
    model, x = _source_model(), draw(4, INPUTS, seed=2)
    answer = _adapted(mutatis.BatchMoments(pseudo_count=float("inf")), model, 100 * draw(7, INPUTS), x)
    np.testing.assert_allclose(answer, model(x), rtol=1e-13)


def test_before_any_context_the_model_is_the_source_model():
    model, rule, x = _source_model(), mutatis.BatchMoments(), draw(4, INPUTS)
    np.testing.assert_allclose(rule.bind(model, rule.init(model))(x), model(x), rtol=1e-13)


def test_context_normalised_by_itself_has_the_moments_of_the_affine_parameters():
    model = nn.BatchNorm(INPUTS, dtype=WIDE)
    context = 5 + 7 * draw(50, INPUTS)
    answer = np.asarray(_adapted(mutatis.BatchMoments(), model, context, context))
    np.testing.assert_allclose(answer.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(answer.var(0), 1, rtol=1e-5)


def test_learned_loss_with_rate_zero_is_batch_moments():
    model, context, x = _source_model(), draw(6, INPUTS, seed=1), draw(4, INPUTS, seed=2)
    loss = mutatis.LearnedLoss(smooth_net(CLASSES, 4, 1, seed=9))
    still = _adapted(mutatis.BatchMoments(mutatis.GradientSteps(loss, 0.0)), model, context, x)
    np.testing.assert_allclose(still, _adapted(mutatis.BatchMoments(), model, context, x), rtol=1e-12)
    moved = _adapted(mutatis.BatchMoments(mutatis.GradientSteps(loss, 0.1)), model, context, x)
    assert np.max(np.abs(moved - still)) > 1e-4


def test_tent_moves_only_scales_and_shifts_and_lowers_the_entropy():
    model, context = _source_model(), 1 + 2 * draw(30, INPUTS, seed=1)
    tent = mutatis.BatchMoments(mutatis.GradientSteps(mutatis.entropy, 0.05, where=nn.norm_affine))
    adapted = _adapt(mutatis.Learner(model, tent), context)
    before = _adapt(mutatis.Learner(model, mutatis.BatchMoments()), context)
    for place in (0, 3):
        np.testing.assert_array_equal(adapted.layers[place].weight, model.layers[place].weight)
    assert np.max(np.abs(adapted.layers[1].weight - model.layers[1].weight)) > 1e-4
    assert mutatis.entropy(adapted, context) < mutatis.entropy(before, context)


def test_moments_of_a_first_layer_in_pieces_are_those_of_the_whole():
    model, rule, context = _source_model(), mutatis.BatchMoments(pseudo_count=2.0), draw(9, INPUTS)
    whole = rule.update(model, rule.init(model), context, key=KEY)
    pieces = rule.init(model)
    for rows in (slice(0, 2), slice(2, 3), slice(3, 9)):
        pieces = rule.update(model, pieces, context[rows], key=KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), pieces, whole)


def test_a_single_row_with_shrinkage_is_finite_and_near_the_source():
    model, x = _source_model(), draw(4, INPUTS, seed=2)
    answer = _adapted(mutatis.BatchMoments(pseudo_count=1000.0), model, draw(1, INPUTS), x)
    np.testing.assert_allclose(answer, model(x), atol=0.01)
    gradient = jax.grad(lambda context: _adapted(mutatis.BatchMoments(), model, context, x).sum())(draw(1, INPUTS))
    assert np.all(np.isfinite(gradient))


def _losses(rule):
    """Losses of tasks whose context is their query, of a model with a batch norm in its middle."""
    inputs = 2 + 3 * draw(TASKS, ROWS, INPUTS, seed=1) * jnp.arange(1.0, TASKS + 1)[:, None, None]
    tasks = tasks_of(inputs, (inputs, draw(TASKS, ROWS, CLASSES, seed=2)))
    learner = mutatis.Learner(_source_model(), rule)
    return inputs, outer_step(learner, start(learner), tasks, objective=_square_error)[2]


@pytest.mark.parametrize("pseudo_count", [0.0, 4.0, float("inf")])
def test_the_pooled_source_is_all_tasks_of_the_step(pseudo_count):
    model, rule = _source_model(), mutatis.BatchMoments(pseudo_count=pseudo_count, pool_tasks=True)
    inputs, losses = _losses(rule)
    first = model.layers[0]
    hidden = np.asarray(inputs).reshape(-1, INPUTS) @ np.asarray(first.weight) + np.asarray(first.bias)
    pooled = eqx.tree_at(lambda m: m.layers[1].source.value, model, (hidden.mean(0), hidden.var(0)))
    targets = draw(TASKS, ROWS, CLASSES, seed=2)
    expected = [np.mean((_by_hand(pooled, x, x, pseudo_count) - y) ** 2) for x, y in zip(inputs, targets, strict=True)]
    # The logarithm of 4 is kept in single precision.
    np.testing.assert_allclose(losses, expected, rtol=1e-6 if pseudo_count == 4.0 else 1e-10)


def test_pooling_without_a_pseudo_count_is_ordinary_batch_normalisation():
    _, ordinary = _losses(mutatis.BatchMoments(pool_tasks=True))
    _, source_alone = _losses(mutatis.BatchMoments(pseudo_count=float("inf"), pool_tasks=True))
    np.testing.assert_array_equal(ordinary, source_alone)


def test_alone_the_source_is_what_is_remembered():
    model, context, x = _source_model(), 2 + 3 * draw(7, INPUTS, seed=1), draw(4, INPUTS, seed=2)
    rule = mutatis.BatchMoments(pseudo_count=jnp.asarray(5.0, WIDE), pool_tasks=True, momentum=0.3)
    assert not rule.alone().couples_tasks and rule.alone().momentum == 0.3
    np.testing.assert_allclose(_adapted(rule.alone(), model, context, x), _by_hand(model, context, x, 5.0), rtol=1e-10)


class Mix(eqx.Module):
    """Mixes channels, so that something is trained before the norm."""

    weight: jax.Array

    def __call__(self, x):
        return x @ self.weight


def _square_error(model, query):
    inputs, targets = query
    return jnp.mean(jnp.square(model(inputs) - targets))


def _numpy_batch_norm(x, norm):
    axes = tuple(range(x.ndim - 1))
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + norm.eps)


def test_pooled_moments_are_those_of_the_whole_batch():
    images, targets = draw(TASKS, ROWS, 4, 4, 3) * 3 + 1, draw(TASKS, ROWS, 4, 4, 3, seed=1)
    model = nn.BatchNorm(3, dtype=WIDE)
    learner = mutatis.Learner(model, mutatis.BatchMoments(pool_tasks=True))
    _, _, losses = outer_step(learner, start(learner), tasks_of(images, (images, targets)), objective=_square_error)
    normal = _numpy_batch_norm(np.asarray(images).reshape(-1, 4, 4, 3), model).reshape(images.shape)
    np.testing.assert_allclose(losses, ((normal - np.asarray(targets)) ** 2).mean((1, 2, 3, 4)), rtol=1e-12)


def test_pooled_moments_are_pytorchs_batch_norm_with_its_gradients():
    torch = pytest.importorskip("torch", reason="needs the extra `peers` (torch and torchjd)")
    images, targets, mix = draw(TASKS, ROWS, 4, 4, 3) * 3 + 1, draw(TASKS, ROWS, 4, 4, 3, seed=1), draw(3, 3, seed=2)
    learner = mutatis.Learner(
        nn.Sequential([Mix(mix), nn.BatchNorm(3, dtype=WIDE)]), mutatis.BatchMoments(pool_tasks=True)
    )
    after, _, losses = outer_step(learner, start(learner), tasks_of(images, (images, targets)), objective=_square_error)

    theirs = torch.nn.BatchNorm2d(3, dtype=torch.float64)
    weight = torch.tensor(np.asarray(mix), requires_grad=True)
    flat = lambda array: torch.tensor(np.asarray(array).reshape(-1, 4, 4, 3))
    output = theirs((flat(images) @ weight).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    loss = ((output - flat(targets)) ** 2).mean()
    loss.backward()
    np.testing.assert_allclose(losses.mean(), loss.item(), rtol=1e-12)
    mixed, norm = after.model.layers
    np.testing.assert_allclose(mix - mixed.weight, weight.grad, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(1 - norm.weight, theirs.weight.grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(-norm.bias, theirs.bias.grad, rtol=1e-9, atol=1e-12)
    mean, variance = norm.source.value
    count = TASKS * ROWS * 16
    np.testing.assert_allclose(mean, theirs.running_mean, rtol=1e-9)
    unbiased = 0.9 + (np.asarray(variance) - 0.9) * count / (count - 1)  # PyTorch remembers the unbiased variance
    np.testing.assert_allclose(unbiased, theirs.running_var, rtol=1e-9)


def test_context_mean_is_the_published_formula_with_its_prior():
    net = smooth_net(INPUTS, 4, 2, seed=5)
    model, context, x = smooth_net(INPUTS + 2, 4, CLASSES), draw(6, INPUTS, seed=1), draw(4, INPUTS, seed=2)
    prior = np.array([0.7, -0.3])
    for count in (0.0, 1.0, 5.0):
        rule = mutatis.ContextMean(net, (2,), pseudo_count=jnp.asarray(count, WIDE), dtype=WIDE)
        rule = eqx.tree_at(lambda r: r.prior, rule, jnp.asarray(prior))
        mean = (count * prior + np.asarray(net(context)).sum(0)) / (count + 6)
        joined = np.hstack([x, np.tile(mean, (4, 1))])
        np.testing.assert_allclose(_adapted(rule, model, context, x), model(jnp.asarray(joined)), rtol=1e-12)
        alone = rule.bind(model, rule.init(model)).context
        np.testing.assert_allclose(alone, prior, rtol=1e-12)


def test_context_mean_of_images_keeps_the_places():
    images = draw(5, 6, 6, 1)
    rule = mutatis.ContextMean(Mix(draw(1, 2)), (6, 6, 2), dtype=WIDE)
    adapted = rule.bind(lambda x: x, rule.update(None, rule.init(None), images, key=KEY))
    expected = np.asarray(images @ draw(1, 2)).mean(0)
    np.testing.assert_allclose(adapted(images)[3, ..., 1:], expected, rtol=1e-12)
    np.testing.assert_array_equal(adapted(images)[..., :1], images)


def test_context_mean_names_a_wrong_shape():
    rule = mutatis.ContextMean(Mix(draw(3, 2)), (4,), dtype=WIDE)
    with pytest.raises(ValueError, match="shape"):
        rule.update(None, rule.init(None), draw(5, 3), key=KEY)


def test_one_pseudo_count_per_norm_or_an_error():
    model = _source_model()
    rule = mutatis.BatchMoments(pseudo_count=jnp.ones(3, WIDE))
    with pytest.raises(ValueError, match="pseudo_count"):
        rule.update(model, rule.init(model), draw(5, INPUTS), key=KEY)


def test_a_model_without_norms_is_left_alone():
    model, x = smooth_net(INPUTS, CLASSES), draw(4, INPUTS)
    learner = mutatis.Learner(model, mutatis.BatchMoments())
    np.testing.assert_array_equal(mutatis.adapt(learner, x, key=KEY)(x), model(x))
    after, _, _ = outer_step(
        learner, start(learner), tasks_of(x[None], (x[None], draw(1, 4, CLASSES))), objective=_square_error
    )
    assert np.all(np.isfinite(after.model.layers[0].weight))
