"""What a study of trials plays and compares with: judged trials, and references."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from mutatis._types import Key, Tree
from mutatis.rl import Family, Player, Trials, play
from mutatis.shift._metrics import seed_interval
from mutatis.studies.trials._words import GAIN, RETURN, SUCCESS, WHOLE


@dataclass(frozen=True)
class Reference:
    """Returns to compare with, computed: of the best there can be, of one who knows nothing, of a known algorithm.

    - `value`: of what the study scores by.
    - `by_episode`: of each episode of a trial; empty where that is not known.
    - `exact`: or else of as many trials as a learner is judged by.
    - `is_best`, `is_nothing`: whether a learner's score is told as a share of the way from the one to the other.
    """

    name: str
    value: float
    by_episode: tuple[float, ...] = ()
    exact: bool = True
    is_best: bool = False
    is_nothing: bool = False

    def entry(self) -> dict[str, Any]:
        """As `config.json` holds it."""
        return {**vars(self), "by_episode": list(self.by_episode)}


@dataclass(frozen=True)
class TrialSet:
    """What is played: for `config.json`."""

    family: str
    trial: Mapping[str, Any]
    """`episodes`, `episode` (what one is called), `score` (what of a trial counts), `whole` (whether all of it)."""
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """In a sentence."""
        return self.family


class Judged(NamedTuple):
    """What trials earned; N worlds, E episodes."""

    returns: Any
    """(N, E)."""
    success: Any
    """(N, E), of families that tell it at each step: whether it succeeds at any; else `None`."""
    first: Trials
    """Some of the trials themselves."""


def episode_rows(found: Judged, episode: str, common: Mapping[str, Any], suffix: str = "") -> list[dict[str, Any]]:
    """Rows of the results: return and, where it is told, success of each episode, and what the whole trial comes to.

    That is its return, and what success gains from the first episode to the last, with Student's interval over trials,
    if there are several of both.

    - `episode`: what one is called.
    - `common`: what else every row has.
    - `suffix`: of the metrics' names.
    """
    measured = {RETURN: found.returns} | ({} if found.success is None else {SUCCESS: found.success})
    rows = [
        {**common, "group": f"{episode} {k + 1}", "metric": metric + suffix, "value": float(value), "support": k}
        for metric, values in measured.items()
        for k, value in enumerate(values.mean(axis=0))
    ]
    if found.success is not None and min(found.success.shape) > 1:
        gain = seed_interval(np.subtract(found.success[:, -1], found.success[:, 0], dtype=np.float64))
        ends = {"value": gain.mean, "low": gain.low, "high": gain.high}
        rows.append({**common, "group": WHOLE, "metric": GAIN + suffix, "support": 0, **ends})
    total = float(found.returns.sum(axis=1).mean())
    return [*rows, {**common, "group": WHOLE, "metric": RETURN + suffix, "value": total, "support": 0}]


@eqx.filter_jit
def judged(family: Family, tasks: Tree, player: Player, key: Key, episodes: int, shown: int) -> Judged:
    """Plays a trial for each task; `shown` of them are kept whole."""
    trials = play(family, tasks, player, key=key, episodes=episodes)
    success = trials.info.get(SUCCESS)
    first = jax.tree.map(lambda x: x[:shown], trials)
    return Judged(trials.returns(), None if success is None else (success > 0).any(axis=-1), first)
