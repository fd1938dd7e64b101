"""What several tests of the worlds need."""

import subprocess
import sys
from typing import NamedTuple

import numpy as np


class Moment(NamedTuple):
    """What `step` returns, by name."""

    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    info: dict


def actions(count, worlds, seed=0):
    """Uniform random actions, (count, worlds, 4)."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, worlds, 4)).astype(np.float32)


def play(worlds, acts):
    """The moments after some actions, in order."""
    return [Moment(*worlds.step(act)) for act in acts]


def rows(moment, where):
    """What a moment says of some worlds; what info says of the end of an episode is left out."""
    info = {key: value[where] for key, value in moment.info.items() if not key.removeprefix("_").startswith("final_")}
    return Moment(*(part[where] for part in moment[:4]), info)


def assert_equal(a, b):
    """The same bits, whatever is nested in what."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(a, b, strict=True)


def run_python(program, *arguments, options=(), **settings):
    """A program in a process of its own, in which a warning is an error."""
    command = [sys.executable, "-W", "error", *options, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **settings)
