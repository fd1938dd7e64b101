"""Time and memory of one outer step at the original architecture's width, beside PyTorch, on one core.

Run `python benchmarks/shift_train_step.py [--torch-python PATH] [--rounds 5] [--steps 2] [--width 128]
[--methods ERM ARM-CML ARM-BN ARM-LL] [--groups 6] [--support 50]`. Both sides take the same number of random
28x28x1 images and Adam; ours is `mutatis.outer_scan` as the studies call it, the other is `_torch_arm.py`. Each
side is a process of its own, bound to the same core and one thread. After a warm-up the two take turns; the
table shows medians over the rounds of the CPU time of a step, their ratio, the wall time and the peak memory of
the whole process, compilation included. On a busy machine trust the CPU times' ratio and not the wall time.
"""

import argparse
import os
import sys

from _turns import Side, first_core, in_turns, ratio, scanned, serve, why_no_torch

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
    options = {"steps": arguments.steps, "objective": cross_entropy, "map_tasks": map_tasks}
    return scanned(learner, state, tasks, **options)


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


def compare(method, arguments, with_torch):
    pythons = {"ours": sys.executable} | ({"torch": arguments.torch_python} if with_torch else {})
    settings = [f"--{name}={getattr(arguments, name)}" for name in ("steps", "width", "groups", "support")]
    sides = []
    for side, python in pythons.items():
        command = [python, os.path.abspath(__file__), "--side", side, "--method", method, *settings]
        sides.append(Side(f"{side}, {method}", command, [first_core(arguments.core)]))
    in_turns(sides, arguments.rounds)
    ours, *other = sides
    cells = [method, f"{ours.median('cpu'):.2f}", "-", "-", f"{ours.median('wall'):.2f}", "-"]
    cells += [f"{ours.median('peak'):.0f}", "-"]
    if other:
        cells[2:4] = f"{other[0].median('cpu'):.2f}", f"{ratio(ours, other[0]):.2f}"
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
        serve({"ours": our_steps, "torch": torch_steps}[arguments.side](arguments), arguments.steps)
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
