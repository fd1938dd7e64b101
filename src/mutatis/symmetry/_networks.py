"""The network of few-shot learning: four convolutions, each normalised by the moments of the batch at hand."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis._types import Key
from mutatis.nn import Activation, Classifier, Linear, Sequential, conv2d, max_pool2, relu
from mutatis.nn._layers import uniform_fan_in

_BLOCKS = 4
_TAPS = 3


class ConvBlock(eqx.Module):
    """3x3 convolution, batch normalisation, ReLU, maximum over 2x2: `(rows, h, w, in) -> (rows, h // 2, w // 2, out)`.

    The moments are those of the batch itself, in training and testing alike: a task's support is normalised by the
    support, its query by the query (as in MAML, Finn et al. 2017). Nothing is remembered, so a task never meets the
    moments of another; a prediction does depend on the other rows. To normalise by the context, or by remembered
    moments, use `nn.BatchNorm` with the rule `BatchMoments`.

    - `weight`: without a bias, which the normalisation would take out again; starts as PyTorch's convolutions do.
    - `scale`, `shift`: of each channel after its normalisation.
    - `pool`: whether to take the maximum over 2x2; an odd last row or column is dropped.
    """

    weight: Float[Array, "3 3 inputs outputs"]
    scale: Float[Array, "outputs"]
    shift: Float[Array, "outputs"]
    pool: bool = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, *, pool: bool = True, key: Key, dtype: Any = jnp.float32):
        self.weight = uniform_fan_in(key, (_TAPS, _TAPS, inputs, outputs), _TAPS**2 * inputs, dtype)
        self.scale, self.shift = jnp.ones(outputs, dtype), jnp.zeros(outputs, dtype)
        self.pool = pool

    def __call__(self, x: Float[Array, "rows h w inputs"]) -> Float[Array, "rows h2 w2 outputs"]:
        """The block's output."""
        x = relu(normalise(conv2d(x, self.weight, padding=_TAPS // 2), self.scale, self.shift))
        return max_pool2(x) if self.pool else x


def normalise(
    x: Float[Array, "rows h w channels"], scale: Float[Array, "channels"], shift: Float[Array, "channels"]
) -> Float[Array, "rows h w channels"]:
    """(x - mean) / sqrt(variance + 1e-5) * scale + shift, with each channel's mean and biased variance in x."""
    mean = jnp.mean(x, (0, 1, 2))
    centred = x - mean[None, None, None]
    factor = scale * jax.lax.rsqrt(jnp.mean(jnp.square(centred), (0, 1, 2)) + 1e-5)
    return centred * factor[None, None, None] + shift[None, None, None]


def conv4(
    channels: int = 1,
    width: int = 32,
    num_classes: int = 5,
    *,
    key: Key,
    image_size: int = 28,
    dtype: Any = jnp.float32,
) -> Classifier:
    """Four `ConvBlock`s and a linear head, `(rows, image_size, image_size, channels) -> (rows, num_classes)`.

    The network of Vinyals et al. (2016) with as many channels as `width`; a block leaves out its pooling where a single
    pixel is left. With 28 pixels a side the features are `width` numbers, with 84 they are 25 times as many.

    Raises ValueError if `image_size` is not positive.
    """
    if image_size < 1:
        raise ValueError(f"image_size is {image_size}; pass the number of pixels on a side of the images.")
    *block_keys, head_key = jax.random.split(key, _BLOCKS + 1)
    blocks, side = [], image_size
    for block_key in block_keys:
        blocks.append(ConvBlock(channels, width, pool=side > 1, key=block_key, dtype=dtype))
        channels, side = width, max(side // 2, 1)
    head = Linear(width * side**2, num_classes, key=head_key, dtype=dtype)
    return Classifier(Sequential([*blocks, Activation(_flat)]), head)


def conv4_weights(model: Classifier) -> list[Array]:
    """The weights of the four convolutions and of the head: what `reparameterise` takes as `where`."""
    return [*(block.weight for block in model.features.layers[:_BLOCKS]), model.head.weight]


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], -1)
