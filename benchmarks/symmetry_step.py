"""Time and memory of one outer step of MSR on the paper's first problem, beside PyTorch, on one core.

Run `python benchmarks/symmetry_step.py [--torch-python PATH] [--rounds 5] [--ways loop higher vmap] [--growth 32 128
512 2048 8192]`. A linear layer 70 -> 68 whose weight is U v with 3 filters; a step takes 32 tasks of 1 support and 19
query examples, one inner step differentiated through, and Adam for U, v and the inner rate. Ours is
`mutatis.outer_scan` as a user writes it and draws new tasks in every step; the other is `_torch_msr.py`, which draws
10,000 tasks beforehand. First both compute loss and gradient of the same batch in float64: they must agree to 1e-10.
Then each is a process of its own, bound to the same core and one thread; they take turns, and the tables show medians
over the rounds of the CPU time of a step, its ratio to ours, and the peak memory of the whole process, compilation
included. `--growth` is our time with more tasks in a step. The way "higher" needs the package `higher` beside PyTorch.
On a busy machine trust the ratios.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from _turns import Side, first_core, in_turns, ratio, scanned, serve, why_no_torch, with_threads

INPUTS, TAPS, SUPPORT, QUERY, SEED = 70, 3, 1, 19, 0
OUTPUTS = INPUTS - TAPS + 1
WAYS = ("loop", "higher", "vmap")
AGREEMENT = 1e-10
NUMBERS = ("loss", "columns", "filters", "rate")


def our_start(rule, tasks, dtype):
    """A learner, the problem that it learns and its objective."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import mutatis
    from mutatis import nn, symmetry

    def squared_error(model, pair):
        x, y = pair
        return jnp.mean(jnp.square(model(x) - y))

    layer_key, sharing_key, key = jax.random.split(jax.random.key(SEED), 3)
    sizes = {"inputs": INPUTS, "taps": TAPS, "support": SUPPORT, "query": QUERY, "tasks_per_step": tasks}
    problem = symmetry.LinearProblem(rank=1, key=key, dtype=dtype, **sizes)
    layer = nn.PerExample(eqx.nn.Linear(INPUTS, OUTPUTS, use_bias=False, dtype=dtype, key=layer_key))
    weight = lambda tree: tree.module.weight
    layer = mutatis.reparameterise(layer, weight, num_filters=TAPS, scale=0.01, key=sharing_key)
    rules = {
        "steps": lambda: mutatis.GradientSteps(squared_error, jnp.asarray(0.1, dtype), where=mutatis.is_filter),
        "ridge": lambda: mutatis.Ridge(mutatis.is_filter, jnp.asarray(1e-3, dtype), towards_start=False),
    }
    return mutatis.Learner(layer, rules[rule]()), problem, squared_error


def our_steps(arguments):
    """A function that takes `steps` steps of the library's own outer loop."""
    import jax
    import jax.numpy as jnp
    import optax

    import mutatis

    learner, problem, objective = our_start(arguments.way, arguments.tasks, jnp.float32)
    state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-3), num_groups=1, key=jax.random.key(SEED))
    return scanned(learner, state, problem, steps=arguments.steps, objective=objective)


def torch_steps(arguments):
    """A function that takes as many steps in PyTorch."""
    import torch
    from _torch_msr import Step, Tasks

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    step = Step(arguments.way, inputs=INPUTS, outputs=OUTPUTS, filters=TAPS, support=SUPPORT)
    tasks = Tasks(inputs=INPUTS, taps=TAPS, examples=SUPPORT + QUERY)
    return lambda: [step(*tasks(arguments.tasks)) for _ in range(arguments.steps)][-1]


def write_answers(arguments):
    """Our loss and gradients of one batch, with all that they depend on; a step of gradient descent shows them."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import mutatis
    from mutatis import nn

    jax.config.update("jax_enable_x64", True)
    learner, problem, objective = our_start("steps", arguments.tasks, jnp.float64)

    def parts(learner):
        (weight,) = nn.shared_weights(learner.model)
        return weight.sharing.matrix(), weight.filters, learner.rule.learning_rate

    batch, key = problem(jax.random.key(SEED + 1)), jax.random.key(SEED + 2)
    state = mutatis.outer_init(learner, mutatis.Average(), optax.sgd(1.0), num_groups=1, key=key)
    moved, _, losses = mutatis.outer_step(learner, state, batch, objective=objective)
    before = parts(learner)
    slopes = [a - b for a, b in zip(before, parts(moved), strict=True)]
    answers = {f"our_{name}": value for name, value in zip(NUMBERS, [losses.mean(), *slopes], strict=True)}
    x, y = (np.concatenate(pair, axis=1) for pair in zip(batch.context, batch.query, strict=True))
    np.savez(arguments.file, x=x, y=y, **dict(zip(NUMBERS[1:], before, strict=True)), **answers)


def compare_answers(arguments):
    """Prints the largest difference of each of PyTorch's numbers from ours, relative to the largest of ours."""
    import numpy as np
    import torch
    from _torch_msr import Step

    given = np.load(arguments.file)
    tensor = lambda name: torch.from_numpy(given[name])
    step = Step(arguments.way, inputs=INPUTS, outputs=OUTPUTS, filters=TAPS, support=SUPPORT, dtype=torch.float64)
    parameters = step.net.columns, step.net.filters, step.rate
    for name, parameter in zip(NUMBERS[1:], parameters, strict=True):
        parameter.data = tensor(name)
    loss = step.gradient(tensor("x"), tensor("y"))
    found = [np.asarray(loss), *(parameter.grad.numpy() for parameter in parameters)]
    ours = [given[f"our_{name}"] for name in NUMBERS]
    apart = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, ours, strict=True)]
    print(json.dumps(dict(zip(NUMBERS, apart, strict=True))))


def program(python, side, way, **options):
    """How to start this file as one of the sides."""
    settings = [f"--{name}={value}" for name, value in options.items()]
    return [python, os.path.abspath(__file__), "--side", side, "--way", way, *settings]


def timed(python, side, way, core, **options):
    return Side(f"{side}, {way}", program(python, side, way, **options), [core])


def check(arguments, ways):
    """Ends the run if PyTorch's loss or gradient of one batch is not ours."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"tasks": arguments.tasks, "file": os.path.join(folder, "answers.npz")}
        subprocess.run(program(sys.executable, "answers", "steps", **options), env=with_threads(1), check=True)
        for way in ways:
            command = program(arguments.torch_python, "comparison", way, **options)
            done = subprocess.run(command, env=with_threads(1), stdout=subprocess.PIPE, text=True, check=True)
            apart = json.loads(done.stdout)
            print(f"PyTorch ({way}) against ours, same batch: " + ", ".join(f"{n} {a:.0e}" for n, a in apart.items()))
            if max(apart.values()) > AGREEMENT:
                raise SystemExit("the two sides do not compute the same.")


def compare(arguments, ways, core):
    options = {"tasks": arguments.tasks, "steps": arguments.steps}
    sides = [timed(sys.executable, "ours", rule, core, **options) for rule in ("steps", "ridge")]
    few = options | {"steps": max(1, arguments.steps // 10)}
    sides += [timed(arguments.torch_python, "torch", way, core, **few) for way in ways]
    in_turns(sides, arguments.rounds)
    print(f"\n{'':<16}" + "".join(f"{title:>14}" for title in ("CPU ms/step", "wall ms/step", "ratio", "peak MiB")))
    for side in sides:
        cells = [f"{1e3 * side.median('cpu'):.3f}", f"{1e3 * side.median('wall'):.3f}", f"{ratio(side, sides[0]):.2f}"]
        cells.append(f"{side.median('peak'):.0f}")
        print(f"{side.name:<16}" + "".join(f"{cell:>14}" for cell in cells))


def grow(arguments, core):
    print(f"\n{'tasks a step':<16}" + "".join(f"{title:>14}" for title in ("CPU ms/step", "us/task", "peak MiB")))
    for tasks in arguments.growth:
        steps = max(1, arguments.steps * 32 // tasks)
        side = timed(sys.executable, "ours", "steps", core, tasks=tasks, steps=steps)
        in_turns([side], arguments.rounds)
        cpu = side.median("cpu")
        cells = [f"{1e3 * cpu:.3f}", f"{1e6 * cpu / tasks:.1f}", f"{side.median('peak'):.0f}"]
        print(f"{tasks:<16}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that can import torch")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=("loop", "vmap"), help="of PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=500, help="our steps in a turn; PyTorch takes a tenth")
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--growth", nargs="*", type=int, default=(32, 128, 512, 2048, 8192), help="tasks in a step")
    parser.add_argument("--core", type=int, default=None, help="which core; the first allowed one by default")
    for hidden in ("--side", "--way", "--file"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side in ("ours", "torch"):
        serve((our_steps if arguments.side == "ours" else torch_steps)(arguments), arguments.steps)
        return
    if arguments.side:
        {"answers": write_answers, "comparison": compare_answers}[arguments.side](arguments)
        return
    reason = why_no_torch(arguments.torch_python)
    if reason:
        print(f"PyTorch is left out: {reason}", file=sys.stderr)
    ways = () if reason else arguments.ways
    core = first_core(arguments.core)
    check(arguments, ways)
    compare(arguments, ways, core)
    grow(arguments, core)


if __name__ == "__main__":
    main()
