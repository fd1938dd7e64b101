"""Put something into, onto or through a container: a basket, a bin, a box, a hole."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import SUBSTEPS, Bench
from mutatis.worlds._scene import clip, distance, norm
from mutatis.worlds._shaping import both, grip, long_tail
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Moves, Task, single
from mutatis.worlds.tasks._common import above, carried, funnel, pose, raised, start_as_drawn


def _start_basketball(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    ball = np.append(vector[:2], single(0.03))
    bench.put_object(ball)
    return {"object_start": ball, "target": bench.site("goal")}


def _evaluate_basketball(now: Situation) -> Outcome:
    xp = now.xp
    scale = xp.asarray([[1.0, 1.0, 2.0]])
    # The ball is to come from above: not to the hoop but to a height of 0.3 over it.
    over = now.target * xp.asarray([[1.0, 1.0, 0.0]]) + xp.asarray([[0.0, 0.0, 0.3]])
    gap, reach = norm((now.object - over) * scale), distance(now.object, now.tcp)
    in_place = long_tail(gap, 0, 0.08, norm((now.object_start - over) * scale))
    held = (reach < 0.035) & raised(now, 0.01)
    grasp = grip(now, now.object, radius=0.025, pad_success=0.06, xz_threshold=0.005).dense
    grasp = xp.where(held, 1.0, grasp)
    reward = carried(grasp, in_place, held, 1 + 5 * in_place, gap < 0.08)
    return Outcome(reward, gap <= 0.08, reach <= 0.05, raised(now, 0.03), grasp, in_place, gap)


BASKETBALL = Task(
    name="basketball",
    model="basketball",
    low=(-0.1, 0.6, 0.0299, -0.1, 0.85, 0.0),
    high=(0.1, 0.7, 0.0301, 0.1, 0.9 + 1e-7, 0.0),
    apart=0.15,
    hand=single(0, 0.6, 0.2),
    moves=Moves("basket_goal", lambda vector, usual: vector[3:]),
    start=_start_basketball,
    objects=pose("bsktball"),
    evaluate=_evaluate_basketball,
)


def _start_bin(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    position = np.append(vector[:2], bench.body("obj")[2])
    bench.put_object(position)
    return {"object_start": position, "target": bench.body("bin_goal"), "first_gap": np.array(np.nan)}


def _evaluate_bin(now: Situation) -> Outcome:
    xp = now.xp
    hand, thing, start, target = now.observation[:, :3], now.object, now.object_start, now.target
    gap = distance(thing, target)
    # The margin is the distance after the first action of the episode, not the one at its start.
    first_gap = now.memory["first_gap"]
    first_gap = xp.where(xp.isnan(first_gap), gap, first_gap)
    in_place = long_tail(gap, 0, 0.05, first_gap)
    # The lower of two funnels, over the start and over the target, is that of the nearer axis.
    radius = xp.minimum(distance(hand[:, :2], start[:, :2]), distance(hand[:, :2], target[:, :2]))
    clear = above(hand[:, 2], funnel(radius, throat=0.03, slope=0.02, rim=0.2), 0.05)
    grasp = grip(now, thing, radius=0.015, pad_success=0.05, xz_threshold=0.01, effort=0.7).dense
    near = distance(thing, hand) < 0.04
    held = near & (now.opening >= 0.43) & (thing[:, 2] - 0.02 > start[:, 2])
    reward = carried(grasp, in_place, held, 1 + 5 * both(clear, in_place), gap < 0.05)
    return Outcome(reward, gap <= 0.05, near, held, grasp, in_place, gap, {"first_gap": first_gap})


BIN_PICKING = Task(
    name="bin-picking",
    model="bin_picking",
    low=(-0.21, 0.65, 0.02, 0.1199, 0.699, -0.001),
    high=(-0.03, 0.75, 0.02, 0.1201, 0.701, 0.001),
    hand_low=(-0.5, 0.4, 0.07),
    start=_start_bin,
    objects=pose("obj"),
    evaluate=_evaluate_bin,
)


def _start_box(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    lid = np.append(vector[:2], single(0.02))
    bench.step(SUBSTEPS)
    bench.put_object(lid)
    return {"object_start": lid, "target": vector[3:]}


def _evaluate_box(now: Situation) -> Outcome:
    xp = now.xp
    hand, target = now.observation[:, :3], now.target
    handle = now.object + xp.asarray([[0.0, 0.0, 0.02]])
    floor = funnel(distance(hand[:, :2], handle[:, :2]), throat=0.02, slope=0.04, rim=0.4)
    at_handle = long_tail(distance(hand, handle), 0, 0.02, 0.5)
    ready = both(above(hand[:, 2], floor, floor / 2), at_handle)
    closed = (clip(now.action[:, 3], -1, 1) + 1) / 2
    lifted = xp.where(handle[:, 2] > 0.04, 0.2, 0.0)
    gap = norm((target - handle) * xp.asarray([[1.0, 1.0, 3.0]]))
    in_place = lifted + 0.8 * long_tail(gap, 0, 0.05, 0.25)
    success = distance(now.object, target) < 0.08
    tilt = norm(now.observation[:, 7:11] - xp.asarray([[0.707, 0.0, 0.0, 0.707]]))
    upright = xp.maximum(1 - tilt / 0.2, 0.0)
    reward = xp.where(success, 10.0, 2 * both(closed, ready) + 8 * in_place) * upright
    return Outcome(reward, success, ready, closed >= 0.5, closed, in_place, xp.zeros_like(gap))


BOX_CLOSE = Task(
    name="box-close",
    model="box",
    low=(-0.05, 0.5, 0.02, -0.1, 0.7, 0.133),
    high=(0.05, 0.55, 0.02, 0.1, 0.8, 0.133),
    apart=0.25,
    hand=single(0, 0.6, 0.2),
    moves=Moves("boxbody", lambda vector, usual: np.append(vector[3:5], usual[2])),
    start=_start_box,
    objects=pose("top_link"),
    evaluate=_evaluate_box,
)


def _evaluate_insert(now: Situation) -> Outcome:
    gap, reach = distance(now.object, now.target), distance(now.object, now.tcp)
    in_place = long_tail(gap, 0, 0.05, distance(now.object_start, now.target))
    grasp = grip(now, now.object, radius=0.015, pad_success=0.05, xz_threshold=0.005).dense
    reward = carried(grasp, in_place, (reach < 0.02) & (now.opening > 0), 1 + 7 * in_place, gap < 0.05)
    return Outcome(reward, gap <= 0.05, reach <= 0.03, now.touching & raised(now, 0.02), grasp, in_place, gap)


HAND_INSERT = Task(
    name="hand-insert",
    model="table_with_hole",
    low=(-0.1, 0.6, 0.05, -0.04, 0.8, -0.0201),
    high=(0.1, 0.7, 0.05, 0.04, 0.88, -0.0199),
    apart=0.15,
    hand=single(0, 0.6, 0.2),
    hand_low=(-0.5, 0.4, -0.15),
    start=start_as_drawn,
    objects=pose("obj"),
    evaluate=_evaluate_insert,
    touches="objGeom",
)
