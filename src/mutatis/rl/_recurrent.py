"""A policy that remembers its trial, and the player that acts with it."""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mutatis._timestep import Timestep
from mutatis._tree import repeated, where_rows
from mutatis._types import Key, Tree
from mutatis.nn import Linear, SmallUniform, Start, zeros
from mutatis.rl._family import Box, Discrete, Family
from mutatis.rl._memory import GRU, AbstractMemory, read_step

POLICY_START = Start(SmallUniform(0.01), zeros)
"""Of the policy's head: at first all actions are about equally likely."""


class Seen(NamedTuple):
    """The rows of a trial as a policy sees them: the observation, and what came of the action before it."""

    observation: Float[Array, "*rows features"]
    action: Shaped[Array, "..."]
    """Before; encoded as zero before the first."""
    reward: Float[Array, "*rows"]
    """Of that action."""
    first: Bool[Array, "*rows"]
    """Whether an episode begins here."""
    real: Bool[Array, "*rows"]
    """Whether the episode was not over before."""


class RecurrentPolicy(eqx.Module):
    r"""A memory with two heads: what to do, and what the rest of the trial will bring (Duan et al. 2016, section 2.3).

    $$h_t = \mathrm{memory}(h_{t-1}, [o_t, a_{t-1}, r_{t-1}, d_{t-1}]), \qquad \pi(\cdot | h_t), \quad V(h_t)$$

    - `memory`: reads rows of `inputs(family)` numbers.
    - `actions`: of the family.
    - `reward_scale`: by which rewards are multiplied before they are read.
    """

    memory: AbstractMemory
    policy: Linear
    value: Linear
    actions: Discrete | Box = eqx.field(static=True)
    reward_scale: float = eqx.field(static=True)

    def __init__(self, family: Family, memory: AbstractMemory, *, reward_scale: float = 1.0, key: Key):
        policy_key, value_key = jax.random.split(key)
        self.memory, self.actions, self.reward_scale = memory, family.actions, reward_scale
        self.policy = Linear(memory.width, family.actions.outputs, start=POLICY_START, key=policy_key)
        self.value = Linear(memory.width, 1, key=value_key)

    def trial(self, seen: Seen) -> tuple[Any, Float[Array, "rows"]]:
        """Distributions of actions and values in all rows of one trial, from its beginning."""
        _, said = self.memory.read(self.memory.start(), read_rows(seen, self.actions, self.reward_scale), seen.real)
        return self.actions.distribution(self.policy(said)), self.value(said)[:, 0]

    def step(self, state: Tree, seen: Seen) -> tuple[Tree, Any]:
        """The memory, and the distributions of actions, in N worlds one row later."""
        state, said = read_step(self.memory, state, read_rows(seen, self.actions, self.reward_scale), seen.real)
        return state, self.actions.distribution(self.policy(said))


def inputs(family: Family) -> int:
    """Numbers in a row that a memory reads: observation, action, reward, and whether an episode begins."""
    return family.observation_size + family.actions.features + 2


def read_rows(seen: Seen, actions: Discrete | Box, reward_scale: float) -> Float[Array, "rows inputs"]:
    """The rows as a memory reads them."""
    beside = [x.astype(seen.observation.dtype)[:, None] for x in (reward_scale * seen.reward, seen.first)]
    return jnp.concatenate([seen.observation, actions.encode(seen.action), *beside], axis=1)


def recurrent_policy(family: Family, *, width: int = 64, reward_scale: float = 1.0, key: Key) -> RecurrentPolicy:
    """An untrained policy with a `GRU`; the key is consumed."""
    memory_key, key = jax.random.split(key)
    return RecurrentPolicy(family, GRU(inputs(family), width, key=memory_key), reward_scale=reward_scale, key=key)


class RememberingPolicy(Protocol):
    """What `RecurrentPlayer` acts by: `RecurrentPolicy`, VariBAD's `BeliefPolicy`."""

    @property
    def memory(self) -> AbstractMemory:
        """Reads the rows of a trial."""
        ...

    @property
    def actions(self) -> Discrete | Box:
        """Of the family."""
        ...

    def step(self, state: Tree, seen: Seen) -> tuple[Tree, Any]:
        """The memory, and the distributions of actions, in N worlds one row later."""
        ...


class PlayedSoFar(NamedTuple):
    """The memory of `RecurrentPlayer`, in N worlds."""

    memory: Tree
    action: Shaped[Array, "worlds ..."]
    reward: Float[Array, "worlds"]
    first: Bool[Array, "worlds"]
    over: Bool[Array, "worlds"]


class RecurrentPlayer(eqx.Module):
    """Acts with a recurrent policy, whose memory goes on from episode to episode.

    - `noise`: whether actions are drawn, or the likeliest (the mean) is taken.
    """

    policy: RememberingPolicy
    noise: bool = eqx.field(static=True, default=True)

    def start(self, worlds: int) -> PlayedSoFar:
        """Nothing seen."""
        many, no = repeated(self.policy.memory.start(), worlds), jnp.zeros(worlds, bool)
        return PlayedSoFar(many, self.policy.actions.none(worlds), jnp.zeros(worlds), no, no)

    def begin(self, memory: PlayedSoFar, key: Key) -> PlayedSoFar:
        """Another episode; nothing is forgotten."""
        del key
        return memory._replace(first=jnp.ones_like(memory.first), over=jnp.zeros_like(memory.over))

    def act(
        self, memory: PlayedSoFar, observation: Float[Array, "worlds features"], key: Key
    ) -> tuple[PlayedSoFar, Array]:
        """By the policy, which then knows the observation."""
        seen = Seen(observation, memory.action, memory.reward, memory.first, ~memory.over)
        state, chances = self.policy.step(memory.memory, seen)
        action = chances.sample(key=key) if self.noise else chances.mode
        return memory._replace(memory=state), action

    def learn(self, memory: PlayedSoFar, observation: Array, action: Array, shown: Timestep) -> PlayedSoFar:
        """Notes what came of the action, to be read with the next observation."""
        del observation
        before = memory.action, memory.reward
        action, reward = where_rows(~memory.over, (action, shown.reward), before)
        over = memory.over | shown.terminated | shown.truncated
        return PlayedSoFar(memory.memory, action, reward, jnp.zeros_like(memory.first), over)
