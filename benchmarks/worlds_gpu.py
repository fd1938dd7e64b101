"""Environment steps a second with physics, observations, rewards and resets on the device, and what each part takes.

Run `python benchmarks/worlds_gpu.py [--benchmarks MT10 MT50] [--worlds 256 1024 4096 16384] [--rounds 5]` where JAX
finds a GPU; on a CPU the sizes are tiny and only show that it runs. The number of worlds is that of all tasks together,
rounded to the tasks. One dispatch takes `--steps` random actions in every world inside `lax.scan`. "physics" is the
share of the same scan over the physics alone, "judging" the rest: observations,
rewards, success and automatic resets. Medians over the rounds; the first, which compiles, is not counted.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp

from mutatis import worlds


def scans(made, steps):
    """Two compiled functions of a state and a key: whole steps, and physics alone; each returns the state."""
    functional = made.functional()
    shape = (made.num_envs, 4)

    def random_action(key):
        return jax.random.uniform(key, shape, minval=-1, maxval=1)

    def whole(states, key):
        return functional.step(states, random_action(key))[0], None

    def physics(states, key):
        actions = jnp.split(random_action(key), len(states))
        moved = functional.simulator.advance([state.physics for state in states], actions)
        return [state._replace(physics=each.state) for state, each in zip(states, moved, strict=True)], None

    scan = lambda body: jax.jit(lambda states, key: jax.lax.scan(body, states, jax.random.split(key, steps))[0])
    states, _ = jax.jit(functional.reset)(jax.random.key(0))
    return states, scan(whole), scan(physics)


def seconds(function, states, rounds):
    """Median time of a call, after one that compiles."""
    times = []
    for k in range(rounds + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(states, jax.random.key(k)))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main():
    on_gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", nargs="+", default=["MT10", "MT50"] if on_gpu else ["MT10"])
    parser.add_argument("--worlds", nargs="+", type=int, default=[256, 1024, 4096, 16384] if on_gpu else [20])
    parser.add_argument("--steps", type=int, default=32 if on_gpu else 2)
    parser.add_argument("--rounds", type=int, default=5 if on_gpu else 2)
    arguments = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}; {worlds.version()}")
    print("| benchmark | worlds | steps a second | physics | judging |\n|---|---|---|---|---|")
    for benchmark in arguments.benchmarks:
        tasks = len(worlds.BENCHMARKS[benchmark].train)
        for count in arguments.worlds:
            made = worlds.make(benchmark, worlds_per_task=max(1, count // tasks), backend="gpu")
            states, whole, physics = scans(made, arguments.steps)
            all_of_it, part = (seconds(each, states, arguments.rounds) for each in (whole, physics))
            rate = made.num_envs * arguments.steps / all_of_it
            share = min(1.0, part / all_of_it)
            print(f"| {benchmark} | {made.num_envs} | {rate:,.0f} | {share:.0%} | {1 - share:.0%} |", flush=True)
            made.close()


if __name__ == "__main__":
    main()
