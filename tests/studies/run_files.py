"""The files of a run that was never run, for pages to read."""

import json


def write_run(directory, rows, lines, **config):
    """Writes settings, results and curves, as `mutatis run` would have; what all such runs share is filled in."""
    shared = {
        "checksums": {},
        "workers": 1,
        "threads": 2,
        "versions": {"python": "3.11.9", "mutatis": "0.1.0", "jax": "0.10.2"},
        "platform": "Linux-6.1-x86_64, 2 cores",
    }
    (directory / "config.json").write_text(json.dumps(shared | config))
    (directory / "results.json").write_text(json.dumps(rows))
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
