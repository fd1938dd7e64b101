"""Run directories as studies of control leave them, with made-up numbers that are known to the tests."""

import functools
import io
import math

import numpy as np
from PIL import Image
from run_files import write_run

from mutatis.studies import Job

# Task to its difficulty: the level at which a method solves half of the goals.
TASKS = {
    "reach": -1.2, "push": 0.6, "pick-place": 1.6, "door-open": 0.1, "drawer-open": -0.4, "drawer-close": -2.0,
    "button-press-topdown": -0.5, "peg-insert-side": 1.9, "window-open": -0.9, "window-close": -1.0,
}  # fmt: skip
ALONE = "SAC, each task alone"
# Method to its level at the end of training.
METHODS = {"SAC": 0.6, "SAC, PCGrad": 0.95, "SAC, one-hot input": 0.3, ALONE: 1.5}
EPISODES, EVALUATIONS, STEPS, BUDGET = 50, 10, 20_000, 2_000_000
PROTOCOL = "Rewards v2, 500 actions an episode, the 50 official goals of the seed; success at any step counts."
PUBLISHED = [
    {"method": "MTMH-SAC, width 400", "success": 0.50, "environment_steps": 1_000_000, "protocol": "50 drawn goals",
     "source": "McLean et al. 2025, read from curves"},
    {"method": "MTMH-SAC, width 400", "success": 0.748, "environment_steps": 20_000_000, "protocol": "50 drawn goals",
     "source": "McLean et al. 2025, read from curves"},
    {"method": "MT-SAC", "success": 0.683, "environment_steps": 20_000_000,
     "protocol": "the maximum over training, 10 seeds", "source": "Yu et al. 2021"},
]  # fmt: skip


def make_control_run(
    directory,
    *,
    methods=METHODS,
    tasks=TASKS,
    seeds=(0, 1, 2),
    conflicts=True,
    films=True,
    finished=lambda method, seed, task: True,
    published=PUBLISHED,
    study="mt10",
    change=lambda row: row,
    film=None,
):
    """Write a run directory and return its rows.

    - `finished`: whether a task of a method and seed has its rows, and whether one that trains alone has its lines.
    - `film`: of a task, bytes; by default two grey frames.
    """
    directory.mkdir(parents=True, exist_ok=True)
    names, rows, lines, jobs = list(tasks), [], [], []
    for method in methods:
        for seed in seeds:
            rng = np.random.default_rng([seed, len(method), len(names)])
            course = _course(methods[method], np.array(list(tasks.values())), rng)
            done = [task for task in names if finished(method, seed, task)]
            own = {f"{method}: {task}": (place,) for place, task in enumerate(names)} if method == ALONE else {}
            for name, places in (own or {method: tuple(range(len(names)))}).items():
                jobs.append(Job(name, seed))
                here = [names[place] for place in places]
                if own and not set(here) <= set(done):
                    continue
                share = BUDGET * len(places) // len(names)
                lines += _lines(name, seed, course[:, places], share, rng, conflicts and not own)
                rows += [change(row) for row in _rows(method, seed, here, course[-1, places], done, share)]
                if films and seed == min(seeds) and set(here) <= set(done):
                    _write_films(directory, jobs[-1], here, film or small_film)
    write_run(
        directory,
        rows,
        lines,
        study=study,
        summary="Tasks of Meta-World learned together by one soft actor-critic.",
        description=f"{len(names)} tasks ({', '.join(names)}). {PROTOCOL}",
        command=f"mutatis run {study} --seeds {len(seeds)} --out run",
        fields={"environment_steps": BUDGET, "width": 400, "methods": list(methods), "seeds": len(seeds)},
        jobs=[{"method": job.method, "seed": job.seed} for job in jobs],
        tasks=names,
        protocol=PROTOCOL,
        published=published,
        citations={"SAC": "@inproceedings{haarnoja2018soft,\n  title={Soft Actor-Critic},\n  year={2018}\n}"},
    )
    return rows


def _course(level, difficulty, rng):
    """Shares of solved goals (evaluations, tasks)."""
    skill = level - 4 * np.exp(-np.arange(1, EVALUATIONS + 1) / 3)[:, None] + rng.normal(0, 0.25, len(difficulty))
    if rng.random() < 0.5:  # a seed that never finds one of the tasks
        skill[:, rng.integers(len(difficulty))] -= 2
    return np.round(EPISODES / (1 + np.exp(-3 * (skill - difficulty)))) / EPISODES


def _rows(method, seed, names, values, done, share):
    for task, value in zip(names, values.tolist(), strict=True):
        if task in done:
            common = {
                "method": method, "seed": seed, "split": "train", "group": task, "n": EPISODES, "support": 0,
                "order": "evaluation", "selection": "last step", "environment steps": share,
            }  # fmt: skip
            at_end = math.floor(EPISODES * value * 0.9) / EPISODES
            for metric, number in (("success", value), ("success at end", at_end), ("return", 4000 * value)):
                yield common | {"metric": metric, "value": number}


def _lines(name, seed, course, share, rng, conflicts):
    tasks = course.shape[1]
    pull = np.random.default_rng(tasks).normal(0.12, 0.22, (tasks, tasks))
    for place, success in enumerate(course, 1):
        step = STEPS * place // EVALUATIONS
        yield {"method": name, "seed": seed, "step": step - STEPS // 20, "loss": 9 * np.exp(-place / 4) + rng.random()}
        line = {
            "method": name, "seed": seed, "step": step, "loss": 9 * np.exp(-place / 4) + rng.random(),
            "environment steps": share * place // EVALUATIONS,
            "success": success.mean(), "success at end": 0.9 * success.mean(), "return": 4000 * success.mean(),
            "success by task": success.tolist(), "success at end by task": (0.9 * success).tolist(),
            "return by task": (4000 * success).tolist(),
            "temperature by task": np.full(tasks, 0.2 * np.exp(-place / 3)).tolist(),
        }  # fmt: skip
        if conflicts:
            for network, fade in (("critic", 0.7), ("actor", 1.0)):
                noise = rng.normal(0, 0.08, (tasks, tasks))
                cosines = np.clip(fade * (pull * (0.4 + place / EVALUATIONS) + noise), -0.95, 0.95)
                cosines = (cosines + cosines.T) / 2
                np.fill_diagonal(cosines, 1)
                norms = np.exp(rng.normal(0, 0.3 + 0.1 * place, tasks))
                line |= {f"{network} conflicts": cosines.tolist(), f"{network} norms": norms.tolist()}
                line |= {f"{network} sharpness": 20 * np.exp(0.2 * place) * rng.uniform(0.8, 1.2)}
        yield line


@functools.cache
def small_film(task, size=(32, 24)):
    """Two frames, as an animated WebP."""
    frames = [Image.new("RGB", size, (40 * k + len(task), 90, 200 - 40 * k)) for k in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=100, loop=0)
    return buffer.getvalue()


def _write_films(directory, job, names, film):
    path = directory / job.directory / "gallery.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    films = {f"film_{place}": np.frombuffer(film(task), np.uint8) for place, task in enumerate(names)}
    np.savez_compressed(path, films_tasks=np.array(names), **films)
