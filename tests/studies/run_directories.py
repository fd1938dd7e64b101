"""Run directories as studies leave them, with made-up numbers that are known to the tests."""

import numpy as np
from run_files import write_run

from mutatis.studies import Job

ORDER, FLOOR = "adapt, then predict", "no adaptation"
# Method: level of the easiest group, loss on the hardest one, share lost at support 1; None: never adapts.
METHODS = {
    "ERM": (0.965, 0.28, None),
    "UW": (0.962, 0.20, None),
    "Group DRO": (0.955, 0.19, None),
    "ARM-CML": (0.963, 0.15, 0.35),
    "ARM-BN": (0.972, 0.11, 0.75),
    "ARM-LL": (0.978, 0.085, 0.72),
    "BN adaptation": (0.958, 0.17, 0.7),
    "ICRM": (0.974, 0.10, 0.04),
}
SUPPORTS = (1, 5, 10, 25, 50, 100)


def make_run(
    directory,
    *,
    methods=METHODS,
    seeds=(0, 1, 2, 3, 4),
    groups=14,
    supports=SUPPORTS,
    gallery=True,
    noise=0.008,
    study="rotated-mnist",
    fields=(),
    group_name="rotation {}",
    sizes=3333,
    before_rows=True,
    salt=0,
):
    """Write a run directory and return its rows."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([salt, groups, len(seeds)])
    names = [group_name.format(10 * group) for group in range(groups)]
    counts = np.broadcast_to(sizes, groups)
    rows, lines = [], []
    for method in methods:
        level, drop, collapse = METHODS.get(method, METHODS["ARM-BN"])
        for seed in seeds:
            shift = rng.normal(0, noise / 2)
            base = level - drop * np.linspace(0, 1, groups) ** 2 + shift + rng.normal(0, noise, groups)
            conditions = (
                [(FLOOR, max(supports), base)]
                if collapse is None
                else [(ORDER, support, base - collapse * np.exp(-(support - 1) / 6)) for support in supports]
            )
            if collapse is not None and before_rows:
                conditions.append((FLOOR, 0, base - 0.8 * drop))
            for order, support, values in conditions:
                for name, value, count in zip(names, np.clip(values, 0.01, 1), counts, strict=True):
                    rows.append({
                        "method": method, "seed": seed, "split": "test", "group": name, "n": int(count),
                        "metric": "accuracy", "value": float(np.round(value * count) / count),
                        "support": support, "order": order,
                        "selection": "worst, every 20 steps",
                    })  # fmt: skip
            for step in range(10, 401, 10):
                loss = 0.15 + 2.1 * np.exp(-step / (60 + 9 * len(method))) * (1 + rng.normal(0, 0.04))
                line = {"method": method, "seed": seed, "step": step, "loss": float(loss)}
                if step % 20 == 0:
                    fade = np.exp(-step / 80)
                    line |= {"average": float(base.mean() - 0.5 * fade), "worst": float(base.min() * (1 - fade))}
                lines.append(line)
            if gallery and seed == min(seeds):
                _write_gallery(directory, Job(method, seed), names, rng, collapse is not None)
    write_run(
        directory,
        rows,
        lines,
        study=study,
        summary="Handwritten digits, turned; the training set has few of the larger angles.",
        command=f"mutatis run {study} --seeds {len(seeds)} --out run",
        fields={"steps": 400, "width": 32, "support": 50, "methods": list(methods), "seeds": len(seeds)} | dict(fields),
        jobs=[{"method": method, "seed": seed} for method in methods for seed in seeds],
        description=f"MNIST, {groups} groups.",
        checksums={"train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
        citations={
            "ARM": "@inproceedings{zhang2021adaptive,\n  title={Adaptive Risk Minimization},\n  year={2021}\n}",
            "ERM": "@book{vapnik1998,\n  title={Statistical Learning Theory},\n  year={1998}\n}",
        },
        workers=2,
        threads=1,
    )
    return rows


def _write_gallery(directory, job, names, rng, adapts):
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[:8].repeat(1, axis=0) * 15.9
    angles = np.linspace(0, 130, len(names))
    turned = np.stack([[rotate(i, a, reshape=False, order=1) for i in images] for a in angles])
    targets = np.broadcast_to(digits.target[:8], turned.shape[:2])
    hard = np.linspace(0.05, 0.7, len(names))[:, None]
    wrong = rng.random(targets.shape) < hard
    before = np.where(wrong, (targets + 3) % 10, targets)
    after = np.where(wrong & (rng.random(targets.shape) < 0.5), before, targets) if adapts else before
    path = directory / job.directory / "gallery.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"images": turned[..., None].clip(0, 255).astype(np.uint8), "targets": targets, "after": after}
    arrays |= {"before": before} if adapts else {}
    np.savez_compressed(path, group_names=np.array(names), **arrays)
