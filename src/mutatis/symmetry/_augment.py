"""Random flips, rotations and crops of images, as one bilinear map, and the mean over areas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mutatis._types import Key


def _number(value: float | Array) -> Array:
    # An array, so that other strengths are not another program to compile.
    return jnp.asarray(value, jnp.float32)


class Augmentation(eqx.Module):
    r"""A new random flip, rotation and crop for every image, as one affine map of its plane.

    With p the position of a pixel about the image's centre, in pixels (rows downwards, columns to the right), the new
    image shows at p what the old one has at

    $$F R_\alpha (s p + t), \qquad R_\alpha = \begin{pmatrix} \cos\alpha & \sin\alpha \\ -\sin\alpha & \cos\alpha
      \end{pmatrix}$$

    F turns each axis over with probability `flip`; $\alpha$ is uniform between minus and plus `angle`; s is the square
    root of the crop's share of the area, which is uniform between `area` and 1; t puts the square crop uniformly inside
    the image. So the image is flipped, then turned counter-clockwise by $\alpha$, then cropped and enlarged.

    - `flip`: a probability; upside down and left to right are drawn apart.
    - `angle`: in degrees.
    - `area`: the smallest share of the area that a crop keeps.

    `Augmentation(angle=0, area=1)` flips only and `Augmentation(flip=0, area=1)` turns only. Augmented queries judge
    whether a learner found the symmetries of its tasks (Zhou et al. 2021); the defaults are the strengths of our own
    protocol for Omniglot.

    **Raises:** `ValueError` if `flip` is no probability or `area` is not above 0 and at most 1.
    """

    flip: Float[Array, ""] = eqx.field(converter=_number, default=0.5)
    angle: Float[Array, ""] = eqx.field(converter=_number, default=30.0)
    area: Float[Array, ""] = eqx.field(converter=_number, default=0.8)

    def __check_init__(self):
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}; it is a probability, from 0 to 1.")
        if not 0 < self.area <= 1:
            raise ValueError(f"area is {self.area}; it is the share that a crop keeps, above 0 and at most 1.")

    def __call__(self, images: Float[Array, "n h w"], *, key: Key) -> Float[Array, "n h w"]:
        """The images, each changed by a draw of its own; bilinear, with zeros outside."""
        flip_key, angle_key, area_key, place_key = jax.random.split(key, 4)
        n, dtype = images.shape[0], images.dtype
        angle, area = self.angle.astype(dtype), self.area.astype(dtype)
        signs = jnp.where(jax.random.bernoulli(flip_key, self.flip, (n, 2)), -1, 1).astype(dtype)
        turn = rotation(angle * jax.random.uniform(angle_key, (n,), dtype, -1, 1))
        size = jnp.sqrt(1 - (1 - area) * jax.random.uniform(area_key, (n,), dtype))
        sides = jnp.asarray(images.shape[1:], dtype)
        offset = (1 - size)[:, None] * sides[None] * jax.random.uniform(place_key, (n, 2), dtype, -0.5, 0.5)
        matrix = signs[:, :, None] * turn
        return affine(images, size[:, None, None] * matrix, jnp.einsum("nij,nj->ni", matrix, offset))


def rotation(degrees: Float[Array, "*n"]) -> Float[Array, "*n 2 2"]:
    """The matrix that `affine` needs to turn an image counter-clockwise."""
    cos, sin = jnp.cos(jnp.deg2rad(degrees)), jnp.sin(jnp.deg2rad(degrees))
    return jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)


def affine(
    images: Float[Array, "n h w"], matrix: Float[Array, "n 2 2"], offset: Float[Array, "n 2"]
) -> Float[Array, "n h w"]:
    """Images that show at p what `images` have at `matrix @ p + offset`, for p = (row, column) about the centre.

    Bilinear between pixels; outside lie zeros, towards which the border fades over one pixel.
    """
    n, *sides = images.shape
    row, column = (jnp.arange(side, dtype=images.dtype) - (side - 1) / 2 for side in sides)
    starts, parts = [], []
    for axis, side in enumerate(sides):
        (across, along), start = matrix[:, axis].T[:, :, None, None], offset[:, axis, None, None]
        place = across * row[None, :, None] + along * column[None, None, :] + start + (side - 1) / 2
        place = jnp.clip(place, -1, side)
        floor = jnp.floor(place)
        starts.append(floor.astype(jnp.int32) + 1)
        parts.append(place - floor)
    padded = jnp.pad(images, ((0, 0), (1, 2), (1, 2)))
    stride = padded.shape[2]
    padded, first = padded.reshape(n, -1), (starts[0] * stride + starts[1]).reshape(n, -1)

    def neighbour(rows: int, columns: int) -> Array:
        found = jnp.take_along_axis(padded, first + (rows * stride + columns), axis=1, mode="clip")
        return found.reshape(images.shape)

    down, right = parts
    upper = (1 - right) * neighbour(0, 0) + right * neighbour(0, 1)
    lower = (1 - right) * neighbour(1, 0) + right * neighbour(1, 1)
    return (1 - down) * upper + down * lower


def area_mean(images: Float[Array, "n h w"], size: int) -> Float[Array, "n size size"]:
    """Smaller images, each pixel the mean of the area that it covers; of the same size, the images themselves.

    **Raises:** `ValueError` if `size` is larger than a side of the images, or not positive.
    """
    if not 1 <= size <= min(images.shape[1:]):
        raise ValueError(
            f"size is {size} for images of {images.shape[1]}x{images.shape[2]}; a mean over areas can only shrink, so "
            f"pass a number from 1 to {min(images.shape[1:])}."
        )
    rows, columns = (jnp.asarray(_shares(side, size), images.dtype) for side in images.shape[1:])
    # One product after the other: three times faster on a CPU than the order that a single einsum finds.
    narrow = jnp.einsum("nhw,jw->nhj", images, columns, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("ih,nhj->nij", rows, narrow, precision=jax.lax.Precision.HIGHEST)


def _shares(side: int, size: int) -> np.ndarray:
    """`(size, side)`: how much of each new pixel's length every old pixel fills; rows add up to 1."""
    start = np.arange(size)[:, None] * side / size
    pixel = np.arange(side)[None]
    overlap = np.minimum(start + side / size, pixel + 1) - np.maximum(start, pixel)
    return np.maximum(overlap, 0) * size / side
