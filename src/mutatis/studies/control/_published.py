"""What others report on Meta-World's multi-task benchmarks, each number with the protocol that it depends on."""

from collections.abc import Mapping, Sequence
from typing import Any

_STANDARD = "version 2 rewards, 500 actions, 50 episodes on drawn goals, success at any step, mean over seeds"
_CURVES = "McLean et al. 2025, arXiv 2503.05126, read from curves"
_PAPER = "version 2 rewards, 500 actions, maximum over training, 10 seeds"
_META_WORLD = "Yu et al. 2021, arXiv 1910.10897v2"

_MILLION = 1_000_000
# Width of the hidden layers to success at so many million steps.
_MT10_CURVES = {
    256: {1: 0.28, 2: 0.50, 5: 0.65, 10: 0.70, 15: 0.75, 20: 0.74},
    512: {1: 0.33, 2: 0.57, 5: 0.74, 10: 0.76, 15: 0.81, 20: 0.85},
    1024: {1: 0.41, 2: 0.64, 5: 0.77, 10: 0.87, 15: 0.87, 20: 0.87},
    2048: {1: 0.49, 2: 0.69, 5: 0.82, 10: 0.90, 15: 0.92, 20: 0.92},
    4096: {1: 0.60, 2: 0.70, 5: 0.81, 10: 0.92, 15: 0.92, 20: 0.93},
}
_MT50_CURVES = {
    256: {5: 0.21, 10: 0.29, 25: 0.41, 50: 0.49, 75: 0.51, 100: 0.53},
    1024: {5: 0.31, 10: 0.48, 25: 0.61, 50: 0.67, 75: 0.71, 100: 0.72},
    4096: {5: 0.45, 10: 0.59, 25: 0.70, 50: 0.82, 75: 0.84, 100: 0.84},
}
_CURVES_OF = {"MT10": _MT10_CURVES, "MT50": _MT50_CURVES}
# Success at the end of training, by benchmark: (method, success, million steps, protocol, source).
_TABLE = {
    "MT10": (
        ("MTMH-SAC, width 400", 0.748, 20, _STANDARD, _CURVES),
        ("MT-SAC", 0.683, 20, _PAPER, _META_WORLD),
        ("MT-PPO", 0.305, 20, _PAPER, _META_WORLD),
        ("MT-TRPO", 0.313, 20, _PAPER, _META_WORLD),
    ),
    "MT50": (
        ("MTMH-SAC, width 400", 0.549, 100, _STANDARD, _CURVES),
        ("MT-SAC", 0.385, 100, _PAPER, _META_WORLD),
        ("MT-PPO", 0.354, 100, _PAPER, _META_WORLD),
        ("MT-TRPO", 0.210, 100, _PAPER, _META_WORLD),
    ),
}


def published_curve(benchmark: str, width: int, environment_steps: int) -> Sequence[Mapping[str, Any]]:
    """Multi-head SAC with the width nearest to the asked one, at the moments up to so many steps."""
    curves = _CURVES_OF.get(benchmark, {})
    if not curves:
        return []
    nearest = min(curves, key=lambda each: abs(each - width))
    return [
        _entry(f"MTMH-SAC, width {nearest}", success, millions, _STANDARD, _CURVES)
        for millions, success in curves[nearest].items()
        if millions * _MILLION <= environment_steps
    ]


def published_table(benchmark: str) -> Sequence[Mapping[str, Any]]:
    """What methods reach at the end of the standard budget."""
    return [_entry(*row) for row in _TABLE.get(benchmark, ())]


def _entry(method: str, success: float, millions: int, protocol: str, source: str) -> Mapping[str, Any]:
    return {
        "method": method,
        "success": success,
        "environment_steps": millions * _MILLION,
        "protocol": protocol,
        "source": source,
    }
