"""The one way to make worlds."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from numbers import Integral
from typing import Literal

from gymnasium.vector import AutoresetMode

from mutatis.worlds._benchmarks import Split, select
from mutatis.worlds._engine import AbstractEngine, Engine
from mutatis.worlds._task import Task
from mutatis.worlds._threads import Threads
from mutatis.worlds._vector import HORIZON, Worlds
from mutatis.worlds.tasks._first_rewards import with_first_reward

Backend = Literal["cpu", "gpu"]


def make(
    benchmark: str | Sequence[str],
    split: Split = "train",
    *,
    worlds_per_task: int = 1,
    seed: int = 0,
    backend: Backend = "cpu",
    reward: Literal["v1", "v2"] = "v2",
    observe_goal: bool | None = None,
    one_hot: bool = False,
    redraw_goals: bool = True,
    horizon: int = HORIZON,
    terminate_on_success: bool = False,
    measure_touch: bool = False,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    render_mode: Literal["rgb_array"] | None = None,
    camera: str = "front",
    width: int = 480,
    height: int = 360,
    threads: int | None = None,
) -> Worlds:
    """Worlds of a benchmark (Yu et al. 2019; McLean et al. 2025), of a task, or of a list of tasks.

    **Arguments:**

    - `benchmark`: "MT10", "MT25", "MT50", "ML10", "ML25", "ML45", the name of a task ("reach"), the same with its goals
      hidden ("ML1-reach"), or several names of tasks.
    - `split`: "train" or "test". Multi-task benchmarks have no test tasks; a single task's test goals are new ones.
    - `worlds_per_task`: worlds of each task.
    - `seed`: of the goals, which are then the official ones of that seed, and of the order in which worlds meet them.
    - `backend`: "cpu" (MuJoCo's C engine, float64, bit-identical to the original) or "gpu" (MuJoCo Warp, float32).
    - `reward`: "v2" (0 to 10), or the older "v1" (up to 2000 and more, very different from task to task), which is
      there for the tasks of MT10 and ML10 and leaves success and observations as they are.
    - `observe_goal`: whether the last three numbers show the goal or are 0. By default hidden in the meta-learning
      benchmarks (ML) and shown elsewhere.
    - `one_hot`: whether the task's number follows, as T further columns.
    - `redraw_goals`: whether a reset draws the next goal; otherwise a world keeps its goal until
      `reset(options={"goals": ...})`, as adaptation over several episodes needs.
    - `horizon`: actions in an episode.
    - `terminate_on_success`: whether success ends the episode.
    - `measure_touch`: whether to measure the pads' forces, which info's `grasp_success` needs in 14 tasks (elsewhere it
      is computed, there NaN); rewards and success never need it. Steps of those tasks then cost a tenth more.
    - `autoreset_mode`: of Gymnasium: "NextStep", "SameStep" or "Disabled".
    - `render_mode`: "rgb_array" or None.
    - `camera`: from which pictures are taken (see `Worlds.frame`).
    - `width`: of pictures, in pixels.
    - `height`: of pictures, in pixels.
    - `threads`: by default all cores that this process may use.

    **Raises:** `ValueError` for a name, split or number that does not exist. `ModuleNotFoundError` if the simulator or
    the models are not installed.
    """
    counts = {"worlds_per_task": worlds_per_task, "horizon": horizon, "width": width, "height": height}
    for name, value in counts.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name}: must be a whole number of at least 1, not {value}")
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode: must be 'rgb_array' or None, not {render_mode!r}")
    if reward not in ("v1", "v2"):
        raise ValueError(f"reward: must be 'v1' or 'v2', not {reward!r}")
    if autoreset_mode not in (*AutoresetMode, "NextStep", "SameStep", "Disabled"):
        raise ValueError(f"autoreset_mode: must be 'NextStep', 'SameStep' or 'Disabled', not {autoreset_mode!r}")
    selection = select(benchmark, split, seed)
    if reward == "v1":
        selection = selection._replace(tasks=tuple(with_first_reward(task) for task in selection.tasks))
    engine = _engine(backend, selection.tasks, worlds_per_task, Threads(threads), measure_touch)
    origin = {
        "benchmark": benchmark if isinstance(benchmark, str) else list(benchmark),
        "split": split,
        "seed": seed,
        "backend": backend,
        "reward": reward,
    }
    return Worlds(
        selection,
        engine,
        origin,
        worlds_per_task=worlds_per_task,
        seed=seed,
        observe_goal=selection.goal_observed if observe_goal is None else observe_goal,
        one_hot=one_hot,
        horizon=horizon,
        terminate_on_success=terminate_on_success,
        redraw_goals=redraw_goals,
        autoreset_mode=AutoresetMode(autoreset_mode),
        render_mode=render_mode,
        camera=camera,
        width=width,
        height=height,
    )


def _engine(
    backend: Backend, tasks: Sequence[Task], worlds: int, threads: Threads, measure_touch: bool
) -> AbstractEngine:
    if backend == "cpu":
        return Engine(tasks, worlds, threads, measure_touch=measure_touch)
    if backend != "gpu":
        raise ValueError(f"backend: must be 'cpu' or 'gpu', not {backend!r}")
    if measure_touch:
        raise ValueError("measure_touch: the GPU engine measures forces only where a task's success needs them")
    missing = [name for name in ("warp", "mujoco_warp") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"backend='gpu' needs {' and '.join(missing)}: pip install 'mutatis[gpu]'")
    from mutatis.worlds._device_engine import DeviceEngine

    return DeviceEngine(tasks, worlds, threads)
