"""Any Gymnasium vector environment as an `Environment`, behind a callback from the compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Array, Float, Int

from mutatis._timestep import Timestep
from mutatis._types import Key

Token = Int[Array, ""]


class GymnasiumEnvironment:
    """The worlds of a `gymnasium.vector.VectorEnv`; made by `from_gymnasium`, which says what holds for it."""

    def __init__(self, vector_env: Any, num_tasks: int, success: str | None):
        self.vector_env = vector_env
        self.num_envs, self.num_tasks = int(vector_env.num_envs), num_tasks
        self.observation_size = int(np.prod(vector_env.single_observation_space.shape))
        box = vector_env.single_action_space
        self.action_size = int(np.prod(box.shape))
        self._low, self._high = (np.asarray(bound, np.float64).reshape(-1) for bound in (box.low, box.high))
        self._shape, self._dtype = (self.num_envs, *box.shape), box.dtype
        self._same_step = _autoreset(vector_env) == "SameStep"
        self._success = success
        self._steps: int | None = None
        self._number = np.dtype(jnp.zeros(0).dtype)

    def reset(self, key: Key) -> tuple[Token, Float[Array, "worlds features"]]:
        """Starts an episode in every world, seeded from the key, which is consumed."""
        seed = jax.random.randint(key, (), 0, np.iinfo(np.int32).max - self.num_envs)
        seen = jax.ShapeDtypeStruct((self.num_envs, self.observation_size), self._number)
        return jnp.zeros((), jnp.int32), io_callback(self._reset, seen, seed, ordered=True)

    def step(self, state: Token, action: Float[Array, "worlds actions"], /) -> tuple[Token, Timestep]:
        """Acts in every world. Where an episode ends, the next begins."""
        worlds = (self.num_envs,)
        seen = jax.ShapeDtypeStruct((*worlds, self.observation_size), self._number)
        number, flag = jax.ShapeDtypeStruct(worlds, self._number), jax.ShapeDtypeStruct(worlds, np.dtype(bool))
        info = {} if self._success is None else {"success": number}
        shapes = (seen, seen, number, flag, flag, info)
        timestep = Timestep(*io_callback(self._step, shapes, state, action, ordered=True))
        return state + 1, timestep

    def _reset(self, seed: Array) -> np.ndarray:
        observation, _ = _asked("reset", lambda: self.vector_env.reset(seed=int(seed)))
        self._steps = 0
        return self._rows(observation)

    def _step(self, token: Array, action: Array) -> tuple:
        """The parts of a `Timestep`, on the host."""
        if self._steps is None or int(token) != self._steps:
            raise ValueError(
                f"state: it is that of step {int(token)}, but the vector_env has taken {self._steps or 0} steps since "
                "its reset. Its worlds cannot be put back to where a state was saved or used before: go on from the "
                "latest state, or put a new `reset(key)` into it."
            )
        share = (np.clip(np.asarray(action, np.float64), -1, 1) + 1) / 2
        chosen = (self._low + share * (self._high - self._low)).reshape(self._shape).astype(self._dtype)
        observation, reward, terminated, truncated, info = _asked("step", lambda: self.vector_env.step(chosen))
        self._steps += 1
        last = self._rows(observation)
        ended = np.asarray(terminated) | np.asarray(truncated)
        first = last
        if ended.any():
            first, last = self._next_episode(last, ended, info)
        told = {} if self._success is None else {"success": self._told(self._success, info, ended)}
        reward = np.asarray(reward, self._number)
        return first, last, reward, np.asarray(terminated), np.asarray(truncated), told

    def _next_episode(self, seen: np.ndarray, ended: np.ndarray, info: dict) -> tuple[np.ndarray, np.ndarray]:
        """What is seen now that the next episodes have begun, and what the actions themselves led to."""
        if self._same_step:
            if "final_obs" not in info:
                raise ValueError(
                    "vector_env: it resets in the same step, but its info has no 'final_obs', without which nothing "
                    "can be said of what an action led to at the end of an episode. Use AutoresetMode.NEXT_STEP."
                )
            last = seen.copy()
            for world in np.flatnonzero(ended):
                last[world] = np.asarray(info["final_obs"][world]).reshape(-1)
            return seen, last
        observation, _ = _asked("reset", lambda: self.vector_env.reset(options={"reset_mask": ended.copy()}))
        first = self._rows(observation)
        if not np.array_equal(first[~ended], seen[~ended], equal_nan=True):
            raise ValueError(
                "vector_env: its reset(options={'reset_mask': ...}) changed other worlds than it was asked to. Make it "
                "with AutoresetMode.SAME_STEP."
            )
        return first, seen

    def _told(self, name: str, info: dict, ended: np.ndarray) -> np.ndarray:
        """What the info says under this name in each world; of ended episodes, where the mode keeps it apart."""
        told = np.zeros(self.num_envs, self._number)
        final = info.get("final_info", {}) if self._same_step else {}
        for world in range(self.num_envs):
            source = final if ended[world] and name in final else info
            if name not in source:
                raise ValueError(
                    f"success is {name!r}, which the vector_env's info does not hold; it holds {sorted(info)}."
                )
            told[world] = source[name][world]
        return told

    def _rows(self, observation: Any) -> np.ndarray:
        # A copy: the vector environment may write its next observation into the same memory.
        return np.array(observation, self._number).reshape(self.num_envs, self.observation_size)


def from_gymnasium(vector_env: Any, *, num_tasks: int = 1, success: str | None = None) -> GymnasiumEnvironment:
    """An `Environment` out of a `gymnasium.vector.VectorEnv` with boxes of observations and actions.

    ```python
    worlds = gymnasium.make_vec("Hopper-v5", num_envs=4, vectorization_mode="sync")
    agent = rl.PolicyGradient(rl.from_gymnasium(worlds), rl.Proximal(), steps=512)
    ```

    It runs inside compiled programs, through ordered callbacks. Observations are flattened; actions are clipped to
    [-1, 1] and rescaled to the box. Episodes end and begin as the environment's autoreset mode wants it, but an agent
    never sees the step that NEXT_STEP spends on resetting: worlds whose episode ended are reset at once, by
    `reset(options={"reset_mask": ...})`. `Timestep.last_observation` is the final observation.

    - `vector_env`: in any autoreset mode; it belongs to the environment from now on, do not step it elsewhere.
    - `num_tasks`: T tasks, the same number of worlds of each, those of the first task first.
    - `success`: name under which the info of every step tells of success, such as Meta-World's `"success"`.

    **What it cannot do.** The worlds live outside of JAX: what passes through the program as their state only counts
    steps. So a run cannot be resumed within an episode, and no state can be used twice: either raises. To go on
    from saved numbers, start new episodes:

    ```python
    environment, observation = agent.environment.reset(key)
    state = state._replace(environment=environment, observation=observation)   # SoftActorCritic
    state = agent.restarted(state, key=key)                                    # PolicyGradient
    ```

    Nor can it be vmapped, or run on several devices at once.

    **Raises:** `ValueError` for other spaces, unbounded actions, or worlds that cannot be divided among the tasks. What
    goes wrong in a compiled program, there or in the environment, reaches the caller as
    `jax.errors.JaxRuntimeError`, whose message ends with the `ValueError`.
    """
    for name in ("single_observation_space", "single_action_space", "num_envs"):
        if getattr(vector_env, name, None) is None:
            raise ValueError(
                f"vector_env: it has no {name}; pass a gymnasium.vector.VectorEnv, as `gymnasium.make_vec(name, "
                "num_envs=1)` makes it."
            )
    for what in ("observation", "action"):
        space = getattr(vector_env, f"single_{what}_space")
        if getattr(space, "low", None) is None or getattr(space, "shape", None) is None:
            raise ValueError(
                f"vector_env: its {what} space is {space}; needed is a Box. Wrap it: gymnasium.wrappers has "
                "FlattenObservation, and TransformAction for actions."
            )
    box = vector_env.single_action_space
    if not (np.issubdtype(box.dtype, np.floating) and np.isfinite(box.low).all() and np.isfinite(box.high).all()):
        raise ValueError(
            f"vector_env: its action space is {box}; needed are finite bounds of floating-point numbers, to which "
            "actions from -1 to 1 are rescaled. Wrap it with gymnasium.wrappers.RescaleAction or ClipAction."
        )
    if num_tasks < 1 or vector_env.num_envs % num_tasks:
        raise ValueError(f"num_tasks is {num_tasks}, which does not divide {vector_env.num_envs} worlds.")
    return GymnasiumEnvironment(vector_env, num_tasks, success)


def _autoreset(vector_env: Any) -> str:
    """Gymnasium's word for the mode; a vector environment that names none resets in the next step."""
    mode = (vector_env.metadata or {}).get("autoreset_mode", "NextStep")
    return getattr(mode, "value", mode)


def _asked(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise ValueError(
            f"vector_env: its {what} failed with {type(error).__name__}: {error}. Call it by hand to see why; the run "
            "has stopped within an episode and cannot go on from here."
        ) from error
