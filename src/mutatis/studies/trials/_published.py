"""What others report on small families of tasks, as the return of a whole trial."""

from collections.abc import Mapping, Sequence
from typing import Any

_SOURCE = "Duan et al. 2016, arXiv 1611.02779"
_PROTOCOL = "mean over fresh tasks, of one trained policy"
# By (arms, pulls): what RL2, and what the others of the table get.
_BANDIT_METHODS = ("RL2", "Gittins", "UCB1", "optimistic Thompson", "Thompson", "greedy")
_BANDITS = {
    (5, 10): (6.7, 6.6, 6.7, 6.5, 5.7, 6.6),
    (10, 10): (6.7, 6.6, 6.7, 6.2, 5.5, 6.6),
    (50, 10): (6.8, 6.5, 6.6, 5.5, 5.2, 6.5),
    (5, 100): (78.7, 78.3, 78.0, 77.9, 74.7, 74.8),
    (10, 100): (83.5, 82.8, 82.4, 81.4, 76.7, 77.1),
    (50, 100): (84.9, 85.2, 84.3, 67.7, 64.5, 78.0),
    (5, 500): (401.6, 405.8, 405.8, 406.7, 402.0, 380.6),
    (10, 500): (432.5, 437.8, 437.1, 438.9, 429.5, 395.0),
    (50, 500): (438.9, 463.7, 457.6, 437.6, 427.2, 402.8),
}
# By episodes of 10 steps, 10 states and 5 actions.
_PROCESS_METHODS = ("RL2", "BEB", "UCRL2", "optimistic posterior sampling", "posterior sampling")
_PROCESSES = {
    10: (156.2, 150.2, 146.6, 144.1, 138.1),
    25: (445.7, 427.8, 424.1, 425.2, 408.8),
    50: (936.1, 917.8, 918.9, 930.7, 904.4),
    75: (1428.8, 1422.6, 1427.6, 1449.2, 1417.1),
    100: (1913.7, 1935.1, 1942.1, 1973.9, 1939.5),
}


def published_bandits(arms: int, pulls: int) -> Sequence[Mapping[str, Any]]:
    """Table 1 of Duan et al.; nothing where it has no such bandit."""
    return _entries(_BANDIT_METHODS, _BANDITS.get((arms, pulls), ()), "table 1")


def published_processes(episodes: int) -> Sequence[Mapping[str, Any]]:
    """Table 2 of Duan et al.; nothing where it has no such trial."""
    return _entries(_PROCESS_METHODS, _PROCESSES.get(episodes, ()), "table 2")


def _entries(methods: Sequence[str], values: Sequence[float], table: str) -> Sequence[Mapping[str, Any]]:
    return [
        {"method": method, "value": value, "protocol": _PROTOCOL, "source": f"{_SOURCE}, {table}"}
        for method, value in zip(methods, values, strict=False)
    ]
