"""True symmetry matrices: of group convolutions, of any pair of actions, and of steerable filters on images."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mutatis._tree import Fixed
from mutatis._types import Key
from mutatis.nn import conv2d
from mutatis.symmetry._actions import Action
from mutatis.symmetry._normal import standard_normal

Matrices = Float[np.ndarray, "elements d d"] | Float[np.ndarray, "d d"]

_HARMONICS = ((0, 0.0), (1, 0.0), (1, np.pi / 2), (2, 0.0), (2, np.pi / 2))
"""Frequency and phase of the five angular functions on the ring."""

_CORNER = np.exp(-((2**0.5 - 1) ** 2) / (2 * 0.4**2))
"""Weight of the four corners, at distance sqrt 2, on a ring of radius 1 and width 0.4."""


def symmetry_matrix(action: Action | Matrices, *, fields: int = 1) -> Float[np.ndarray, "size filters"]:
    r"""The symmetry matrix of every convolution over a finite group that acts by pi (Zhou et al. 2021, Prop. 1).

    $$\phi(x)_j = \langle x, \pi(g_j) \psi \rangle = (W x)_j, \qquad \operatorname{vec}(W) = U_G \psi, \qquad
      U_G = [\pi(g_1); \dots; \pi(g_m)]$$

    Its W are all linear maps with pi on their inputs and `regular(group)` on their outputs that are equivariant. For
    orthogonal pi the columns are orthogonal, of length sqrt m.

    - `action`: an `Action` on d inputs, or all matrices pi(g), `(m, d, d)`, in the group's order.
    - `fields`: f filters side by side; W is `(f m, d)`, vec(W) row-major, U `(f m d, f d)`.
    """
    matrices = action.matrices if isinstance(action, Action) else np.asarray(action)
    return np.kron(np.eye(fields), matrices.reshape(-1, matrices.shape[-1]))


def equivariant_basis(action_in: Action, action_out: Action) -> Float[np.ndarray, "size orbits"]:
    """Orthonormal basis of {vec(W): rho_out(g) W = W rho_in(g)} for actions that permute; exact, without algebra.

    Such a W is constant on the orbits of the group on pairs (output, input), and each orbit is a column (Ravanbakhsh,
    Schneider & Poczos 2017). Size is outputs times inputs, vec row-major. Time is order times size.
    """
    if action_in.group != action_out.group:
        raise ValueError(
            f"action_in is of {action_in.group.name}, action_out of {action_out.group.name}; pass actions of one group."
        )
    size = action_out.size * action_in.size
    first = np.arange(size)
    for moved_in, moved_out in zip(action_in.permutations, action_out.permutations, strict=True):
        first = np.minimum(first, (moved_out[:, None] * action_in.size + moved_in[None]).ravel())
    _, orbit, counts = np.unique(first, return_inverse=True, return_counts=True)
    basis = np.zeros((size, counts.size))
    basis[np.arange(size), orbit] = counts[orbit] ** -0.5
    return basis


def equivariant_maps(
    rho_in: Matrices, rho_out: Matrices, *, tolerance: float = 1e-9
) -> Float[np.ndarray, "size dimension"]:
    r"""Orthonormal basis of {vec(W): rho_out(g) W = W rho_in(g)} for any matrices, by a singular value decomposition.

    The null space of the stacked equations (Finzi, Welling & Wilson 2021, section 4)

    $$(\rho_{out}(g) \otimes I - I \otimes \rho_{in}(g)^T) \operatorname{vec}(W) = 0$$

    - `rho_in`, `rho_out`: matrices of the same elements; those of the generators are enough. `(elements, d, d)`, or
      `(d, d)` for one.
    - `tolerance`: a singular value below this share of the largest counts as zero. Matrices in float32 need 1e-5.

    Memory and time grow with the square and the cube of outputs times inputs: for up to some 2,000. For permutations
    `equivariant_basis` has no such limit.
    """
    left, right = (np.asarray(rho)[None] if np.ndim(rho) == 2 else np.asarray(rho) for rho in (rho_out, rho_in))
    if left.shape[0] != right.shape[0]:
        raise ValueError(f"rho_in has {right.shape[0]} elements, rho_out {left.shape[0]}; give the same elements.")
    same_out, same_in = np.eye(left.shape[1]), np.eye(right.shape[1])
    equations = [np.kron(b, same_in) - np.kron(same_out, a.T) for a, b in zip(right, left, strict=True)]
    _, values, directions = np.linalg.svd(np.concatenate(equations), full_matrices=False)
    return directions[values <= tolerance * max(values[0], 1.0)].T


def transposed_basis(
    basis: Float[np.ndarray, "size filters"], shape: tuple[int, int]
) -> Float[np.ndarray, "size filters"]:
    """The same maps for weights stored as their transpose, `(in, out)`, as `nn.Linear` and `nn.Conv2d` do.

    `shape` is `(out, in)`. A kernel `(kh, kw, inputs, outputs)` is W^T with rows (kh, kw, inputs).
    """
    return basis.reshape(*shape, -1).swapaxes(0, 1).reshape(basis.shape)


def lifting_bank(n: int = 8, *, flip: bool = False, fields: int = 1) -> Float[np.ndarray, "size filters"]:
    r"""Orthonormal symmetry matrix of steerable 3 x 3 filters under turns by 360/n degrees (Weiler & Cesa 2019).

    Six filters, a point in the centre and a ring with five angular functions, each drawn at every angle a:

    $$\delta(d), \qquad \rho(d) \cos(m s (\theta - a) - p), \qquad (m, p) \in
      \{(0, 0), (1, 0), (1, \pi/2), (2, 0), (2, \pi/2)\}, \qquad \rho(d) = e^{-(d - 1)^2 / (2 \cdot 0.4^2)}$$

    Row `(field, j + n s, pixel)`: output channel, then pixel row by row; `fields * 6` columns. Quarter turns of the
    image are exact, finer ones approximate (0.5 % at a wavelength of 16 pixels).

    - `flip`: with the mirrored filters (s = -1), elements in the order of `dihedral(n)`.

    **Deviations:** the column space is that of e2cnn's R2Conv from the trivial to regular fields for n = 8; with `flip`
    e2cnn orders the mirrored channels from half a turn on.
    """
    if n < 1:
        raise ValueError(f"n is {n}; pass a positive number of angles.")
    y, x = np.meshgrid([1, 0, -1], [-1, 0, 1], indexing="ij")
    theta, distance = np.arctan2(y, x).ravel(), (np.abs(x) + np.abs(y)).ravel()
    ring = np.choose(distance, [0.0, 1.0, _CORNER])
    angle = np.tile(2 * np.pi * np.arange(n) / n, 2 if flip else 1)
    side = np.repeat([1, -1] if flip else [1], n)
    turned = side[:, None] * (theta[None] - angle[:, None])
    columns = [np.tile(distance == 0, angle.size) * 1.0]
    columns += [(ring[None] * np.cos(m * turned - phase)).ravel() for m, phase in _HARMONICS]
    bank = np.stack(columns, axis=1)
    return np.kron(np.eye(fields), bank / np.linalg.norm(bank, axis=0, keepdims=True))


class GroupConvolution(eqx.Module):
    """The lifting convolution with steerable filters, as ground truth: `(rows, h, w, 1) -> (rows, h - 2, w - 2, out)`.

    Each of `fields` filters is seen at all turns (and mirrored): out = fields * order of the group, channel
    `(field, j + n s)`. A turned image gives the turned output with its channels moved on, exactly for quarter turns.

    - `coefficients`: `(fields * 6,)` in the orthonormal columns of `lifting_bank`, from N(0, 1); all that is trained.

    **Raises:** `ValueError` if `fields` or `n` is not positive.
    """

    coefficients: Float[Array, "filters"]
    bank: Fixed

    def __init__(self, fields: int, *, n: int = 8, flip: bool = False, key: Key, dtype: Any = jnp.float32):
        if fields < 1:
            raise ValueError(f"fields is {fields}; pass a positive number of filters.")
        bank = lifting_bank(n, flip=flip, fields=fields)
        self.bank = Fixed(jnp.asarray(bank, dtype))
        self.coefficients = standard_normal(key, bank.shape[1], dtype)

    @property
    def kernel(self) -> Float[Array, "3 3 1 out"]:
        """The filters at all angles."""
        return (self.bank.value @ self.coefficients).reshape(-1, 9).T.reshape(3, 3, 1, -1)

    def __call__(self, x: Float[Array, "rows h w 1"]) -> Float[Array, "rows h2 w2 out"]:
        """Correlates images with the kernel."""
        return conv2d(x, self.kernel, padding=0)
