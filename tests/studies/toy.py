"""A study small enough for tests, and its command line: least squares, with noise from a key in the carry.

Settings and environment variables make it slow, diverge or die, so that the machinery can be seen at work.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mutatis.__main__ import main
from mutatis.studies import Outcome, Schedule, Study

TASKS, WIDTH = 3, 4


class Carry(eqx.Module):
    weights: jax.Array
    momentum: jax.Array
    key: jax.Array
    step: jax.Array
    name: str = eqx.field(static=True)


TRACES = []


@eqx.filter_jit
def advance(carry, truths, rate, explode_at, steps):
    TRACES.append(steps)

    def one(carry, _):
        key, noise_key, index_key = jax.random.split(carry.key, 3)
        indices = (jax.random.bits(index_key, (TASKS,), jnp.uint32) % jnp.uint32(len(truths))).astype(jnp.int32)
        x = jax.random.uniform(noise_key, (TASKS, 8, WIDTH), dtype=jnp.float32)
        y = jnp.einsum("tnd,td->tn", x, truths[indices])

        def loss(weights):
            each = jnp.mean((jnp.einsum("tnd,d->tn", x, weights) - y) ** 2, axis=1)
            return each.mean(), each

        gradient, losses = jax.grad(loss, has_aux=True)(carry.weights)
        momentum = jnp.float32(0.9) * carry.momentum + gradient
        losses = jnp.where((carry.step == explode_at) & (indices == indices[1]), jnp.float32(jnp.nan), losses)
        carry = Carry(carry.weights - rate * momentum, momentum, key, carry.step + jnp.int32(1), carry.name)
        return carry, (losses, indices)

    carry, (losses, indices) = jax.lax.scan(one, carry, length=steps)
    return carry, losses, indices


class Trainer:
    def __init__(self, study, truths, job):
        self.study, self.job, self.truths = study, job, truths
        self.schedule = Schedule(
            steps=study.steps,
            evaluate_every=study.evaluate_every,
            checkpoint_every=study.checkpoint_every,
            steps_per_dispatch=study.steps_per_dispatch,
            selection=study.selection,
            patience=study.patience,
        )

    def init(self):
        zeros = jnp.zeros(WIDTH, jnp.float32)
        key = jax.random.key(self.job.seed, impl="unsafe_rbg")  # the quickest to compile
        return Carry(zeros, zeros, key, jnp.int32(0), self.job.method)

    def advance(self, carry, steps):
        time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
        if self.job.method == os.environ.get("TOY_DIES") and int(carry.step) >= 20:
            os.kill(os.getpid(), signal.SIGKILL)
        explode = self.study.explode_at if self.job.method == "fast" else -1
        rate = jnp.float32(0.02 if self.job.method == "fast" else 0.005)
        return advance(carry, self.truths, rate, jnp.int32(explode), steps)

    def evaluate(self, carry):
        error = jnp.mean((carry.weights - self.truths.mean(axis=0)) ** 2)
        return {"closeness": -float(error), "score": float(jnp.sin(carry.weights.sum() * 20))}

    def task_name(self, index):
        return f"group 'truth {index}'"


@dataclass(frozen=True, kw_only=True)
class Toy(Study):
    """Least squares on three tasks.

    A second paragraph that is no part of the summary.
    """

    name: ClassVar[str] = "toy"

    methods: tuple[str, ...] = ("slow", "fast")
    seeds: int = 2
    steps: int = 60
    """Outer steps."""
    evaluate_every: int = 20
    checkpoint_every: int = 10
    steps_per_dispatch: int = 10
    selection: str = "last"
    patience: int = 0
    explode_at: int = -1
    data_seed: int = 0
    missing_data: bool = False

    def data(self, seed):
        if self.missing_data:
            raise FileNotFoundError("truths.npy was looked for in nowhere; see the documentation.")
        truths = np.random.default_rng(int(os.environ.get("TOY_DATA", self.data_seed))).normal(size=(5, WIDTH))
        return SimpleNamespace(
            truths=truths.astype(np.float32),
            checksums={"truths.npy": str(truths.sum())},
            description="Five random vectors.",
        )

    def trainer(self, data, job):
        return Trainer(self, jnp.asarray(data.truths), job)

    def outcome(self, data, trained, job):
        row = {"split": "test", "n": WIDTH, "metric": "error", "support": 8, "order": "no adaptation"}
        errors = np.mean((np.asarray(trained.weights) - data.truths) ** 2, axis=1)
        rows = [row | {"group": f"truth {g}", "value": value} for g, value in enumerate(errors)]
        return Outcome(rows, {"weights": np.asarray(trained.weights)})

    def citations(self):
        return {"Legendre": "@book{legendre1805, title={Nouvelles méthodes}}", "Gauss": "@book{gauss1809}"}

    def closing(self, rows):
        return f"closing over {len(rows)} rows"


STUDIES = {"toy": Toy}


def write_report(directories, out):
    """Stands in for the page, whose own tests are elsewhere."""
    out.write_text(f"page of {len(directories)} run(s)")
    return out


if __name__ == "__main__":
    sys.modules["mutatis.studies._report"] = SimpleNamespace(write_report=write_report)  # type: ignore
    sys.exit(main(studies=STUDIES))
