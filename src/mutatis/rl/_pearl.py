"""PEARL: an off-policy learner that believes something of its task, and acts as if a draw from the belief were true."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mutatis._citation import cites
from mutatis._outer import OuterState, outer_init, outer_step
from mutatis._references import RAKELLY_2019
from mutatis._rule import Learner, adapt
from mutatis._task import Task
from mutatis._tree import scan
from mutatis._types import Key, Scalar, Tree
from mutatis.nn import UntoldTask, mlp
from mutatis.rl._family import Box, Family
from mutatis.rl._gaussian import Gaussian
from mutatis.rl._pearl_losses import BelievingActorLoss, BelievingCriticLoss, drawn
from mutatis.rl._pearl_player import BelievingPlayer, context_rows
from mutatis.rl._play import Trials, play
from mutatis.rl._replay import Replay, Transitions
from mutatis.rl._settings import check_counts, check_shares
from mutatis.rl._soft import Twin, followed
from mutatis.rules._belief import Belief, Believing
from mutatis.rules._none import NoAdaptation
from mutatis.weightings._average import Average


class PEARLState(NamedTuple):
    """All that changes: save its arrays, and training goes on as if it had not stopped."""

    tasks: Tree
    """Those that are trained on, (tasks, ...)."""
    actor: Learner
    critics: Learner
    """`Twin` critics, and the `Belief`, which their loss trains."""
    targets: Twin
    log_temperature: Float[Array, ""]
    actor_outer: OuterState
    critic_outer: OuterState
    temperature_optim: optax.OptState
    replay: Replay
    """Of all episodes."""
    contexts: Replay
    """Of those that beliefs are made from: the latest ones, played from the prior."""
    key: Key
    iterations: Int[Array, ""]

    def player(self, prior_episodes: int = 1, *, noise: bool = True) -> BelievingPlayer:
        """What plays with the actor and the belief as they are."""
        belief = self.critics.rule
        assert isinstance(belief, Belief)
        return BelievingPlayer(self.actor.model, belief, prior_episodes, noise)

    def beliefs(self, trials: Trials) -> Gaussian:
        """What is believed of z before each episode of some trials, (worlds, episodes, latent): at first the prior."""
        belief = self.critics.rule
        assert isinstance(belief, Belief)
        rows = context_rows(trials.observation, trials.action, trials.reward)
        told = jax.vmap(jax.vmap(belief.weigh))(rows, trials.real.astype(rows.dtype))
        before = jax.tree.map(lambda x: jnp.cumsum(jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))), axis=1), told)
        held = jax.vmap(jax.vmap(lambda state: belief.bind(None, state)))(before)
        return Gaussian(held.mean, 0.5 * jnp.log(held.variance))


class PEARLProgress(NamedTuple):
    """What an iteration saw; means over tasks."""

    returns: Float[Array, "episodes"]
    """Of the episodes of a trial on the training tasks, with noise."""
    critic_loss: Float[Array, ""]
    """Of the last update, the divergence of the beliefs included."""
    temperature: Float[Array, ""]


@cites(RAKELLY_2019)
class PEARL(eqx.Module):
    r"""The settings of PEARL (Rakelly et al. 2019, algorithm 1), on soft actor-critic.

    In each iteration every training task is played for a trial: episodes from the prior, each with a z of its own, then
    episodes from the belief so far. All go to the replay; those from the prior are the contexts that beliefs are
    trained on. Then come updates, each with some tasks: the critics' loss and the divergence of the belief from N(0, I)
    train the critics and the belief's network; the actor sees z as a number, and trains it not.

    - `family`: with actions in a box.
    - `latent`: length of z.
    - `prior_episodes`, `episodes`: from the prior, and in all, of a trial.
    - `updates`: after the trials of an iteration.
    - `meta_batch`, `batch`, `context`: tasks of an update, transitions of each, and rows that its belief sees.
    - `divergence`: weight of the KL.
    - `reward_scale`: by which rewards are multiplied in the critics' targets. With a fixed temperature it says what
      entropy is worth.
    - `temperature`: `None` for a learned one (Haarnoja et al. 2018), else fixed.
    - `learned_from`: which of `Trials.info` the critics learn from in place of the reward, such as `dense_reward` of
      sparse points; beliefs always see the reward.
    - `replay_capacity`: transitions of each task that are kept.

    **Deviations:** two critics with targets in place of a value network; all training tasks play in every iteration,
    side by side; a context is drawn with replacement.

    **Raises:** `ValueError` for a count below 1, a share that is not from 0 to 1, more prior episodes than episodes, or
    a family without a box.
    """

    family: Family
    optim: optax.GradientTransformation = eqx.field(static=True)
    discount: Float[Array, ""]
    polyak: Float[Array, ""]
    divergence: Float[Array, ""]
    reward_scale: Float[Array, ""]
    temperature: float | None = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    prior_episodes: int = eqx.field(static=True)
    episodes: int = eqx.field(static=True)
    updates: int = eqx.field(static=True)
    meta_batch: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    context: int = eqx.field(static=True)
    learned_from: str | None = eqx.field(static=True)
    replay_capacity: int = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        *,
        latent: int = 5,
        prior_episodes: int = 1,
        episodes: int = 2,
        updates: int = 200,
        meta_batch: int = 16,
        batch: int = 64,
        context: int = 64,
        divergence: float = 0.1,
        learning_rate: float = 3e-4,
        discount: float = 0.99,
        polyak: float = 0.005,
        reward_scale: float = 1.0,
        temperature: float | None = None,
        learned_from: str | None = None,
        replay_capacity: int = 20_000,
    ):
        check_counts(latent=latent, prior_episodes=prior_episodes, updates=updates)
        check_counts(meta_batch=meta_batch, batch=batch, context=context)
        check_shares(discount=discount, polyak=polyak)
        if episodes < prior_episodes:
            raise ValueError(f"episodes is {episodes}, fewer than the {prior_episodes} prior_episodes among them.")
        if not isinstance(family.actions, Box):
            raise ValueError("family: its actions are no Box, and soft actor-critic acts in one.")
        self.family, self.optim = family, optax.adam(learning_rate)
        self.discount, self.polyak = jnp.asarray(discount), jnp.asarray(polyak)
        self.divergence, self.reward_scale = jnp.asarray(divergence), jnp.asarray(reward_scale)
        self.temperature, self.latent, self.learned_from = temperature, latent, learned_from
        self.prior_episodes, self.episodes, self.updates = prior_episodes, episodes, updates
        self.meta_batch, self.batch, self.context = meta_batch, batch, context
        self.replay_capacity = replay_capacity

    @property
    def features(self) -> int:
        """Numbers in a row of context: observation, action and reward."""
        return self.family.observation_size + self.family.actions.features + 1

    def init(self, tasks: Tree, *, hidden: Sequence[int] = (128, 128), key: Key) -> PEARLState:
        """The state before the first trial.

        - `tasks`: those to train on, (tasks, ...).
        - `hidden`: units of the hidden layers of actor, critics and the belief's network.
        - `key`: consumed.
        """
        size, actions = self.family.observation_size, self.family.actions.features
        num_tasks = jax.tree.leaves(tasks)[0].shape[0]
        actor_key, first_key, second_key, belief_key, key, outer_key = jax.random.split(key, 6)
        make = lambda inputs, outputs, key: UntoldTask(mlp((inputs, *hidden, outputs), key=key))
        actor = make(size + self.latent, 2 * actions, actor_key)
        critics = Twin(*(make(size + self.latent + actions, 1, each) for each in (first_key, second_key)))
        belief = Belief(mlp((self.features, *hidden, 2 * self.latent), key=belief_key), self.latent)
        acting, judging = Learner(actor, NoAdaptation()), Learner(critics, belief)
        begin = lambda learner, key: outer_init(learner, Average(), self.optim, num_groups=num_tasks, key=key)
        actor_key, critic_key = jax.random.split(outer_key)
        log_temperature = jnp.zeros(()) if self.temperature is None else jnp.log(jnp.asarray(self.temperature))
        rows = self.prior_episodes * self.family.horizon
        return PEARLState(
            tasks=tasks,
            actor=acting,
            critics=judging,
            targets=critics,
            log_temperature=log_temperature,
            actor_outer=begin(acting, actor_key),
            critic_outer=begin(judging, critic_key),
            temperature_optim=self.optim.init(log_temperature),
            replay=Replay.empty(num_tasks, self.replay_capacity, size, actions),
            contexts=Replay.empty(num_tasks, rows, size, actions),
            key=key,
            iterations=jnp.zeros((), jnp.int32),
        )

    @eqx.filter_jit(donate="none")
    def train(self, state: PEARLState, iterations: int) -> tuple[PEARLState, PEARLProgress]:
        """Iterations of trials and updates, in one compiled dispatch; progress has them as leading axis."""
        return scan(lambda state, _: self._iterate(state), state, length=iterations)

    def _iterate(self, state: PEARLState) -> tuple[PEARLState, PEARLProgress]:
        key, play_key, update_key = jax.random.split(state.key, 3)
        player = state.player(self.prior_episodes)
        trials = play(self.family, state.tasks, player, key=play_key, episodes=self.episodes)
        first = jax.tree.map(lambda x: x[:, : self.prior_episodes], trials)
        state = state._replace(
            replay=state.replay.add(self._transitions(trials, self.learned_from)),
            contexts=state.contexts.add(self._transitions(first, None)),
            key=key,
            iterations=state.iterations + 1,
        )
        update = lambda state, key: self.update(state, key=key)
        state, losses = scan(update, state, jax.random.split(update_key, self.updates))
        return state, PEARLProgress(trials.returns().mean(axis=0), losses[-1], jnp.exp(state.log_temperature))

    def _transitions(self, trials: Trials, learned_from: str | None) -> Transitions:
        """The rows of all worlds, one world after the other; those after the end of an episode repeat its first one."""
        reward = trials.reward if learned_from is None else trials.info[learned_from]
        rows = Transitions(
            trials.observation,
            jnp.clip(trials.action, -1, 1),
            reward,
            trials.last_observation,
            trials.terminated,
        )
        keep = jnp.where(trials.real, jnp.arange(trials.real.shape[-1])[None, None], 0)
        pick = lambda x: jnp.take_along_axis(x, keep.reshape(*keep.shape, *(1,) * (x.ndim - 3)), axis=2)
        return jax.tree.map(lambda x: pick(x).reshape(-1, *x.shape[3:]), rows)

    def update(self, state: PEARLState, *, key: Key) -> tuple[PEARLState, Scalar]:
        """One update of critics and belief, actor and temperature; the critics' loss."""
        chosen_key, batch_key, context_key, target_key, actor_key, belief_key = jax.random.split(key, 6)
        num_tasks = state.replay.storage.reward.shape[0]
        index = jax.random.choice(chosen_key, num_tasks, (self.meta_batch,), replace=num_tasks < self.meta_batch)
        batch = state.replay.sample_of(index, self.batch, key=batch_key)
        seen = state.contexts.sample_of(index, self.context, key=context_key)
        context = context_rows(seen.observation, seen.action, seen.reward)
        temperature = jnp.exp(state.log_temperature)
        keys = lambda key: jax.random.split(key, self.meta_batch)

        objective = BelievingCriticLoss(
            state.targets, state.actor.model, temperature, self.discount, self.reward_scale, self.divergence
        )
        task = Task(context, (batch, keys(target_key)), index)
        critics, critic_outer, losses = outer_step(state.critics, state.critic_outer, task, objective=objective)

        believing = Learner(None, state.critics.rule)
        believed = jax.vmap(lambda rows: adapt(believing, rows, key=key))(context)
        z = jax.lax.stop_gradient(jax.vmap(Believing.draw)(believed, keys(belief_key)))
        query = (batch.observation, z, keys(actor_key))
        actor, actor_outer, _ = outer_step(
            state.actor,
            state.actor_outer,
            Task(None, query, index),
            objective=BelievingActorLoss(critics.model, temperature),
        )
        log_temperature, temperature_optim = state.log_temperature, state.temperature_optim
        if self.temperature is None:
            _, log_prob = jax.vmap(lambda *each: drawn(state.actor.model, *each))(*query)
            gradient = -(log_prob.mean() - self.family.actions.features)
            change, temperature_optim = self.optim.update(gradient, temperature_optim)
            log_temperature = optax.apply_updates(log_temperature, change)
        return state._replace(
            actor=actor,
            critics=critics,
            targets=followed(state.targets, critics.model, self.polyak),
            log_temperature=log_temperature,
            actor_outer=actor_outer,
            critic_outer=critic_outer,
            temperature_optim=temperature_optim,
        ), losses.mean()
