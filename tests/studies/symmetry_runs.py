"""Run directories as the studies of learned symmetries leave them, with made-up numbers that are known to the tests."""

import numpy as np
from run_files import write_run

from mutatis.studies import Job

ORDER = "adapt, then predict"
# Method: risk as a share of the signal (the first problem, and the last), final overlap; None: has no U.
METHODS = {
    "MSR, ridge": (4e-4, 2e-3, 0.9996),
    "MSR": (0.31, 0.42, 0.93),
    "MAML-FC": (0.955, 0.97, None),
    "MAML-Conv": (2e-5, 0.3, None),
    "true U": (1e-6, 1e-6, 1.0),
}
GIVEN = ("true U",)
FLOORS = {"MSR": 0.3, "MAML-FC": 0.3, "MAML-Conv": 0.0}
# Problem: (out, in), number of true directions.
PROBLEMS = {"rank 1": ((68, 70), 3), "rank 2": ((68, 70), 6), "bank C8": ((24, 9), 6)}
# Candidate: verdict and error on the first problem; on the others everything is worse.
CANDIDATES = {
    "shift by one, not circular": ("yes", 3e-4),
    "shift by one, circular": ("no", 0.9),
    "reflection": ("partly", 0.4),
}


def make_symmetry_run(
    directory,
    *,
    methods=METHODS,
    problems=PROBLEMS,
    seeds=(0, 1, 2, 3, 4),
    candidates=True,
    gallery=True,
    study="symmetry-1d",
    support=1,
    change=lambda row: row,
    salt=0,
):
    """Write a run directory and return its rows; `change` may alter each of them."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([salt, len(problems), len(seeds)])
    rows, lines = [], []
    for method in methods:
        for seed in seeds:
            lines += _lines(method, seed, problems, rng)
            for place, name in enumerate(problems):
                common = {
                    "method": method, "seed": seed, "split": "test", "group": name, "support": support,
                    "order": ORDER, "selection": "last step",
                }  # fmt: skip
                mine = _rows(method, place, problems[name][1], rng)
                mine += _discoveries(method, place, problems[name][1], rng) if candidates else []
                rows += [change(common | row) for row in mine]
            if gallery and seed == min(seeds):
                _write_gallery(directory, Job(method, seed), problems, method)
    write_run(
        directory,
        rows,
        lines,
        study=study,
        summary="Linear maps that share weights in ways that are known, learned from tasks.",
        command=f"mutatis run {study} --seeds {len(seeds)} --out run",
        fields={"steps": 5000, "support": support, "methods": list(methods), "seeds": len(seeds)},
        jobs=[{"method": method, "seed": seed} for method in methods for seed in seeds],
        description="Maps of a line of 70 numbers, generated.",
        citations={"MSR": "@inproceedings{zhou2021meta,\n  title={Meta-Learning Symmetries},\n  year={2021}\n}"},
        threads=1,
    )
    return rows


def _rows(method, place, rank, rng):
    first, last, overlap = METHODS.get(method, METHODS["MSR"])
    signal = max(3.0 - place, 0.5)
    floor = signal * FLOORS.get(method, 0.0) * 0.9
    share = min(1.2, max(first, last * place / 2) * rng.lognormal(0, 0.05))
    risk = max(signal * share, floor * 1.001)
    rows = [
        {"metric": "risk", "value": risk, "n": 2000, "floor": floor, "signal": signal},
        {"metric": "excess", "value": (risk - floor) / signal, "n": 2000},
    ]
    if overlap is not None:
        reached = overlap if method in GIVEN else overlap ** (1 + 3 * place) * rng.uniform(0.999, 1)
        used = rank * (1.6 if method == "MSR" and place == 1 else 0.98)
        for metric, value in (
            ("overlap", reached),
            ("smallest cosine", reached**2),
            ("effective dimension", used),
        ):
            rows.append({"metric": metric, "value": value, "n": rank})
        rows.append({"metric": "capture", "value": reached**0.5, "n": 100})
    return rows


def _discoveries(method, place, rank, rng):
    if METHODS.get(method, METHODS["MSR"])[2] is None or method in GIVEN:
        return []
    rows = []
    for name, (verdict, error) in CANDIDATES.items():
        verdict = verdict if place == 0 else {"yes": "partly"}.get(verdict, "no")
        rows.append({
            "metric": "discovery", "value": min(1.0, error * (1 + 300 * place)) * rng.uniform(0.95, 1.05), "n": rank,
            "candidate": name, "verdict": verdict, "p_value": {"yes": 0.005, "partly": 0.02, "no": 0.9}[verdict],
            "directions": rank - 1, "moved": rank,
        })  # fmt: skip
    return rows


def _lines(method, seed, problems, rng):
    first, last, overlap = METHODS.get(method, METHODS["MSR"])
    for step in range(250, 5001, 250):
        line = {"method": method, "seed": seed, "step": step, "loss": 2.5 * np.exp(-step / 900) + 0.1 * rng.random()}
        if step % 500 == 0:
            for place, name in enumerate(problems):
                level = max(first, last * place / 2) - 0.9 * FLOORS.get(method, 0.0)
                line[f"{name}: excess"] = float(level + np.exp(-step / 400) + rng.normal(0, 0.05) * abs(level))
                if overlap is not None:
                    gone = 0 if method in GIVEN else np.exp(-step / 600)
                    line[f"{name}: overlap"] = float(overlap ** (1 + 3 * place) * (1 - gone))
        yield line


def true_basis(shape, rank):
    """Orthonormal columns: shifted filters where W is wide, random ones in which some entries are tied elsewhere."""
    out, inputs = shape
    basis = np.zeros((out, inputs, rank))
    for column in range(rank):
        for row in range(out):
            basis[row, (row + column) % inputs, column] = 1 if inputs > 20 else (-1) ** row
    return np.linalg.qr(basis.reshape(-1, rank))[0]


def _write_gallery(directory, job, problems, method):
    overlap = METHODS.get(method, METHODS["MSR"])[2]
    arrays = {"problems": np.array(list(problems))}
    for place, (shape, rank) in enumerate(problems.values()):
        rng = np.random.default_rng(place)
        truth = true_basis(shape, rank)
        noise = rng.normal(size=truth.shape) * (1 - (overlap or 0)) / np.sqrt(len(truth))
        learned = np.linalg.qr(truth + 3 * noise)[0]
        middle = int(np.argmax(np.sum(truth**2, axis=1)[len(truth) // 2 :])) + len(truth) // 2
        filters = rng.normal(size=(rank, 2))
        rows = []
        for basis in (truth, learned):
            weights = (basis @ filters).T
            used, tied = np.sum(basis**2, axis=1), basis @ basis[middle]
            if overlap is None and basis is learned:
                used, tied = np.full((2, len(used)), np.nan)
            rows.append(np.stack([*weights, used, tied]).reshape(4, *shape))
        arrays[f"pictures_{place}"] = np.stack(rows).astype(np.float32)
    path = directory / job.directory / "gallery.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
