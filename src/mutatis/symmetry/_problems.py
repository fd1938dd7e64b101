"""Families of linear tasks whose symmetry is known: what learned symmetries are measured on.

Every task is y = W x without noise, x of N(0, I). Its weights are drawn from a family that never changes,

    vec(W) = F z,   z of N(0, I),   vec row-major,

so the columns of F span the true symmetry, and C = F F^T is the second moment of vec(W) that `gradient_floor` needs.
A problem is itself the sampler of tasks: pass it to `mutatis.outer_scan` as `sample_tasks`. Tasks are drawn anew in
every step and nothing is stored.
"""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mutatis._task import Task
from mutatis._types import Key
from mutatis.symmetry._actions import Action
from mutatis.symmetry._normal import standard_normal


class AbstractProblem(eqx.Module):
    """A family of tasks y = W x with vec(W) = F z.

    - `factor`: F, `(out * in, filters)`.
    - `shape`: of W, `(out, in)`.
    - `input_shape`: of one example's x; `(in,)` unless W slides over images.
    - `symmetry`: the true actions on the inputs and on the outputs of W, W rho_in(g) = rho_out(g) W; None where there
      is no finite group.
    - `support`, `query`: examples of each task to adapt to, and to be judged by.
    - `tasks_per_step`: tasks in a stack.

    **Raises:** `ValueError` if one of the three numbers is not positive.
    """

    factor: eqx.AbstractVar[Float[Array, "size filters"]]
    shape: eqx.AbstractVar[tuple[int, int]]
    input_shape: eqx.AbstractVar[tuple[int, ...]]
    symmetry: eqx.AbstractVar[tuple[Action, Action] | None]
    name: eqx.AbstractVar[str]
    support: eqx.AbstractVar[int]
    query: eqx.AbstractVar[int]
    tasks_per_step: eqx.AbstractVar[int]

    def __check_init__(self):
        for name in ("support", "query", "tasks_per_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; pass a positive number.")

    @abstractmethod
    def outputs(self, z: Float[Array, "tasks filters"], x: Float[Array, "tasks rows ..."]) -> Array:
        """y = W x for every row of every task, `(tasks, rows, ...)`."""

    def __call__(self, key: Key) -> Task:
        """A stack of `tasks_per_step` tasks; context and query are pairs (x, y), `(tasks, examples, ...)`."""
        z, x = self._draw(key, self.tasks_per_step, self.support + self.query)
        y = self.outputs(z, x)
        context, query = (x[:, : self.support], y[:, : self.support]), (x[:, self.support :], y[:, self.support :])
        return Task(context, query, jnp.zeros(self.tasks_per_step, jnp.int32))

    def held_out(self, key: Key, n: int) -> tuple[tuple[Array, Array], Float[Array, "n out in"]]:
        """Contexts (x, y) of n tasks, and their true weights: `query_risk(adapted W, true W)` is then exact."""
        z, x = self._draw(key, n, self.support)
        return (x, self.outputs(z, x)), self._weights(z)

    def weights(self, key: Key, n: int) -> Float[Array, "n out in"]:
        """True weights of n tasks."""
        return self._weights(standard_normal(key, n * self._filters, self._dtype).reshape(n, -1))

    @property
    def truth(self) -> Float[np.ndarray, "size rank"]:
        """Orthonormal basis of all vec(W), in float64."""
        factor = np.asarray(self.factor, np.float64)
        basis, values, _ = np.linalg.svd(factor, full_matrices=False)
        return basis[:, values > values[0] * len(factor) * jnp.finfo(self._dtype).eps]

    @property
    def signal(self) -> float:
        """E[y^2] of one output: the risk of always answering 0."""
        return float(np.sum(np.square(np.asarray(self.factor, np.float64)))) / self.shape[0]

    def describe(self) -> str:
        """The family in one line."""
        return (
            f"{self.name}: W {self.shape[0]} x {self.shape[1]}, {self.truth.shape[1]} free numbers; {self.support} "
            f"support and {self.query} query examples, {self.tasks_per_step} tasks a step"
        )

    @property
    def _filters(self) -> int:
        return jax.eval_shape(lambda: self.factor).shape[1]

    @property
    def _dtype(self) -> Any:
        return jax.eval_shape(lambda: self.factor).dtype

    def _draw(self, key: Key, tasks: int, examples: int) -> tuple[Array, Array]:
        shape = (tasks, examples, *self.input_shape)
        flat = standard_normal(key, math.prod(shape) + tasks * self._filters, self._dtype)
        return flat[math.prod(shape) :].reshape(tasks, -1), flat[: math.prod(shape)].reshape(shape)

    def _weights(self, z: Array) -> Array:
        flat = jnp.matmul(z, self.factor.T, precision=jax.lax.Precision.HIGHEST)
        return flat.reshape(-1, *self.shape)


class LinearProblem(AbstractProblem):
    r"""Locally connected maps of rank r along a line (Zhou et al. 2021, section 5.1).

    $$y_i = \sum_k f_{ik} x_{i+k}, \qquad f = C b, \qquad b_{sk} \sim N(0, 1) \text{ for each task}$$

    Row i of C, `(out, rank)`, is a softmax of N(0, 1), drawn once for all tasks from `key`. Rank 1 is the convolution
    (C = 1, whatever the key), ranks 2 and 5 the paper's other two. W is `(inputs - taps + 1, inputs)`; the symmetry has
    rank * taps dimensions. No bias.

    A stack of 32 tasks of 20 examples costs 0.12 ms of one CPU core: one draw for all tasks, by `standard_normal`, and
    the product as a stencil of `taps` multiplications an output. As 32 matrices, `inputs` multiplications, it costs
    0.24 ms; with a key for each task, a few per cent more.

    **Deviations:** the original draws 10,000 tasks beforehand and splits their 20 examples at random; here every task
    is new.
    """

    mixing: Float[Array, "out rank"]
    taps: int = eqx.field(static=True)
    support: int = eqx.field(static=True)
    query: int = eqx.field(static=True)
    tasks_per_step: int = eqx.field(static=True)

    def __init__(
        self,
        rank: int = 1,
        *,
        key: Key,
        inputs: int = 70,
        taps: int = 3,
        support: int = 1,
        query: int = 19,
        tasks_per_step: int = 32,
        dtype: Any = jnp.float32,
    ):
        if rank < 1 or not 1 <= taps <= inputs:
            raise ValueError(
                f"rank is {rank} and taps is {taps}; pass a positive rank and 1 to {inputs} (inputs) taps."
            )
        self.mixing = jax.nn.softmax(jax.random.normal(key, (inputs - taps + 1, rank), dtype), axis=1)
        self.taps, self.support, self.query, self.tasks_per_step = taps, support, query, tasks_per_step

    @property
    def shape(self) -> tuple[int, int]:
        """`(out, in)`."""
        return self.mixing.shape[0], self.mixing.shape[0] + self.taps - 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(in,)`."""
        return self.shape[1:]

    @property
    def symmetry(self) -> None:
        """None: a line without wrapping has shifts, but no finite group of them."""

    @property
    def name(self) -> str:
        """The rank in words."""
        rank = self.mixing.shape[1]
        return f"rank {rank}, " + ("convolution along a line" if rank == 1 else "locally connected along a line")

    @property
    def factor(self) -> Float[Array, "size filters"]:
        """F: C along each of the diagonals, `(out * in, rank * taps)`."""
        out, rank = self.mixing.shape
        row, tap = jnp.arange(out)[:, None], jnp.arange(self.taps)[None]
        zeros = jnp.zeros((*self.shape, rank, self.taps), self.mixing.dtype)
        # Advanced indices apart from each other come first: [row, tap, rank].
        filled = zeros.at[row, row + tap, :, tap].set(jnp.broadcast_to(self.mixing[:, None], (out, self.taps, rank)))
        return filled.reshape(-1, rank * self.taps)

    def outputs(self, z: Float[Array, "tasks filters"], x: Float[Array, "tasks rows in"]) -> Array:
        """The sum over the taps, each a shifted view of x."""
        out, rank = self.mixing.shape
        basis = z.reshape(-1, rank, self.taps)
        filters = jnp.einsum("or,trk->kto", self.mixing, basis, precision=jax.lax.Precision.HIGHEST)
        shifted = [filters[k][:, None] * x[:, :, k : k + out] for k in range(self.taps)]
        return sum(shifted[1:], start=shifted[0])
