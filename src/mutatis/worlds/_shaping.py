"""What the dense rewards of the tasks are built of: soft indicators, their conjunction, and a measure of a grasp."""

from __future__ import annotations

from typing import NamedTuple

from mutatis.worlds._scene import Array, distance, interface
from mutatis.worlds._situation import Situation


def long_tail(x: Array, lower: float | Array, upper: float | Array, margin: float | Array) -> Array:
    """1 where lower <= x <= upper; outside, 1 / (1 + 9 u^2) with u the distance to the interval over the margin.

    A margin of 0 makes it an indicator (Yu et al. 2019, appendix; the sigmoid is that of dm_control's `tolerance`).
    """
    u = _margins_away(x, lower, upper, margin)
    return 1 / (1 + 9 * u * u)


def gaussian(x: Array, lower: float | Array, upper: float | Array, margin: float | Array) -> Array:
    """As `long_tail`, with 0.1 ** (u^2) outside the interval."""
    u = _margins_away(x, lower, upper, margin)
    return interface(x).exp(-_LN10 * u * u)


_LN10 = 2.302585092994046
_TINY = 1e-30
"""Stands in for a divisor of 0, in 32 bits too."""


def _margins_away(x: Array, lower: float | Array, upper: float | Array, margin: float | Array) -> Array:
    """The distance of x to the interval, in margins."""
    xp = interface(x)
    outside = xp.maximum(xp.maximum(lower - x, x - upper), 0.0)
    return outside / xp.maximum(margin, _TINY)


def both(a: Array, b: Array) -> Array:
    """The Hamacher product ab / (a + b - ab), a soft "and" of numbers in [0, 1]; 0 where both are 0."""
    product = a * b
    return product / interface(a).maximum(a + b - product, _TINY)


class Grip(NamedTuple):
    """How well the fingers surround the object, (N,), and how well they surround and hold it, (N,)."""

    caging: Array
    grasp: Array

    @property
    def dense(self) -> Array:
        """The mean of the two: it grows before the fingers close."""
        return (self.grasp + self.caging) / 2


def at_object(now: Situation, position: Array, radius: float, start: Array | None = None) -> Array:
    """1 where the hand is within `radius` metres of the object in the xz plane, about 0.1 where it started, (N,)."""
    origin = now.object_start if start is None else start
    margin = distance(origin[:, ::2], now.tcp_start[:, ::2]) - radius
    return long_tail(distance(now.tcp[:, ::2], position[:, ::2]), 0, radius, margin)


def grip(
    now: Situation,
    position: Array,
    *,
    radius: float,
    pad_success: float,
    xz_threshold: float,
    effort: float = 1.0,
    start: Array | None = None,
) -> Grip:
    """The common measure of a grasp, from the pads' distance along y and the hand's distance in the xz plane.

    **Arguments:**

    - `now`: the situation.
    - `position`: of the object, (N, 3).
    - `radius`: of the object, in metres: nearer than that along y a pad has pushed into it.
    - `pad_success`: distance along y at which a pad counts as beside the object, in metres.
    - `xz_threshold`: distance in the xz plane at which the hand counts as at the object, in metres.
    - `effort`: gripper action that counts as closed.
    - `start`: where the object was at the start of the episode, (N, 3); by default `object_start`.
    """
    xp = now.xp
    origin = now.object_start if start is None else start
    pads_y = now.pads_y
    gaps = xp.abs(pads_y - position[:, 1:2])
    margins = xp.abs(xp.abs(pads_y - origin[:, 1:2]) - pad_success)
    beside = long_tail(gaps, radius, pad_success, margins)
    around = both(beside[:, 0], beside[:, 1])
    return closing(now, both(around, at_object(now, position, xz_threshold, start)), effort)


def closing(now: Situation, caging: Array, effort: float = 1.0) -> Grip:
    """A grip whose fingers count as closing only once they surround the object."""
    xp = now.xp
    closed = xp.minimum(xp.maximum(0, now.action[:, 3]), effort) / effort
    return Grip(caging, both(caging, xp.where(caging > 0.97, closed, 0.0)))


def reach(now: Situation, position: Array, radius: float, start: Array | None = None) -> Array:
    """1 within `radius` metres of the object, 0.1 where the hand was at the start, (N,)."""
    xp = now.xp
    origin = now.object_start if start is None else start
    margin = xp.abs(distance(origin, now.tcp_start) - radius)
    return long_tail(distance(position, now.tcp), 0, radius, margin)
