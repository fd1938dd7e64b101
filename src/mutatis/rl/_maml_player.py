"""How a learner acts that adapts to its own episodes."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mutatis._rule import Learner
from mutatis._timestep import Timestep
from mutatis._tree import repeated
from mutatis._types import Key, Tree
from mutatis.rl._family import Family
from mutatis.rl._judged import judged
from mutatis.rl._play import Trials
from mutatis.rl._settings import check_counts, check_shares


class Adapted(NamedTuple):
    """The memory of `AdaptingPlayer`, in N worlds."""

    state: Tree
    """Of the rule, one for each world."""
    trials: Trials
    """The latest episodes."""
    over: Bool[Array, "worlds"]
    episode: Int[Array, ""]
    step: Int[Array, ""]


class AdaptingPlayer(eqx.Module):
    """Plays some episodes of a trial with the policy as it is, adapts it to them, and plays on with the adapted one.

    - `learner`: of `MAMLState`.
    - `episodes`: before each adaptation.
    - `adaptations`: how often it adapts, each time to the latest `episodes`.
    - `noise`: whether actions are drawn once it is adapted for the last time; before, they always are.
    - `discount`, `trace`, `normalise_advantages`: of the advantages that it adapts to, as `MAML` has them.

    **Raises:** `ValueError` for a count below 1, or a share that is not from 0 to 1.
    """

    learner: Learner
    family: Family
    episodes: int = eqx.field(static=True)
    adaptations: int = eqx.field(static=True, default=1)
    noise: bool = eqx.field(static=True, default=True)
    discount: float = eqx.field(static=True, default=0.99)
    trace: float = eqx.field(static=True, default=1.0)
    normalise_advantages: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_counts(episodes=self.episodes, adaptations=self.adaptations)
        check_shares(discount=self.discount, trace=self.trace)

    def start(self, worlds: int) -> Adapted:
        """Not adapted, nothing seen."""
        room = lambda shape, dtype: jnp.zeros((worlds, self.episodes, self.family.horizon, *shape), dtype)
        action, number = self.family.actions.none(worlds), jnp.zeros(()).dtype
        seen = room((self.family.observation_size,), number)
        trials = Trials(
            observation=seen,
            action=room(action.shape[1:], action.dtype),
            reward=room((), number),
            last_observation=seen,
            terminated=room((), bool),
            real=room((), bool),
            info={},
        )
        state = repeated(self.learner.rule.init(self.learner.model), worlds)
        counter = jnp.full((), -1, jnp.int32)
        return Adapted(state, trials, jnp.zeros(worlds, bool), counter, jnp.zeros_like(counter))

    def begin(self, memory: Adapted, key: Key) -> Adapted:
        """Another episode, before which it adapts if it is time."""
        episode = memory.episode + 1
        due = (episode > 0) & (episode % self.episodes == 0) & (episode // self.episodes <= self.adaptations)
        keys = jax.random.split(key, memory.over.shape[0])
        adapt = lambda: jax.vmap(self._adapt)(memory.state, memory.trials, keys)
        state = jax.lax.cond(due, adapt, lambda: memory.state)
        return Adapted(state, memory.trials, jnp.zeros_like(memory.over), episode, jnp.zeros_like(memory.step))

    def _adapt(self, state: Tree, trials: Trials, key: Key) -> Tree:
        """The rule's state after the episodes that one world remembers."""
        rule, model = self.learner.rule, self.learner.model
        context = judged(
            rule.bind(model, state),
            trials,
            discount=self.discount,
            trace=self.trace,
            normalise_advantages=self.normalise_advantages,
        )
        return rule.update(model, state, context, key=key)

    def act(self, memory: Adapted, observation: Float[Array, "worlds features"], key: Key) -> tuple[Adapted, Array]:
        """By each world's own policy."""

        def one(state: Tree, observation: Array, key: Key) -> Array:
            policy = self.learner.rule.bind(self.learner.model, state)
            chances = policy(observation[None], jnp.zeros((), jnp.int32))
            drawn, last = chances.sample(key=key)[0], memory.episode >= self.episodes * self.adaptations
            return drawn if self.noise else jnp.where(last, chances.mode[0], drawn)

        return memory, jax.vmap(one)(memory.state, observation, jax.random.split(key, observation.shape[0]))

    def learn(self, memory: Adapted, observation: Array, action: Array, shown: Timestep) -> Adapted:
        """Remembers the row."""
        row = Trials(observation, action, shown.reward, shown.last_observation, shown.terminated, ~memory.over, info={})
        episode = memory.episode % self.episodes
        put = lambda room, x: room.at[:, episode, memory.step].set(x.astype(room.dtype))
        over = memory.over | shown.terminated | shown.truncated
        return memory._replace(trials=jax.tree.map(put, memory.trials, row), over=over, step=memory.step + 1)
