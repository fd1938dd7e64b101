"""Networks that know which task they are at: `(rows, features), task -> (rows, outputs)`."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._types import Key
from mutatis.nn._layers import Activation, Linear, Sequential, Start, beside, mlp, relu

TaskIndex = Int[Array, ""]


class UntoldTask(eqx.Module):
    """A network that takes the task, as the others here, and does without it."""

    module: Callable

    def __call__(self, x: Float[Array, "rows features"], task: Any) -> Float[Array, "rows outputs"]:
        """The network of the inputs alone."""
        del task
        return self.module(x)


class OneHotTask(eqx.Module):
    """Gives a network the task's number as further inputs, one for each task."""

    module: Callable
    num_tasks: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The network of the inputs and the number."""
        number = jax.nn.one_hot(task, self.num_tasks, dtype=x.dtype)
        return self.module(beside(x, number))


class EmbeddedTask(eqx.Module):
    """Gives a network a learned vector for the task as further inputs."""

    module: Callable
    table: Float[Array, "tasks size"]

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The network of the inputs and the task's vector."""
        return self.module(beside(x, self.table[task]))


class MultiHead(eqx.Module):
    """One trunk for all tasks and a last layer for each (Caruana 1997; Yu et al. 2019 for Meta-World)."""

    trunk: Callable
    weight: Float[Array, "tasks width outputs"]
    bias: Float[Array, "tasks outputs"]
    tell_trunk: bool = eqx.field(static=True, default=False)
    """Whether the trunk gets the task's number too, as further inputs."""

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The task's head on the trunk's output."""
        if self.tell_trunk:
            x = beside(x, jax.nn.one_hot(task, self.weight.shape[0], dtype=x.dtype))
        return self.trunk(x) @ self.weight[task] + self.bias[task][None]


class FiLM(eqx.Module):
    """Each hidden layer is scaled and shifted, unit by unit, by numbers of the task (Perez et al. 2018, eq. 1)."""

    layers: tuple[Linear, ...]
    scales: Float[Array, "tasks hidden width"]
    shifts: Float[Array, "tasks hidden width"]
    last: Linear

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The last layer's output."""
        for layer, scale, shift in zip(self.layers, self.scales[task], self.shifts[task], strict=True):
            x = relu(layer(x) * scale[None] + shift[None])
        return self.last(x)


Function = Callable[[Array], Array]


def one_hot_net(
    sizes: Sequence[int],
    num_tasks: int,
    *,
    activation: Function = relu,
    start: Start = Start(),  # noqa: B008  (immutable)
    key: Key,
) -> OneHotTask:
    """A perceptron of `sizes` (inputs, hidden layers, outputs) that also gets the task's number.

    The key is consumed.
    """
    first, *rest = sizes
    return OneHotTask(mlp((first + num_tasks, *rest), activation=activation, start=start, key=key), num_tasks)


def embedded_net(
    sizes: Sequence[int],
    num_tasks: int,
    *,
    embedding: int = 16,
    start: Start = Start(),  # noqa: B008  (immutable)
    key: Key,
) -> EmbeddedTask:
    """A perceptron of `sizes` that also gets a learned vector of the task; the key is consumed."""
    first, *rest = sizes
    net_key, table_key = jax.random.split(key)
    table = jax.random.normal(table_key, (num_tasks, embedding), jnp.float32)
    return EmbeddedTask(mlp((first + embedding, *rest), start=start, key=net_key), table)


def multi_head_net(
    sizes: Sequence[int],
    num_tasks: int,
    *,
    tell_trunk: bool = False,
    activation: Function = relu,
    start: Start = Start(),  # noqa: B008  (immutable)
    key: Key,
) -> MultiHead:
    """A perceptron of `sizes` whose last layer every task has for itself; the key is consumed.

    - `tell_trunk`: whether the layers that are shared get the task's number too.
    """
    first, *trunk, width, outputs = sizes
    trunk_key, weight_key, bias_key = jax.random.split(key, 3)
    last = start.of_last()
    weight = last.weight(weight_key, (num_tasks, width, outputs), width, jnp.float32)
    bias = last.bias(bias_key, (num_tasks, outputs), width, jnp.float32)
    shared = (first + num_tasks * tell_trunk, *trunk, width)
    body = mlp(shared, activation=activation, start=start._replace(last=None), key=trunk_key)
    return MultiHead(Sequential((*body.layers, Activation(activation))), weight, bias, tell_trunk)


def film_net(
    sizes: Sequence[int],
    num_tasks: int,
    *,
    start: Start = Start(),  # noqa: B008  (immutable)
    key: Key,
) -> FiLM:
    """A perceptron of `sizes`, hidden layers of one width, that tasks scale and shift; the key is consumed."""
    *widths, outputs = sizes
    if len(set(widths[1:])) != 1:
        raise ValueError(f"sizes: the hidden layers are {tuple(widths[1:])}; FiLM needs them of one width.")
    *keys, last_key = jax.random.split(key, len(widths))
    pairs = zip(widths[:-1], widths[1:], keys, strict=True)
    layers = tuple(Linear(a, b, start=start, key=each) for a, b, each in pairs)
    scales = jnp.ones((num_tasks, len(layers), widths[-1]), jnp.float32)
    last = Linear(widths[-1], outputs, start=start.of_last(), key=last_key)
    return FiLM(layers, scales, jnp.zeros_like(scales), last)
