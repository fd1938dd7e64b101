"""Jobs that the cores of this machine take in turn."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_LARGEST_PART = 64
"""Worlds that one thread steps at a time: enough to make array calls cheap, few enough to share the work evenly."""


class Threads:
    """A pool of threads, of which the caller's is one.

    The physics runs outside Python's lock, so one thread may compute while the others step.

    **Arguments:**

    - `count`: number of threads; None for all cores that this process may use.
    """

    def __init__(self, count: int | None):
        if count is not None and count < 1:
            raise ValueError(f"threads: must be at least 1, not {count}")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.count = count or cores
        self._pool = ThreadPoolExecutor(max(1, self.count - 1), "mutatis-worlds")
        # Of its own: calls that wait for helpers must not take their places.
        self._caller = ThreadPoolExecutor(1, "mutatis-worlds-caller")

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """The results of some jobs, in their order; each thread takes the next job when it has done one."""
        results: list[T | None] = [None] * len(jobs)
        waiting = deque(range(len(jobs)))

        def work() -> None:
            while True:
                try:
                    k = waiting.popleft()
                except IndexError:
                    return
                results[k] = jobs[k]()

        helpers = [self._pool.submit(work) for _ in range(min(self.count, len(jobs)) - 1)]
        work()
        for helper in helpers:
            helper.result()
        return results  # pyright: ignore[reportReturnType]

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """A call, which may `run` jobs, on a thread that takes the caller's place; one after the other."""
        return self._caller.submit(call)

    def parts(self, worlds: int, tasks: int) -> list[slice]:
        """Slices of one task's worlds: as few as keep a part small and every thread busy with some task."""
        count = max(-(-worlds // _LARGEST_PART), min(worlds, -(-self.count // tasks)))
        bounds = np.linspace(0, worlds, count + 1).astype(int).tolist()
        return [slice(*pair) for pair in itertools.pairwise(bounds)]

    def close(self) -> None:
        """Ends the threads."""
        self._caller.shutdown()
        self._pool.shutdown()
