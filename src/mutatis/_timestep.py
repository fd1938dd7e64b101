"""What environments of pure functions answer, those of `mutatis.worlds` and those of `mutatis.rl` alike."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Array, Bool, Float


class Timestep(NamedTuple):
    """What M worlds show after an action. A world whose episode ended already shows the start of its next."""

    observation: Float[Array, "worlds features"]
    """Of the new episode where one began."""
    last_observation: Float[Array, "worlds features"]
    """Of the action itself: the one to bootstrap from where an episode was truncated."""
    reward: Float[Array, "worlds"]
    terminated: Bool[Array, "worlds"]
    truncated: Bool[Array, "worlds"]
    info: Mapping[str, Array]
    """`success` where the environment knows it; worlds also tell the original's other terms, `unstable` and `goal`."""
