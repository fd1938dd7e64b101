"""Studies of trials on the small families of discrete actions: bandits and tabular decision processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from mutatis._types import Tree
from mutatis.rl.families import (
    BernoulliBandits,
    FiniteGittins,
    PosteriorMean,
    PosteriorSampling,
    TabularProcesses,
    Thompson,
    bandit_value,
)
from mutatis.studies.trials._parts import Reference
from mutatis.studies.trials._published import published_bandits, published_processes
from mutatis.studies.trials._study import EpisodicStudy, TrialStudy

EXACT_PULLS = 12
"""Up to so many the dynamic programme over all that may happen ends in a second."""
GITTINS_PULLS = 100
"""Up to so many the table of indices is small."""


@dataclass(frozen=True, kw_only=True)
class BanditStudy(TrialStudy):
    """Bernoulli bandits (Duan et al. 2016, section 3.1); a pull is an episode."""

    episode: ClassVar[str] = "pull"
    scores_whole_trial: ClassVar[bool] = True

    arms: int = 5
    pulls: int = 10
    """Pulls of a trial."""
    test_trials: int = 10_000
    progress_trials: int = 2_000
    pictures: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.check_positive("arms", "pulls")

    @property
    def trial_episodes(self) -> int:
        """Pulls."""
        return self.pulls

    def family(self) -> BernoulliBandits:
        """One pull an episode."""
        return BernoulliBandits(arms=self.arms, horizon=1)  # pyright: ignore[reportCallIssue]  (abstract fields)

    def test_tasks(self) -> Tree:
        """A fresh bandit for each trial."""
        return self.family().sample(jax.random.key(self.test_seed), self.test_trials)

    def about(self) -> str:
        """Arms and pulls."""
        return f"Bandits with {self.arms} arms, chances from U(0, 1); a trial is {self.pulls} pulls."

    def computed_references(self) -> Sequence[Reference]:
        """The Bayes optimum where it can be computed, and known algorithms on the very bandits of the test."""
        pulls, found = self.pulls, []
        always = lambda name, each, **roles: Reference(name, pulls * each, (each,) * pulls, **roles)
        found.append(always("knows the arms", self.arms / (self.arms + 1)))
        if exact := pulls <= EXACT_PULLS:
            found.append(Reference("Bayes optimum", bandit_value(self.arms, pulls), is_best=True))
        if pulls <= GITTINS_PULLS:
            gittins = FiniteGittins(self.arms, pulls)
            found.append(self.simulated("Gittins indices", gittins, is_best=not exact))
        found.append(self.simulated("Thompson sampling", Thompson(self.arms)))
        found.append(self.simulated("greedy posterior mean", PosteriorMean(self.arms)))
        return [*found, always("random arms", 0.5, is_nothing=True)]

    def published(self) -> Sequence[Mapping[str, Any]]:
        """Table 1 of the paper, where it has this bandit."""
        return published_bandits(self.arms, self.pulls)


@dataclass(frozen=True, kw_only=True)
class ProcessStudy(EpisodicStudy):
    """Random tabular decision processes (Duan et al. 2016, section 3.2)."""

    scores_whole_trial: ClassVar[bool] = True

    states: int = 10
    """States of a process."""
    actions: int = 5
    """Actions in each state."""
    horizon: int = 10
    episodes: int = 10
    test_trials: int = 1_000
    progress_trials: int = 500
    pictures: int = 0

    def family(self) -> TabularProcesses:
        """Dirichlet transitions, normal rewards."""
        return TabularProcesses(states=self.states, num_actions=self.actions, horizon=self.horizon)  # pyright: ignore[reportCallIssue]  (abstract fields)

    def test_tasks(self) -> Tree:
        """A fresh process for each trial."""
        return self.family().sample(jax.random.key(self.test_seed), self.test_trials)

    def about(self) -> str:
        """Sizes."""
        return (
            f"Random decision processes with {self.states} states and {self.actions} actions; a trial is "
            f"{self.episodes} episodes of {self.horizon} steps."
        )

    def computed_references(self) -> Sequence[Reference]:
        """Of the very processes of the test: known, by posterior sampling, and by chance."""
        family, tasks = self.family(), self.test_tasks()
        exact = lambda name, returns, **roles: self._always(name, float(returns.mean()), **roles)
        return [
            exact("knows the process", family.best_return(tasks), is_best=True),
            self.simulated("posterior sampling", PosteriorSampling(self.states, self.actions, self.horizon)),
            exact("random actions", family.random_return(tasks), is_nothing=True),
        ]

    def _always(self, name: str, each: float, **roles: bool) -> Reference:
        return Reference(name, self.episodes * each, (each,) * self.episodes, **roles)

    def published(self) -> Sequence[Mapping[str, Any]]:
        """Table 2 of the paper, where it has these processes."""
        is_theirs = (self.states, self.actions, self.horizon) == (10, 5, 10)
        return published_processes(self.episodes) if is_theirs else ()
