"""Environment steps and updates a second of multi-head soft actor-critic on MT10, end to end, beside PyTorch.

Run `python benchmarks/mt10_training.py [--torch-python PATH] [--width 256] [--steps 100] [--rounds 5] [--threads N]
[--table PATH]`. The recipe: one world a task, version 2 rewards, 500 actions an episode, three hidden layers, 128
transitions of each task in a batch, one update after each vector step of 10 environment steps. Ours is
`SoftActorCritic.train`, all of a turn in one dispatch; the other side is `_torch_sac.py`, the same update number by
number, with the original's environments (`_farama.py`) in the faster of Gymnasium's vector environments, as it is and
through `torch.compile`. Each side is a process of its own with all cores. After a warm-up with random actions the
sides take turns; the table shows medians over the rounds of a turn's rates: of the whole, of updates alone, and of
vector steps with random actions alone, which also fill the replay. The ratio is the median over the rounds of our rate
by the other's; the memory is the process's peak, compilation included, and what its children have for themselves.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from _turns import Side, first_cores, why_no_torch

SIDES = {"ours": "Mutatis", "torch": "PyTorch", "compiled": "PyTorch, torch.compile"}
PARTS = ("whole", "updates", "environment")
SETTINGS = ("width", "steps", "threads", "capacity", "warm_up")
HIDDEN_LAYERS, BATCH, SEED = 3, 128, 0


def sizes(inputs, width, outputs):
    return inputs, *[width] * HIDDEN_LAYERS, outputs


def our_parts(arguments):
    """What a turn does, by part, and a description of the worlds."""
    import equinox as eqx
    import jax

    from mutatis import worlds
    from mutatis.nn import multi_head_net
    from mutatis.rl import SoftActorCritic, Twin

    environment = worlds.make("MT10", threads=arguments.threads).functional()
    learner = SoftActorCritic(environment, batch=BATCH)
    actor_key, first_key, second_key, key = jax.random.split(jax.random.key(SEED), 4)
    seen, actions, tasks = environment.observation_size, environment.action_size, environment.num_tasks
    critic = lambda key: multi_head_net(sizes(seen + actions, arguments.width, 1), tasks, key=key)
    actor = multi_head_net(sizes(seen, arguments.width, 2 * actions), tasks, key=actor_key)
    state = learner.init(actor, Twin(critic(first_key), critic(second_key)), capacity=arguments.capacity, key=key)

    @eqx.filter_jit(donate="all-except-first")
    def updates(learner, state, steps):
        arrays, rest = eqx.partition(state, eqx.is_array)

        def one(arrays, key):
            state, losses = learner.update(eqx.combine(arrays, rest), key=key)
            return eqx.filter(state, eqx.is_array), losses

        key, *keys = jax.random.split(state.key, steps + 1)
        arrays, losses = jax.lax.scan(one, arrays, jax.numpy.stack(keys))
        return eqx.combine(arrays, rest)._replace(key=key), losses

    ways = dict(zip(PARTS, (SoftActorCritic.train, updates, SoftActorCritic.explore), strict=True))
    current = [learner.explore(state, arguments.warm_up)[0]]

    def turn(part):
        current[0], _ = jax.block_until_ready(ways[part](learner, current[0], arguments.steps))

    return turn, "in the same program"


def farama(vectorise):
    """MT10 as it was made: in each world a goal drawn at every reset."""
    from functools import partial

    import gymnasium
    from _farama import original

    from mutatis import worlds

    class DrawnGoal(gymnasium.Wrapper):
        """Another of the task's goals in every episode."""

        def __init__(self, name, vectors):
            super().__init__(original(name, vectors[0]))
            self.vectors, self.generator = vectors, None

        def reset(self, *, seed=None, options=None):
            import numpy as np

            if self.generator is None or seed is not None:
                self.generator = np.random.default_rng(seed)
            self.env._last_rand_vec = np.asarray(self.vectors[self.generator.integers(len(self.vectors))])
            return super().reset(seed=seed, options=options)

    limited = lambda name, vectors: gymnasium.wrappers.TimeLimit(DrawnGoal(name, vectors), worlds.HORIZON)
    made = worlds.make("MT10", threads=1)
    each = [partial(limited, *pair) for pair in zip(made.tasks, made.vectors, strict=True)]
    return vectorise(each, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP)


def faster_vector(arguments):
    """The one of Gymnasium's two vector environments that takes more steps a second here, and its name."""
    import gymnasium
    import numpy as np

    ways = (gymnasium.vector.SyncVectorEnv, gymnasium.vector.AsyncVectorEnv)
    made = [farama(way) for way in ways]
    times = [[], []]
    actions = np.random.default_rng(SEED).uniform(-1, 1, (made[0].num_envs, 4)).astype(np.float32)
    for each in made:
        each.reset(seed=SEED)
    for _ in range(5):
        for each, spent in zip(made, times, strict=True):
            start = time.perf_counter()
            for _ in range(min(20, arguments.steps)):
                each.step(actions)
            spent.append(time.perf_counter() - start)
    best = min(range(2), key=lambda k: statistics.median(times[k]))
    made[1 - best].close()
    return made[best], ways[best].__name__


class TorchTraining:
    """The loop that a reader of PyTorch code would expect."""

    def __init__(self, arguments, vector, *, compiled):
        import torch
        from _torch_sac import Replay, SoftActorCritic

        self.torch, self.vector = torch, vector
        tasks, seen, actions = vector.num_envs, vector.single_observation_space.shape[0], 4
        actor_sizes = sizes(seen, arguments.width, 2 * actions)
        critic_sizes = sizes(seen + actions, arguments.width, 1)
        self.learner = SoftActorCritic(actor_sizes, critic_sizes, tasks, compiled=compiled)
        self.replay = Replay(tasks, arguments.capacity, seen, actions)
        self.observation = self.tensor(vector.reset(seed=SEED)[0])

    def tensor(self, array):
        return self.torch.from_numpy(array).float()

    def step(self, action):
        """Acts in every world and remembers it."""
        observation, reward, terminated, truncated, info = self.vector.step(action.numpy())
        last = observation
        if (terminated | truncated).any():
            last = observation.copy()
            for k in (terminated | truncated).nonzero()[0]:
                last[k] = info["final_obs"][k]
        numbers = map(self.tensor, (reward, last, terminated))
        self.replay.add(self.observation, action, *numbers)
        self.observation = self.tensor(observation)

    def turn(self, part, steps):
        for _ in range(steps):
            if part == "whole":
                self.step(self.learner.act(self.observation))
            elif part == "environment":
                self.step(self.torch.rand(len(self.observation), 4) * 2 - 1)
            if part != "environment":
                self.learner.update(self.replay.sample(BATCH))


def torch_parts(arguments):
    """As `our_parts`."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    vector, name = faster_vector(arguments)
    training = TorchTraining(arguments, vector, compiled=arguments.side == "compiled")
    training.turn("environment", arguments.warm_up)
    return lambda part: training.turn(part, arguments.steps), name


def peak_memory():
    """MiB of this process at its largest, and of what its children have for themselves now."""
    named = lambda path, *names: [int(x.split()[1]) for x in Path(path).read_text().splitlines() if x.startswith(names)]
    # Forked children share most of their pages with their parent, which has them already.
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    private = [sum(named(f"/proc/{child}/smaps_rollup", "Private_")) for child in children]
    return (named("/proc/self/status", "VmHWM")[0] + sum(private)) / 1024


def serve(turn, worlds, steps):
    """Warms up every part, then takes a turn at the part that comes in and answers with its steps a second."""
    for part in PARTS:
        turn(part)
    print("ready", flush=True)
    for part in sys.stdin:
        start = time.perf_counter()
        turn(part.strip())
        rate = steps / (time.perf_counter() - start)
        print(json.dumps({"rate": rate, "peak": peak_memory(), "worlds": worlds}), flush=True)


class WholeMachine(Side):
    """A process on as many cores as were asked for."""

    def __init__(self, name, command, threads):
        super().__init__(name, command, first_cores(threads))
        self.answers = {part: [] for part in PARTS}

    def ask(self):
        for part in PARTS:
            self.process.stdin.write(f"{part}\n")
            self.process.stdin.flush()
            self.answers[part].append(json.loads(self.process.stdout.readline()))

    def rates(self, part):
        return [answer["rate"] for answer in self.answers[part]]


def row(side, ours):
    """One line of the table."""
    whole, updates, environment = (statistics.median(side.rates(part)) for part in PARTS)
    last = side.answers["environment"][-1]
    ratios = (
        statistics.median(a / b for a, b in zip(ours.rates(part), side.rates(part), strict=True)) for part in PARTS
    )
    cells = [side.name, f"{10 * whole:,.0f}", f"{whole:.1f}", f"{updates:.1f}", f"{10 * environment:,.0f}"]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    return [*cells, f"{last['peak']:,.0f}", last["worlds"]]


TITLES = ["side", "environment steps/s", "updates/s", "updates alone/s", "environment alone, steps/s"]
TITLES += ["ours by it: whole", "updates", "environment", "peak MiB", "worlds"]


def table(sides):
    lines = [TITLES, ["---"] * len(TITLES), *(row(side, sides[0]) for side in sides)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def compare(arguments, chosen):
    settings = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in SETTINGS]
    sides = []
    for name in chosen:
        python = sys.executable if name == "ours" else arguments.torch_python
        command = [python, os.path.abspath(__file__), "--side", name, *settings]
        sides.append(WholeMachine(SIDES[name], command, arguments.threads))
    for _ in range(arguments.rounds):
        for side in sides:
            side.ask()
    for side in sides:
        side.close()
    return table(sides)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that can import torch and this")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="ours must be among them")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100, help="vector steps, and updates, in a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores of a side")
    parser.add_argument("--capacity", type=int, default=100_000, help="transitions of each task that are kept")
    parser.add_argument("--warm-up", type=int, default=500, help="vector steps with random actions before the turns")
    parser.add_argument("--table", type=Path, help="where the table goes as well")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        parts = our_parts if arguments.side == "ours" else torch_parts
        serve(*parts(arguments), arguments.steps)
        return
    chosen = sorted({"ours", *arguments.sides}, key=list(SIDES).index)
    reason = why_no_torch(arguments.torch_python)
    if reason:
        print(f"PyTorch is left out: {reason}", file=sys.stderr)
        chosen = ["ours"]
    text = compare(arguments, chosen)
    print(text)
    if arguments.table:
        arguments.table.write_text(text + "\n")


if __name__ == "__main__":
    main()
