"""Few-shot episodes: N classes, K examples of each to adapt to, new examples to be judged by."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mutatis._task import Task
from mutatis._types import Key
from mutatis.symmetry._augment import Augmentation, area_mean


class Episodes(eqx.Module):
    """Draws the tasks of one outer step: `episodes(key)` is a stack of N-way K-shot tasks.

    A task has `ways` different classes, labelled 0 to `ways - 1` in random order, and of each `shots + queries`
    different drawers: `context = (x, y)` holds the first `shots`, `query = (x, y)` the others, x
    `(rows, size, size, 1)`, y `int32 (rows,)`. Tasks are drawn independently; their `index` is their slot.

    - `images`: `(classes, drawers, h, w)`, ink positive, background 0. Whole numbers become float32.
    - `size`: of the images given out, by the mean over areas; at most h and w.
    - `context_view`, `query_view`: how each side's images are changed before they are shrunk, with a new draw for
      every image; `None` leaves them alone. Augmented Omniglot changes the query alone, so that the support says
      nothing about the symmetries.

    Pass it to `outer_scan`, which traces it into the loop.

    **Raises:** `ValueError` if `images` has not four axes, a number is not positive, there are fewer classes than
    `ways` or fewer drawers than `shots + queries`, or `size` is larger than the images.
    """

    images: Array = eqx.field(converter=jnp.asarray)
    ways: int = eqx.field(static=True, default=5)
    shots: int = eqx.field(static=True, default=1)
    queries: int = eqx.field(static=True, default=15)
    tasks_per_step: int = eqx.field(static=True, default=4)
    size: int = eqx.field(static=True, default=28)
    context_view: Augmentation | None = None
    query_view: Augmentation | None = None

    def __check_init__(self):
        for name in ("ways", "shots", "queries", "tasks_per_step", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; pass at least 1.")
        if self.images.ndim != 4:
            raise ValueError(f"images has shape {self.images.shape}; pass (classes, drawers, h, w).")
        classes, drawers, *sides = self.images.shape
        if self.ways > classes:
            raise ValueError(f"ways is {self.ways}, but images hold {classes} classes; pass at most that many.")
        if self.shots + self.queries > drawers:
            raise ValueError(
                f"shots={self.shots} and queries={self.queries} need {self.shots + self.queries} different drawers of "
                f"a class, but images hold {drawers}; ask for fewer."
            )
        if self.size > min(sides):
            raise ValueError(f"size is {self.size}, but images are {sides[0]}x{sides[1]}; pass at most the smaller.")

    def __call__(self, key: Key) -> Task:
        """A stack of `tasks_per_step` tasks."""
        classes, drawers = self.images.shape[:2]
        draw_key, context_key, query_key = jax.random.split(key, 3)
        class_key, drawer_key = jax.random.split(draw_key)
        tasks, ways, rows = self.tasks_per_step, self.ways, self.shots + self.queries
        chosen = _without_replacement(class_key, (tasks,), classes, ways)
        drawn = _without_replacement(drawer_key, (tasks, ways), drawers, rows)
        images = self.images[chosen[..., None], drawn]
        context = self._side(images[:, :, : self.shots], self.context_view, key=context_key)
        query = self._side(images[:, :, self.shots :], self.query_view, key=query_key)
        return Task(context, query, jnp.arange(tasks, dtype=jnp.int32))

    def _side(self, images: Array, view: Augmentation | None, *, key: Key) -> tuple[Array, Array]:
        tasks, ways, rows, *sides = images.shape
        x = images.reshape(-1, *sides)
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32)
        x = area_mean(x if view is None else view(x, key=key), self.size)
        y = jnp.broadcast_to(jnp.arange(ways, dtype=jnp.int32)[None, :, None], (tasks, ways, rows))
        return x.reshape(tasks, ways * rows, self.size, self.size, 1), y.reshape(tasks, -1)


def _without_replacement(key: Key, shape: tuple[int, ...], population: int, draws: int) -> Int[Array, "*shape draws"]:
    """Ordered draws of different numbers below `population`, anew for each place of `shape`: the largest of as many
    uniform numbers."""
    return jax.lax.top_k(jax.random.uniform(key, (*shape, population), jnp.float32), draws)[1]
