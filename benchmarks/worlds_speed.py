"""Environment steps a second of our worlds, beside the original's in Gymnasium's vector environments.

Run `python benchmarks/worlds_speed.py [--benchmarks MT10 MT50] [--worlds 1 8 64] [--rounds 5]`. Random actions,
episodes of 500 steps, automatic resets, all cores. The original runs one environment of each task, in this process
(`SyncVectorEnv`) and in one process each (`AsyncVectorEnv`); more of them would not be faster, only larger. In a round
every side steps for about `--seconds`; the table shows medians over the rounds and ratios to the faster of the two.
"physics" is the share that the physics substeps alone would take, measured in between in the same worlds: after each
step the same substeps are taken once more, without actions, observations or rewards. Resets are timed apart, and the
memory of the process is shown at the end. On a busy machine trust the ratios.
"""

import argparse
import resource
import statistics
import time
from functools import partial

import gymnasium
import numpy as np
from _farama import original

from mutatis import worlds


class Ours:
    """W worlds of each task."""

    def __init__(self, benchmark, count):
        self.name = f"ours, {count} a task"
        self.worlds = worlds.make(benchmark, worlds_per_task=count)
        self.worlds.reset(seed=0)
        self.generator = np.random.default_rng(0)

    def run(self, seconds):
        """Environment steps a second, and the share of that time that the physics alone would take."""
        stepping = physics = 0.0
        steps = 0
        while stepping < seconds:
            actions = self.generator.uniform(-1, 1, (self.worlds.num_envs, 4)).astype(np.float32)
            start = time.perf_counter()
            self.worlds.step(actions)
            middle = time.perf_counter()
            self.worlds._engine.physics_alone()
            physics += time.perf_counter() - middle
            stepping += middle - start
            steps += self.worlds.num_envs
        return steps / stepping, physics / stepping

    def close(self):
        self.worlds.close()


class Theirs:
    """One of the original's environments for each task, in one of Gymnasium's vector environments."""

    def __init__(self, benchmark, vectorise):
        self.name = f"original, {vectorise.__name__}"
        made = worlds.make(benchmark)
        limited = lambda name, vector: gymnasium.wrappers.TimeLimit(original(name, vector), worlds.HORIZON)
        pairs = zip(made.tasks, (vectors[0] for vectors in made.vectors), strict=True)
        self.environment = vectorise([partial(limited, *pair) for pair in pairs])
        self.environment.reset(seed=0)
        self.generator = np.random.default_rng(0)

    def run(self, seconds):
        """Environment steps a second; the share of the physics is not measured."""
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            shape = (self.environment.num_envs, 4)
            self.environment.step(self.generator.uniform(-1, 1, shape).astype(np.float32))
            steps += self.environment.num_envs
        return steps / (time.perf_counter() - start), None

    def close(self):
        self.environment.close()


def measured(benchmark, counts, rounds, seconds):
    """For each side, the median of its rates and of the physics' share."""
    sides = [Theirs(benchmark, gymnasium.vector.SyncVectorEnv), Theirs(benchmark, gymnasium.vector.AsyncVectorEnv)]
    sides += [Ours(benchmark, count) for count in counts]
    for side in sides:
        side.run(0.2)
    answers = [[side.run(seconds) for side in sides] for _ in range(rounds)]
    for side in sides:
        side.close()
    rates = [statistics.median(answer[k][0] for answer in answers) for k in range(len(sides))]
    shares = [[answer[k][1] for answer in answers] for k in range(len(sides))]
    return {
        side.name: (rate, None if share[0] is None else statistics.median(share))
        for side, rate, share in zip(sides, rates, shares, strict=True)
    }


def reset_times(name, rounds):
    """Seconds for a reset of one world to a goal that it has met before: the original's and ours."""
    (vectors,) = worlds.make(name).vectors
    theirs, ours = original(name, vectors[0]), worlds.make(name)
    theirs.reset()
    ours.reset(options={"goals": np.array([0])})
    goal = {"goals": np.array([0])}
    times = [(_seconds(theirs.reset), _seconds(partial(ours.reset, options=goal))) for _ in range(20 * rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", nargs="+", default=["MT10", "MT50"])
    parser.add_argument("--worlds", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    print("| benchmark | side | steps a second | ratio | physics |\n|---|---|---|---|---|")
    for benchmark in arguments.benchmarks:
        sides = measured(benchmark, arguments.worlds, arguments.rounds, arguments.seconds)
        best = max(rate for name, (rate, _) in sides.items() if name.startswith("original"))
        for name, (rate, share) in sides.items():
            share = "" if share is None else f"{share:.0%}"
            print(f"| {benchmark} | {name} | {rate:,.0f} | {rate / best:.1f} | {share} |", flush=True)
    for name in ("reach", "box-close"):
        theirs, ours = reset_times(name, arguments.rounds)
        times = f"original {theirs * 1e3:.2f} ms, ours {ours * 1e3:.3f} ms"
        print(f"a reset of {name}: {times}, {theirs / ours:.0f} times less")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process, everything above together: {peak:.1f} GiB; {worlds.version()}")


if __name__ == "__main__":
    main()
