"""Memory of one training step of a linear layer, for each structure of its symmetry matrix U.

Run `python benchmarks/sharing_memory.py [--inputs 1024] [--outputs 1024] [--filters 64] [--rank 8] [--terms 3]
[--tasks 4] [--rows 16] [--limit 4] [--structures full low-rank ...]`. Every structure is a process of its own. It
takes one step of `mutatis.outer_scan`: each task moves its filters by one gradient step on its rows, and Adam moves U
through it. The table shows the bytes of U, the peak memory of the whole process (the libraries and the compiler
included; what they take alone stands below the table), both as a share of the full matrix', and whether the step stays
within the limit of GiB. A Kronecker product has filters of a x b, with a b the number asked for, or of the weight's
own shape ("own filters").
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys

STRUCTURES = (
    "full",
    "low-rank",
    "kronecker",
    "kronecker-sum",
    "kronecker-own-filters",
    "kronecker-sum-own-filters",
    "doubly-stochastic",
)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def structure_of(arguments):
    """The class of the structure and its settings."""
    from mutatis import nn

    side = max(a for a in range(1, math.isqrt(arguments.filters) + 1) if arguments.filters % a == 0)
    few = {"filter_shape": (side, arguments.filters // side)}
    terms = {"terms": arguments.terms}
    return {
        "full": (nn.FullSharing, {"num_filters": arguments.filters}),
        "low-rank": (nn.LowRankSharing, {"num_filters": arguments.filters, "rank": arguments.rank}),
        "kronecker": (nn.KroneckerSharing, few),
        "kronecker-sum": (nn.KroneckerSharing, few | terms),
        "kronecker-own-filters": (nn.KroneckerSharing, {}),
        "kronecker-sum-own-filters": (nn.KroneckerSharing, terms),
        "doubly-stochastic": (nn.DoublyStochasticSharing, {"num_fields": arguments.filters, "axis": -1}),
    }[arguments.structure]


def measure(arguments):
    """Takes one step and prints what it needed."""
    import jax
    import jax.numpy as jnp
    import optax

    import mutatis
    from mutatis import nn

    def mean_square(model, data):
        x, y = data
        return jnp.mean(jnp.square(model(x) - y))

    def sample_tasks(key):
        draw = lambda key, width: jax.random.normal(key, (arguments.tasks, arguments.rows, width))
        keys = jax.random.split(key, 4)
        context, query = ((draw(keys[i], arguments.inputs), draw(keys[i + 1], arguments.outputs)) for i in (0, 2))
        return mutatis.Task(context, query, jnp.arange(arguments.tasks))

    key = jax.random.key(0)
    layer = nn.Linear(arguments.inputs, arguments.outputs, key=key)
    imports = peak_bytes()
    sharing, settings = structure_of(arguments)
    model = nn.reparameterise(layer, lambda m: m.weight, sharing, key=key, **settings)
    (weight,) = nn.shared_weights(model)
    learner = mutatis.Learner(model, mutatis.GradientSteps(mean_square, 0.1, where=nn.not_(nn.is_symmetry)))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-3), num_groups=arguments.tasks, key=key)
    history = mutatis.outer_scan(learner, state, sample_tasks, steps=1, objective=mean_square)[2]
    answer = {
        "loss": float(history.losses.mean()),
        "symmetry": sum(leaf.nbytes for leaf in jax.tree.leaves(weight.sharing)),
        "filters": " x ".join(map(str, weight.filters.shape)),
        "imports": imports,
        "peak": peak_bytes(),
    }
    print(json.dumps(answer))


def in_its_own_process(structure, arguments):
    """What `measure` printed, or None if the process was ended (the system ran out of memory)."""
    names = ("inputs", "outputs", "filters", "rank", "terms", "tasks", "rows")
    options = [f"--{name}={getattr(arguments, name)}" for name in names]
    command = [sys.executable, os.path.abspath(__file__), "--structure", structure, *options]
    done = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"}, stdout=subprocess.PIPE, text=True)
    if done.returncode > 0:
        raise SystemExit(f"the step of {structure} failed; its error is above.")
    return json.loads(done.stdout) if done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1024)
    parser.add_argument("--outputs", type=int, default=1024)
    parser.add_argument("--filters", type=int, default=64, help="filters, or fields of the doubly stochastic structure")
    parser.add_argument("--rank", type=int, default=8, help="of the low-rank structure")
    parser.add_argument("--terms", type=int, default=3, help="of the sums of Kronecker products")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--rows", type=int, default=16, help="rows of a task's context, and of its query")
    parser.add_argument("--limit", type=float, default=4.0, help="in GiB")
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    parser.add_argument("--structure", choices=STRUCTURES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.structure:
        measure(arguments)
        return
    titles = ["filters", "U MiB", "of full", "peak MiB", "of full", f"within {arguments.limit:g} GiB"]
    print(f"{'structure':<26}" + "".join(f"{title:>15}" for title in titles))
    whole = 4 * arguments.inputs * arguments.outputs * arguments.filters
    full = imports = None
    for structure in arguments.structures:
        found = in_its_own_process(structure, arguments)
        if found is None:
            print(f"{structure:<26}{'ended by the system: out of memory':>45}", flush=True)
            continue
        full = found["peak"] if structure == "full" else full
        imports = found["imports"]
        cells = [found["filters"], f"{found['symmetry'] / 2**20:.4g}", f"{found['symmetry'] / whole:.2%}"]
        cells += [f"{found['peak'] / 2**20:.0f}", f"{found['peak'] / full:.1%}" if full else "-"]
        cells.append("yes" if found["peak"] <= arguments.limit * 2**30 else "no")
        print(f"{structure:<26}" + "".join(f"{cell:>15}" for cell in cells), flush=True)
    if imports:
        print(f"The libraries alone: {imports / 2**20:.0f} MiB.")


if __name__ == "__main__":
    main()
