"""Soft actor-critic for one task or many (Haarnoja et al. 2018; for many tasks Yu et al. 2019)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mutatis._citation import cites
from mutatis._outer import OuterState, outer_init, outer_step
from mutatis._references import HAARNOJA_2018, YU_2019
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._timestep import Timestep
from mutatis._tree import scan
from mutatis._types import Key, Scalar
from mutatis._weighting import AbstractWeighting
from mutatis.nn import SmallUniform, Start, he_uniform, zeros
from mutatis.rl._environment import Environment, Overlapping
from mutatis.rl._replay import Replay, Transitions
from mutatis.rl._settings import check_counts, check_shares
from mutatis.rl._tanh_gaussian import TanhGaussian
from mutatis.rules._none import NoAdaptation
from mutatis.weightings._average import Average

T = TypeVar("T")
Net = Callable[[Array, Array], Array]
"""`net(x (rows, features), task) -> (rows, outputs)`, as the networks of `mutatis.nn` that know their task."""


ACTOR_START = Start(he_uniform, zeros, SmallUniform(1e-3))
CRITIC_START = Start(he_uniform, zeros, SmallUniform(3e-3))


class Twin(eqx.Module):
    """Two critics, whose smaller estimate counts (Fujimoto et al. 2018)."""

    first: Net
    second: Net

    def __call__(self, observation: Array, action: Array, task: Array) -> Float[Array, "2 rows"]:
        """Both estimates of the value of an action."""
        x = jnp.concatenate([observation, action], axis=1)
        return jnp.stack([self.first(x, task)[:, 0], self.second(x, task)[:, 0]])


class SoftState(NamedTuple):
    """All that changes: save it, and training goes on as if it had not stopped."""

    actor: Learner
    critics: Learner
    targets: Twin
    log_temperature: Float[Array, "tasks"]
    actor_outer: OuterState
    critic_outer: OuterState
    temperature_optim: optax.OptState
    replay: Replay
    environment: Any
    observation: Float[Array, "worlds features"]
    key: Key
    vector_steps: Int[Array, ""]


class Progress(NamedTuple):
    """What a training step saw, by task."""

    reward: Float[Array, "tasks"]
    success: Float[Array, "tasks"]
    """Share of worlds with success at this step; NaN where the environment does not know."""
    critic_loss: Float[Array, "tasks"]
    actor_loss: Float[Array, "tasks"]
    temperature: Float[Array, "tasks"]


@cites(HAARNOJA_2018, YU_2019)
class SoftActorCritic(eqx.Module):
    """The settings of soft actor-critic; each task has a temperature of its own.

    - `environment`: see `Environment`.
    - `batch`: transitions of each task in an update.
    - `updates`: updates after each vector step.
    - `discount`, `polyak`: of values, and how far the target critics move in an update.
    - `actor_weighting`, `critic_weighting`: how the tasks share the update; any of the library's.
    - `normalise_rewards`: whether the critics see each task's rewards divided by their root mean square.

    **Raises:** `ValueError` for a count below 1, a share that is not from 0 to 1, or if the actor's weighting needs
    positive losses.
    """

    environment: Environment
    optim: optax.GradientTransformation = eqx.field(static=True)
    temperature_optim: optax.GradientTransformation = eqx.field(static=True)
    actor_weighting: AbstractWeighting
    critic_weighting: AbstractWeighting
    discount: Float[Array, ""]
    polyak: Float[Array, ""]
    target_entropy: Float[Array, ""]
    batch: int = eqx.field(static=True)
    updates: int = eqx.field(static=True)
    normalise_rewards: bool = eqx.field(static=True)

    def __init__(
        self,
        environment: Environment,
        *,
        batch: int = 128,
        updates: int = 1,
        learning_rate: float = 3e-4,
        clip: float | None = 1.0,
        discount: float = 0.99,
        polyak: float = 0.005,
        actor_weighting: AbstractWeighting | None = None,
        critic_weighting: AbstractWeighting | None = None,
        normalise_rewards: bool = False,
    ):
        check_counts(batch=batch, updates=updates)
        check_shares(discount=discount, polyak=polyak)
        self.environment = environment
        adam = optax.adam(learning_rate, eps=1e-5)
        self.optim = adam if clip is None else optax.chain(optax.clip_by_global_norm(clip), adam)
        self.temperature_optim = adam
        self.actor_weighting = Average() if actor_weighting is None else actor_weighting
        self.actor_weighting.refuse_for_policies("actor_weighting")
        self.critic_weighting = Average() if critic_weighting is None else critic_weighting
        self.discount, self.polyak = jnp.asarray(discount), jnp.asarray(polyak)
        self.target_entropy = jnp.asarray(-float(environment.action_size))
        self.batch, self.updates, self.normalise_rewards = batch, updates, normalise_rewards

    def networks(
        self,
        build: Callable[..., Net],
        hidden: Sequence[int],
        *,
        critic_hidden: Sequence[int] | None = None,
        key: Key,
    ) -> tuple[Net, Twin]:
        """Untrained actor and critics for `init`.

        Weights are drawn as He et al. 2015 do, biases are zero, and the last layers small, so that actions and values
        begin near zero (as McLean et al. 2025).

        - `build`: `build(sizes, num_tasks, start=start, key=key)`, such as `nn.multi_head_net` or `nn.one_hot_net`.
        - `hidden`: units of the hidden layers; those of the critics are the same, or `critic_hidden`.
        - `key`: consumed.
        """
        env = self.environment
        make = lambda inputs, widths, outputs, start, key: build(
            (inputs, *widths, outputs), env.num_tasks, start=start, key=key
        )
        actor_key, *critic_keys = jax.random.split(key, 3)
        widths = hidden if critic_hidden is None else critic_hidden
        judged = env.observation_size + env.action_size
        critics = Twin(*(make(judged, widths, 1, CRITIC_START, each) for each in critic_keys))
        return make(env.observation_size, hidden, 2 * env.action_size, ACTOR_START, actor_key), critics

    def init(self, actor: Net, critics: Twin, *, capacity: int, key: Key) -> SoftState:
        """The state before the first step.

        - `actor`: to twice the number of actions: means, and logarithms of standard deviations.
        - `critics`: from observation and action to 1.
        - `capacity`: transitions that are kept of each task.
        - `key`: consumed; every random number of the training comes from it.
        """
        env = self.environment
        replay = Replay.empty(env.num_tasks, capacity, env.observation_size, env.action_size)
        key, reset_key, learn_key = jax.random.split(key, 3)
        environment, observation = env.reset(reset_key)
        state = SoftState(
            **self._untrained(actor, critics, learn_key),
            replay=replay,
            environment=environment,
            observation=observation,
            key=key,
            vector_steps=jnp.zeros((), jnp.int32),
        )
        return _apart(state)

    def restart(self, state: SoftState, actor: Net, critics: Twin, *, key: Key) -> SoftState:
        """The same replay and worlds with other networks, as before their first update (Nikishin et al. 2022).

        What is lost, early overfitting with it, is soon learned again from the replay. The key is consumed.
        """
        return _apart(state._replace(**self._untrained(actor, critics, key)))

    def _untrained(self, actor: Net, critics: Twin, key: Key) -> dict[str, Any]:
        """All of a state that updates change."""
        tasks = self.environment.num_tasks
        actor_key, critic_key = jax.random.split(key)
        acting, judging = Learner(actor, NoAdaptation()), Learner(critics, NoAdaptation())
        log_temperature = jnp.zeros(tasks)
        return {
            "actor": acting,
            "critics": judging,
            "targets": critics,
            "log_temperature": log_temperature,
            "actor_outer": outer_init(acting, self.actor_weighting, self.optim, num_groups=tasks, key=actor_key),
            "critic_outer": outer_init(judging, self.critic_weighting, self.optim, num_groups=tasks, key=critic_key),
            "temperature_optim": self.temperature_optim.init(log_temperature),
        }

    @eqx.filter_jit(donate="all-except-first")
    def explore(self, state: SoftState, steps: int) -> tuple[SoftState, Progress]:
        """Vector steps with uniform actions and without updates, to fill the replay.

        One program for each number of steps; the state is used up. Progress has the steps as leading axis.
        """
        return scan(lambda state, _: self._step(state, random_actions=True), state, length=steps)

    @eqx.filter_jit(donate="all-except-first")
    def train(self, state: SoftState, steps: int) -> tuple[SoftState, Progress]:
        """Vector steps with the policy's actions, each followed by updates; as `explore` otherwise."""
        return scan(lambda state, _: self._step(state, random_actions=False), state, length=steps)

    def _step(self, state: SoftState, *, random_actions: bool) -> tuple[SoftState, Progress]:
        env, tasks = self.environment, self.environment.num_tasks
        key, act_key, update_key = jax.random.split(state.key, 3)
        state = state._replace(key=key)
        critic_loss = actor_loss = jnp.full(tasks, jnp.nan)
        if random_actions:
            action = jax.random.uniform(act_key, (env.num_envs, env.action_size), minval=-1.0, maxval=1.0)
            state, shown = _seen(state, action, *env.step(state.environment, action))
        else:
            action = self.act(state.actor.model, state.observation, key=act_key)
            if not isinstance(env, Overlapping) or (underway := env.depart(state.environment, action)) is None:
                state, shown = _seen(state, action, *env.step(state.environment, action))
                state, (critic_loss, actor_loss) = self._updated(state, update_key)
            else:
                # While the worlds act, the networks learn from what was there before. The replay is written to once
                # they have read it: XLA would copy the whole of it if it could be written to before.
                state, (critic_loss, actor_loss) = self._updated(state, jax.random.fold_in(update_key, underway.zero))
                stepped, zero = env.arrive(state.environment, action, underway, critic_loss)
                replay = eqx.tree_at(lambda replay: replay.added, state.replay, state.replay.added + zero)
                state, shown = _seen(state._replace(replay=replay), action, *stepped)
        by_task = lambda x: x.reshape(tasks, -1).mean(axis=1)
        success = by_task(shown.info.get("success", jnp.full(env.num_envs, jnp.nan)).astype(shown.reward.dtype))
        temperature = jnp.exp(state.log_temperature)
        return state, Progress(by_task(shown.reward), success, critic_loss, actor_loss, temperature)

    def _updated(self, state: SoftState, key: Key) -> tuple[SoftState, tuple[Array, Array]]:
        """After the updates of a vector step, with the losses of the last."""
        update = lambda state, key: self.update(state, key=key)
        state, losses = scan(update, state, jax.random.split(key, self.updates))
        return state, jax.tree.map(lambda each: each[-1], losses)

    def act(self, actor: Net, observation: Float[Array, "worlds features"], *, key: Key | None) -> Array:
        """Actions in M worlds, (M, actions): drawn if there is a key, which is consumed, else without noise."""
        tasks = self.environment.num_tasks
        by_task = observation.reshape(tasks, -1, observation.shape[1])
        policies = _policies(actor, by_task)
        if key is None:
            action = jax.vmap(lambda policy: policy.mode)(policies)
        else:
            action, _ = jax.vmap(TanhGaussian.sample)(policies, jax.random.split(key, tasks))
        return action.reshape(observation.shape[0], -1)

    def update(self, state: SoftState, *, key: Key) -> tuple[SoftState, tuple[Array, Array]]:
        """One update of critics, actor and temperatures from the replay; the losses of critics and actor by task."""
        sample_key, target_key, actor_key, temperature_key = jax.random.split(key, 4)
        batch = state.replay.sample(self.batch, key=sample_key)
        critics, critic_outer, critic_losses = outer_step(
            state.critics, state.critic_outer, self.critic_tasks(state, batch, key=target_key), objective=critic_loss
        )
        actor, actor_outer, actor_losses = outer_step(
            state.actor,
            state.actor_outer,
            self.actor_tasks(state, batch, key=actor_key),
            objective=ActorLoss(critics.model),
        )
        policies = _policies(state.actor.model, batch.observation)
        keys = jax.random.split(temperature_key, self.environment.num_tasks)
        _, log_prob = jax.vmap(TanhGaussian.sample)(policies, keys)
        gradient = -(log_prob.mean(axis=1) + self.target_entropy)
        updates, temperature_optim = self.temperature_optim.update(gradient, state.temperature_optim)
        return state._replace(
            actor=actor,
            critics=critics,
            targets=followed(state.targets, critics.model, self.polyak),
            log_temperature=optax.apply_updates(state.log_temperature, updates),
            actor_outer=actor_outer,
            critic_outer=critic_outer,
            temperature_optim=temperature_optim,
        ), (critic_losses, actor_losses)

    def critic_tasks(self, state: SoftState, batch: Transitions, *, key: Key) -> Task:
        """What `critic_loss` judges critics by: a batch of each task and what they should say; the key is consumed."""
        index = jnp.arange(self.environment.num_tasks)
        temperature = jnp.exp(state.log_temperature)
        targets = self._targets(state, batch, temperature, key)
        return Task(None, (batch.observation, batch.action, targets, index), index)

    def actor_tasks(self, state: SoftState, batch: Transitions, *, key: Key) -> Task:
        """What `ActorLoss` judges the actor by; the key is consumed."""
        index = jnp.arange(self.environment.num_tasks)
        keys = jax.random.split(key, self.environment.num_tasks)
        return Task(None, (batch.observation, jnp.exp(state.log_temperature), index, keys), index)

    def _targets(self, state: SoftState, batch: Transitions, temperature: Array, key: Key) -> Array:
        """What the critics should say, (tasks, batch): the reward and the soft value of what followed."""
        index = jnp.arange(self.environment.num_tasks)
        policies = _policies(state.actor.model, batch.next_observation)
        action, log_prob = jax.vmap(TanhGaussian.sample)(policies, jax.random.split(key, len(index)))
        values = jax.vmap(state.targets)(batch.next_observation, action, index).min(axis=1)
        reward = batch.reward
        if self.normalise_rewards:
            reward = reward * state.replay.reward_scale[:, None]
        soft_value = values - temperature[:, None] * log_prob
        return reward + self.discount.astype(reward.dtype) * (1 - batch.terminated) * soft_value


def _seen(
    state: SoftState, action: Float[Array, "worlds actions"], environment: Any, shown: Timestep
) -> tuple[SoftState, Timestep]:
    """With what actions led to."""
    transitions = Transitions(state.observation, action, shown.reward, shown.last_observation, shown.terminated)
    return state._replace(
        replay=state.replay.add(transitions),
        environment=environment,
        observation=shown.observation,
        vector_steps=state.vector_steps + 1,
    ), shown


def followed(targets: T, networks: T, share: Scalar) -> T:
    """The targets, so far on their way to the networks."""
    step = lambda old, new: old + share.astype(old.dtype) * (new - old) if eqx.is_array(old) else old
    return jax.tree.map(step, targets, networks)


def _apart(state: SoftState) -> SoftState:
    """Nothing may lie in two places of the state: each step writes over the last one's memory."""
    return jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, state)


def critic_loss(critics: Twin, data: tuple) -> Scalar:
    """Half the mean squared error of both critics on one task's batch, summed over them (eq. 5)."""
    observation, action, target, task = data
    return 0.5 * jnp.mean((critics(observation, action, task) - target[None]) ** 2, axis=1).sum()


class ActorLoss(eqx.Module):
    """The mean of temperature times log-density minus the smaller critic, on one task's batch (eq. 7)."""

    critics: Twin

    def __call__(self, actor: Net, data: tuple) -> Scalar:
        """The loss; no gradient reaches the critics."""
        observation, temperature, task, key = data
        action, log_prob = TanhGaussian.of(actor(observation, task)).sample(key)
        return jnp.mean(temperature * log_prob - self.critics(observation, action, task).min(axis=0))


def _policies(actor: Net, observation: Float[Array, "tasks rows features"]) -> TanhGaussian:
    index = jnp.arange(observation.shape[0])
    return jax.vmap(lambda x, task: TanhGaussian.of(actor(x, task)))(observation, index)
