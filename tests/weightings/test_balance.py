"""IMTL-G and Aligned-MTL: the gradients are brought into balance."""

import numpy as np
import pytest
from matrices import ZOO, weigh

import mutatis

INDEPENDENT = ["normal (9, 11, 9)", "normal (1, 1, 1)", "orthogonal", "conflicting", "agreeing"]


@pytest.mark.parametrize("name", INDEPENDENT)
def test_impartial_projections_are_equal(name):
    rows = ZOO[name]
    weights = np.asarray(weigh(mutatis.IMTLG(), rows)[0])
    projections = rows @ (weights @ rows) / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(projections, projections[0], rtol=1e-8)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("weighting", [mutatis.IMTLG(), mutatis.AlignedMTL()], ids=["IMTLG", "AlignedMTL"])
def test_weights_do_not_depend_on_the_scale_of_all_gradients(weighting):
    for name, matrix in ZOO.items():
        small, large = (weigh(weighting, scale * matrix)[0] for scale in (1.0, 2.0**30))
        np.testing.assert_allclose(small, large, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_aligned_system_is_orthogonal_and_of_the_least_singular_value(name):
    # The aligned gradients B A, averaged by the method, have all singular values equal to A's least.
    rows = ZOO[name]
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    expected = values[-1] * (left @ right).mean(0)
    np.testing.assert_allclose(weigh(mutatis.AlignedMTL(), rows)[0] @ rows, expected, rtol=1e-8, atol=1e-10)


def test_equal_orthogonal_gradients_are_averaged_by_both():
    for weighting in (mutatis.IMTLG(), mutatis.AlignedMTL()):
        np.testing.assert_allclose(weigh(weighting, 3 * np.eye(4))[0], np.full(4, 0.25), rtol=1e-12)


def test_no_gradients_no_weights_or_the_average():
    np.testing.assert_array_equal(weigh(mutatis.IMTLG(), np.zeros((4, 3)))[0], np.zeros(4))
    np.testing.assert_array_equal(weigh(mutatis.AlignedMTL(), np.zeros((4, 3)))[0], np.full(4, 0.25))
