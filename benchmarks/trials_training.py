"""Trials a second of RL2 and of PEARL on the point robot, end to end, beside PyTorch.

Run `python benchmarks/trials_training.py [--torch-python PATH] [--methods rl2 pearl] [--parts whole playing]
[--threads 1] [--rounds 5] [--lots 2] [--width N] [--table PATH]`. PATH is a Python that can import torch and this
library. The recipes are near those of the studies `point-rl2` and `point-pearl`:

- RL2: a GRU of width 64; lots of 512 trials of 2 episodes of 20 steps, each lot followed by PPO, 8 epochs of 8
  minibatches of whole trials.
- PEARL: actor, critics and belief of two layers of 128; lots of 80 trials, one for each training goal, of 3 episodes,
  each lot followed by 200 updates on 16 tasks with 64 transitions and 64 rows of context each.

Ours is `train`, all lots of a turn in one dispatch. The other side, `_torch_rl2.py` and `_torch_pearl.py`, plays in two
ways: all worlds at once, or one world and one step at a time, as PEARL's published code does; its updates are the same
for both. First both compute updates from the same weights, trials and noise in float64
(`_trials_agreement.py`): they must agree to 1e-10. Then each side is a process of its own, on the same cores; they take
turns, and the tables show medians over the rounds. The ratio is the median over the rounds of our rate by the other's:
by processor time, which is the one to trust where other programs run, and by the clock. "playing" is the same without
any learning. With `--threads 2` or more on a busy machine, set OMP_WAIT_POLICY=PASSIVE: PyTorch's threads otherwise
spend most of their time waiting for each other.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from _turns import Side, first_cores, in_turns, ratio, serve, why_no_torch

SIDES = {"ours": "Mutatis", "batched": "PyTorch, all worlds at once", "stepped": "PyTorch, one world at a time"}
AGREEMENT, SEED = 1e-10, 0
RL2 = {
    "episodes": 2,
    "trials": 512,
    "epochs": 8,
    "minibatches": 8,
    "learning_rate": 1e-3,
    "discount": 0.99,
    "trace": 0.9,
}
PEARL = {
    "latent": 5,
    "prior_episodes": 1,
    "episodes": 3,
    "updates": 200,
    "meta_batch": 16,
    "batch": 64,
    "context": 64,
    "divergence": 0.1,
    "learning_rate": 3e-4,
    "discount": 0.99,
    "polyak": 0.005,
    "reward_scale": 5.0,
    "replay_capacity": 20_000,
}
WIDTHS = {"rl2": 64, "pearl": 128}


def our_rl2(arguments):
    """A function that trains on some lots, one that only plays as many, and the trials of a lot."""
    import equinox as eqx
    import jax

    from mutatis import rl
    from mutatis.rl import families

    points = families.PointGoals()
    learner = rl.RL2(points, **RL2)
    policy_key, key = jax.random.split(jax.random.key(SEED))
    state = learner.init(rl.recurrent_policy(points, width=arguments.width, key=policy_key), key=key)

    @eqx.filter_jit
    def play(policy, key):
        task_key, play_key = jax.random.split(key)
        tasks, player = points.sample(task_key, RL2["trials"]), rl.RecurrentPlayer(policy)
        return rl.play(points, tasks, player, key=play_key, episodes=RL2["episodes"])

    train = trained(learner, state, arguments.lots, lambda progress: progress.loss)
    return train, played(lambda key: play(state.policy, key), arguments.lots), RL2["trials"]


def our_pearl(arguments):
    """As `our_rl2`."""
    import jax
    import jax.numpy as jnp

    from mutatis import rl
    from mutatis.rl import families

    points = families.PointGoals()
    goals = jnp.asarray(families.oyster_goals()[0], jnp.float32)
    learner = rl.PEARL(points, **PEARL)
    state = learner.init(goals, hidden=(arguments.width,) * 2, key=jax.random.key(SEED))
    play = lambda key: rl.play(points, goals, state.player(), key=key, episodes=PEARL["episodes"])
    train = trained(learner, state, arguments.lots, lambda progress: progress.critic_loss)
    return train, played(play, arguments.lots), len(goals)


def trained(learner, state, lots, loss):
    """A function that goes on with training whenever it is called, and returns the last loss."""
    import jax

    current = [state]

    def take():
        current[0], progress = jax.block_until_ready(learner.train(current[0], lots))
        return float(loss(progress)[-1])

    return take


def played(play, lots):
    """A function that plays lots of trials, and returns how many lots."""
    import jax

    keys = [jax.random.key(SEED)]

    def take():
        keys[0], *each = jax.random.split(keys[0], lots + 1)
        return float(len([jax.block_until_ready(play(key)) for key in each]))

    return take


def torch_side(arguments):
    """As `our_rl2`."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    if arguments.method == "rl2":
        from _torch_rl2 import RL2 as Learner  # noqa: N811

        learner, trials = Learner(width=arguments.width, way=arguments.side, **RL2), RL2["trials"]
    else:
        from _torch_pearl import Pearl

        from mutatis.rl.families import oyster_goals

        goals = torch.tensor(oyster_goals()[0], dtype=torch.float32)
        learner, trials = Pearl(goals, hidden=(arguments.width,) * 2, way=arguments.side, **PEARL), len(goals)
    train = lambda: float(learner.train(arguments.lots))
    play = lambda: float(len([learner.play() for _ in range(arguments.lots)]))
    return train, play, trials


def run_side(arguments):
    """One side, in its own process."""
    ours = {"rl2": our_rl2, "pearl": our_pearl}[arguments.method]
    train, play, trials = (ours if arguments.side == "ours" else torch_side)(arguments)
    serve({"whole": train, "playing": play}[arguments.part], trials * arguments.lots)


def program(python, side, **options):
    """How to start this file as one of the sides."""
    settings = [f"--{name}={value}" for name, value in options.items()]
    return [python, os.path.abspath(__file__), "--side", side, *settings]


def check(arguments, method):
    """Ends the run if PyTorch's update is not ours."""
    command = program(arguments.torch_python, "agreement", method=method)
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    apart = json.loads(done.stdout)
    print(
        f"\n{method}: PyTorch's updates against ours, float64: " + ", ".join(f"{n} {a:.0e}" for n, a in apart.items())
    )
    if not max(apart.values()) < AGREEMENT:
        raise SystemExit("the two sides do not compute the same.")


TITLES = ["side", "trials/CPU s", "trials/s", "ours by it: CPU", "clock", "peak MiB"]


def row(side, ours):
    """One line of a table."""
    by_clock = statistics.median(a["wall"] / b["wall"] for a, b in zip(side.answers, ours.answers, strict=True))
    rates = [f"{1 / side.median(clock):,.0f}" for clock in ("cpu", "wall")]
    return [side.name, *rates, f"{ratio(side, ours):.2f}", f"{by_clock:.2f}", f"{side.median('peak'):,.0f}"]


def compare(arguments, method, part, chosen):
    """The table of one method, whole or without learning."""
    width = arguments.width or WIDTHS[method]
    options = {"method": method, "part": part, "threads": arguments.threads, "width": width, "lots": arguments.lots}
    sides = []
    for name in chosen:
        python = sys.executable if name == "ours" else arguments.torch_python
        sides.append(Side(SIDES[name], program(python, name, **options), first_cores(arguments.threads)))
    in_turns(sides, arguments.rounds)
    lines = [TITLES, ["---"] * len(TITLES), *(row(side, sides[0]) for side in sides)]
    title = f"{method}, {part}, width {width}, {arguments.threads} threads"
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def settings():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that can import torch and this")
    parser.add_argument("--methods", nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument("--parts", nargs="+", choices=("whole", "playing"), default=("whole", "playing"))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="ours is always among them")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--lots", type=int, default=2, help="lots of trials in a turn, each with its updates")
    parser.add_argument("--width", type=int, default=None, help="of the GRU, of the layers")
    parser.add_argument("--threads", type=int, default=1, help="cores of a side")
    parser.add_argument("--table", type=Path, help="where the tables go as well")
    for hidden in ("--side", "--method", "--part"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = settings()
    if arguments.side == "agreement":
        import _trials_agreement

        print(json.dumps({"rl2": _trials_agreement.rl2, "pearl": _trials_agreement.pearl}[arguments.method]()))
        return
    if arguments.side:
        run_side(arguments)
        return
    chosen = sorted({"ours", *arguments.sides}, key=list(SIDES).index)
    reason = why_no_torch(arguments.torch_python)
    if reason:
        print(f"PyTorch is left out: {reason}", file=sys.stderr)
        chosen = ["ours"]
    texts = []
    for method in arguments.methods:
        if len(chosen) > 1:
            check(arguments, method)
        for part in arguments.parts:
            texts.append(compare(arguments, method, part, chosen))
            print(texts[-1], flush=True)
    if arguments.table:
        arguments.table.write_text("\n".join(texts))


if __name__ == "__main__":
    main()
