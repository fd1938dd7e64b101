r"""How many linear symmetries a set of weights has, whether or not anybody thought of them.

For weights M_1 ... M_r (out, in), all pairs of matrices (X, Y) with X M_j = M_j Y for every j form a vector space: the
linear span of every group under which the weights are equivariant, and more. It is the null space of a quadratic form,
as LieGG reads Lie algebras off a trained network (Moskalev et al. 2022), here with inputs and outputs both unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mutatis._types import Key
from mutatis.symmetry._candidates import Maps
from mutatis.symmetry._host import numpy_generator
from mutatis.symmetry._symmetry_error import shared_directions


@dataclass(frozen=True)
class CommutingPairs:
    """Pairs of matrices with rho_out M_j = M_j rho_in for all maps, to within the threshold.

    - `errors`: of all pairs that were found, in rising order; 0 is exact, 1 unrelated.
    - `threshold`: what counts as commuting.
    - `always`: how many pairs random weights of the same shape and number have. The identity, and with it every
      multiple of it, commutes with everything, so this is at least 1.
    - `rho_in`, `rho_out`: a basis of the pairs below the threshold, scaled as an orthogonal action would be. A group's
      actions are combinations of them.
    """

    errors: Float[np.ndarray, "pairs"]
    threshold: float
    always: int
    rho_in: Float[np.ndarray, "dimension in in"]
    rho_out: Float[np.ndarray, "dimension out out"]

    @property
    def dimension(self) -> int:
        """The number of independent pairs that commute, the identity included."""
        return len(self.rho_in)

    @property
    def excess(self) -> int:
        """How many more pairs commute than with random weights: 0 says that there is no linear symmetry."""
        return self.dimension - self.always

    def __str__(self) -> str:
        return (
            f"{self.dimension} independent pairs of actions commute (error below {self.threshold:.2g}), "
            f"of which {self.always} always: {self.excess} in excess"
        )


def commuting_pairs(
    sharing: Any, shape: Sequence[int], *, key: Key, dimension: int | None = None, threshold: float | None = None
) -> CommutingPairs:
    r"""All pairs of matrices that commute with all weights which U can make.

    The error of a pair is that of `discover`, ||X M - M Y||^2 / (||X M||^2 + ||M Y||^2) with norms over all maps. Its
    stationary values are 1 - s, s the singular values of

    $$K = \sum_j M_j B^{-1/2} \otimes (A^{-1/2} M_j)^T, \qquad A = \sum_j M_j M_j^T, \quad B = \sum_j M_j^T M_j,$$

    the cosines of the principal angles between the spaces {X M} and {M Y}. Pairs that send every map to zero, on which
    nothing can be read, are left out.

    A shift that does not wrap is not a pair of matrices, and is not found here. With only one or two directions almost
    any weights commute with many pairs (`always`). Short filters on a long line nearly commute with multiplication by
    slow waves too: where `errors` rise without a gap, the count depends on the threshold. The matrix K has (out in)^2
    numbers: for layers up to about 40 x 40.

    **Arguments:**

    - `sharing`, `shape`, `dimension`: as for `discover`.
    - `threshold`: the largest error that counts as commuting; by default half the smallest error that random weights
      have, beyond those pairs that commute with them exactly. Noise in U must lie below it.

    **Raises:** `ValueError` as `shared_directions` does.
    """
    maps = shared_directions(sharing, shape, dimension)
    rng = numpy_generator(key)
    random_maps = np.linalg.qr(rng.standard_normal((maps[..., 0].size, maps.shape[2])))[0].reshape(maps.shape)
    by_chance = _principal(random_maps)[0]
    always = int(np.sum(by_chance < 1e-8))
    if threshold is None:
        threshold = float(by_chance[always:].min(initial=1) / 2)
    errors, rho_in, rho_out = _principal(maps)
    count = int(np.sum(errors < threshold))
    return CommutingPairs(errors, threshold, always, rho_in[:count], rho_out[:count])


def _principal(maps: Maps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors in rising order, and the pairs that have them, scaled so that ||X M||^2 = ||M Y||^2 = rank."""
    out, inputs, rank = maps.shape
    whiten_out = _inverse_root(np.einsum("abr,cbr->ac", maps, maps, optimize=True))
    whiten_in = _inverse_root(np.einsum("abr,acr->bc", maps, maps, optimize=True))
    # X = X' A^-1/2 and Y = B^-1/2 Y' turn both norms into plain ones, and <X M, M Y> into <X', K Y'>.
    left = np.einsum("ak,abr->kbr", whiten_out, maps, optimize=True)
    right = np.einsum("abr,bl->alr", maps, whiten_in, optimize=True)
    K = np.einsum("clr,kbr->cklb", right, left, optimize=True).reshape(out * len(left), -1)
    u, cosines, vt = np.linalg.svd(K, full_matrices=False)
    scale = np.sqrt(rank)
    rho_out = np.einsum("pck,ak->pca", u.T.reshape(-1, out, len(left)), whiten_out, optimize=True) * scale
    rho_in = np.einsum("bl,plc->pbc", whiten_in, vt.reshape(-1, right.shape[1], inputs), optimize=True) * scale
    return np.maximum(1 - cosines, 0), rho_in, rho_out


def _inverse_root(gram: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d used"]:
    """Columns W with W W^T the pseudo-inverse: directions that no map uses are left out."""
    energy, axes = np.linalg.eigh(gram)
    used = energy > 1e-10 * energy[-1]
    return axes[:, used] / np.sqrt(energy[used])
