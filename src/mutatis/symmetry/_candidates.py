"""Symmetries that a weight may have: pairs of actions, on a layer's inputs and on its outputs.

A *move* is the action of one group element: `(d,)` integers, the place to which each coordinate goes (-1: out of the
frame), or a matrix `(d, d)`. A weight W has the symmetry if rho_out W = W rho_in. To commute with the generators of a
group is to commute with all of it, so a candidate needs no group table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

Move = Int[np.ndarray, "d"] | Float[np.ndarray, "d d"]
Maps = Float[np.ndarray, "*batch out in rank"]
"""A basis of weights, along the last axis; with leading axes a batch of bases."""
Sides = tuple[Float[np.ndarray, "*batch pairs rank"], Float[np.ndarray, "*batch pairs rank"]]

Solver = Callable[[Maps, Move], Move]
"""`solver(maps, rho_in) -> rho_out`: the action on the outputs under which the maps come nearest to the symmetry."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One pair of actions that a layer may commute with: rho_out W = W rho_in.

    Two integer actions tie the entry W[a, b] to W[rho_out[a], rho_in[b]]. Left out are pairs of which one entry lies
    outside the frame, and entries tied to themselves, in which no weight can fail.

    - `name`: as it is to be read in the answer.
    - `rho_in`: the action on the inputs, integers or a matrix.
    - `rho_out`: the action on the outputs, or `best_permutation` or `best_orthogonal` to look for one.
    - `where`: which entries (a, b) to compare with those they are tied to, `(out, in)`; by default all. For integer
      actions only.

    **Raises:** `ValueError` if an action is neither a square matrix nor `(d,)` integers from -1 to d - 1 that send no
    two coordinates to one place, if the pair moves no entry, or if `where` comes with a matrix.
    """

    name: str
    rho_in: Move
    rho_out: Move | Solver
    where: Bool[np.ndarray, "out in"] | None = None

    def __post_init__(self):
        object.__setattr__(self, "rho_in", _checked(self.name, "rho_in", self.rho_in))
        if callable(self.rho_out):
            return
        object.__setattr__(self, "rho_out", _checked(self.name, "rho_out", self.rho_out))
        permutes = self.rho_in.ndim == self.rho_out.ndim == 1
        if self.where is not None and not permutes:
            raise ValueError(
                f"where of candidate {self.name!r} needs integer actions; a matrix ties no single entries."
            )
        if permutes and not len(self._tied[0]):
            raise ValueError(
                f"candidate {self.name!r} moves no entry of the weight, so every weight has it; leave it out."
            )

    @property
    def parts(self) -> tuple["Candidate", ...]:
        """The pairs that have to hold: this one."""
        return (self,)

    def solved(self, maps: Maps) -> "Candidate":
        """The same with the action on the outputs found, where it was to be looked for."""
        return replace(self, rho_out=self.rho_out(maps, self.rho_in)) if callable(self.rho_out) else self

    def sides(self, maps: Maps) -> Sides:
        """The two sides of rho_out W = W rho_in, entry by entry, for every map of the basis.

        **Raises:** `ValueError` if the actions are of other sizes than the maps.
        """
        *batch, out, inputs, rank = maps.shape
        rho_in, rho_out = self.rho_in, np.asarray(self.rho_out)
        if (out, inputs) != (len(rho_out), len(rho_in)):
            raise ValueError(
                f"candidate {self.name!r} acts on weights of {len(rho_out)} x {len(rho_in)}, but these are "
                f"{out} x {inputs}; make it for this layer."
            )
        if rho_in.ndim == rho_out.ndim == 1:
            flat = maps.reshape(*batch, out * inputs, rank)
            before, after = self._tied
            return flat[..., before, :], flat[..., after, :]
        rows, columns = np.nonzero(_matrix(rho_out).any(1))[0], np.nonzero(_matrix(rho_in).any(0))[0]
        left = np.einsum("ac,...cbr->...abr", _matrix(rho_out)[rows], maps[..., columns, :], optimize=True)
        right = np.einsum("...acr,cb->...abr", maps[..., rows, :, :], _matrix(rho_in)[:, columns], optimize=True)
        return left.reshape(*batch, -1, rank), right.reshape(*batch, -1, rank)

    @cached_property
    def _tied(self) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
        rho_in, rho_out = self.rho_in, np.asarray(self.rho_out)
        a, b = np.nonzero((rho_out >= 0)[:, None] & (rho_in >= 0) & (True if self.where is None else self.where))
        before, after = a * len(rho_in) + b, rho_out[a] * len(rho_in) + rho_in[b]
        return before[before != after], after[before != after]


@dataclass(frozen=True, eq=False)
class Together:
    """Several pairs that make one symmetry only if all of them hold, such as the generators of a group.

    It is judged by the worst of its pairs.
    """

    name: str
    candidates: Sequence[Candidate]

    @property
    def parts(self) -> tuple[Candidate, ...]:
        """The pairs that have to hold."""
        return tuple(self.candidates)


def best_permutation(maps: Maps, rho_in: Move) -> Int[np.ndarray, "out"]:
    """The permutation of the outputs that minimises sum_j ||rho_out M_j - M_j rho_in||^2, by linear assignment.

    Row a should become the row of M rho_in that it has the largest inner product with, over all maps.
    """
    return linear_sum_assignment(_agreement(maps, rho_in), maximize=True)[1]


def best_orthogonal(maps: Maps, rho_in: Move) -> Float[np.ndarray, "out out"]:
    """The orthogonal matrix that minimises sum_j ||rho_out M_j - M_j rho_in||^2 (Schönemann 1966).

    It has out (out - 1) / 2 free numbers, and finds much where there are few maps or inputs: read the p-value.
    """
    left, _, right = np.linalg.svd(_agreement(maps, rho_in).T)
    return left @ right


def _agreement(maps: Maps, rho_in: Move) -> Float[np.ndarray, "out out"]:
    """Inner products of the rows of the maps with the rows of the maps after rho_in."""
    if rho_in.ndim == 1:
        before, after = maps[:, rho_in >= 0], maps[:, rho_in[rho_in >= 0]]
    else:
        before, after = maps, np.einsum("acr,cb->abr", maps, rho_in, optimize=True)
    return before.reshape(len(maps), -1) @ after.reshape(len(maps), -1).T


def _matrix(rho: Move) -> Float[np.ndarray, "d d"]:
    if rho.ndim == 2:
        return rho
    inside = np.nonzero(rho >= 0)[0]
    matrix = np.zeros((len(rho), len(rho)))
    matrix[rho[inside], inside] = 1
    return matrix


def _checked(candidate: str, name: str, rho: Move) -> Move:
    rho = np.asarray(rho)
    if rho.ndim == 2 and rho.shape[0] == rho.shape[1]:
        return rho.astype(np.float64)
    places = rho[rho >= 0] if rho.ndim == 1 else rho
    fits = rho.ndim == 1 and np.issubdtype(rho.dtype, np.integer) and (rho >= -1).all() and (rho < len(rho)).all()
    if not fits or len(np.unique(places)) < len(places):
        raise ValueError(
            f"{name} of candidate {candidate!r} has shape {rho.shape} and type {rho.dtype}; pass a square matrix, or "
            "for each coordinate the place it goes to: integers 0 to d - 1, no place twice, -1 for out of the frame."
        )
    return rho
