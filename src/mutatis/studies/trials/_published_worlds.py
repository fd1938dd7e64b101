"""What others report on Meta-World's meta-learning benchmarks, each number with the protocol that it depends on."""

from collections.abc import Mapping, Sequence
from typing import Any

_PAPER = "version 2 rewards, 500 actions, maximum over training, 10 seeds"
_META_WORLD = "Yu et al. 2021, arXiv 1910.10897v2"
_COUNTED = (
    "version 2 rewards, 500 actions, the first 3 episodes to end after 10 of adaptation, interquartile mean, 10 seeds"
)
_AGAIN = "McLean et al. 2025, arXiv 2505.11289, read from plots"

# By benchmark: (method, success on test tasks, on training tasks, steps, protocol, source).
_TABLE = {
    "ML10": (
        ("MAML", 0.316, 0.444, 20_000_000, _PAPER, _META_WORLD),
        ("RL2", 0.358, 0.869, 20_000_000, _PAPER, _META_WORLD),
        ("PEARL", 0.13, 0.232, 20_000_000, _PAPER, _META_WORLD),
        ("MAML", 0.35, None, 20_000_000, _COUNTED, _AGAIN),
        ("RL2", 0.35, None, 20_000_000, _COUNTED, _AGAIN),
    ),
    "ML45": (
        ("MAML", 0.399, 0.407, 90_000_000, _PAPER, _META_WORLD),
        ("RL2", 0.333, 0.70, 90_000_000, _PAPER, _META_WORLD),
        ("PEARL", 0.22, 0.145, 90_000_000, _PAPER, _META_WORLD),
        ("MAML", 0.25, None, 90_000_000, _COUNTED, _AGAIN),
        ("RL2", 0.25, None, 90_000_000, _COUNTED, _AGAIN),
    ),
}


def published_success(benchmark: str) -> Sequence[Mapping[str, Any]]:
    """Success on the test tasks, and on the training tasks where it is told; nothing for other benchmarks."""
    names = ("method", "success", "training_success", "environment_steps", "protocol", "source")
    return [dict(zip(names, row, strict=True)) for row in _TABLE.get(benchmark, ())]
