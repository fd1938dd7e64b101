"""Networks that know which task they are at: `(rows, features), task -> (rows, outputs)`."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._types import Key
from mutatis.nn._layers import Activation, Linear, Sequential, mlp, relu, uniform_fan_in

TaskIndex = Int[Array, ""]


class OneHotTask(eqx.Module):
    """Gives a network the task's number as further inputs, one for each task."""

    module: Callable
    num_tasks: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The network of the inputs and the number."""
        number = jax.nn.one_hot(task, self.num_tasks, dtype=x.dtype)
        return self.module(_beside(x, number))


class EmbeddedTask(eqx.Module):
    """Gives a network a learned vector for the task as further inputs."""

    module: Callable
    table: Float[Array, "tasks size"]

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The network of the inputs and the task's vector."""
        return self.module(_beside(x, self.table[task]))


class MultiHead(eqx.Module):
    """One trunk for all tasks and a last layer for each (Caruana 1997; Yu et al. 2019 for Meta-World)."""

    trunk: Callable
    weight: Float[Array, "tasks width outputs"]
    bias: Float[Array, "tasks outputs"]

    def __call__(self, x: Float[Array, "rows features"], task: TaskIndex) -> Float[Array, "rows outputs"]:
        """The task's head on the trunk's output."""
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


def _beside(x: Array, vector: Array) -> Array:
    return jnp.concatenate([x, jnp.broadcast_to(vector[None], (x.shape[0], vector.shape[0]))], axis=1)


Function = Callable[[Array], Array]


def one_hot_net(sizes: Sequence[int], num_tasks: int, *, activation: Function = relu, key: Key) -> OneHotTask:
    """A perceptron of `sizes` (inputs, hidden layers, outputs) that also gets the task's number.

    The key is consumed.
    """
    first, *rest = sizes
    return OneHotTask(mlp((first + num_tasks, *rest), activation=activation, key=key), num_tasks)


def embedded_net(sizes: Sequence[int], num_tasks: int, *, embedding: int = 16, key: Key) -> EmbeddedTask:
    """A perceptron of `sizes` that also gets a learned vector of the task; the key is consumed."""
    first, *rest = sizes
    net_key, table_key = jax.random.split(key)
    table = jax.random.normal(table_key, (num_tasks, embedding), jnp.float32)
    return EmbeddedTask(mlp((first + embedding, *rest), key=net_key), table)


def multi_head_net(sizes: Sequence[int], num_tasks: int, *, activation: Function = relu, key: Key) -> MultiHead:
    """A perceptron of `sizes` whose last layer every task has for itself; the key is consumed."""
    *trunk, width, outputs = sizes
    trunk_key, weight_key, bias_key = jax.random.split(key, 3)
    weight = uniform_fan_in(weight_key, (num_tasks, width, outputs), width, jnp.float32)
    bias = uniform_fan_in(bias_key, (num_tasks, outputs), width, jnp.float32)
    body = mlp((*trunk, width), activation=activation, key=trunk_key)
    return MultiHead(Sequential((*body.layers, Activation(activation))), weight, bias)


def film_net(sizes: Sequence[int], num_tasks: int, *, key: Key) -> FiLM:
    """A perceptron of `sizes`, hidden layers of one width, that tasks scale and shift; the key is consumed."""
    *widths, outputs = sizes
    if len(set(widths[1:])) != 1:
        raise ValueError(f"sizes: the hidden layers are {tuple(widths[1:])}; FiLM needs them of one width.")
    *keys, last_key = jax.random.split(key, len(widths))
    layers = tuple(Linear(a, b, key=each) for a, b, each in zip(widths[:-1], widths[1:], keys, strict=True))
    scales = jnp.ones((num_tasks, len(layers), widths[-1]), jnp.float32)
    return FiLM(layers, scales, jnp.zeros_like(scales), Linear(widths[-1], outputs, key=last_key))
