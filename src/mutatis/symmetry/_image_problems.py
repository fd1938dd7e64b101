"""Turns of images and of 3 x 3 patches: steerable filters, exact groups, and the data-scarce benchmark."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mutatis.nn import conv2d
from mutatis.symmetry._actions import channels, image_action, regular, restrict, ring_action
from mutatis.symmetry._convolution import lifting_bank
from mutatis.symmetry._groups import cyclic, dihedral
from mutatis.symmetry._matrix_problems import MatrixProblem, Symmetry, convolution_problem, scaled
from mutatis.symmetry._problems import AbstractProblem


class ImageProblem(AbstractProblem):
    """Lifting convolutions of noise images with steerable 3 x 3 filters (Zhou et al. 2021, section 5.2).

    `(examples, size, size, 1) -> (examples, size - 2, size - 2, fields * order)`; W is the filters seen as a map of
    patches, `(fields * order, 9)`. With n = 8 the original's "2d_rot8" (24 channels), with `flip` its "2d_rot8_flip"
    (48). The symmetry has 6 dimensions a field.

    - `fields`, `n`, `flip`: as in `lifting_bank`.
    - `size`: height and width of the images.
    - `signal`: E[y^2]; 0.63 is what the original's initialiser gives.

    900 positions are 900 equations for 9 unknowns: one image tells a filter without any sharing, so that *this does not
    test symmetry*. Use `patch_problems` for that.

    **Raises:** `ValueError` if a number is not positive or the images are smaller than 3 x 3.
    """

    factor: Float[Array, "size filters"]
    n: int = eqx.field(static=True)
    flip: bool = eqx.field(static=True)
    fields: int = eqx.field(static=True)
    size: int = eqx.field(static=True)
    support: int = eqx.field(static=True)
    query: int = eqx.field(static=True)
    tasks_per_step: int = eqx.field(static=True)

    def __init__(
        self,
        n: int = 8,
        *,
        flip: bool = False,
        fields: int = 3,
        size: int = 32,
        signal: float = 0.63,
        support: int = 1,
        query: int = 19,
        tasks_per_step: int = 32,
        dtype: Any = jnp.float32,
    ):
        if size < 3 or fields < 1:
            raise ValueError(
                f"size is {size} and fields is {fields}; pass images of at least 3 x 3 and a positive number."
            )
        bank = lifting_bank(n, flip=flip, fields=fields)
        self.factor = jnp.asarray(scaled(bank, (len(bank) // 9, 9), signal), dtype)
        self.n, self.flip, self.fields, self.size = n, flip, fields, size
        self.support, self.query, self.tasks_per_step = support, query, tasks_per_step

    @property
    def shape(self) -> tuple[int, int]:
        """`(fields * order, 9)`."""
        return self.factor.shape[0] // 9, 9

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(size, size, 1)`."""
        return self.size, self.size, 1

    @property
    def symmetry(self) -> Symmetry:
        """Quarter turns, and mirrors with `flip`, of a patch: the part of the group that is exact."""
        return _bank_symmetry(self.n, self.flip, self.fields)

    @property
    def name(self) -> str:
        """The group and the images in words."""
        return f"{'D' if self.flip else 'C'}{self.n} steerable filters on images of {self.size} x {self.size}"

    def outputs(self, z: Float[Array, "tasks filters"], x: Float[Array, "tasks rows h w 1"]) -> Array:
        """Each task's images correlated with its filters."""
        kernels = self._weights(z).mT.reshape(-1, 3, 3, 1, self.shape[0])
        return jax.vmap(lambda images, kernel: conv2d(images, kernel, padding=0))(x, kernels)


def bank_problem(n: int = 8, *, flip: bool = False, fields: int = 3, **settings: Any) -> MatrixProblem:
    """The steerable filters of `ImageProblem` on single 3 x 3 patches; `symmetry` is the exact part of the group.

    `settings` go to `MatrixProblem`.
    """
    bank = lifting_bank(n, flip=flip, fields=fields)
    name = f"{'D' if flip else 'C'}{n} steerable filters on patches"
    shape = (len(bank) // 9, 9)
    return MatrixProblem(bank, shape, symmetry=_bank_symmetry(n, flip, fields), name=name, **settings)


def patch_problems(*, support: int = 4, query: int = 64, fields: int = 3, **settings: Any) -> dict[str, MatrixProblem]:
    """The data-scarce benchmark: six groups of turns of a 3 x 3 patch, from `support` patches a task; E[y^2] is 1.

    Without sharing a row of W has 9 unknowns, so that fewer than 9 patches leave (9 - support) / 9 of the signal;
    with the true sharing far fewer do (`data_floor`). `settings` go to `MatrixProblem`.
    """
    settings |= {"support": support, "query": query, "fields": fields}
    pixels = {"pixel C4": image_action(3), "pixel D4": image_action(3, flip=True)}
    rings = {"ring C8": ring_action(), "ring D8": ring_action(flip=True)}
    problems = {
        name: convolution_problem(a, name=f"{name} patches", **settings) for name, a in (pixels | rings).items()
    }
    return problems | {"bank C8": bank_problem(8, **settings), "bank D8": bank_problem(8, flip=True, **settings)}


def _bank_symmetry(n: int, flip: bool, fields: int) -> Symmetry:
    """The quarter or half turns among the n, on a patch and on the channels."""
    exact = math.gcd(n, 4)
    group = dihedral(n) if flip else cyclic(n)
    generators = [n // exact % n, n] if flip else [n // exact % n]
    action_in = image_action(3, n=exact, flip=flip)
    return action_in, restrict(channels(regular(group), fields), generators, name=action_in.group.name)
