"""Least squares over the simplex: the problem inside the weightings that look for a nearest point."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._types import Gramian, Scalar, Weights


def product(matrix: Gramian, vector: Weights) -> Weights:
    """matrix times vector, in full precision on every device."""
    return jnp.sum(matrix * vector[None], axis=1)


def relative(gramian: Gramian) -> Gramian:
    """The Gramian in units of its longest row, or zero as it is."""
    largest = jnp.max(jnp.diagonal(gramian))
    return gramian / jnp.where(largest > 0, largest, 1)


def rounding(gramian: Gramian) -> float:
    """What sums of this many numbers of size one are wrong by."""
    return 4 * gramian.shape[0] * float(jnp.finfo(gramian.dtype).eps)


class Face(NamedTuple):
    """A point of the simplex and the rows it may be made of."""

    point: Weights
    support: Bool[Array, "tasks"]


def shortest(gramian: Gramian) -> Face:
    """The shortest row alone."""
    first = jnp.arange(gramian.shape[0]) == jnp.argmin(jnp.diagonal(gramian))
    return Face(first.astype(gramian.dtype), first)


def least_on_simplex(gramian: Gramian, slope: Weights, shift: Scalar, start: Face) -> Face:
    r"""Minimises v^T G v / 2 + shift slope^T v over the simplex, from any face and point of it.

    An active-set method, after that of Lawson & Hanson (1974, chapter 23) for non-negative least squares. It ends after
    finitely many steps; 3 T of them, their own limit, are allowed.
    """
    tasks = gramian.shape[0]
    tolerance = rounding(gramian) * jnp.maximum(1, jnp.max(jnp.abs(shift * slope)))

    def help_of_others(search: _Search) -> Float[Array, "tasks"]:
        """How much each row outside the support would help."""
        ascent = product(gramian, search.point) + shift * slope
        return jnp.where(search.support, -jnp.inf, jnp.sum(search.point * ascent) - ascent)

    def unfinished(search: _Search) -> Bool[Array, ""]:
        return (search.steps < 3 * tasks) & (~search.feasible | (jnp.max(help_of_others(search)) > tolerance))

    def step(search: _Search) -> _Search:
        """From a feasible point admit the most helpful row; then go to the face's least, or as far as signs allow."""
        entering = jnp.arange(tasks) == jnp.argmax(help_of_others(search))
        support = search.support | (entering & search.feasible)
        base, motion = least_on_face(gramian, slope, support)
        target = base + shift * motion
        blocked = support & (target <= 0)
        # A blocked row that just entered has point 0 and target at most 0: no way to go, and perhaps 0 / 0.
        way = search.point - target
        ratios = jnp.where(blocked, jnp.where(way > 0, search.point / jnp.where(way > 0, way, 1), 0), 1)
        reach = jnp.min(ratios)
        point = jnp.where(support, search.point + reach * (target - search.point), 0)
        leaving = blocked & (ratios <= reach)
        feasible = ~jnp.any(blocked)
        point = jnp.where(leaving, 0, jnp.where(feasible, target, point))
        return _Search(point, support & ~leaving, feasible, search.steps + 1)

    search = jax.lax.while_loop(unfinished, step, _Search(*start, jnp.array(False), jnp.array(0)))
    point = jnp.maximum(search.point, 0)
    return Face(point / jnp.sum(point), search.support)


def least_on_face(gramian: Gramian, slope: Weights, support: Bool[Array, "tasks"]) -> tuple[Weights, Weights]:
    """Where v^T G v / 2 + shift slope^T v is least on the plane through the rows of the support: base + shift motion.

    Adding 1 to G changes nothing where the sum of v is fixed, and makes G regular where the rows are affinely
    independent.
    """
    inside = support[:, None] & support[None, :]
    restricted = jnp.where(inside, gramian + 1, jnp.eye(support.size, dtype=gramian.dtype))
    ones = support.astype(gramian.dtype)
    solved = jnp.linalg.solve(restricted, jnp.stack([ones, ones * slope], axis=1))
    base = solved[:, 0] / jnp.sum(solved[:, 0])
    return base, base * jnp.sum(solved[:, 1]) - solved[:, 1]


class _Search(NamedTuple):
    point: Weights
    support: Bool[Array, "tasks"]
    feasible: Bool[Array, ""]
    steps: Int[Array, ""]
