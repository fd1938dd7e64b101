"""The networks that the methods of a study share, so that they differ in method alone."""

import math
from dataclasses import dataclass
from typing import Any

import jax

from mutatis._types import Key
from mutatis.nn import (
    Activation,
    BatchNorm,
    Classifier,
    InContextClassifier,
    Linear,
    Sequential,
    conv_net,
    in_context_net,
    loss_net,
    mlp,
    relu,
)
from mutatis.nn import context_net as image_context_net


@dataclass(frozen=True)
class Networks:
    """Sizes of the networks for one kind of input.

    - `shape`: of one input: `(height, width, channels)` for convolution networks, `(features,)` for linear layers.
    - `width`: channels (or units) of the predictor's layers; `context_width`: of the context network's.
    - `context_channels`: numbers per position (or per example) that the context network gives.
    - `hidden`: length of the features before the linear head.
    - `kernel_size`: of every convolution.
    """

    shape: tuple[int, ...]
    num_classes: int
    width: int = 128
    context_width: int = 64
    context_channels: int = 12
    hidden: int = 200
    kernel_size: int = 5

    def predictor(self, key: Key, *, extra: int = 0) -> Classifier:
        """The classifier, for inputs with `extra` more channels.

        With extra channels its first, padded convolution is left out: the context network does its work (ARM-CML).
        """
        if len(self.shape) == 3:
            return conv_net(
                self.shape[-1] + extra,
                self.num_classes,
                key=key,
                width=self.width,
                hidden=self.hidden,
                kernel_size=self.kernel_size,
                first_layer=not extra,
                padded=min(self.shape[:2]) < 16,
            )
        first, second, head = jax.random.split(key, 3)
        layers: list[Any] = [Linear(math.prod(self.shape) + extra, self.width, key=first)]
        layers += [BatchNorm(self.width), Activation(relu), Linear(self.width, self.hidden, key=second)]
        layers += [BatchNorm(self.hidden), Activation(relu)]
        return Classifier(Sequential(layers), Linear(self.hidden, self.num_classes, key=head))

    def context(self, key: Key) -> Any:
        """From inputs to `context_channels` numbers per position, or per example for vectors."""
        if len(self.shape) == 3:
            return image_context_net(
                self.shape[-1],
                self.context_channels,
                key=key,
                width=self.context_width,
                kernel_size=self.kernel_size,
            )
        return mlp((*self.shape, self.context_width, self.context_width, self.context_channels), key=key)

    def in_context(self, key: Key) -> InContextClassifier:
        """A causal transformer over the embeddings of a stream of inputs."""
        if len(self.shape) == 3:
            return in_context_net(
                self.shape,  # pyright: ignore[reportArgumentType]
                self.num_classes,
                key=key,
                encoder_width=self.context_width,
                kernel_size=self.kernel_size,
            )
        encoder_key, key = jax.random.split(key)
        encoder = mlp((*self.shape, self.width, self.width), key=encoder_key)
        return InContextClassifier(encoder, self.width, self.num_classes, key=key)

    @property
    def context_shape(self) -> tuple[int, ...]:
        """Shape of the mean embedding."""
        return (*self.shape[:-1], self.context_channels)

    def loss(self, key: Key) -> Sequential:
        """From logits to one number, for the learned loss."""
        return loss_net(self.num_classes, key=key)
