"""The same matrices through TorchJD (Quinton & Rey), where both libraries have the method."""

import itertools

import numpy as np
import pytest
from matrices import ZOO, weigh

import mutatis

torch = pytest.importorskip("torch", reason="needs the extra `peers` (torch and torchjd)")
torchjd = pytest.importorskip("torchjd.aggregation", reason="needs the extra `peers` (torch and torchjd)")

MODERATE = [name for name in ZOO if "times" not in name]
"""TorchJD's own thresholds are absolute; ours follow the scale of the gradients."""


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
