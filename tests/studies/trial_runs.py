"""Run directories as studies of trials leave them, with made-up numbers that are known to the tests."""

import numpy as np
from run_files import write_run

from mutatis.studies import Job

# Method to its return in the first and in the last episode.
METHODS = {"RL2": (2.0, 11.0), "PEARL": (1.0, 9.5), "VariBAD": (3.0, 11.1)}
EPISODES, TRIALS, BUDGET, EVALUATIONS = 6, 1_000, 3_000_000, 12
REFERENCES = [
    {"name": "knows the goal", "value": 13.0, "by_episode": [13.0] * EPISODES, "exact": True, "is_best": True,
     "is_nothing": False},
    {"name": "searches along the half circle", "value": 11.0, "by_episode": [2.8, 9.0, 11.0, 11.0, 11.0, 11.0],
     "exact": False, "is_best": False, "is_nothing": False},
    {"name": "goes straight up", "value": 0.5, "by_episode": [0.5] * EPISODES, "exact": False, "is_best": False,
     "is_nothing": True},
]  # fmt: skip
PUBLISHED = [
    {"method": "RL2", "value": 10.5, "protocol": "of one trained policy", "source": "Somebody 2020, table 1"},
    {"method": "PEARL", "value": 9.0, "protocol": "of one trained policy", "source": "Somebody 2020, table 1"},
]


def make_trial_run(
    directory,
    *,
    methods=METHODS,
    seeds=(0, 1, 2),
    whole=False,
    success=False,
    references=REFERENCES,
    published=PUBLISHED,
    finished=lambda method, seed: True,
    gallery=None,
    episodes=EPISODES,
):
    """Write a run directory and return its rows.

    - `finished`: whether a method and seed has rows.
    - `gallery`: `gallery(method)`, arrays; none by default.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows, lines, jobs = [], [], []
    for method in methods:
        for seed in seeds:
            jobs.append(Job(method, seed))
            rng = np.random.default_rng([seed, len(method)])
            first, last = methods[method]
            share = 1 - np.exp(-1.3 * np.arange(episodes))
            returns = first + (last - first) * share / max(share[-1], 1e-9) + rng.normal(0, 0.2, episodes)
            lines += _lines(method, seed, returns, whole)
            if finished(method, seed):
                rows += _rows(method, seed, returns, success)
                if gallery and seed == min(seeds):
                    path = directory / jobs[-1].directory / "gallery.npz"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.savez_compressed(path, **gallery(method))
    score = "whole trial" if whole else "last episode"
    write_run(
        directory,
        rows,
        lines,
        study="sparse-points",
        summary="Points that look for their goal.",
        description="Points that are paid near a goal; 1,000 test trials.",
        command="mutatis run sparse-points --out run",
        fields={"environment_steps": BUDGET, "episodes": episodes, "methods": list(methods), "seeds": len(seeds)},
        jobs=[{"method": job.method, "seed": job.seed} for job in jobs],
        trial={"episodes": episodes, "episode": "episode", "score": f"return of the {score}", "whole": whole},
        references=references,
        published=published,
        citations={"RL2": "@misc{duan2016rl2,\n  title={RL2},\n  year={2016}\n}"},
    )
    return rows


def _rows(method, seed, returns, success):
    common = {
        "method": method, "seed": seed, "split": "test", "n": TRIALS, "order": "trial", "selection": "last step",
        "environment steps": BUDGET,
    }  # fmt: skip
    for place, value in enumerate(returns.tolist()):
        row = common | {"group": f"episode {place + 1}", "support": place}
        yield row | {"metric": "return", "value": value}
        if success:
            yield row | {"metric": "success", "value": round(min(max(value / 13, 0), 1), 3)}
    yield common | {"group": "whole trial", "metric": "return", "value": float(returns.sum()), "support": 0}


def _lines(method, seed, returns, whole):
    for place in range(1, EVALUATIONS + 1):
        now = returns * (1 - np.exp(-place / 3))
        yield {
            "method": method, "seed": seed, "step": 10 * place, "loss": float(np.exp(-place / 4)),
            "environment steps": BUDGET * place // EVALUATIONS,
            "score": float(now.sum() if whole else now[-1]), "return by episode": now.tolist(),
        }  # fmt: skip


def plane_gallery(method, *, trials=3, radius=0.2):
    """Straight ways to goals on the half circle; two episodes, of which the first misses."""
    angles = np.linspace(0.3, 2.8, trials)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    share = np.linspace(0, 1, 11)[:, None]
    ways = np.stack([share * np.array([[0.9, 0.4]]) + 0 * goals[:, None], share * goals[:, None]], axis=1)
    returns = np.stack([np.zeros(trials), np.full(trials, 11.0)], axis=1) + len(method) / 100
    return {
        "trial_paths": ways.astype(np.float32),
        "trial_goals": goals.astype(np.float32),
        "trial_returns": returns.astype(np.float32),
        "trial_episodes": np.array([0, 5]),
        "trial_radius": np.array(radius, np.float32),
    }


def grid_gallery(method):
    """One walk, and one ride, on a grid of 9 x 9 with two buses."""
    del method
    walk = [[4, 4], [4, 5], [4, 6], [4, 7], [4, 8], [3, 8], [2, 8], [1, 8], [0, 8]]
    ride = [[4, 4], [4, 5], [0, 7], [0, 8], [0, 8], [0, 8], [0, 8], [0, 8], [0, 8]]
    return {
        "trial_paths": np.array([[walk, ride]], np.float32),
        "trial_goals": np.array([[0, 8]], np.float32),
        "trial_returns": np.array([[0.3, 0.8]], np.float32),
        "trial_episodes": np.array([0, 1]),
        "trial_radius": np.array(0.0, np.float32),
        "trial_links": np.array([[[[4, 5], [0, 7]], [[5, 4], [8, 1]]]]),
    }
