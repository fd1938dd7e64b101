"""Processes that take turns at the same work on one core, and what each turn cost them.

A script starts itself once for each side (`Side`); there it calls `serve`, which takes steps whenever it is asked to.
"""

import json
import os
import statistics
import subprocess
import sys
import time

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def with_threads(count):
    """The environment of a side."""
    return {**os.environ, **dict.fromkeys(THREADS, str(count)), "JAX_PLATFORMS": "cpu"}


def first_cores(count):
    """So many of the allowed cores."""
    return sorted(os.sched_getaffinity(0))[:count]


def first_core(asked):
    """The core that was asked for, or the first allowed one."""
    return min(os.sched_getaffinity(0)) if asked is None else asked


def scanned(learner, state, tasks, **options):
    """A function that goes on with `mutatis.outer_scan` whenever it is called, and returns the last loss."""
    import jax

    import mutatis

    trained = [(learner, state)]

    def take():
        learner, state, history = mutatis.outer_scan(*trained[0], tasks, **options)
        trained[0] = jax.block_until_ready((learner, state))
        return float(history.losses[-1].mean())

    return take


def serve(take, steps):
    """Warms up, then takes steps whenever a line comes in and answers with their cost: seconds a step, and MiB."""
    import resource

    take()
    print("ready", flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        loss = take()
        answer = {
            "cpu": (time.process_time() - cpu) / steps,
            "wall": (time.perf_counter() - wall) / steps,
            "loss": loss,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), flush=True)


class Side:
    """One of the processes, bound to some cores, with as many threads."""

    def __init__(self, name, command, cores):
        self.name, self.answers = name, []
        self.process = subprocess.Popen(
            command,
            env=with_threads(len(cores)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"the side {self.name} ended before its first step; its error is above.")

    def ask(self):
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        self.answers.append(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def median(self, name):
        return statistics.median(answer[name] for answer in self.answers)


def in_turns(sides, rounds):
    for _ in range(rounds):
        for side in sides:
            side.ask()
    for side in sides:
        side.close()


def ratio(side, other):
    """Median over the rounds of one side's CPU time by the other's."""
    return statistics.median(a["cpu"] / b["cpu"] for a, b in zip(side.answers, other.answers, strict=True))


def why_no_torch(python):
    """An empty string, or why PyTorch cannot be used from this interpreter."""
    try:
        found = subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return found.stderr.strip().splitlines()[-1] if found.returncode else ""
