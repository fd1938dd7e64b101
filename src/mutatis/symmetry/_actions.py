"""Actions of finite groups that permute coordinates: of lines, images, patches, sets, and stacks of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mutatis.symmetry._groups import Group, cyclic, dihedral, generated, permutations, product, symmetric


@dataclass(frozen=True, eq=False)
class Action:
    """A group that permutes the coordinates of a vector: (rho(g) x)[permutations[g, i]] = x[i].

    A left action: rho(g h) = rho(g) rho(h).

    - `permutations`: where element g sends coordinate i, `(order, size)`.

    Two actions are equal if their groups and permutations are.

    **Raises:** `ValueError` if a row is no permutation, or products are not respected.
    """

    group: Group
    permutations: Int[np.ndarray, "order size"]

    def __post_init__(self):
        moved = np.array(self.permutations, dtype=np.int64)
        moved.flags.writeable = False
        object.__setattr__(self, "permutations", moved)
        if moved.ndim != 2 or moved.shape[0] != self.group.order:
            raise ValueError(
                f"permutations has shape {moved.shape}; pass one row for each of the {self.group.order} elements "
                f"of {self.group.name}."
            )
        if (np.sort(moved, axis=1) != np.arange(self.size)[None]).any():
            raise ValueError("permutations must hold each of 0 ... size - 1 once in every row.")
        if any((moved[self.group.table[g]] != moved[g][moved]).any() for g in self.group.generators):
            raise ValueError(
                f"permutations are no action of {self.group.name}: g h must move a coordinate as h and then g do."
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Action)
            and self.group == other.group
            and np.array_equal(self.permutations, other.permutations)
        )

    def __hash__(self) -> int:
        return hash((self.group, self.size))

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return self.permutations.shape[1]

    @property
    def matrices(self) -> Float[np.ndarray, "order size size"]:
        """Every rho(g) as a matrix, in the group's order."""
        return np.eye(self.size)[:, np.argsort(self.permutations, axis=1)].transpose(1, 2, 0)

    def matrix(self, g: int) -> Float[np.ndarray, "size size"]:
        """The matrix of rho(g)."""
        return np.eye(self.size)[np.argsort(self.permutations[g])]

    def apply(self, g: int, x: Any, axis: int = -1) -> Any:
        """rho(g) x along one axis of an array, NumPy's or JAX's."""
        return x.take(np.argsort(self.permutations[g]), axis=axis)


def trivial(group: Group, size: int) -> Action:
    """Every element leaves all `size` coordinates where they are (invariant outputs)."""
    return Action(group, np.tile(np.arange(size), (group.order, 1)))


def regular(group: Group) -> Action:
    """The group acting on itself, (rho(g) x)[g h] = x[h]: how the outputs of a G-convolution move."""
    return Action(group, group.table)


def shift(n: int, *, flip: bool = False) -> Action:
    """Circular shifts of a line of n numbers: element j moves it j places on.

    - `flip`: with the reflections i -> -i modulo n as well (D_n).
    """
    group = dihedral(n) if flip else cyclic(n)
    return Action(group, _on_circle(n, n, flip))


def reflection(n: int) -> Action:
    """A line of n numbers read backwards (C_2)."""
    return Action(cyclic(2), np.stack([np.arange(n), np.arange(n)[::-1]]))


def permutation_action(n: int) -> Action:
    """All orders of the n elements of a set, n at most 6."""
    return Action(symmetric(n), permutations(n))


def image_action(size: int | tuple[int, int], *, n: int = 4, flip: bool = False) -> Action:
    """Turns, and mirror images, of an image given as the vector of its pixels row by row: exact.

    Element j turns as `numpy.rot90(x, 4 j / n)` does, anticlockwise. The mirror m turns it upside down.

    - `size`: a square's side, or height and width.
    - `n`: 4 (quarter turns, of a square), 2 (half turn) or 1 (none).
    - `flip`: with the reflections (D_n).
    """
    height, width = (size, size) if isinstance(size, int) else size
    if n not in (1, 2, 4) or (n == 4 and height != width):
        raise ValueError(
            f"n is {n} for an image of {height} x {width} pixels; n may be 1, 2, or on a square 4: "
            "finer turns do not map pixels onto pixels."
        )
    pixels = np.arange(height * width).reshape(height, width)
    images = [pixels, pixels[::-1]] if flip else [pixels]
    moved = [np.rot90(image, j * 4 // n) for image in images for j in range(n)]
    return Action(dihedral(n) if flip else cyclic(n), np.argsort(np.stack(moved).reshape(len(moved), -1), axis=1))


def ring_action(*, n: int = 8, flip: bool = False) -> Action:
    """Turns of a 3 x 3 patch by 360/n degrees: its 8 border pixels move along the border, the centre stays.

    With n = 8 exact as an action of the group, C_8 or with `flip` D_8, though no true rotation of an image. Its square
    is `image_action(3)`, its mirror the same (upside down).
    """
    if n not in (1, 2, 4, 8):
        raise ValueError(f"n is {n}; the 8 border pixels of a 3 x 3 patch admit 1, 2, 4 or 8 turns.")
    border = np.array([5, 2, 1, 0, 3, 6, 7, 8])  # anticlockwise from the right
    circle = _on_circle(8, n, flip)
    moved = np.tile(np.arange(9), (len(circle), 1))
    moved[:, border] = border[circle]
    return Action(dihedral(n) if flip else cyclic(n), moved)


def channels(action: Action, fields: int) -> Action:
    """Several copies, one after the other, that move alike: coordinate (field, i) is `field * size + i`."""
    return Action(action.group, _blocks([action.permutations] * fields))


def direct_sum(first: Action, second: Action) -> Action:
    """One group acting on two vectors that are joined end to end."""
    _same_group(first, second)
    return Action(first.group, _blocks([first.permutations, second.permutations]))


def tensor(first: Action, second: Action) -> Action:
    """One group acting on both axes of a matrix, flattened row by row: rho(g) X = first(g) X second(g)^T."""
    _same_group(first, second)
    return Action(first.group, _pairs(first.permutations, second.permutations, second.size))


def outer(first: Action, second: Action) -> Action:
    """Two groups, each acting on its own axis of a matrix (flattened row by row), as the product of the groups.

    `outer(shift(h), shift(w))` shifts images circularly.
    """
    g, h = np.divmod(np.arange(first.group.order * second.group.order), second.group.order)
    moved = _pairs(first.permutations[g], second.permutations[h], second.size)
    return Action(product(first.group, second.group), moved)


def restrict(action: Action, generators: Sequence[int], *, name: str | None = None) -> Action:
    """The action of the subgroup that some elements generate; its elements keep their order."""
    group = action.group
    elements = generated(group.table, generators)
    table = np.searchsorted(elements, group.table[np.ix_(elements, elements)])
    inside = tuple(int(np.searchsorted(elements, g)) for g in generators)
    name = name or f"subgroup of {group.name}"
    subgroup = Group(name, table, inside, tuple(group.names[g] for g in elements))
    return Action(subgroup, action.permutations[elements])


def _on_circle(places: int, n: int, flip: bool) -> np.ndarray:
    """Where the turns of C_n, or the turns and then reflections of D_n, send the places of a circle."""
    turns, place = np.arange(n)[:, None] * (places // n), np.arange(places)[None]
    signs = (1, -1) if flip else (1,)
    return np.concatenate([(turns + sign * place) % places for sign in signs])


def _blocks(parts: Sequence[np.ndarray]) -> np.ndarray:
    starts = np.cumsum([0] + [part.shape[1] for part in parts])
    return np.concatenate([start + part for start, part in zip(starts, parts, strict=False)], axis=1)


def _pairs(rows: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    return (rows[:, :, None] * width + columns[:, None]).reshape(rows.shape[0], -1)


def _same_group(first: Action, second: Action) -> None:
    if first.group != second.group:
        raise ValueError(
            f"the actions are of different groups, {first.group.name} and {second.group.name}; for one group on each "
            "axis use outer."
        )
