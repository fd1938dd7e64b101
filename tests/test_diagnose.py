"""The diagnosis of joint training, against closed forms in NumPy, finite differences and what is known of toys."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mutatis
from core_problems import (
    CLASSES,
    INPUTS,
    TASKS,
    WIDE,
    draw,
    gradient_of,
    labelled_tasks,
    mean_square,
    smooth_net,
    tasks_of,
    unlabelled_tasks,
)
from mutatis import nn

KEY = jax.random.key(0)
diagnose = eqx.filter_jit(mutatis.diagnose)


class Quadratics:
    """Losses 0.5 (x - a_t)' A_t (x - a_t), and everything about a step of theirs, in NumPy."""

    def __init__(self, tasks, size, seed=0, scale=None):
        rng = np.random.default_rng(seed)
        roots = rng.standard_normal((tasks, size, size))
        scale = np.ones(tasks) if scale is None else np.asarray(scale)
        self.hessians = scale[:, None, None] * roots @ roots.transpose(0, 2, 1) / size
        self.centres, self.x = rng.standard_normal((tasks, size)), rng.standard_normal(size)
        self.gradients = np.stack([A @ (self.x - a) for A, a in zip(self.hessians, self.centres, strict=True)])
        self.mean = self.gradients.mean(0)
        self.stack = tasks_of(None, (jnp.asarray(self.hessians), jnp.asarray(self.centres)))

    def losses(self, x):
        return np.array([0.5 * (x - a) @ A @ (x - a) for A, a in zip(self.hessians, self.centres, strict=True)])


def quadratic(model, query):
    hessian, centre = query
    away = jnp.concatenate(model) - centre
    return 0.5 * away @ hessian @ away


def look_at(problem, cut=2, **options):
    model = (jnp.asarray(problem.x[:cut]), jnp.asarray(problem.x[cut:]))
    learner = mutatis.Learner(model, mutatis.NoAdaptation())
    return diagnose(learner, problem.stack, objective=quadratic, key=KEY, **options)


@pytest.mark.parametrize("map_tasks", [False, True])
def test_quadratics_in_closed_form(map_tasks):
    problem, eta = Quadratics(5, 7), 0.3
    found = look_at(problem, step_size=eta, map_tasks=map_tasks)
    g, mean = problem.gradients, problem.mean
    same = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)
    norms = np.linalg.norm(g, axis=1)
    cosines = g @ g.T / np.outer(norms, norms)
    pairs = np.triu_indices(5, 1)
    same(found.losses, problem.losses(problem.x))
    same(found.gramian, g @ g.T)
    same(found.norms, norms)
    same(found.cosines, cosines)
    same(found.conflict_share, np.mean(cosines[pairs] < 0))
    same(found.magnitude_similarity, 2 * np.outer(norms, norms) / np.add.outer(norms**2, norms**2))
    same(found.size_ratio, norms.max() / norms.min())
    same(found.agreement, np.linalg.norm(mean) / norms.mean())
    same(found.shares, g @ mean / (5 * mean @ mean))
    same(found.slopes, g @ mean)
    curvature = np.array([mean @ A @ mean for A in problem.hessians])
    same(found.curvature, curvature)
    same(found.path_curvature, curvature)  # a quadratic curves alike everywhere
    same(found.sharpness, mean @ problem.hessians.mean(0) @ mean / (mean @ mean))
    same(found.path_sharpness, found.sharpness)
    same(found.first_order, -eta * g @ mean)
    change = problem.losses(problem.x - eta * mean) - problem.losses(problem.x)
    same(found.second_order, change)
    same(found.change, change)
    np.testing.assert_array_equal(found.hurt, change > 0)
    before = problem.losses(problem.x)
    gain = np.stack([before - problem.losses(problem.x - eta * row) for row in g], axis=1)
    same(found.gain, gain)
    same(found.affinity, gain / before[:, None])
    apart, both = (np.square(np.linalg.norm(g[:, None] + sign * g[None], axis=2)) for sign in (-1, 1))
    same(found.bounding, (1 - cosines**2) * apart / both)
    assert found.layers == ("model.0", "model.1")
    for layer, rows in enumerate((g[:, :2], g[:, 2:])):
        lengths = np.linalg.norm(rows, axis=1)
        here = rows @ rows.T / np.outer(lengths, lengths)
        same(found.layer_cosines[layer], here)
        same(found.layer_conflict_share[layer], np.mean(here[pairs] < 0))


def test_only_what_where_chooses_is_seen_and_moved():
    problem = Quadratics(4, 6)
    found = look_at(problem, where=lambda learner: mutatis.Learner((True, False), False), step_size=0.1)
    rows = problem.gradients[:, :2]
    np.testing.assert_allclose(found.gramian, rows @ rows.T, rtol=1e-12)
    moved = problem.x - 0.1 * np.concatenate([rows.mean(0), np.zeros(4)])
    np.testing.assert_allclose(found.losses_after, problem.losses(moved), rtol=1e-12)
    assert found.layers == ("model.0",)


def test_layers_are_grouped_by_depth():
    problem = Quadratics(4, 6)
    whole = look_at(problem, depth=1)
    assert whole.layers == ("model",)
    np.testing.assert_allclose(whole.layer_gramians[0], look_at(problem).gramian, rtol=1e-12)


RULES = {
    "no adaptation": (smooth_net(INPUTS, 4, CLASSES), mutatis.NoAdaptation(), labelled_tasks),
    "gradient steps": (
        smooth_net(INPUTS, 4, CLASSES),
        mutatis.GradientSteps(mean_square, jnp.asarray(0.3, WIDE), steps=2),
        labelled_tasks,
    ),
    "pooled moments": (
        smooth_net(INPUTS, 4, CLASSES, norm=True),
        mutatis.BatchMoments(pool_tasks=True),
        unlabelled_tasks,
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_slopes_and_curvature_are_finite_differences(name):
    model, rule, make_tasks = RULES[name]
    learner, tasks = mutatis.Learner(model, rule), make_tasks()
    found = diagnose(learner, tasks, objective=mean_square, step_size=0.05, key=KEY)
    gradient, losses = gradient_of(learner, tasks)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)
    square = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(found.gramian.mean(), square, rtol=1e-10)
    np.testing.assert_allclose(found.slopes.mean(), square, rtol=1e-10)

    def losses_at(amount):
        moved = eqx.apply_updates(learner, jax.tree.map(lambda leaf: amount * leaf, gradient))
        return np.asarray(gradient_of(moved, tasks)[1])

    h = 1e-3
    near = {k: losses_at(k * h) for k in (-2, -1, 0, 1, 2)}
    slopes = (8 * (near[1] - near[-1]) - (near[2] - near[-2])) / (12 * h)
    curvature = (16 * (near[1] + near[-1]) - (near[2] + near[-2]) - 30 * near[0]) / (12 * h**2)
    np.testing.assert_allclose(found.slopes, slopes, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.curvature, curvature, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.losses_after, losses_at(-0.05), rtol=1e-12)
    # Definition 3 of Yu et al. 2020, by Gauss's quadrature along the step.
    nodes, weights = np.polynomial.legendre.leggauss(6)
    path = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        there = eqx.apply_updates(learner, jax.tree.map(lambda leaf, a=node: -a * 0.05 * leaf, gradient))
        second = {k: _losses(eqx.apply_updates(there, _scaled(gradient, k * h)), tasks) for k in (-2, -1, 0, 1, 2)}
        path += weight * (16 * (second[1] + second[-1]) - (second[2] + second[-2]) - 30 * second[0]) / (12 * h**2)
    np.testing.assert_allclose(found.path_curvature, path, rtol=1e-5, atol=1e-6)


def _losses(learner, tasks):
    return np.asarray(gradient_of(learner, tasks)[1])


def _scaled(tree, factor):
    return jax.tree.map(lambda leaf: factor * leaf, tree)


DIRECTIONS = {
    "unrolled": mutatis.Unrolled(),
    "first order": mutatis.FirstOrder(),
    "displacement": mutatis.Displacement(),
    "implicit": mutatis.Implicit(mean_square, strength=2.0),
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_rows_are_those_of_the_direction_and_slopes_those_of_the_loss(name):
    rule = mutatis.GradientSteps(mean_square, 0.2, steps=2, proximal=2.0)
    learner, tasks = mutatis.Learner(smooth_net(INPUTS, 4, CLASSES), rule), labelled_tasks()
    found = diagnose(learner, tasks, objective=mean_square, direction=DIRECTIONS[name], key=KEY)
    gradient, _ = gradient_of(learner, tasks, direction=DIRECTIONS[name])
    square = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(found.gramian.mean(), square, rtol=1e-10)
    exact, losses = gradient_of(learner, tasks)
    slope = sum(jnp.vdot(*leaves) for leaves in zip(jax.tree.leaves(exact), jax.tree.leaves(gradient), strict=True))
    np.testing.assert_allclose(found.slopes.mean(), slope, rtol=1e-10)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)


def test_scan_and_map_agree_with_one_call():
    learner, tasks = mutatis.Learner(smooth_net(INPUTS, 4, CLASSES), mutatis.NoAdaptation()), labelled_tasks()
    plain = diagnose(learner, tasks, objective=mean_square, key=KEY)
    mapped = diagnose(learner, tasks, objective=mean_square, key=KEY, map_tasks=True)

    def one(scale, _):
        moved = jax.tree.map(lambda leaf: leaf * scale if eqx.is_inexact_array(leaf) else leaf, learner)
        return scale * 0.9, mutatis.diagnose(moved, tasks, objective=mean_square, key=KEY)

    stack = jax.jit(lambda: jax.lax.scan(one, jnp.ones(()), length=3)[1])()
    first = jax.tree.map(lambda leaf: leaf[0], stack)
    for other in (mapped, first):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), plain, other)
    # Every property of a stack is the stack of the properties.
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], stack) for i in range(3)]
    names = [name for name, value in vars(mutatis.Diagnosis).items() if isinstance(value, property)]
    assert len(names) > 15
    for name in names:
        np.testing.assert_allclose(getattr(stack, name), [getattr(one, name) for one in each], rtol=1e-12, err_msg=name)
    for name, values in stack.series().items():
        np.testing.assert_allclose(values, [one.series()[name] for one in each], rtol=1e-12, err_msg=name)


@given(st.integers(0, 4), st.floats(-6, 6))
@settings(max_examples=25)
def test_scaling_a_loss_changes_sizes_and_no_cosine(task, power):
    scale = np.ones(5)
    scale[task] = 10.0**power
    plain, scaled = look_at(Quadratics(5, 7)), look_at(Quadratics(5, 7, scale=scale))
    np.testing.assert_allclose(scaled.cosines, plain.cosines, atol=1e-9)
    np.testing.assert_allclose(scaled.norms, plain.norms * scale, rtol=1e-9)
    np.testing.assert_allclose(scaled.layer_conflict_share, plain.layer_conflict_share)


def test_a_longer_step_changes_no_gradient_figure():
    short, long = (look_at(Quadratics(4, 6), step_size=eta) for eta in (0.01, 1.0))
    for name in ("gramian", "cosines", "size_ratio", "sharpness", "shares"):
        np.testing.assert_allclose(getattr(short, name), getattr(long, name), rtol=1e-12)


def test_pcgrad_beats_the_plain_step_where_the_bounding_measure_promises_it():
    # Yu et al. 2020, theorem 2; the smooth constant of a quadratic is the largest eigenvalue of its Hessian.
    promised = 0
    for seed in range(200, 240):
        scale = 10.0 ** np.random.default_rng(seed).uniform(-2, 2, 2)
        problem = Quadratics(2, 3, seed, scale)
        found = look_at(problem, pairwise=False)
        (first, second), summed = problem.gradients, problem.gradients.sum(0)
        hessian = problem.hessians.sum(0)
        lipschitz = np.linalg.eigvalsh(hessian).max()
        least = float(found.path_sharpness) * 2 - float(found.bounding[0, 1]) * lipschitz  # the sum, not the mean
        np.testing.assert_allclose(found.path_sharpness * 2, summed @ hessian @ summed / (summed @ summed), rtol=1e-9)
        if float(found.cosines[0, 1]) > -float(found.magnitude_similarity[0, 1]) or least <= 0:
            continue
        promised += 1
        surgery = summed - (first @ second) * (second / (second @ second) + first / (first @ first))
        for eta in (2 / least, 4 / least):
            total = [problem.losses(problem.x - eta * way).sum() for way in (surgery, summed)]
            assert total[0] <= total[1] * (1 + 1e-12)
    assert promised >= 3


# Yu et al. 2020, figure 1 and appendix: two losses over the plane with curved valleys.
TOY = tasks_of(None, jnp.asarray([[20.0, 1.0, 0.0], [25.0, -1.0, 2.0]]))


def toy(x, query):
    height, side, shift = query
    return height * jnp.log(jnp.maximum(jnp.abs(0.5 * x[0] + side * jnp.tanh(x[1]) + shift), 5e-6))


def toy_gradients(x):
    inside = np.array([0.5 * x[0] + np.tanh(x[1]), 0.5 * x[0] - np.tanh(x[1]) + 2])
    steep = 1 - np.tanh(x[1]) ** 2
    return np.array([20, 25])[:, None] / inside[:, None] * np.array([[0.5, steep], [0.5, -steep]])


def test_the_toy_of_gradient_surgery_has_all_three_troubles_where_adam_is_stuck():
    learner = mutatis.Learner(jnp.asarray([0.5, -3.0]), mutatis.NoAdaptation())
    state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-3), num_groups=2, key=KEY)
    learner, _, history = mutatis.outer_scan(learner, state, lambda key: TOY, steps=1000, objective=toy)
    found = diagnose(learner, TOY, objective=toy, step_size=1e-3, key=KEY)
    rows = toy_gradients(np.asarray(learner.model))
    np.testing.assert_allclose(found.gramian, rows @ rows.T, rtol=1e-10)
    assert found.losses[1] > history.losses[0, 1]  # task 2 has been given up
    assert found.cosines[0, 1] < -0.5
    assert found.size_ratio > 100
    # A logarithm is concave beside its pole: only the average over the step sees the valley that it crosses.
    assert found.sharpness < 0 < 1 < 1e-3 * found.path_sharpness
    x, mean = np.asarray(learner.model), rows.mean(0)
    path = (mean @ mean - mean @ toy_gradients(x - 1e-3 * mean).mean(0)) / 1e-3
    np.testing.assert_allclose(found.path_curvature.mean(), path, rtol=1e-8)
    said = found.report(["first", "second"])
    for part in (
        "1 of 1 pairs of tasks conflict, 1 clearly",
        "x, from second",
        "first makes 100 % of the joint step",
        "raises the mean loss",
        "normalise each task's loss",
        "take smaller steps",
        "what gradient surgery is made for",
    ):
        assert part in said, said


def test_a_kink_is_seen_by_the_average_over_the_step_alone():
    objective = lambda model, query: jnp.sum(jnp.abs(model - query))
    learner = mutatis.Learner(jnp.asarray([0.1]), mutatis.NoAdaptation())
    found = diagnose(learner, tasks_of(None, jnp.zeros((2, 1))), objective=objective, step_size=0.4, key=KEY)
    assert found.sharpness == 0
    np.testing.assert_allclose(found.path_sharpness, 2 / 0.4)  # the slope turns from 1 to -1


def _aims(*targets, index=None):
    """Tasks 0.5 |x - a|^2 at x = 0, whose gradients are -a."""
    learner = mutatis.Learner(jnp.zeros(len(targets[0])), mutatis.NoAdaptation())
    return learner, tasks_of(None, jnp.asarray(targets, WIDE), index)


def half_square(model, target):
    return 0.5 * jnp.sum(jnp.square(model - target))


def report(*targets, names=None, **options):
    learner, tasks = _aims(*targets)
    return diagnose(learner, tasks, objective=half_square, key=KEY, **options).report(names)


def test_agreeing_tasks_get_no_advice_about_gradients():
    said = report([1.0, 0.2], [1.0, 0.0], [0.9, 0.1], step_size=0.1)
    assert "0 of 3 pairs of tasks conflict." in said and "the loss of every task." in said
    assert "Nothing here says that the tasks hinder each other" in said
    assert "no task's step raises another's loss" in said


def test_sizes_alone_lead_to_normalising():
    said = report([1.0, 0.0], [620.0, 0.1], [2.0, 0.0], step_size=1e-3, names=["a", "b", "c"])
    assert "differ in size by 620 x, from a (1) to b (620). b makes 100 % of the joint step." in said
    assert "normalise each task's loss" in said and "surgery" not in said and "smaller" not in said


def test_a_conflict_in_flat_land_leads_to_surgery_with_a_warning():
    said = report([1.0, 0.0], [-0.9, 0.4], step_size=0.01, names={0: "up"})
    assert "the worst are up and task 1 (cosine -0.91)" in said
    assert "try it" in said.lower() and "Kurin" in said and "normalise each" not in said


def test_a_long_step_alone_leads_to_a_shorter_one():
    said = report([1.0, 0.0], [1.0, 0.1], step_size=1.8)
    assert "the best step would be about 1, and the step of 1.8 is 1.8 times that" in said
    assert "The step is 1.8 times the best one along it: take smaller steps" in said and "surgery" not in said
    said = report([1.0, 0.0], [1.0, 0.1], step_size=2.5)
    assert "and raises the mean loss" in said and "only because the step is long" in said
    assert "it raises the task's own loss for task 0 and task 1" in said


def test_who_is_hurt_by_others_and_who_by_the_length():
    # The mean gradient pulls to the right; the third task pulls left, the second needs less than half of the step.
    said = report([10.0, 0.0], [1.0, 0.0], [-2.0, 0.0], step_size=0.9)
    assert "of task 2 because the others pull the other way" in said
    assert "of task 1 only because the step is long" in said
    assert "too long for task 1" in said


def test_vanishing_gradients_conflict_with_nobody():
    learner, tasks = _aims([0.0, 0.0], [1.0, 0.0], [-1.0, 0.0])
    found = diagnose(learner, tasks, objective=half_square, key=KEY)
    np.testing.assert_array_equal(found.cosines[0], 0)
    np.testing.assert_array_equal(found.shares, 0)  # the other two cancel
    assert found.size_ratio == np.inf and found.agreement == 0 and found.conflict_share == 1 / 3
    assert "task 0 has no gradient" in str(found)
    still = diagnose(*_aims([0.0, 0.0], [0.0, 0.0]), objective=half_square, key=KEY)
    assert still.size_ratio == 1 and still.sharpness == 0 and "All gradients vanish" in str(still)


def test_what_is_not_finite_is_named_and_nothing_else_is_said():
    said = report([1.0, 0.0], [np.nan, 0.0], [1.0, 1.0], names=["a", "b", "c"])
    assert said == "The loss or the gradient of b is not finite. Look there first; nothing else can be said."


def test_one_task_has_nobody_to_compare_with():
    learner, tasks = _aims([1.0, 0.0])
    found = diagnose(learner, tasks, objective=half_square, key=KEY)
    assert found.conflict_share == 0 and found.size_ratio == 1
    assert "There is one task" in str(found)


def test_training_is_recorded_under_the_groups_ids():
    targets = np.array([[1.0, 0.0], [-1.0, 0.1], [0.0, 1.0], [0.5, -1.0]])
    draws = [(0, 1), (0, 2), (1, 3), (1, 0), (3, 3)]
    each = []
    for index in draws:
        learner, tasks = _aims(*targets[list(index)], index=index)
        each.append(diagnose(learner, tasks, objective=half_square, key=KEY))
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    expected = np.full((5, 5), np.nan)
    for a, b in draws:
        expected[a, b] = expected[b, a] = targets[a] @ targets[b] < 0
    np.testing.assert_array_equal(stack.pair_conflicts(5), expected)
    np.testing.assert_array_equal(stack.conflict_share, [1, 0, 1, 1, 0])
    said = stack.report(["north", "south", "east", "west"])
    assert said.startswith("5 diagnoses of 2 tasks. Pairs in conflict: 100 % in the first quarter, 0 % in the last.")
    assert "the worst are north and south" in said


def test_no_pairs_without_asking_for_them():
    found = look_at(Quadratics(3, 4), pairwise=False)
    with pytest.raises(ValueError, match="pairwise=True"):
        found.gain  # noqa: B018
    assert "Taken alone" not in str(found)


def test_float32_and_printing_while_tracing():
    seen = []
    learner, tasks = _aims([1.0, 0.0], [0.0, 3.0])
    learner, tasks = jax.tree.map(lambda leaf: leaf.astype("float32"), (learner, tasks))
    tasks = mutatis.Task(None, tasks.query, jnp.arange(2))

    @jax.jit
    def run():
        found = mutatis.diagnose(learner, tasks, objective=half_square, key=KEY)
        seen.append(str(found))
        return found

    found = run()
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found) if leaf.dtype.kind == "f"} == {"float32"}
    assert seen[0].startswith("Diagnosis(")
    np.testing.assert_allclose(found.size_ratio, 3)


def test_refuses_what_it_cannot_do():
    problem = Quadratics(3, 4)
    with pytest.raises(ValueError, match="depth is 0"):
        look_at(problem, depth=0)
    with pytest.raises(ValueError, match="where= chooses no trainable array"):
        look_at(problem, where=lambda learner: False)
    learner, tasks = _aims([1.0, 0.0])
    with pytest.raises(ValueError, match="where is a Learner"):
        mutatis.diagnose(learner, tasks, objective=half_square, where=learner, key=KEY)
    pooled = mutatis.Learner(smooth_net(INPUTS, 4, CLASSES, norm=True), mutatis.BatchMoments(pool_tasks=True))
    with pytest.raises(ValueError, match="map_tasks=True"):
        mutatis.diagnose(pooled, unlabelled_tasks(), objective=mean_square, map_tasks=True, key=KEY)


def test_several_heads_do_not_conflict_in_the_heads():
    class Heads(eqx.Module):
        trunk: jax.Array
        heads: jax.Array

    def objective(model, query):
        x, y, head = query
        return jnp.mean(jnp.square(jnp.tanh(x @ model.trunk) @ model.heads[head] - y))

    query = draw(TASKS, 8, INPUTS), draw(TASKS, 8, seed=1), jnp.arange(TASKS)
    learner = mutatis.Learner(Heads(draw(INPUTS, 4, seed=2), draw(TASKS, 4, seed=3)), mutatis.NoAdaptation())
    found = diagnose(learner, tasks_of(None, query), objective=objective, key=KEY)
    assert found.layers == ("model.trunk", "model.heads")
    assert found.layer_conflict_share[1] == 0
    np.testing.assert_array_equal(np.count_nonzero(found.layer_gramians[1], axis=1), 1)


def test_gramian_and_curvature_agree_with_torch_where_it_is_present():
    torch = pytest.importorskip("torch", reason="needs the extra `peers` (torch and torchjd)")
    problem, functional = Quadratics(5, 7), torch.autograd.functional
    hessians, centres = torch.tensor(problem.hessians), torch.tensor(problem.centres)
    losses = lambda x: 0.5 * torch.einsum("ti,tij,tj->t", x - centres, hessians, x - centres)
    x = torch.tensor(problem.x)
    rows = functional.jacobian(losses, x)
    found = look_at(problem)
    np.testing.assert_allclose(found.gramian, (rows @ rows.T).numpy(), rtol=1e-10)
    mean = rows.mean(0)
    product = functional.hvp(lambda x: losses(x).mean(), x, mean)[1]
    np.testing.assert_allclose(found.curvature.mean(), float(mean @ product), rtol=1e-10)


def test_its_sources_are_cited():
    said = mutatis.citation(mutatis.diagnose)
    assert "yu2020pcgrad" in said and "fifty2021tag" in said


def test_conv_and_norm_layers_are_named():
    net = nn.Sequential([nn.Linear(INPUTS, 4, key=KEY, dtype=WIDE), nn.BatchNorm(4, dtype=WIDE)])
    learner = mutatis.Learner(net, mutatis.BatchMoments())
    query = draw(TASKS, 8, INPUTS)
    found = diagnose(learner, tasks_of(query, (query, draw(TASKS, 8, 4, seed=1))), objective=mean_square, key=KEY)
    assert found.layers[:2] == ("model.layers.0.weight", "model.layers.0.bias")
