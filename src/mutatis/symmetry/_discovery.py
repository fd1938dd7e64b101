r"""Which symmetry data have, read from a symmetry matrix that was learned from them.

The error of a candidate (`symmetry_error`) is ranked among those of `draws` random spaces that underwent the same
search, actions that had to be found included: p = (1 + number of errors as low) / (1 + draws), then Holm's correction
over the candidates. By default the random spaces are U's own with the sign of every entry drawn anew (one sign for all
r maps): they keep orthonormality and each entry's share of the energy, so that *which* entries are used (locality, a
band, a dead input) is never taken for *sharing*. If the rows of U are independent and as likely as their negatives, all
these spaces and U itself are equally probable, and the p-value is exact.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mutatis._types import Key
from mutatis.symmetry._candidates import Candidate, Maps, Move, Together
from mutatis.symmetry._host import numpy_generator
from mutatis.symmetry._symmetry_error import shared_directions, symmetric_directions, symmetry_error

Basis = Float[np.ndarray, "size rank"]
Null = Callable[[np.random.Generator, Basis, int], Float[np.ndarray, "draws size rank"]]
"""`null(rng, basis, draws)`: orthonormal bases of random spaces to compare with."""

NUMBERS_AT_ONCE = 2**21
DRAWS = 199
HALF = 0.5


def same_energy(rng: np.random.Generator, basis: Basis, draws: int) -> Float[np.ndarray, "draws size rank"]:
    """Spaces in which every entry has the energy that it has in U, with a random sign."""
    return rng.choice([-1.0, 1.0], size=(draws, len(basis), 1)) * basis


def any_space(rng: np.random.Generator, basis: Basis, draws: int) -> Float[np.ndarray, "draws size rank"]:
    """Spaces of U's dimension, all equally likely; locality alone is significant then for many a candidate."""
    return np.linalg.qr(rng.standard_normal((draws, *basis.shape)))[0]


@dataclass(frozen=True)
class Finding:
    """One line of the answer.

    - `verdict`: "yes", "partly" or "no".
    - `error`: 0 exact, about 1 unrelated; of the worst pair of actions.
    - `p_value`: after Holm's correction.
    - `directions`, `moved`: how many independent weights in U's space have an error of at most the tolerance, of those
      that the actions move (under the pair with fewest).
    - `actions`: (rho_in, rho_out) of each pair, with what was looked for.
    """

    name: str
    verdict: str
    error: float
    p_value: float
    directions: int
    moved: int
    actions: tuple[tuple[Move, Move], ...]

    def __str__(self) -> str:
        share = f", {self.directions} of {self.moved} directions" if self.verdict == "partly" else ""
        return f"{self.name}: {self.verdict}, error {self.error:.2g}{share} (p = {self.p_value:.2g})"


@dataclass(frozen=True)
class Discovery:
    """What `discover` found: `print` it, or read `table`; `discovery["reflection"]` is one line of it."""

    table: tuple[Finding, ...]
    shape: tuple[int, int]
    dimension: int
    draws: int

    def __getitem__(self, name: str) -> Finding:
        for finding in self.table:
            if finding.name == name:
                return finding
        raise KeyError(f"{name!r} was not a candidate; there are {[finding.name for finding in self.table]}.")

    def __str__(self) -> str:
        out, inputs = self.shape
        head = (
            f"Weights of {out} x {inputs} with {self.dimension} shared directions, beside {self.draws} random spaces:"
        )
        return "\n".join([head, *(f"  {finding}" for finding in self.table)])


def discover(
    sharing: Any,
    shape: Sequence[int],
    candidates: Sequence[Candidate | Together],
    *,
    key: Key,
    dimension: int | None = None,
    draws: int | None = None,
    null: Null = same_energy,
    tolerance: float = 0.1,
    alpha: float = 0.05,
) -> Discovery:
    """Asks of each candidate whether all weights that U can make have the symmetry.

    - "yes": significant, with an error of at most the tolerance.
    - "partly": significant, and either the error is at most one half (sharing is rough), or it is at most one less the
      tolerance and some direction of U has an error within the tolerance (one of several filters is shared).
    - "no": anything else.

    On data without symmetry (entries independent, of either sign) the chance of any "yes" or "partly" is at most
    `alpha`.

    Where the weights have a group's symmetry, those of a larger group are among them: convolutions are partly symmetric
    under reflection, since some filters are their own mirror image. A shift is nearly a symmetry of any smooth weight.

    **Arguments:**

    - `sharing`: the symmetry matrix U `(size, filters)`, or a module whose `matrix()` is that. Other columns that span
      the weights do as well: adapted weights of several tasks, flattened.
    - `shape`: the weight's; its first axis is out, the others together are in.
    - `candidates`: such as `line_candidates(n_in, n_out)`.
    - `dimension`: r, how many of U's largest directions to judge; by default its effective dimension, rounded, so that
      filters that training left unused do not count.
    - `draws`: of random spaces; by default 199, or as many as Holm's correction needs.
    - `null`: what to compare with, `same_energy` or `any_space`.
    - `tolerance`: the largest error of a "yes".
    - `alpha`: the chance of a false discovery that is tolerated, over all candidates.

    **Raises:** `ValueError` if there is no candidate, the shapes disagree, U is zero or not finite, `dimension` is not
    between 1 and the rank of U, or `draws` are too few for any result to be significant.
    """
    maps = shared_directions(sharing, shape, dimension)
    draws = _enough(draws, len(candidates), alpha)
    rng = numpy_generator(key)
    errors = np.array([symmetry_error(candidate, maps[None])[0] for candidate in candidates])
    by_chance = [
        [symmetry_error(candidate, batch) for candidate in candidates] for batch in _batches(null, rng, maps, draws)
    ]
    # Equal but for rounding counts as equal: where signs do not matter, all spaces have the same error.
    as_low = np.sum(np.concatenate(by_chance, axis=1) <= errors[:, None] + 1e-9, axis=1)
    p_values = holm((1 + as_low) / (1 + draws))
    table = [
        _finding(candidate, maps, float(error), float(p_value), tolerance, alpha)
        for candidate, error, p_value in zip(candidates, errors, p_values, strict=True)
    ]
    return Discovery(tuple(table), maps.shape[:2], maps.shape[2], draws)


def holm(p_values: Float[np.ndarray, "candidates"]) -> Float[np.ndarray, "candidates"]:
    """P-values that hold for all candidates together (Holm 1979): the i-th smallest of m times m - i + 1, monotone."""
    order = np.argsort(p_values)
    corrected = np.empty_like(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return corrected


def _finding(
    candidate: Candidate | Together, maps: Maps, error: float, p_value: float, tolerance: float, alpha: float
) -> Finding:
    pairs = [part.solved(maps) for part in candidate.parts]
    directions, moved = min(symmetric_directions(pair.sides(maps), tolerance) for pair in pairs)
    significant = p_value <= alpha * (1 + 1e-9)  # the least possible p-value may be alpha but for rounding
    verdict = "no"
    if significant and error <= tolerance:
        verdict = "yes"
    elif significant and (error <= HALF or (error <= 1 - tolerance and directions > 0)):
        verdict = "partly"
    actions = tuple((pair.rho_in, np.asarray(pair.rho_out)) for pair in pairs)
    return Finding(candidate.name, verdict, error, p_value, directions, moved, actions)


def _batches(null: Null, rng: np.random.Generator, maps: Maps, draws: int) -> Iterator[Maps]:
    """Random spaces in batches that fit the cache and the memory."""
    rank = maps.shape[2]
    size = max(1, NUMBERS_AT_ONCE // maps.size)
    for start in range(0, draws, size):
        yield null(rng, maps.reshape(-1, rank), min(size, draws - start)).reshape(-1, *maps.shape)


def _enough(draws: int | None, candidates: int, alpha: float) -> int:
    if not candidates:
        raise ValueError("candidates is empty; pass at least one, for example line_candidates(n_in, n_out).")
    needed = math.ceil(candidates / alpha) - 1
    if draws is not None and draws < needed:
        raise ValueError(
            f"draws is {draws}; corrected for {candidates} candidates nothing can be significant at alpha = {alpha:g} "
            f"with fewer than {needed} draws. Take that many, or ask fewer questions."
        )
    return max(DRAWS, needed) if draws is None else draws
