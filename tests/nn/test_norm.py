import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mutatis
from mutatis import nn

IMAGES = np.random.default_rng(0).standard_normal((6, 4, 5, 3)) * np.array([1.0, 0.1, 10.0]) + 2


def _norm():
    norm = nn.BatchNorm(3, dtype=jnp.float64)
    values = (jnp.array([0.5, 2.0, 1.0]), jnp.array([0.0, -1.0, 3.0]), jnp.array([2.0, 1.0, 0.0]), jnp.ones(3) * 4)
    return eqx.tree_at(lambda n: (n.weight, n.bias, *n.source.value), norm, values)


def test_normalises_by_the_moments_it_holds():
    expected = (IMAGES - [2.0, 1.0, 0.0]) / np.sqrt(4 + 1e-5) * [0.5, 2.0, 1.0] + [0.0, -1.0, 3.0]
    np.testing.assert_allclose(_norm()(jnp.asarray(IMAGES)), expected, rtol=1e-12, atol=1e-12)
    rows = IMAGES[:, 0, 0]
    np.testing.assert_allclose(_norm()(jnp.asarray(rows)), expected[:, 0, 0], rtol=1e-12, atol=1e-12)


def test_is_pytorchs_evaluation_mode():
    torch = pytest.importorskip("torch", reason="needs the extra `peers` (torch and torchjd)")
    ours, theirs = _norm(), torch.nn.BatchNorm2d(3, dtype=torch.float64).eval()
    mean, variance = ours.source.value
    state = {"weight": ours.weight, "bias": ours.bias, "running_mean": mean, "running_var": variance}
    theirs.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in state.items()}, strict=False)
    answer = theirs(torch.tensor(IMAGES).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach()
    np.testing.assert_allclose(ours(jnp.asarray(IMAGES)), answer, rtol=1e-10, atol=1e-11)


def test_starts_as_almost_the_identity_in_the_precision_asked_for():
    norm = nn.BatchNorm(3, eps=0.0)
    x = jnp.asarray(IMAGES, jnp.float32)
    np.testing.assert_array_equal(norm(x), x)
    assert norm(x).dtype == jnp.float32


@pytest.mark.parametrize("shape", [(60, 3), (6, 10, 3), (6, 4, 5, 3)])
def test_moments_are_numpys(shape):
    x = np.random.default_rng(1).standard_normal(shape) * 3 + 5
    centre = jnp.array([5.0, 4.0, 0.0])
    moments = nn.Moments.of(jnp.asarray(x), centre)
    mean, variance = moments.mean_and_variance()
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(moments.count, shape[0])
    np.testing.assert_allclose(centre + mean, x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var(axes), rtol=1e-12)


def test_moments_of_pieces_add_up():
    x, centre = jnp.asarray(IMAGES), jnp.ones(3)
    pieces = jax.tree.map(jnp.add, nn.Moments.of(x[:2], centre), nn.Moments.of(x[2:], centre))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), pieces, nn.Moments.of(x, centre))


def test_moments_of_no_rows_are_zero_and_harmless():
    mean, variance = nn.Moments.zeros(3).mean_and_variance()
    np.testing.assert_array_equal(mean, np.zeros(3))
    np.testing.assert_array_equal(variance, np.zeros(3))


def test_a_centre_near_the_mean_keeps_a_small_variance_in_single_precision():
    x = (1000 + 0.01 * np.random.default_rng(2).standard_normal((500, 1))).astype(np.float32)
    _, near = nn.Moments.of(jnp.asarray(x), jnp.full(1, 1000, jnp.float32)).mean_and_variance()
    np.testing.assert_allclose(near, x.astype(np.float64).var(0), rtol=1e-3)


def test_norms_are_found_in_order_and_their_affine_parameters_marked():
    model = nn.Sequential([nn.Linear(2, 3, key=jax.random.key(0)), nn.BatchNorm(3), [nn.BatchNorm(4)], jnp.ones(2)])
    assert [norm.weight.size for norm in nn.batch_norms(model)] == [3, 4]
    marked = eqx.filter(model, nn.norm_affine(model))
    assert [leaf.shape for leaf in jax.tree.leaves(marked)] == [(3,), (3,), (4,), (4,)]
    assert marked.layers[1].weight is model.layers[1].weight


def test_source_moments_are_not_trainable():
    spec = mutatis.trainable(nn.BatchNorm(3))
    assert spec.weight and spec.bias
    assert spec.source is False
