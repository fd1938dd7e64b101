"""Our agents beside Stable-Baselines3 on environments that everybody knows: returns and seconds.

Run `python benchmarks/known_environments.py [--seeds 3] [--share 1.0] [--only NAME ...] [--table PATH]`. SAC on
Pendulum-v1 (20,000 steps), PPO and TRPO on Hopper-v5 (200,000). Both sides have one world, the same settings (those of
Stable-Baselines3 and its contrib package, whatever ours are) and the same networks; each run is a process of its own,
bound to one core and one thread, and they take turns. Judged are 20 episodes without noise after training, in the
environment itself. Seconds are those of training, with each side's imports and our compilation. Not quite the same: our
PPO normalises advantages over a roll-out and not over each minibatch, our SAC has 1e-5 and not 1e-8 in Adam. `--share
0.02` shows in a minute that it runs. Without torch, stable_baselines3 and sb3_contrib only our side runs.
"""

import argparse
import importlib.util
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time

from _turns import first_core, with_threads

EPISODES, EVALUATION_SEED = 20, 10_000
RUNS = {
    "SAC": ("Pendulum-v1", 20_000),
    "PPO": ("Hopper-v5", 200_000),
    "TRPO": ("Hopper-v5", 200_000),
}
STEPS, WIDTH, SOFT_WIDTH, RANDOM_STEPS = 2048, 64, 256, 100
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Quantiles of Student's t for 95 %, by number of seeds."""


def evaluated(name, act):
    """The mean return of whole episodes; `act` from one observation to one action of the box."""
    import gymnasium

    env = gymnasium.make(name)
    total = 0.0
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=EVALUATION_SEED + episode)
        over = False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            total, over = total + float(reward), terminated or truncated
    return total / EPISODES


def tanh_net(sizes, last_gain, key):
    """The policy and value networks of Stable-Baselines3: tanh, orthogonal weights."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from mutatis import nn

    class OneTask(eqx.Module):
        net: nn.Sequential

        def __call__(self, x, task):
            del task
            return self.net(x)

    layers, keys = [], jax.random.split(key, len(sizes) - 1)
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = number == len(sizes) - 2
        weight = jax.nn.initializers.orthogonal(last_gain if last else math.sqrt(2))(keys[number], (inputs, outputs))
        linear = nn.Linear(inputs, outputs, key=keys[number])
        layers.append(eqx.tree_at(lambda layer: (layer.weight, layer.bias), linear, (weight, jnp.zeros(outputs))))
        layers += [] if last else [nn.Activation(jnp.tanh)]
    return OneTask(nn.Sequential(layers))


def our_soft(env, steps, key):
    import jax

    from mutatis import nn, rl

    keys = jax.random.split(key, 4)
    net = lambda inputs, outputs, key: nn.multi_head_net((inputs, SOFT_WIDTH, SOFT_WIDTH, outputs), 1, key=key)
    seen, done = env.observation_size, env.action_size
    agent = rl.SoftActorCritic(env, batch=256, learning_rate=3e-4, clip=None)
    critics = rl.Twin(net(seen + done, 1, keys[1]), net(seen + done, 1, keys[2]))
    state = agent.init(net(seen, 2 * done, keys[0]), critics, capacity=steps, key=keys[3])
    state, _ = agent.explore(state, min(RANDOM_STEPS, steps - 1))
    state, _ = agent.train(state, steps - min(RANDOM_STEPS, steps - 1))
    jax.block_until_ready(state.log_temperature)
    return jax.jit(lambda observation: agent.act(state.actor.model, observation, key=None))


def our_policy_gradient(method, env, steps, key):
    import jax

    from mutatis import rl

    keys = jax.random.split(key, 3)
    sizes = env.observation_size, WIDTH, WIDTH
    policy = rl.GaussianPolicy(tanh_net((*sizes, env.action_size), 0.01, keys[0]), env.action_size, std=1.0)
    agent = rl.PolicyGradient(env, method, steps=STEPS)
    state = agent.init(policy, rl.ValueBaseline(tanh_net((*sizes, 1), 1.0, keys[1])), key=keys[2])
    state, _ = agent.train(state, math.ceil(steps / STEPS))
    jax.block_until_ready(state.rollouts)
    return jax.jit(lambda observation: agent.act(state.policy, observation))


def ours(method, name, steps, seed):
    """Trains; the acting function."""
    import gymnasium
    import jax
    import numpy as np

    from mutatis import rl

    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    worlds = gymnasium.make_vec(name, 1, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})
    env, box = rl.from_gymnasium(worlds), worlds.single_action_space
    trains = {
        "SAC": our_soft,
        "PPO": lambda *rest: our_policy_gradient(rl.Proximal(epochs=10, minibatches=STEPS // 64), *rest),
        "TRPO": lambda *rest: our_policy_gradient(
            rl.TrustRegion(0.01, damping=0.1, iterations=15, tries=10, value_minibatches=STEPS // 128), *rest
        ),
    }
    act = trains[method](env, steps, jax.random.key(seed))

    def in_box(observation):
        share = (np.clip(act(np.asarray(observation, np.float32)[None])[0], -1, 1) + 1) / 2
        return (box.low + share * (box.high - box.low)).astype(box.dtype)

    return in_box


def theirs(method, name, steps, seed):
    """The same with Stable-Baselines3, whose defaults these settings are."""
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3 import PPO, SAC

    torch.set_num_threads(1)
    agents = {
        "SAC": lambda: SAC("MlpPolicy", name, buffer_size=steps, seed=seed, device="cpu"),
        "PPO": lambda: PPO("MlpPolicy", name, seed=seed, device="cpu"),
        "TRPO": lambda: TRPO("MlpPolicy", name, seed=seed, device="cpu"),
    }
    agent = agents[method]().learn(steps)
    return lambda observation: agent.predict(observation, deterministic=True)[0]


def one_run(arguments):
    """Prints what one side came to with one seed."""
    name, _ = RUNS[arguments.method]
    side = {"ours": ours, "theirs": theirs}[arguments.side]
    wall, cpu = time.perf_counter(), time.process_time()
    act = side(arguments.method, name, arguments.steps, arguments.seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"return": evaluated(name, act), "wall": wall, "cpu": cpu, "memory": memory}))


def asked(side, method, steps, seed, core):
    """The answer of a process that makes one run."""
    command = [sys.executable, __file__, "--side", side, "--method", method, "--steps", str(steps), "--seed", str(seed)]
    bind = lambda: os.sched_setaffinity(0, {core})
    done = subprocess.run(command, env=with_threads(1), stdout=subprocess.PIPE, text=True, check=True, preexec_fn=bind)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{method} {side} seed {seed}: {json.dumps(answer)}", file=sys.stderr, flush=True)
    return answer


def interval(values):
    """Mean, half of the 95 % interval of the mean, and the values."""
    shown = ", ".join(f"{value:.0f}" for value in values)
    if len(values) < 2:
        return shown
    half = STUDENT.get(len(values), 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.0f} ± {half:.0f} ({shown})"


def row(method, name, steps, answers):
    """A line of the table."""
    cells = [method, name, f"{steps:,}"]
    cells += [interval([answer["return"] for answer in answers[side]]) if side in answers else "" for side in SIDES]
    for kind in ("wall", "cpu"):
        cells += [
            f"{statistics.median(answer[kind] for answer in answers[side]):.0f}" if side in answers else ""
            for side in SIDES
        ]
    return "| " + " | ".join(cells) + " |"


SIDES = ("ours", "theirs")
COLUMNS = ["method", "environment", "steps"]
COLUMNS += [f"{what}, {side}" for what in ("return", "s", "CPU s") for side in ("Mutatis", "SB3")]
HEAD = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps")
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--core", type=int, help="the core of all runs; the first allowed one")
    parser.add_argument("--table", help="file that the table is written to")
    for name, kind in (("--side", str), ("--method", str), ("--steps", int), ("--seed", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        return one_run(arguments)
    missing = [name for name in ("torch", "stable_baselines3", "sb3_contrib") if importlib.util.find_spec(name) is None]
    sides = [side for side in arguments.sides if side == "ours" or not missing]
    if missing and "theirs" in arguments.sides:
        print(f"Without {', '.join(missing)} (pip install 'mutatis[peers]') only our side runs.", file=sys.stderr)
    lines, core = [HEAD], first_core(arguments.core)
    for method in arguments.only:
        name, steps = RUNS[method]
        steps, answers = max(round(steps * arguments.share), RANDOM_STEPS + 1), {side: [] for side in sides}
        for seed in range(arguments.seeds):
            for side in sides:
                answers[side].append(asked(side, method, steps, seed, core))
        lines.append(row(method, name, steps, answers))
        if arguments.table:
            with open(arguments.table, "w") as file:
                file.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    return None


if __name__ == "__main__":
    main()
