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
import statistics
import subprocess
import sys
import tempfile
import time

from shift_train_step import THREADS, why_no_torch

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
    trained = [(learner, state)]

    def take():
        options = {"steps": arguments.steps, "objective": objective}
        learner, state, history = mutatis.outer_scan(*trained[0], problem, **options)
        trained[0] = jax.block_until_ready((learner, state))
        return float(history.losses[-1].mean())

    return take


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


def serve(arguments):
    """Warms up, then takes steps whenever a line comes in and answers with their cost."""
    import resource

    take = our_steps(arguments) if arguments.side == "ours" else torch_steps(arguments)
    take()
    print("ready", flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        take()
        answer = {
            "cpu": 1e3 * (time.process_time() - cpu) / arguments.steps,
            "wall": 1e3 * (time.perf_counter() - wall) / arguments.steps,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), flush=True)


def program(python, side, way, **options):
    """How to start this file as one of the sides: command and environment."""
    settings = [f"--{name}={value}" for name, value in options.items()]
    command = [python, os.path.abspath(__file__), "--side", side, "--way", way, *settings]
    return command, {**os.environ, **dict.fromkeys(THREADS, "1"), "JAX_PLATFORMS": "cpu"}


class Side:
    """One of the processes."""

    def __init__(self, python, side, way, core, **options):
        command, environment = program(python, side, way, **options)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        bind = lambda: os.sched_setaffinity(0, {core})
        self.name, self.answers = f"{side}, {way}", []
        self.process = subprocess.Popen(command, env=environment, preexec_fn=bind, **pipes)
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


def check(arguments, ways):
    """Ends the run if PyTorch's loss or gradient of one batch is not ours."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"tasks": arguments.tasks, "file": os.path.join(folder, "answers.npz")}
        command, environment = program(sys.executable, "answers", "steps", **options)
        subprocess.run(command, env=environment, check=True)
        for way in ways:
            command, environment = program(arguments.torch_python, "comparison", way, **options)
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            apart = json.loads(done.stdout)
            print(f"PyTorch ({way}) against ours, same batch: " + ", ".join(f"{n} {a:.0e}" for n, a in apart.items()))
            if max(apart.values()) > AGREEMENT:
                raise SystemExit("the two sides do not compute the same.")


def compare(arguments, ways, core):
    options = {"tasks": arguments.tasks, "steps": arguments.steps}
    sides = [Side(sys.executable, "ours", rule, core, **options) for rule in ("steps", "ridge")]
    few = options | {"steps": max(1, arguments.steps // 10)}
    sides += [Side(arguments.torch_python, "torch", way, core, **few) for way in ways]
    in_turns(sides, arguments.rounds)
    print(f"\n{'':<16}" + "".join(f"{title:>14}" for title in ("CPU ms/step", "wall ms/step", "ratio", "peak MiB")))
    for side in sides:
        ratio = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(side.answers, sides[0].answers, strict=True))
        cells = [f"{side.median('cpu'):.3f}", f"{side.median('wall'):.3f}", f"{ratio:.2f}"]
        cells.append(f"{side.median('peak'):.0f}")
        print(f"{side.name:<16}" + "".join(f"{cell:>14}" for cell in cells))


def grow(arguments, core):
    print(f"\n{'tasks a step':<16}" + "".join(f"{title:>14}" for title in ("CPU ms/step", "us/task", "peak MiB")))
    for tasks in arguments.growth:
        steps = max(1, arguments.steps * 32 // tasks)
        side = Side(sys.executable, "ours", "steps", core, tasks=tasks, steps=steps)
        in_turns([side], arguments.rounds)
        cells = [f"{side.median('cpu'):.3f}", f"{1e3 * side.median('cpu') / tasks:.1f}", f"{side.median('peak'):.0f}"]
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
    sides = {"ours": serve, "torch": serve, "answers": write_answers, "comparison": compare_answers}
    if arguments.side:
        sides[arguments.side](arguments)
        return
    reason = why_no_torch(arguments.torch_python)
    if reason:
        print(f"PyTorch is left out: {reason}", file=sys.stderr)
    ways = () if reason else arguments.ways
    core = min(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
    check(arguments, ways)
    compare(arguments, ways, core)
    grow(arguments, core)


if __name__ == "__main__":
    main()
