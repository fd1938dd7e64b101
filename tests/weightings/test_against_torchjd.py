"""The same matrices through TorchJD (Quinton & Rey), where both libraries have the method."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from matrices import ZOO, weigh

import mutatis

torch = pytest.importorskip("torch", reason="needs the extra `peers` (torch and torchjd)")
torchjd = pytest.importorskip("torchjd.aggregation", reason="needs the extra `peers` (torch and torchjd)")

scalarization = pytest.importorskip("torchjd.scalarization", reason="needs a torchjd that has them")

MODERATE = [name for name in ZOO if "times" not in name]
"""TorchJD's own thresholds are absolute; ours follow the scale of the gradients."""

MOVABLE = [n for n in MODERATE if not n.startswith(("strongly", "only_weakly", "opposite", "zero", "one row zero"))]
"""Some step improves all tasks."""


def _step(weighting, matrix, **settings):
    return np.asarray(weigh(weighting, matrix, **settings)[0]) @ matrix


def _theirs(aggregator, matrix):
    return aggregator(torch.tensor(matrix)).numpy()


@pytest.mark.parametrize("name", list(ZOO))
def test_average(name):
    matrix = ZOO[name]
    ours, theirs = _step(mutatis.Average(), matrix), _theirs(torchjd.Mean(), matrix)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14 * np.abs(matrix).max())


@pytest.mark.parametrize("name", list(ZOO))
def test_pcgrad_with_two_tasks_needs_no_orders(name):
    for first, second in itertools.pairwise(range(min(len(ZOO[name]), 5))):
        matrix = ZOO[name][[first, second]]
        ours, theirs = _step(mutatis.PCGrad(), matrix), _theirs(torchjd.PCGrad(), matrix) / 2
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-13 * np.abs(matrix).max())


@pytest.mark.parametrize("name", ["normal (4, 3, 3)", "normal (4, 3, 2)", "normal (4, 3, 1)", "a task drawn twice"])
def test_pcgrad_with_more_tasks_takes_the_same_steps_as_often(name):
    matrix = ZOO[name] / np.abs(ZOO[name]).max()
    torch.manual_seed(0)
    draws = 300
    ours = np.array([_step(mutatis.PCGrad(), matrix, seed=seed) for seed in range(draws)])
    theirs = np.array([_theirs(torchjd.PCGrad(), matrix) / len(matrix) for _ in range(draws)])
    distance = np.abs(ours[:, None] - theirs[None]).max(-1)
    often = (np.abs(ours[:, None] - ours[None]).max(-1) < 1e-9).mean(1) > 0.03
    assert distance.min(1)[often].max() < 1e-9  # whatever is met often here is met there
    error = 4 * np.sqrt((ours.var(0) + theirs.var(0)) / draws) + 1e-12
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < error)


@pytest.mark.parametrize("name", MODERATE)
def test_mgda(name):
    # Theirs approaches by Frank-Wolfe steps. In a convex set the squared distance to the point of least norm is at
    # most the difference of squared norms, so ours must be that near, and never longer.
    matrix = ZOO[name]
    ours, theirs = _step(mutatis.MGDA(), matrix), _theirs(torchjd.MGDA(epsilon=1e-9, max_iters=1000), matrix)
    gap = theirs @ theirs - ours @ ours
    assert gap >= -1e-12
    assert np.sum((ours - theirs) ** 2) <= gap + 1e-12
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(matrix).max() + 1e-12)


@pytest.mark.parametrize("name", list(ZOO))
def test_aligned(name):
    matrix = ZOO[name]
    ours, theirs = _step(mutatis.AlignedMTL(), matrix), _theirs(torchjd.AlignedMTL(), matrix)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(matrix).max())


# Of stationary matrices the sum of weights may vanish: the quotient is then made of rounding errors, in both libraries.
@pytest.mark.parametrize("name", [n for n in MODERATE if not n.startswith(("strongly", "only_weakly", "opposite"))])
def test_impartial(name):
    matrix = ZOO[name]
    ours, theirs = _step(mutatis.IMTLG(), matrix), _theirs(torchjd.IMTLG(), matrix)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(matrix).max())


# Where g_v vanishes theirs takes no step at all, even for c = 0.
@pytest.mark.parametrize("c", [0.0, 0.4, 0.9, 1.5])
@pytest.mark.parametrize("name", MOVABLE)
def test_conflict_averse(name, c):
    pytest.importorskip("clarabel", reason="needs torchjd[cagrad]")
    matrix = ZOO[name]
    ours = _step(mutatis.CAGrad(jnp.asarray(c, jnp.float64)), matrix) * (1 + c**2)
    theirs = _theirs(torchjd.CAGrad(c, norm_eps=1e-8), matrix)
    worst = [np.min(matrix @ step) for step in (ours, theirs)]
    size = np.abs(matrix).max()
    assert worst[0] >= worst[1] - 1e-6 * size**2
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * size)  # a square root of their solver's 1e-8


# Their sequence of programmes stops at a residual of 1e-3, or where one of them fails: on other matrices they leave G w
# far from 1 / w. Both are cut to length one.
@pytest.mark.parametrize("name", ["normal (4, 3, 3)", "conflicting", "orthogonal", "agreeing"])
def test_bargain(name):
    pytest.importorskip("ecos", reason="needs torchjd[nash_mtl]")
    matrix = 100 * ZOO[name]
    theirs = _theirs(torchjd.NashMTL(len(matrix), optim_niter=100), matrix)
    np.testing.assert_allclose(_step(mutatis.NashMTL(), matrix), theirs, rtol=0, atol=5e-3)


def test_random_weights_are_as_often_of_every_size():
    torch.manual_seed(0)
    draws, matrix = 1000, np.eye(4)
    ours = np.array([_step(mutatis.RandomWeights(), matrix, seed=seed) for seed in range(draws)])
    theirs = np.array([_theirs(torchjd.Random(), matrix) for _ in range(draws)])
    share = np.linspace(0.05, 0.95, 19)
    error = 4 * (0.25 / draws) ** 0.5  # of a share, that is of a place among the sorted
    ranks = np.searchsorted(np.sort(theirs.ravel()), np.quantile(ours, share)) / theirs.size
    np.testing.assert_allclose(ranks, share, atol=error)


def test_famo_over_many_steps():
    rng, rate, decay = np.random.default_rng(0), 0.1, 0.01
    theirs = scalarization.FAMO(4, lr=rate, weight_decay=decay).double()
    ours = mutatis.FAMO(*(jnp.asarray(value, jnp.float64) for value in (rate, decay)))
    state = ours.init(4)
    for _ in range(50):
        before, after = np.exp(rng.standard_normal((2, 4)))
        losses = torch.tensor(before, requires_grad=True)
        theirs(losses).backward()
        weights, state = weigh(ours, np.eye(4), losses=before, state=state)
        np.testing.assert_allclose(weights, losses.grad, rtol=1e-9)
        theirs.update(torch.tensor(after))
        state = ours.observe(before, after, np.arange(4), state)


def test_uncertainty_over_many_steps():
    rng, rate = np.random.default_rng(0), 0.05
    theirs = scalarization.UW(4).double()
    adam = torch.optim.Adam(theirs.parameters(), lr=rate)
    ours = mutatis.UncertaintyWeights(jnp.asarray(rate, jnp.float64))
    state = ours.init(4)
    for losses in np.exp(rng.standard_normal((50, 4))):
        given = torch.tensor(losses, requires_grad=True)
        adam.zero_grad()
        theirs(given).backward()
        weights, state = weigh(ours, np.eye(4), losses=losses, state=state)
        np.testing.assert_allclose(weights, given.grad * 2 / 4, rtol=1e-6)  # their 1e-8 beside half the gradient
        adam.step()
