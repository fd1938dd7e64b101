"""Our worlds beside the original environments, on the same simulator: observations, rewards, success, starts.

Run `python benchmarks/worlds_parity.py [TASK ...] [--goals 3] [--steps 500] [--table docs/results/worlds-parity.md]`,
or `make study-parity` for all 50. Each task meets `goals` of its official goals with its scripted expert and with
uniform random actions. The original environment gets the same actions as our world. The table shows the largest
difference of any number: of the start, the observations (both must be 0), the reward (relative to its size where that
is more than 1), the terms of info. The script ends with an error if a task exceeds what it claims.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from _farama import original

from mutatis import worlds

INFO = ("near_object", "grasp_success", "grasp_reward", "in_place_reward", "obj_to_target")
REWARD = 1e-6
"""Largest relative difference of a reward. The original computes some rewards with the action's 32 bits."""


def compare(name, goals=3, steps=500, seed=0, reward="v2"):
    """Largest differences over all goals and steps of both kinds of action, as a dictionary."""
    ours = worlds.make(name, worlds_per_task=goals, seed=seed, reward=reward, measure_touch=True, horizon=steps + 1)
    (vectors,) = ours.vectors
    experts = worlds.Experts(ours)
    worst = dict.fromkeys(("start", "observation", "reward", "success", "ended", *INFO), 0.0)
    generator = np.random.default_rng(seed)
    solved = 0
    for scripted in (True, False):
        theirs = [original(name, vectors[k], version=reward) for k in range(goals)]
        observation, _ = ours.reset(options={"goals": np.arange(goals)})
        seen = np.stack([each.reset()[0] for each in theirs])
        worst["start"] = max(worst["start"], _gap(observation, seen))
        reached = np.zeros(goals, bool)
        for _ in range(steps):
            actions = generator.uniform(-1, 1, (goals, 4)).astype(np.float32)
            if scripted:
                actions = experts(seen)
            observation, rewards, terminated, truncated, info = ours.step(actions)
            answers = [each.step(action) for each, action in zip(theirs, actions, strict=True)]
            seen = np.stack([answer[0] for answer in answers])
            expected = np.array([answer[1] for answer in answers])
            differences = {
                "observation": _gap(observation, seen),
                "reward": _gap(rewards, expected, np.maximum(1, np.abs(expected))),
                "ended": _gap(terminated | truncated, [answer[2] for answer in answers]),
            }
            for term in ("success", *INFO) if reward == "v2" else ():
                differences[term] = _gap(info[term], [answer[4][term] for answer in answers])
            worst |= {key: max(worst[key], value) for key, value in differences.items()}
            reached |= info["success"]
        solved += int(reached.sum()) if scripted else 0
    ours.close()
    return worst | {"solved": solved, "goals": goals}


def _gap(a, b, scale=1.0):
    return float(np.max(np.abs(np.asarray(a, float) - np.asarray(b, float)) / scale))


def failures(row):
    """What a row does not fulfil, in words."""
    exact = [key for key in ("start", "observation", "success", "ended") if row[key] != 0]
    near = [key for key in ("reward", *INFO) if row[key] > REWARD]
    return [f"{key} differs by {row[key]:.1e}" for key in exact + near]


def table(rows):
    """Markdown."""
    lines = [
        "| task | start | observation | reward | success | other terms | expert |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = (row["start"], row["observation"], row["reward"], row["success"], max(row[term] for term in INFO))
        numbers = " | ".join("0" if value == 0 else f"{value:.0e}" for value in cells)
        lines.append(f"| {name} | {numbers} | {row['solved']} of {row['goals']} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(worlds.TASKS))
    parser.add_argument("--goals", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--table", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    rows = {}
    for name in arguments.tasks:
        rows[name] = compare(name, arguments.goals, arguments.steps)
        print(name, "; ".join(failures(rows[name])) or "equal", flush=True)
    text = table(rows)
    print(text)
    if arguments.table:
        arguments.table.write_text(
            _PAGE.format(goals=arguments.goals, steps=arguments.steps, version=worlds.version(), table=text)
        )
    if any(failures(row) for row in rows.values()):
        sys.exit("some tasks differ from the original")


_PAGE = """`python benchmarks/worlds_parity.py --goals {goals} --steps {steps}`, {version}, the original's
release 3.0.0 with the weld and the one reward of release 3.1. Each task: {goals} official goals, {steps} steps of the
scripted expert and {steps} of uniform random actions, the same actions to both. The numbers are the largest differences
of any entry at any step; those of rewards are relative. Differences of about 1e-7 are the original's own rounding: it
computes some rewards with the 32 bits of the action. The last column counts goals that the expert reached.

{table}
"""


if __name__ == "__main__":
    main()
