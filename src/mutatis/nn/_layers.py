"""Plain layers on batches: `(rows, features) -> (rows, features)`."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._tree import repeated
from mutatis._types import Key


def relu(x: Array) -> Array:
    """max(x, 0), with derivative 0 at 0.

    A plain selection, without a custom derivative, so that equal computations are recognised (see `mutatis._share`).
    """
    return jnp.where(x > 0, x, jnp.zeros((), x.dtype))


def uniform_fan_in(key: Key, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
    """Draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's initialisation of weights and biases."""
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def he_uniform(key: Key, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
    """Draws from U(-sqrt(6 / fan_in), sqrt(6 / fan_in)): signals keep their size under ReLU (He et al. 2015)."""
    bound = (6 / fan_in) ** 0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def standard_normal(key: Key, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
    """Draws from N(0, 1), as tables of embeddings begin."""
    del fan_in
    return jax.random.normal(key, shape, dtype)


def zeros(key: Key, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
    """Zeros, whatever the key."""
    del key, fan_in
    return jnp.zeros(shape, dtype)


@dataclass(frozen=True)
class SmallUniform:
    """Draws from U(-bound, bound)."""

    bound: float

    def __call__(self, key: Key, shape: tuple[int, ...], fan_in: int, dtype: Any) -> Array:
        """The draws."""
        del fan_in
        return jax.random.uniform(key, shape, dtype, -self.bound, self.bound)


class Start(NamedTuple):
    """How the numbers of a perceptron are drawn: functions of key, shape, number of inputs and type."""

    weight: Callable[..., Array] = uniform_fan_in
    bias: Callable[..., Array] = uniform_fan_in
    last: Callable[..., Array] | None = None
    """Of the last layer, weights and biases; by default as the others."""

    def of_last(self) -> "Start":
        """How the last layer is drawn."""
        return self if self.last is None else Start(self.last, self.last)


class Linear(eqx.Module):
    """x @ weight + bias, `(rows, inputs) -> (rows, outputs)`."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, "outputs"]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        start: Start = Start(),  # noqa: B008  (immutable)
        key: Key,
        dtype: Any = jnp.float32,
    ):
        weight_key, bias_key = jax.random.split(key)
        self.weight = start.weight(weight_key, (inputs, outputs), inputs, dtype)
        self.bias = start.bias(bias_key, (outputs,), inputs, dtype)

    def __call__(self, x: Float[Array, "rows inputs"]) -> Float[Array, "rows outputs"]:
        """The affine map."""
        return x @ self.weight + self.bias[None]


class Activation(eqx.Module):
    """A function without parameters, as a layer."""

    function: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        """The function of x."""
        return self.function(x)


class Sequential(eqx.Module):
    """Layers one after the other."""

    layers: tuple[Any, ...]

    def __init__(self, layers: Sequence[Any]):
        self.layers = tuple(layers)

    def __call__(self, x: Array) -> Array:
        """The last layer's output."""
        for layer in self.layers:
            x = layer(x)
        return x


class PerExample(eqx.Module):
    """Turns a module that maps one example, as Equinox' own layers do, into one that maps a batch."""

    module: Any

    def __call__(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows ..."]:
        """The module's output for every row."""
        return jax.vmap(self.module)(x)


class Classifier(eqx.Module):
    """Features, and a linear head on them: the form that rules on the last layer (T3A, LAME) need."""

    features: Any
    head: Linear

    def __call__(self, x: Float[Array, "rows ..."]) -> Float[Array, "rows classes"]:
        """Logits."""
        return self.head(self.features(x))


def beside(x: Float[Array, "rows *space channels"], context: Float[Array, "*space extra"]) -> Array:
    """Every row joined to the same context along the last axis."""
    return jnp.concatenate([x, repeated(context, x.shape[0]).astype(x.dtype)], axis=-1)


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[Array], Array] = relu,
    start: Start = Start(),  # noqa: B008  (immutable)
    key: Key,
    dtype: Any = jnp.float32,
) -> Sequential:
    """Linear layers with an activation between them: `mlp((10, 32, 32, 1), key=key)` has three."""
    layers: list[Any] = []
    pairs = list(itertools.pairwise(sizes))
    for number, ((inputs, outputs), layer_key) in enumerate(zip(pairs, jax.random.split(key, len(pairs)), strict=True)):
        last = number == len(pairs) - 1
        layers.append(Linear(inputs, outputs, start=start.of_last() if last else start, key=layer_key, dtype=dtype))
        if not last:
            layers.append(Activation(activation))
    return Sequential(layers)
