"""The best that can be done on DREAM's grids: with the buses known, and without having explored, both exactly."""

import functools
import itertools

import numpy as np
from jaxtyping import Float, Int

from mutatis.rl.families._grids import BUSES, CELLS, DISTRACTIONS, GOALS, MAP, SIDE, START, BusGrids, cell_number

Known = tuple[tuple[int | None, ...], ...]
"""For each set of buses and each near end the number of its far end, where it is known."""


def best_actions(family: BusGrids) -> tuple[Int[np.ndarray, "tasks goals cells"], Int[np.ndarray, "tasks goals cells"]]:
    """An action on a shortest way from every cell to every goal in every task, and the steps of that way."""
    table = family.table()[:, None]
    steps = np.full((family.num_tasks, len(GOALS), CELLS), 2 * CELLS)
    for number, goal in enumerate(GOALS):
        steps[:, number, cell_number(goal)] = 0
    for _ in range(CELLS):
        after = np.stack([np.take_along_axis(steps, table[:, :, a], axis=2) for a in range(table.shape[2])], axis=2)
        shorter = np.minimum(steps, 1 + after.min(axis=2))
        if np.array_equal(shorter, steps):
            break
        steps = shorter
    return after.argmin(axis=2), steps


def best_returns(family: BusGrids) -> Float[np.ndarray, "tasks goals"]:
    """The best return of an episode for one who knows the task: -0.1 a step but 1 for the last."""
    steps = best_actions(family)[1][:, :, cell_number(START)]
    return np.where(steps <= family.horizon, 1.1 - 0.1 * steps, -0.1 * family.horizon)


def unexplored_returns(family: BusGrids) -> Float[np.ndarray, "goals"]:
    """The best expected return of a single episode for one who knows only that all tasks are equally likely.

    It may explore within the episode. Walking shows nothing new except where the map is, so the search goes from one
    thing that is learned to the next: straight to the goal by what is known, or to an end of a bus whose other end is
    unknown and ride, or to the map. It leaves out what could not beat the best found even if every bus not yet known
    led wherever one likes (branch and bound), so what it finds is exact.
    """
    groups = [BUSES, DISTRACTIONS] if family.distraction else [BUSES]

    @functools.cache
    def value(cell: int, known: Known, time: int, goal: int) -> float:
        steps, hoped = _steps(cell, _links(groups, known)), _steps(goal, _links(groups, known, hoped=True))
        worth = lambda arrival: 1.1 - 0.1 * arrival if arrival <= family.horizon else -0.1 * family.horizon
        best = worth(time + steps[goal])
        for place, ride, outcomes in _experiments(groups, known, family.has_map):
            then = time + steps[place] + ride
            bound = sum(worth(then + hoped[after]) for after, _ in outcomes) / len(outcomes)
            if then < family.horizon and bound > best:
                best = max(best, sum(value(after, more, then, goal) for after, more in outcomes) / len(outcomes))
        return best

    nothing = tuple((None,) * 4 for _ in groups)
    return np.array([value(cell_number(START), nothing, 0, cell_number(goal)) for goal in GOALS])


def _experiments(groups: list, known: Known, has_map: bool) -> list[tuple[int, int, list[tuple[int, Known]]]]:
    """Where something can be learned, the steps it takes there, and the equally likely cells and knowledge after it."""
    found = []
    for number, ((nears, fars), joined) in enumerate(zip(groups, known, strict=True)):
        unknown = [near for near in range(4) if joined[near] is None]
        free = [far for far in range(4) if far not in joined]
        learn = lambda near, far, number=number: _learned(known, number, near, far)
        for near in unknown:
            found.append((cell_number(nears[near]), 1, [(cell_number(fars[far]), learn(near, far)) for far in free]))
        for far in free:
            found.append(
                (cell_number(fars[far]), 1, [(cell_number(nears[near]), learn(near, far)) for near in unknown])
            )
    if has_map and found:
        found.append((cell_number(MAP), 0, [(cell_number(MAP), every) for every in _completions(known)]))
    return found


def _learned(known: Known, group: int, near: int, far: int) -> Known:
    """With one more bus known, and the last one by elimination."""
    joined = list(known[group])
    joined[near] = far
    if joined.count(None) == 1:
        joined[joined.index(None)] = next(end for end in range(4) if end not in joined)
    return (*known[:group], tuple(joined), *known[group + 1 :])


def _completions(known: Known) -> list[Known]:
    """Everything that may be so."""
    fits = lambda order, joined: all(have in (None, far) for far, have in zip(order, joined, strict=True))
    return list(
        itertools.product(*([o for o in itertools.permutations(range(4)) if fits(o, joined)] for joined in known))
    )


def _links(groups: list, known: Known, *, hoped: bool = False) -> tuple[tuple[int, int], ...]:
    """Both directions of the buses that are known or, where `hoped`, that may be."""
    pairs = [
        (cell_number(nears[near]), cell_number(fars[far]))
        for (nears, fars), joined in zip(groups, known, strict=True)
        for near, far in itertools.product(range(4), range(4))
        if joined[near] == far or (hoped and joined[near] is None and far not in joined)
    ]
    return tuple(pairs + [(far, near) for near, far in pairs])


@functools.lru_cache(maxsize=4096)
def _steps(cell: int, links: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """The least steps from a cell to every cell, on foot and by some buses."""
    rides = {near: [far for start, far in links if start == near] for near, _ in links}
    steps = {cell: 0}
    queue = [cell]
    for here in queue:
        x, y = divmod(here, SIDE)
        walks = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]
        nexts = [SIDE * i + j for i, j in walks if 0 <= i < SIDE and 0 <= j < SIDE] + rides.get(here, [])
        for there in nexts:
            if there not in steps:
                steps[there] = steps[here] + 1
                queue.append(there)
    return tuple(steps[number] for number in range(CELLS))
