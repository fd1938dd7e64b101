"""Time and memory of one outer step at the original architecture's width, beside PyTorch, on one core.

Run `python benchmarks/shift_train_step.py [--torch-python PATH] [--rounds 5] [--steps 2] [--width 128]
[--methods ERM ARM-CML ARM-BN ARM-LL] [--groups 6] [--support 50]`. Both sides take the same number of random
28x28x1 images and Adam; ours is `mutatis.outer_scan` as the studies call it, the other is `_torch_arm.py`. Each
side is a process of its own, bound to the same core and one thread. After a warm-up the two take turns; the
table shows medians over the rounds of the CPU time of a step, their ratio, the wall time and the peak memory of
the whole process, compilation included. On a busy machine trust the CPU times' ratio and not the wall time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
METHODS = ("ERM", "ARM-CML", "ARM-BN", "ARM-LL")
SIZE, CLASSES, SEED = 28, 10, 0
# Moments pooled over the groups need them side by side; the others go faster, and smaller, one after the other.
MAP_TASKS = {"ERM": False, "ARM-CML": False, "ARM-BN": True, "ARM-LL": True}


def random_batch(arguments):
    import numpy as np

    rng = np.random.default_rng(SEED)
    shape = (arguments.groups, arguments.support)
    return rng.random((*shape, SIZE, SIZE, 1), np.float32), rng.integers(0, CLASSES, shape)


def our_steps(arguments):
    """A function that takes `steps` steps of the library's own outer loop."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    import mutatis
    from mutatis.nn import context_net, conv_net, loss_net

    class SameTasks(eqx.Module):
        x: jax.Array
        y: jax.Array

        def __call__(self, key):
            del key
            return mutatis.Task(self.x, (self.x, self.y), jnp.arange(self.x.shape[0]))

    key, rule_key = jax.random.split(jax.random.key(SEED))
    width, extra = arguments.width, 12
    context_mean = lambda: mutatis.ContextMean(
        context_net(1, extra, width=width // 2, key=rule_key), (SIZE, SIZE, extra)
    )
    learned_loss = lambda: mutatis.LearnedLoss(loss_net(CLASSES, key=rule_key))
    rules = {
        "ERM": lambda: mutatis.BatchMoments(pool_tasks=True),
        "ARM-CML": lambda: mutatis.BatchMoments(context_mean(), pool_tasks=True),
        "ARM-BN": lambda: mutatis.BatchMoments(),
        "ARM-LL": lambda: mutatis.BatchMoments(mutatis.GradientSteps(learned_loss(), 0.1)),
    }
    cml = arguments.method == "ARM-CML"
    model = conv_net(1 + extra * cml, CLASSES, width=width, first_layer=not cml, key=key)
    learner = mutatis.Learner(model, rules[arguments.method]())
    map_tasks = MAP_TASKS[arguments.method]

    def cross_entropy(model, query):
        x, y = query
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    tasks = SameTasks(*map(jnp.asarray, random_batch(arguments)))
    state = mutatis.outer_init(learner, mutatis.Average(), optax.adam(1e-4), num_groups=arguments.groups, key=key)
    trained = [(learner, state)]

    def take():
        options = {"steps": arguments.steps, "objective": cross_entropy, "map_tasks": map_tasks}
        learner, state, history = mutatis.outer_scan(*trained[0], tasks, **options)
        trained[0] = jax.block_until_ready((learner, state))
        return float(history.losses[-1].mean())

    return take


def torch_steps(arguments):
    """A function that takes as many steps in PyTorch."""
    import torch
    from _torch_arm import Step

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x, y = map(torch.from_numpy, random_batch(arguments))
    x = x.movedim(-1, 2).contiguous()
    step = Step(arguments.method, channels=1, classes=CLASSES, width=arguments.width)
    return lambda: [step(x, y) for _ in range(arguments.steps)][-1]


def serve(arguments):
    """Warms up, then takes steps whenever a line comes in and answers with their cost."""
    import resource

    take = our_steps(arguments) if arguments.side == "ours" else torch_steps(arguments)
    take()
    print("ready", flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        loss = take()
        answer = {
            "cpu": (time.process_time() - cpu) / arguments.steps,
            "wall": (time.perf_counter() - wall) / arguments.steps,
            "loss": loss,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), flush=True)


class Side:
    """One of the two processes."""

    def __init__(self, python, side, method, arguments):
        options = [f"--{name}={getattr(arguments, name)}" for name in ("steps", "width", "groups", "support")]
        command = [python, os.path.abspath(__file__), "--side", side, "--method", method, *options]
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "JAX_PLATFORMS": "cpu"}
        core = min(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self.answers = []
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"the {side} side of {method} ended before its first step; its error is above.")

    def ask(self):
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        self.answers.append(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def median(self, name):
        return statistics.median(answer[name] for answer in self.answers)


def why_no_torch(python):
    """An empty string, or why PyTorch cannot be used from this interpreter."""
    try:
        found = subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return found.stderr.strip().splitlines()[-1] if found.returncode else ""


def compare(method, arguments, with_torch):
    sides = [Side(sys.executable, "ours", method, arguments)]
    if with_torch:
        sides.append(Side(arguments.torch_python, "torch", method, arguments))
    for _ in range(arguments.rounds):
        for side in sides:
            side.ask()
    for side in sides:
        side.close()
    ours, *other = sides
    cells = [method, f"{ours.median('cpu'):.2f}", "-", "-", f"{ours.median('wall'):.2f}", "-"]
    cells += [f"{ours.median('peak'):.0f}", "-"]
    if other:
        ratios = [a["cpu"] / b["cpu"] for a, b in zip(ours.answers, other[0].answers, strict=True)]
        cells[2:4] = f"{other[0].median('cpu'):.2f}", f"{statistics.median(ratios):.2f}"
        cells[5], cells[7] = f"{other[0].median('wall'):.2f}", f"{other[0].median('peak'):.0f}"
    return cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that can import torch")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=2, help="outer steps in a turn")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--groups", type=int, default=6)
    parser.add_argument("--support", type=int, default=50)
    parser.add_argument("--core", type=int, default=None, help="which core; the first allowed one by default")
    parser.add_argument("--side", choices=("ours", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments)
        return
    reason = why_no_torch(arguments.torch_python)
    if reason:
        print(f"PyTorch is left out: {reason}", file=sys.stderr)
    titles = ["method", "ours s/step", "torch s/step", "ratio", "ours wall", "torch wall", "ours MiB", "torch MiB"]
    print("  ".join(f"{title:>12}" for title in titles))
    for method in arguments.methods:
        cells = compare(method, arguments, with_torch=not reason)
        print("  ".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
