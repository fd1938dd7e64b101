"""A player that explores DREAM's grids without a wasted step, then goes straight to every goal."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._timestep import Timestep
from mutatis._types import Key
from mutatis.rl.families._grid_search import best_actions
from mutatis.rl.families._grids import DOWN, LEFT, RIDE, RIGHT, SIDE, UP, WAIT, BusGrids

RIDES = (UP, RIDE, RIDE, RIGHT, DOWN, RIDE, RIDE, DOWN, LEFT, RIDE)
"""Ten steps that show where three buses lead, and so the fourth."""
READ_MAP = (RIGHT, RIGHT, RIGHT, DOWN)
"""Four steps to the map."""


class Belief(NamedTuple):
    """What the player still thinks possible."""

    possible: Bool[Array, "worlds tasks"]
    episode: Int[Array, ""]
    """0 while exploring."""
    step: Int[Array, ""]


class PerfectExplorer(eqx.Module):
    """Explores in the first episode of a trial by a fixed list of actions; later ones are as short as can be.

    It keeps every task that agrees with all it saw. Its returns are the best possible in every episode but the first.

    - `script`: the actions of the first episode, then it waits; `RIDES`, or `READ_MAP` where there is a map.
    """

    family: BusGrids
    script: Int[Array, "steps"]
    table: Int[Array, "tasks actions cells"]
    shortest: Int[Array, "tasks goals cells"]

    def __init__(self, family: BusGrids):
        script = READ_MAP if family.has_map else RIDES
        self.family = family
        self.script = jnp.array([*script, *(WAIT for _ in range(family.horizon - len(script)))])
        self.table, self.shortest = jnp.asarray(family.table()), jnp.asarray(best_actions(family)[0])

    def start(self, worlds: int) -> Belief:
        """All tasks are possible."""
        number = jnp.full((), -1, jnp.int32)
        return Belief(jnp.ones((worlds, self.family.num_tasks), bool), number, jnp.zeros_like(number))

    def begin(self, memory: Belief, key: Key) -> Belief:
        """Counts the episode."""
        del key
        return memory._replace(episode=memory.episode + 1, step=jnp.zeros_like(memory.step))

    def act(
        self, memory: Belief, observation: Float[Array, "worlds features"], key: Key
    ) -> tuple[Belief, Int[Array, "worlds"]]:
        """By the script, then along a shortest way of the first task that is possible."""
        del key
        task, goal = jnp.argmax(memory.possible, axis=1), jnp.argmax(observation[:, -4:], axis=1)
        straight = self.shortest[task, goal, _cell(observation)]
        return memory, jnp.where(memory.episode == 0, self.script[memory.step], straight)

    def learn(
        self,
        memory: Belief,
        observation: Float[Array, "worlds features"],
        action: Int[Array, "worlds"],
        shown: Timestep,
    ) -> Belief:
        """Drops the tasks in which the action would have led elsewhere, or that the map denies."""
        expected = jnp.moveaxis(self.table, 0, 2)[action, _cell(observation)]
        possible = memory.possible & (expected == _cell(shown.last_observation)[:, None])
        if self.family.has_map:
            told = shown.last_observation[:, 2 * SIDE + 1 : -4] > 0
            possible &= told | ~told.any(axis=1, keepdims=True)
        return Belief(possible, memory.episode, memory.step + 1)


def _cell(observation: Float[Array, "worlds features"]) -> Int[Array, "worlds"]:
    x = jnp.argmax(observation[:, :SIDE], axis=1)
    return SIDE * x + jnp.argmax(observation[:, SIDE : 2 * SIDE], axis=1)
