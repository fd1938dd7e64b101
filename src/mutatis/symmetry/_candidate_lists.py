"""Ready-made candidates for layers on lines, images, 3 x 3 patches and sets.

Where a layer's outputs are channels of unknown order, pass `outputs=best_permutation`: the action on them is then
looked for. Several input channels (`channels`) are moved alike.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from mutatis.symmetry._actions import Action, image_action, reflection, ring_action
from mutatis.symmetry._actions import channels as copies
from mutatis.symmetry._candidates import Candidate, Solver, Together, best_permutation


def line_candidates(n_in: int, n_out: int) -> list[Candidate | Together]:
    """Shifts by one and by two, circular or not, and the reflection, of a layer from a line of numbers to a line."""
    shifts = [_shifts(f"shift by {word}", (n_in,), (n_out,), 0, step) for step, word in ((1, "one"), (2, "two"))]
    mirror = Candidate("reflection", reflection(n_in).permutations[1], reflection(n_out).permutations[1])
    return [*shifts[0], *shifts[1], mirror]


def image_candidates(
    size: int, size_out: int | None = None, *, channels: int = 1, outputs: Solver | None = None
) -> list[Candidate | Together]:
    """Turns, mirror images and shifts of a square image of `size` x `size` pixels, row by row.

    The outputs are an image too, of `size_out` (by default `size`), which moves in the same way; with `outputs` they
    are channels. Shifts are only asked of a layer from one image to one image.
    """
    turned = copies(image_action(size, flip=True), channels)
    square = image_action(size_out or size, flip=True)
    elements = {
        "quarter turn": 1,
        "half turn": 2,
        "upside-down flip": 4,
        "left-right flip": 6,
        "diagonal flip": 7,
    }
    found = _of_elements(elements, turned, outputs or square)
    if outputs is None and channels == 1:
        for axis, name in enumerate(("row", "column")):
            found += _shifts(f"shift by one {name}", (size,) * 2, (size_out or size,) * 2, axis, 1)
    return found


def ring_candidates(*, channels: int = 1, outputs: Solver | None = best_permutation) -> list[Candidate | Together]:
    """Turns by multiples of 45 degrees, and the flip, of 3 x 3 patches, whose border pixels move along the border.

    The outputs are channels; with `outputs=None` they are a patch, which moves in the same way.
    """
    ring = ring_action(flip=True)
    elements = {"turn by 45 degrees": 1, "quarter turn": 2, "half turn": 4, "flip": 8}
    return _of_elements(elements, copies(ring, channels), outputs or ring)


def permutation_candidates(n: int) -> list[Candidate | Together]:
    """Swaps of neighbours among the n elements of a set, one by one and together: then every order is a symmetry."""
    if n < 2:
        raise ValueError(f"n is {n}; a set of fewer than 2 elements has nothing to swap.")
    orders = np.tile(np.arange(n), (n - 1, 1))
    for i, order in enumerate(orders):
        order[[i, i + 1]] = i + 1, i
    swaps = [Candidate(f"swap of {i} and {i + 1}", order, order) for i, order in enumerate(orders)]
    return [Together("any order", swaps), *swaps]


def _of_elements(elements: dict[str, int], moves: Action, outputs: Action | Solver) -> list[Candidate | Together]:
    return [
        Candidate(name, moves.permutations[g], outputs if callable(outputs) else outputs.permutations[g])
        for name, g in elements.items()
    ]


def _shifts(
    name: str, sizes_in: Sequence[int], sizes_out: Sequence[int], axis: int, step: int
) -> list[Candidate | Together]:
    """A shift along one axis of a grid, without wrapping and with.

    Wrapping concerns few entries, whose failure would drown among the others: they are judged apart.
    """
    (to_in, wraps_in), (to_out, wraps_out) = _rolled(sizes_in, axis, step), _rolled(sizes_out, axis, step)
    inside = Candidate(f"{name}, not circular", np.where(wraps_in, -1, to_in), np.where(wraps_out, -1, to_out))
    edge = Candidate(f"{name}, edge", to_in, to_out, where=wraps_out[:, None] | wraps_in)
    return [Together(f"{name}, circular", (inside, edge)), inside]


def _rolled(sizes: Sequence[int], axis: int, step: int) -> tuple[Int[np.ndarray, "d"], Bool[np.ndarray, "d"]]:
    """Where a circular shift sends each place of a grid, and whether across the edge."""
    grid = np.arange(np.prod(sizes)).reshape(sizes)
    wraps = np.indices(sizes)[axis] + step >= sizes[axis]
    return np.roll(grid, -step, axis).ravel(), wraps.ravel()
