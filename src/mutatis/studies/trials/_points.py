"""Studies of trials on points in the plane, and players that show what can be got there."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mutatis._timestep import Timestep
from mutatis._types import Key, Tree
from mutatis.rl import Memoryless, Trials
from mutatis.rl.families import PointGoals, SparsePointGoals, oyster_goals
from mutatis.rl.families._point import SPEED
from mutatis.studies._galleries import drawn_episodes
from mutatis.studies.trials._parts import Reference
from mutatis.studies.trials._study import Believed, EpisodicStudy


def to_origin(observation: Float[Array, "worlds 2"], key: Key) -> Float[Array, "worlds 2"]:
    """The best for all goals of the square at once."""
    del key
    return -observation / SPEED


def straight_up(observation: Float[Array, "worlds 2"], key: Key) -> Float[Array, "worlds 2"]:
    """To the middle of the half circle."""
    del key
    return (jnp.array([[0.0, 1.0]]) - observation) / SPEED


class Found(NamedTuple):
    """What `ArcSearcher` knows."""

    place: Float[Array, "worlds 2"]
    """Where it was paid most."""
    paid: Float[Array, "worlds"]
    episode: Int[Array, ""]
    step: Int[Array, ""]


class ArcSearcher(eqx.Module):
    """Walks along the half circle until it is paid, and stays; in later episodes it goes straight to where it was paid.

    It begins in the first episode at the right end, in the second at the left end, and then at the top, going left.

    - `radius`: of the disc that pays.
    """

    radius: float

    def start(self, worlds: int) -> Found:
        """Nothing found."""
        number = jnp.full((), -1, jnp.int32)
        return Found(jnp.zeros((worlds, 2)), jnp.zeros(worlds), number, number)

    def begin(self, memory: Found, key: Key) -> Found:
        """Remembers where it was paid."""
        del key
        return memory._replace(episode=memory.episode + 1, step=jnp.zeros_like(memory.step))

    def act(
        self, memory: Found, observation: Float[Array, "worlds 2"], key: Key
    ) -> tuple[Found, Float[Array, "worlds 2"]]:
        """To the next point of the arc, or where it was paid."""
        del key
        first, way = self.radius, memory.episode % 3
        begin = jnp.array([first, jnp.pi - first, jnp.pi / 2])[way]
        turn = jnp.array([SPEED, -SPEED, SPEED])[way]
        angle = begin + turn * jnp.maximum(memory.step - (1 - first / 2) / SPEED, 0)
        ahead = jnp.stack([jnp.cos(angle), jnp.sin(angle)])[None]
        target = jnp.where(memory.paid[:, None] > 0, memory.place, ahead)
        return memory, (target - observation) / SPEED

    def learn(self, memory: Found, observation: Array, action: Array, shown: Timestep) -> Found:
        """Notes a place that paid more than any before."""
        del observation, action
        more = shown.reward > memory.paid
        place = jnp.where(more[:, None], shown.last_observation, memory.place)
        paid = jnp.where(more, shown.reward, memory.paid).astype(memory.paid.dtype)
        return Found(place.astype(memory.place.dtype), paid, memory.episode, memory.step + 1)


@dataclass(frozen=True, kw_only=True)
class PointStudy(EpisodicStudy):
    """Points that pay their distance to a goal they are not shown (Rakelly et al. 2019, dense)."""

    def family(self) -> PointGoals:
        """The training goals of PEARL's published code."""
        return PointGoals(goals=jnp.asarray(self.training_tasks()), horizon=self.horizon)  # pyright: ignore[reportCallIssue]  (abstract fields)

    def training_tasks(self) -> Tree:
        """80 goals."""
        return oyster_goals()[0].astype(np.float32)

    def test_tasks(self) -> Tree:
        """20 other goals."""
        return oyster_goals()[1].astype(np.float32)

    def about(self) -> str:
        """The goals."""
        return (
            "Points that start anywhere in the square and pay their distance to a goal that is not shown: 80 goals to "
            f"train on, 20 others to test, of PEARL's published code; {self.episodes} episodes of {self.horizon} steps."
        )

    def computed_references(self) -> Sequence[Reference]:
        """The shortest ways, over all starts, and going to the middle."""
        best = float(self.family().mean_best_return(jnp.asarray(self.test_tasks())).mean())
        return [
            Reference("knows the goal", best, (best,) * self.episodes, is_best=True),
            self.simulated("goes to the middle", Memoryless(to_origin), is_nothing=True),
        ]

    def picture(self, tasks: Tree, trials: Trials, believed: Believed | None = None) -> Mapping[str, np.ndarray]:
        """Paths to the goal."""
        return point_picture(tasks, trials, believed, radius=0.0)


@dataclass(frozen=True, kw_only=True)
class SparsePointStudy(EpisodicStudy):
    """Points that are paid only near a goal on the half circle (Rakelly et al. 2019, section 6.3)."""

    radius: float = 0.2
    """Of the disc around the goal that pays."""
    compass: bool = False
    """Whether actions are one of nine, to stay or to go along axes and diagonals."""

    def family(self) -> SparsePointGoals:
        """The training goals of PEARL's published code."""
        goals = jnp.asarray(self.training_tasks())
        return SparsePointGoals(goals=goals, horizon=self.horizon, radius=self.radius, compass=self.compass)  # pyright: ignore[reportCallIssue]  (abstract fields)

    def training_tasks(self) -> Tree:
        """80 goals."""
        return oyster_goals(half_circle=True)[0].astype(np.float32)

    def test_tasks(self) -> Tree:
        """20 other goals."""
        return oyster_goals(half_circle=True)[1].astype(np.float32)

    def about(self) -> str:
        """The goals."""
        return (
            f"Points that are paid within {self.radius:g} of a goal on the half circle, and nowhere else: 80 goals to "
            f"train on, 20 others to test, of PEARL's published code; {self.episodes} episodes of {self.horizon} steps"
            f"{', one of nine actions in each' if self.compass else ''}."
        )

    def computed_references(self) -> Sequence[Reference]:
        """The shortest ways, a search along the half circle, and going straight up."""
        if self.compass:  # what is known plays with two numbers; how much less nine ways can get is not worked out
            return dataclasses.replace(self, compass=False).computed_references()
        best = float(self.family().best_return(jnp.asarray(self.test_tasks())).mean())
        return [
            Reference("knows the goal", best, (best,) * self.episodes, is_best=True),
            self.simulated("searches along the half circle", ArcSearcher(self.radius)),
            self.simulated("goes straight up", Memoryless(straight_up), is_nothing=True),
        ]

    def picture(self, tasks: Tree, trials: Trials, believed: Believed | None = None) -> Mapping[str, np.ndarray]:
        """Paths to the disc that pays."""
        return point_picture(tasks, trials, believed, radius=self.radius)


def point_picture(goals: Tree, trials: Trials, believed: Believed | None, *, radius: float) -> Mapping[str, np.ndarray]:
    """Arrays of a `TrialGallery`: where the points went in some episodes of each trial, and took the goal to be."""
    shown = drawn_episodes(trials.reward.shape[1])
    paths = jnp.concatenate([trials.observation[:, :, :1, :2], trials.last_observation[..., :2]], axis=2)
    held = {} if believed is None else {"trial_believed": believed(goals, trials, shown)}
    return held | {
        "trial_paths": np.asarray(paths[:, shown], np.float32),
        "trial_goals": np.asarray(goals, np.float32),
        "trial_returns": np.asarray(trials.returns()[:, shown], np.float32),
        "trial_episodes": np.asarray(shown),
        "trial_radius": np.asarray(radius, np.float32),
    }
