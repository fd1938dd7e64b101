"""Networks of the size that a table of arrays or small images needs."""

from collections.abc import Sequence
from typing import Any

import jax

from mutatis import nn
from mutatis._types import Key

SMALLEST_SIDE = {5: 16, 3: 10, 2: 7}
"""Kernel size of `nn.conv_net`, and the smallest image that its two unpadded convolutions and poolings leave
a pixel of."""


def network(shape: tuple[int, ...], outputs: int, hidden: Sequence[int], *, normalised: bool, key: Key) -> Any:
    """A network for inputs of this shape: `(features,)` or `(height, width, channels)`.

    - `hidden`: units of each layer; of images the first is the width of the convolutions and the last that
      of the linear layer after them.
    - `normalised`: put a batch norm after every hidden linear layer (convolutions always have one).
    """
    if len(shape) == 3:
        width, last = hidden[0], hidden[-1]
        return nn.conv_net(shape[2], outputs, key=key, width=width, hidden=last, kernel_size=kernel_size(shape))
    layers: list[Any] = []
    sizes = (shape[0], *hidden)
    keys = jax.random.split(key, len(sizes))
    for before, after, layer_key in zip(sizes[:-1], hidden, keys[:-1], strict=True):
        norm = [nn.BatchNorm(after)] if normalised else []
        layers += [nn.Linear(before, after, key=layer_key), *norm, nn.Activation(nn.relu)]
    return nn.Classifier(nn.Sequential(layers), nn.Linear(sizes[-1], outputs, key=keys[-1]))


def kernel_size(shape: tuple[int, ...]) -> int:
    """The largest kernel that images of this shape allow.

    **Raises:** `ValueError` if they allow none.
    """
    side = min(shape[:2])
    for size, smallest in SMALLEST_SIDE.items():
        if side >= smallest:
            return size
    raise ValueError(
        f"input_shape={shape} is too small for convolutions, which need {min(SMALLEST_SIDE.values())} pixels a side; "
        "leave input_shape=None to use the pixels as plain features."
    )
