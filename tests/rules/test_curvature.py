"""Meta-Curvature: against Kronecker products, Newton's step and finite differences."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import mutatis
from core_problems import assert_close, draw, gradient_of, labelled_tasks, mean_square, smooth_net
from mutatis import nn
from mutatis.rules._curvature import MetaCurvature, channels_first, channels_last

KEY = jax.random.key(0)
adapt = eqx.filter_jit(mutatis.adapt)


def with_matrices(curvature, matrices):
    return eqx.tree_at(lambda c: c.matrices, curvature, matrices)


def random_matrices(curvature, seed=0):
    return with_matrices(
        curvature,
        [[draw(*m.shape, seed=seed + 10 * i + j) for j, m in enumerate(ms)] for i, ms in enumerate(curvature.matrices)],
    )


SHAPES = [(3,), (3, 4), (2, 3, 4, 5), ()]


@pytest.mark.parametrize("axes", [channels_first, channels_last])
def test_a_tensor_is_multiplied_by_a_kronecker_product(axes):
    gradients = [draw(*shape, seed=number) for number, shape in enumerate(SHAPES)]
    curvature = random_matrices(MetaCurvature(gradients, axes=axes))
    sizes = [[matrix.shape[0] for matrix in matrices] for matrices in curvature.matrices]
    assert sizes == [[3], [3, 4], [2, 3, 20] if axes is channels_first else [6, 4, 5], []]
    seen = curvature(gradients)
    for gradient, matrices, moved in zip(gradients, curvature.matrices, seen, strict=True):
        whole = functools.reduce(np.kron, map(np.asarray, matrices), np.eye(1))
        np.testing.assert_allclose(np.ravel(moved), whole @ np.ravel(gradient), rtol=1e-10, atol=1e-12)


def test_a_caller_may_group_the_axes_in_any_order():
    gradient, spread = draw(2, 3, 4), lambda shape: ((2, 0),)
    curvature = random_matrices(MetaCurvature([gradient], axes=spread))
    (matrix,) = curvature.matrices[0]
    expected = np.einsum("caCA,AbC->abc", np.reshape(matrix, (4, 2, 4, 2)), gradient)
    np.testing.assert_allclose(curvature([gradient])[0], expected, rtol=1e-10, atol=1e-12)


def test_starts_as_gradient_descent():
    model, context = smooth_net(3, 4, 2), (draw(6, 3), draw(6, 2, seed=1))
    plain = mutatis.GradientSteps(mean_square, 0.1, steps=3)
    curved = mutatis.GradientSteps(mean_square, 0.1, steps=3, transform=MetaCurvature(model))
    both = [adapt(mutatis.Learner(model, rule), context, key=KEY) for rule in (plain, curved)]
    assert_close(jax.tree.leaves(both[1]), jax.tree.leaves(both[0]), rtol=1e-12, atol=1e-14)


def test_with_the_inverse_hessian_one_step_is_newtons():
    model, (x, y) = nn.Linear(3, 2, key=KEY, dtype=jnp.float64), (draw(9, 3), draw(9, 2, seed=1))
    weight = lambda m: eqx.tree_at(lambda t: t.weight, jax.tree.map(lambda _: False, m), True)
    curvature = MetaCurvature(model, weight)
    hessian = 2 * x.T @ x / y.size  # of the mean square, for each output
    curvature = with_matrices(curvature, [[jnp.linalg.inv(hessian), jnp.eye(2)]])
    rule = mutatis.GradientSteps(mean_square, jnp.asarray(1.0), where=weight, transform=curvature)
    expected, *_ = np.linalg.lstsq(np.asarray(x), np.asarray(y - model.bias[None]), rcond=None)
    np.testing.assert_allclose(adapt(mutatis.Learner(model, rule), (x, y), key=KEY).weight, expected, rtol=1e-9)


def test_the_outer_gradient_is_the_finite_difference():
    model = smooth_net(3, 4, 2)
    curvature = random_matrices(MetaCurvature(model))
    rule = mutatis.GradientSteps(mean_square, 0.2, steps=2, transform=curvature)
    tasks = labelled_tasks()

    @jax.jit
    def loss(matrices):
        learner = mutatis.Learner(model, eqx.tree_at(lambda r: r.transform, rule, with_matrices(curvature, matrices)))
        one = jax.tree.map(lambda leaf: leaf[0], tasks)
        return mean_square(mutatis.adapt(learner, one.context, key=KEY), one.query)

    check_grads(loss, (curvature.matrices,), order=1, modes=["rev"], rtol=1e-6)
    slopes = gradient_of(mutatis.Learner(model, rule), tasks)[0].rule.transform.matrices
    assert all(float(jnp.max(jnp.abs(slope))) > 1e-6 for slope in jax.tree.leaves(slopes))


def test_single_precision_stays_single():
    model = smooth_net(3, 2, dtype=jnp.float32)
    gradients = MetaCurvature(model)(jax.tree.leaves(model))
    assert {leaf.dtype for leaf in gradients} == {jnp.dtype("float32")}


def test_is_cited_with_the_rule():
    rule = mutatis.GradientSteps(mean_square, 0.1, transform=MetaCurvature(smooth_net(3, 2)))
    assert {"finn2017maml", "park2019metacurvature"} <= {
        line.split("{")[1].rstrip(",") for line in mutatis.citation(rule).splitlines() if line.startswith("@")
    }


def test_matrices_of_other_leaves_are_refused():
    model = smooth_net(3, 4, 2)
    weights = lambda m: jax.tree.map(lambda leaf: leaf.ndim == 2, m)
    rule = mutatis.GradientSteps(mean_square, 0.1, transform=MetaCurvature(model, weights))
    with pytest.raises(ValueError, match=r"transform has matrices for leaves of shapes \[\(3, 4\), \(4, 2\)\]"):
        adapt(mutatis.Learner(model, rule), (draw(6, 3), draw(6, 2)), key=KEY)


@pytest.mark.parametrize("groups", [((0,), (0,)), ((2,),), ((),), ((-1,),)])
def test_groups_that_are_none_are_refused(groups):
    with pytest.raises(ValueError, match="axes gives"):
        MetaCurvature([draw(3, 4)], axes=lambda shape: groups)
