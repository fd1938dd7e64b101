"""Grasp an object and carry it somewhere: in the air, over a wall, out of a hole, onto a shelf."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance, norm
from mutatis.worlds._shaping import Grip, at_object, both, closing, grip, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Moves, Task, single
from mutatis.worlds.tasks._common import above, carried, funnel, pad_gaps, pose, puck, raised, start_as_drawn


def _pinch(now: Situation) -> Grip:
    """A grip measured from the side each pad should be on; the margins shrink with the pads' present distance."""
    gaps, margins = pad_gaps(now, 0.05)
    sides = long_tail(gaps, 0.015, 0.05, margins)
    return closing(now, both(both(sides[:, 0], sides[:, 1]), at_object(now, now.object, 0.005)))


def _evaluate(now: Situation) -> Outcome:
    gap, reach = distance(now.object, now.target), distance(now.object, now.tcp)
    in_place = long_tail(gap, 0, 0.05, distance(now.object_start, now.target))
    grasp = _pinch(now).dense
    reward = carried(grasp, in_place, (reach < 0.02) & raised(now, 0.01), 1 + 5 * in_place, gap < 0.05)
    return Outcome(reward, gap <= 0.07, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


PICK_PLACE = Task(
    name="pick-place",
    model="pick_place_v3",
    low=(-0.1, 0.6, 0.02, -0.1, 0.8, 0.05),
    high=(0.1, 0.7, 0.02, 0.1, 0.9, 0.3),
    apart=0.15,
    start=start_as_drawn,
    objects=puck,
    evaluate=_evaluate,
    touches="objGeom",
)


def _wall_puck(scene: Scene) -> list[Array]:
    return [scene.geom("objGeom"), scene.geom_quat("objGeom")]


def _evaluate_wall(now: Situation) -> Outcome:
    xp = now.xp
    puck, start, target = now.object, now.object_start, now.target
    gap, reach = distance(puck, target), distance(puck, now.tcp)
    in_place = long_tail(gap, 0, 0.05, distance(start, target))
    # On the way the puck is to pass over the middle of the wall, at the target's x.
    top = xp.asarray([[0.0, 0.77, 0.25]]) + target * xp.asarray([[1.0, 0.0, 0.0]])
    scale = xp.asarray([[1.0, 1.0, 3.0]])
    on_top = long_tail(norm((puck - top) * scale), 0, 0.05, norm((start - top) * scale))
    grasp = grip(now, puck, radius=0.015, pad_success=0.05, xz_threshold=0.005).grasp
    bonus = xp.where(puck[:, 1] > 0.75, 5 + 3 * in_place, 1 + 4 * on_top)
    reward = carried(grasp, on_top, (reach < 0.02) & raised(now, 0.015), bonus, gap < 0.05)
    return Outcome(reward, gap <= 0.07, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


PICK_PLACE_WALL = Task(
    name="pick-place-wall",
    model="pick_place_wall_v3",
    low=(-0.05, 0.6, 0.015, -0.05, 0.85, 0.05),
    high=(0.05, 0.65, 0.015, 0.05, 0.9, 0.3),
    apart=0.15,
    start=start_as_drawn,
    objects=_wall_puck,
    evaluate=_evaluate_wall,
    touches="objGeom",
)


def _evaluate_hole(now: Situation) -> Outcome:
    plug, start, tcp = now.object, now.object_start, now.tcp
    gap, reach = distance(plug, now.target), distance(plug, tcp)
    in_place = long_tail(gap, 0, 0.02, distance(start, now.target))
    floor = funnel(distance(tcp[:, :2], start[:, :2]), throat=0.03, slope=0.015, rim=0.15)
    clear = above(tcp[:, 2], floor, 0.02)
    grasp = grip(now, plug, radius=0.015, pad_success=0.02, xz_threshold=0.03, effort=0.1).dense
    held = (reach < 0.04) & (now.opening >= 0.33) & (plug[:, 2] - 0.02 > start[:, 2])
    reward = carried(grasp, in_place, held, 1 + 5 * both(in_place, clear), gap < 0.05)
    return Outcome(reward, gap <= 0.07, reach <= 0.03, held, grasp, in_place, gap)


PICK_OUT_OF_HOLE = Task(
    name="pick-out-of-hole",
    model="pick_out_of_hole",
    low=(0.0, 0.75, 0.02, -0.1, 0.5, 0.15),
    high=(0.0, 0.75, 0.02, 0.1, 0.6, 0.3),
    apart=0.15,
    hand_low=(-0.5, 0.4, -0.05),
    start=start_as_drawn,
    objects=pose("obj"),
    evaluate=_evaluate_hole,
)


def _start_shelf(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    position = np.append(vector[:2], bench.body("obj")[2])
    bench.put_object(position)
    return {"object_start": position, "target": bench.site("goal")}


def _evaluate_shelf(now: Situation) -> Outcome:
    xp = now.xp
    block, target = now.object, now.target
    gap, reach = distance(block, target), distance(block, now.tcp)
    placed = long_tail(gap, 0, 0.05, distance(now.object_start, target))
    grasp = grip(now, block, radius=0.02, pad_success=0.05, xz_threshold=0.01).grasp

    # Beneath the shelf's board the place counts less and less from the front edge to the target, and nothing behind it.
    x, y, z = block[:, 0], block[:, 1], block[:, 2]
    target_x, target_y = target[:, 0], target[:, 1]
    beneath = (z > 0) & (z < 0.24) & (target_x - 0.15 < x) & (x < target_x + 0.15)
    depth = 3 * 0.05
    front = target_y - depth
    loss = xp.where((front < y) & (y < target_y), both((y - front) / depth, (0.24 - z) / 0.24), 0.0)
    loss = xp.where(beneath, xp.where(y > target_y, 1.0, loss), 0.0)
    in_place = xp.maximum(placed - loss, 0.0)

    reward = carried(grasp, placed, (reach < 0.025) & raised(now, 0.01), 1 + 5 * in_place, gap < 0.05)
    return Outcome(reward, gap <= 0.07, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


SHELF_PLACE = Task(
    name="shelf-place",
    model="shelf_placing",
    low=(-0.1, 0.5, 0.019, -0.1, 0.8, 0.299),
    high=(0.1, 0.6, 0.021, 0.1, 0.9, 0.301),
    apart=0.1,
    hand=single(0, 0.6, 0.2),
    moves=Moves("shelf", lambda vector, usual: vector[3:] - np.array([0.0, 0.0, 0.3])),
    start=_start_shelf,
    objects=puck,
    evaluate=_evaluate_shelf,
    touches="objGeom",
)
