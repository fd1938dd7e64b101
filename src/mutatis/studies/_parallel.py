"""Where jobs run: anything with `submit(fn, *args)` whose result has `.result()`.

`ProcessExecutor` (the default) gives every job to one of several fresh processes, each with its share of the
cores; seeds of a method follow each other, so a process mostly finds its code compiled. `SerialExecutor` runs
in this process, for debuggers. `distributed.Client` (dask) and the executors of `concurrent.futures` fit as
they are, where every machine sees the run directory.

Results do not depend on the executor as long as the kind of processor and the number of threads are the same.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

import jax

NUMERICS = (
    "jax_enable_x64",
    "jax_numpy_rank_promotion",
    "jax_default_prng_impl",
    "jax_default_matmul_precision",
)


MOST_MAPS = 15_000
"""Memory maps of a process at which it forgets its compiled programs; Linux allows 65,530."""


def forget_programs() -> None:
    """Drop all compiled programs if they hold many memory maps.

    Every program holds some, and a process that runs out of them dies of a segmentation fault inside the compiler. One
    that judges many methods on groups of many sizes does; programs that are needed again are compiled again.
    """
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


class Future(Protocol):
    """A value to come."""

    def result(self) -> Any:
        """Wait for the value, or raise what the call raised."""
        ...


class Executor(Protocol):
    """Anything that can run a function somewhere."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future:
        """Start `fn(*args)`."""
        ...


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer."""


class _Finished:
    def __init__(self, value: Any, error: Exception | None):
        self._value, self._error = value, error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class SerialExecutor:
    """Runs every call at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future:
        """Call `fn(*args)` now and keep what it returns or raises."""
        try:
            return _Finished(fn(*args), None)
        except Exception as error:
            return _Finished(None, error)


class _Answer:
    def __init__(self, future: Any):
        self._future = future

    def result(self) -> Any:
        try:
            return self._future.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process was killed, or memory ran out (then use fewer: --workers 1)"
            ) from error


class ProcessExecutor:
    """A pool of fresh processes (`spawn`), none of which outlives this one.

    **Arguments:**

    - `workers`: number of processes.
    - `threads`: cores that each may keep busy.
    """

    def __init__(self, workers: int, threads: int = 1):
        self._others = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(threads,),
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future:
        """Start `fn(*args)` in the next free process."""
        with _signals_held():
            return _Answer(self._pool.submit(fn, *args))

    def shutdown(self) -> None:
        """Wait for the processes to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def kill(self) -> None:
        """End the processes at once, whatever they do."""
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()


def numerics() -> dict[str, Any]:
    """The settings of JAX in this process on which results depend; they travel with every job."""
    return {name: getattr(jax.config, name) for name in NUMERICS}


@contextlib.contextmanager
def with_numerics(settings: Mapping[str, Any]) -> Iterator[None]:
    """Compute with these settings, and put back those that were."""
    before = numerics()
    changed = {name: value for name, value in settings.items() if before[name] != value}
    try:
        for name, value in changed.items():
            jax.config.update(name, value)
        yield
    finally:
        for name in changed:
            jax.config.update(name, before[name])


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C, not even while they import; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def default_workers(jobs: int, threads: int) -> int:
    """One worker for each `threads` cores this process may use, but no more than there are jobs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(jobs, cores // threads))


def _start_worker(threads: int) -> None:
    """Prepare a worker: no Ctrl-C of its own, its share of cores and memory, and an end with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process asks workers to stop, after a checkpoint
    os.environ["NPROC"] = str(threads)  # XLA reads it when the first array is made
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several workers share one GPU's memory
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
