"""The convolution networks of ARM (Zhang et al. 2021, appendix), for images of 8 to 32 pixels a side."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mutatis._types import Key
from mutatis.nn._conv import Conv2d, max_pool2
from mutatis.nn._layers import Activation, Classifier, Linear, Sequential, mlp, relu
from mutatis.nn._norm import BatchNorm


def conv_net(
    channels: int,
    num_classes: int,
    *,
    key: Key,
    width: int = 128,
    hidden: int = 200,
    kernel_size: int = 5,
    first_layer: bool = True,
    padded: bool = False,
    dtype: Any = jnp.float32,
) -> Classifier:
    """Two or three convolutions with batch norm and ReLU, pooled, then two linear layers.

    - `first_layer`: whether the padded convolution that keeps the size comes first (ARM-CML leaves it out).
    - `width`: channels of every convolution; `hidden`: of the linear layer that gives the features.
    - `kernel_size`: 5 in the original.
    - `padded`: keep the size in every convolution, for images under 16 pixels of which the others would leave nothing.
    """
    keys = jax.random.split(key, 5)
    layers: list[Any] = []
    if first_layer:
        layers += [Conv2d(channels, width, kernel_size, padding=kernel_size // 2, key=keys[0], dtype=dtype)]
        layers += [BatchNorm(width, dtype=dtype), Activation(relu)]
        channels = width
    for layer_key in keys[1:3]:
        padding = kernel_size // 2 if padded else 0
        layers += [Conv2d(channels, width, kernel_size, padding=padding, key=layer_key, dtype=dtype)]
        layers += [BatchNorm(width, dtype=dtype), Activation(relu), Activation(max_pool2)]
        channels = width
    layers += [
        Activation(_average_over_space),
        Linear(width, hidden, key=keys[3], dtype=dtype),
        Activation(relu),
    ]
    return Classifier(Sequential(layers), Linear(hidden, num_classes, key=keys[4], dtype=dtype))


def context_net(
    channels: int,
    extra: int,
    *,
    key: Key,
    width: int = 64,
    kernel_size: int = 5,
    dtype: Any = jnp.float32,
) -> Sequential:
    """Three padded convolutions, `(rows, H, W, channels) -> (rows, H, W, extra)`: what ARM-CML averages."""
    first, second, third = jax.random.split(key, 3)
    padding = kernel_size // 2
    return Sequential(
        [
            Conv2d(channels, width, kernel_size, padding=padding, key=first, dtype=dtype),
            BatchNorm(width, dtype=dtype),
            Activation(relu),
            Conv2d(width, width, kernel_size, padding=padding, key=second, dtype=dtype),
            BatchNorm(width, dtype=dtype),
            Activation(relu),
            Conv2d(width, extra, kernel_size, padding=padding, key=third, dtype=dtype),
        ]
    )


def loss_net(num_classes: int, *, key: Key, width: int = 32, dtype: Any = jnp.float32) -> Sequential:
    """From logits to one number: classes -> 32 -> 32 -> 32 -> 1 with ReLU, the net that ARM-LL learns."""
    return mlp((num_classes, width, width, width, 1), key=key, dtype=dtype)


def _average_over_space(x: Array) -> Array:
    return jnp.mean(x, axis=(1, 2))
