"""Arrays whose rows belong to groups: the one form in which every data set reaches the library."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Groups:
    """Examples with the group each came from (a user, a place, a corruption, a rotation).

    **Arguments:**

    - `inputs`: `(n, ...)`; images are channels-last, `(n, height, width, channels)`, and may stay `uint8`.
    - `targets`: `(n,)` class indices, or real values for regression.
    - `groups`: `(n,)` integers `0 .. len(names) - 1`.
    - `names`: one name per group id.

    **Raises:** `ValueError` if the lengths differ, if there are no rows, or if a group id has no name.
    """

    inputs: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self):
        lengths = len(self.inputs), len(self.targets), len(self.groups)
        if len(set(lengths)) != 1:
            raise ValueError(
                f"inputs, targets and groups have {lengths[0]}, {lengths[1]} and {lengths[2]} rows; "
                "pass one target and one group id for each input."
            )
        if lengths[0] == 0:
            raise ValueError("inputs has no rows; a data set needs at least one example.")
        if not np.issubdtype(np.asarray(self.groups).dtype, np.integer):
            raise ValueError(
                f"groups has dtype {np.asarray(self.groups).dtype}; pass integer ids, "
                "for example numpy.unique(groups, return_inverse=True)[1]."
            )
        lowest, highest = int(np.min(self.groups)), int(np.max(self.groups))
        if lowest < 0 or highest >= len(self.names):
            raise ValueError(
                f"groups runs from {lowest} to {highest} but names has {len(self.names)} entries; "
                "ids must lie in 0 .. len(names) - 1."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of examples of each group, `(groups,)`."""
        return np.bincount(self.groups, minlength=len(self.names))

    @cached_property
    def members(self) -> list[np.ndarray]:
        """Row numbers of each group, ascending."""
        order = np.argsort(self.groups, kind="stable")
        return np.split(order, np.cumsum(self.sizes)[:-1])

    def take(self, rows: np.ndarray) -> "Groups":
        """The same groups with only these rows."""
        return Groups(self.inputs[rows], self.targets[rows], self.groups[rows], self.names)


@dataclass(frozen=True, eq=False)
class GroupedData:
    """Three sets of groups: to learn from, to choose by, and to be judged on.

    **Arguments:**

    - `train`, `validation`, `test`: `Groups`; where the shift is to *new* groups their names do not overlap.
    - `num_classes`: number of classes; 0 for regression.
    - `mean`, `std`: per channel, in units of the input after `uint8` values were divided by 255.
    - `checksums`: file name to SHA-256 of every file that was read.
    - `description`: one sentence for the report.
    """

    train: Groups
    validation: Groups
    test: Groups
    num_classes: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    checksums: dict[str, str] = field(default_factory=dict)
    description: str = ""
