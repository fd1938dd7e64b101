"""Studies of trials on DREAM's grids, where only who has explored knows the right bus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mutatis._types import Tree
from mutatis.rl import Trials
from mutatis.rl.families import BusGrids, PerfectExplorer, best_returns, unexplored_returns
from mutatis.rl.families._grids import GOALS, SIDE
from mutatis.studies._galleries import drawn_episodes
from mutatis.studies.trials._parts import Reference
from mutatis.studies.trials._study import Believed, EpisodicStudy


@dataclass(frozen=True, kw_only=True)
class BusStudy(EpisodicStudy):
    """Grids with buses; where they lead is the task (Liu et al. 2021, section 6.1)."""

    has_map: bool = False
    """Whether a cell tells the task."""
    distraction: bool = False
    """Whether there are buses that lead nowhere useful; then 53 tasks are trained on, and 523 others tested."""

    def family(self) -> BusGrids:
        """As set."""
        return BusGrids(has_map=self.has_map, distraction=self.distraction, horizon=self.horizon)  # pyright: ignore[reportCallIssue]  (abstract fields)

    def test_tasks(self) -> Tree:
        """All that there are to test."""
        return self.family().test_tasks.astype(np.int32)

    def about(self) -> str:
        """The grids."""
        known = "One cell tells where they lead." if self.has_map else "Where they lead is not shown."
        return (
            f"A corner of a grid is the goal of an episode of {self.horizon} steps, and the right bus goes there; a "
            f"trial is {self.episodes} episodes with the same buses. {known} {len(self.test_tasks())} tasks to test."
        )

    def computed_references(self) -> Sequence[Reference]:
        """The shortest ways, the best without a look at the buses before, and exploring without a wasted step."""
        family = self.family()
        known = float(best_returns(family)[family.test_tasks].mean())
        unexplored = float(unexplored_returns(family).mean())
        always = lambda name, value, **roles: Reference(name, value, (value,) * self.episodes, **roles)
        return [
            always("knows the buses", known, is_best=True),
            self.simulated("explores perfectly", PerfectExplorer(family)),
            always("best without exploring before", unexplored, is_nothing=True),
        ]

    def picture(self, tasks: Tree, trials: Trials, believed: Believed | None = None) -> Mapping[str, np.ndarray]:
        """Walks and rides to the corners."""
        shown = drawn_episodes(trials.reward.shape[1])
        seen = jnp.concatenate([trials.observation[:, :, :1], trials.last_observation], axis=2)[:, shown]
        x, y = jnp.argmax(seen[..., :SIDE], axis=-1), jnp.argmax(seen[..., SIDE : 2 * SIDE], axis=-1)
        goal = jnp.argmax(seen[:, :, 0, -len(GOALS) :], axis=-1)
        return {
            "trial_paths": np.stack([x, y], axis=-1).astype(np.float32),
            "trial_goals": np.asarray(GOALS, np.float32)[np.asarray(goal)],
            "trial_returns": np.asarray(trials.returns()[:, shown], np.float32),
            "trial_episodes": np.asarray(shown),
            "trial_radius": np.zeros((), np.float32),
            "trial_links": np.array([self.family().ends(int(task)) for task in np.asarray(tasks)]),
        }
