"""Put a peg into a hole and out of it, a nut over a peg and off it."""

from __future__ import annotations

import numpy as np

from mutatis.worlds._bench import Bench
from mutatis.worlds._scene import Array, Scene, distance, norm
from mutatis.worlds._shaping import both, grip, long_tail, reach
from mutatis.worlds._situation import Outcome, Situation
from mutatis.worlds._task import Moves, Task, single
from mutatis.worlds.tasks._common import carried, funnel, raised, scenery, start_as_drawn
from mutatis.worlds.tasks._tools import at_hand, lifted_to, wielded


def _start_insert(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    # The original notes the peg's head before it puts the peg in place.
    head = bench.site("pegHead")
    bench.put_object(vector[:3])
    return {"object_start": vector[:3], "target": vector[3:] + np.array([0.03, 0.0, 0.13]), "head_start": head}


def _start_unplug(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    plug = vector + np.array([0.044, 0.0, 0.131])
    bench.put(9, np.append(plug, [1.0, 0.0, 0.0, 0.0]), still=(9, 12))
    return {"object_start": bench.site("pegEnd"), "target": plug + np.array([0.15, 0.0, 0.0])}


def _start_disassemble(bench: Bench, vector: np.ndarray) -> dict[str, np.ndarray]:
    bench.put_object(vector[:3])
    return {"object_start": vector[:3], "target": vector[:3] + np.array([0.0, 0.0, 0.15])}


def _peg(scene: Scene) -> list[Array]:
    return [scene.site("pegGrasp"), scene.site_quat("pegGrasp")]


def _plug(scene: Scene) -> list[Array]:
    return [scene.site("pegEnd"), scene.body_quat("plug1")]


def _wrench(scene: Scene) -> list[Array]:
    return [scene.site("RoundNut-8"), scene.body_quat("RoundNut")]


def _clear_of(now: Situation, point: Array, box: int) -> Array:
    """1 outside one of the boxes around the hole; inside, the less the nearer to its lower right corner."""
    xp = now.xp
    near, far = (now.scene.site(f"{corner}_corner_collision_box_{box}") for corner in ("bottom_right", "top_left"))
    within = point - near
    inside = (within * (point - far) <= 0).all(axis=1)
    return xp.where(inside, (within / (far - near)).prod(axis=1), 1.0)


def _evaluate_insert(now: Situation) -> Outcome:
    xp = now.xp
    head, scale = now.scene.site("pegHead"), xp.asarray([[1.0, 2.0, 2.0]])
    gap = norm((head - now.target) * scale)
    near_hole = long_tail(gap, 0, 0.07, norm((now.memory["head_start"] - now.target) * scale))
    in_place = both(near_hole, both(_clear_of(now, head, 2), _clear_of(now, head, 1)))

    gap_tcp, lifted = distance(now.object, now.tcp), raised(now, 0.01)
    held = (gap_tcp < 0.08) & lifted
    grasp = xp.where(held, 1.0, grip(now, now.object, radius=0.0075, pad_success=0.03, xz_threshold=0.005).dense)
    success = gap <= 0.07
    reward = carried(grasp, in_place, held, 1 + 5 * in_place, success)
    return Outcome(reward, success, gap_tcp <= 0.03, (gap_tcp < 0.02) & lifted, grasp, in_place, gap)


def _evaluate_unplug(now: Situation) -> Outcome:
    xp = now.xp
    gap, gap_tcp = distance(now.object, now.target), distance(now.object, now.tcp)
    in_place = long_tail(gap, 0, 0.05, distance(now.object_start, now.target))
    grasp = grip(now, now.object, radius=0.025, pad_success=0.05, xz_threshold=0.005, effort=0.8).dense
    loose = (now.opening > 0.5) & (now.object[:, 0] - now.object_start[:, 0] > 0.015)
    reward = 2 * grasp + xp.where(loose & (gap_tcp < 0.035), 1 + 5 * in_place, 0.0)
    reward = xp.where(gap <= 0.05, 10.0, reward)
    return Outcome(reward, gap <= 0.07, gap_tcp <= 0.03, loose, grasp, in_place, gap)


_FLAT = (0.707, 0.0, 0.0, 0.707)
"""The wrench lies on its side."""
_HALF_HANDLE = 0.01


def _evaluate_assembly(now: Situation) -> Outcome:
    xp = now.xp
    handle = at_hand(now, _HALF_HANDLE)
    caught = grip(now, handle, radius=0.015, pad_success=0.02, xz_threshold=0.01).grasp
    grasp = (caught + reach(now, handle, 0.01)) / 2

    nut = now.scene.site("RoundNut")
    error = now.target - nut
    radius = norm(error[:, :2])
    success = (radius < 0.02) & (error[:, 2] > 0)
    throat = xp.where(success, 0.02, 0.01)
    height = funnel(radius, throat=throat, slope=0.02, rim=0.2) - nut[:, 2]
    offset = xp.concatenate([error[:, :2], 3 * height[:, None]], axis=1)
    lifted = (nut[:, 2] > 0.02) | (radius < throat)
    in_place = 0.1 * lifted + 0.9 * long_tail(norm(offset), 0, 0.02, 0.4)
    return wielded(now, _FLAT, grasp, in_place, success)


def _evaluate_disassemble(now: Situation) -> Outcome:
    grasp = grip(now, at_hand(now, _HALF_HANDLE), radius=0.015, pad_success=0.02, xz_threshold=0.01).dense
    in_place = lifted_to(now.scene.site("RoundNut"), now.target + now.xp.asarray([[0.0, 0.0, 0.1]]))
    return wielded(now, _FLAT, grasp, in_place, now.object[:, 2] > now.target[:, 2])


PEG_INSERT_SIDE = Task(
    name="peg-insert-side",
    model="peg_insertion_side",
    low=(0.0, 0.5, 0.02, -0.35, 0.4, -0.001),
    high=(0.2, 0.7, 0.02, -0.25, 0.7, 0.001),
    apart=0.1,
    moves=Moves("box", lambda vector, usual: vector[3:]),
    start=_start_insert,
    objects=_peg,
    evaluate=_evaluate_insert,
)

PEG_UNPLUG_SIDE = Task(
    name="peg-unplug-side",
    model="peg_unplug_side",
    low=(-0.25, 0.6, -0.001),
    high=(-0.15, 0.8, 0.001),
    moves=scenery("box"),
    start=_start_unplug,
    objects=_plug,
    evaluate=_evaluate_unplug,
)

ASSEMBLY = Task(
    name="assembly",
    model="assembly_peg",
    low=(0.0, 0.6, 0.02, -0.1, 0.75, 0.1),
    high=(0.0, 0.6, 0.02, 0.1, 0.85, 0.1),
    apart=0.1,
    hand=single(0, 0.6, 0.2),
    moves=Moves("peg", lambda vector, usual: vector[3:] - np.array([0.0, 0.0, 0.05])),
    start=start_as_drawn,
    objects=_wrench,
    evaluate=_evaluate_assembly,
)

DISASSEMBLE = Task(
    name="disassemble",
    model="assembly_peg",
    low=(0.0, 0.6, 0.025, -0.1, 0.6, 0.1699),
    high=(0.1, 0.75, 0.02501, 0.1, 0.75, 0.1701),
    apart=0.1,
    hand=single(0, 0.4, 0.2),
    moves=Moves("peg", lambda vector, usual: vector[:3] + np.array([0.0, 0.0, 0.03])),
    start=_start_disassemble,
    objects=_wrench,
    evaluate=_evaluate_disassemble,
)
