"""VariBAD: a policy that sees what it believes of its task, and how sure of it it is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mutatis._citation import cites
from mutatis._outer import OuterState, outer_init, outer_step
from mutatis._references import ZINTGRAF_2020
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import scan
from mutatis._types import Key, Tree
from mutatis.nn import Sequential, SmallUniform, Start, mlp
from mutatis.rl._batch import minibatch_orders
from mutatis.rl._family import Box, Discrete, Family
from mutatis.rl._gaussian import Gaussian
from mutatis.rl._memory import GRU, AbstractMemory
from mutatis.rl._play import Trials, play
from mutatis.rl._proximal import ProximalLoss
from mutatis.rl._recurrent import RecurrentPlayer, Seen, inputs
from mutatis.rl._rl2 import RL2
from mutatis.rl._settings import check_counts
from mutatis.rl._varibad_model import BeliefEncoder, Lived, TaskDecoder, TaskModel, TrialBound, lived
from mutatis.rules._none import NoAdaptation
from mutatis.weightings._average import Average

ACTOR_START = Start(last=SmallUniform(0.01))
"""At first all actions are about equally likely."""


class BeliefActor(eqx.Module):
    """What to do, and what the rest of the trial will bring, at an observation with a belief beside it.

    - `latent`: length of m.
    - `hidden`: units of the hidden layers of both networks.
    """

    policy: Sequential
    value: Sequential
    actions: Discrete | Box = eqx.field(static=True)

    def __init__(self, family: Family, latent: int, *, hidden: Sequence[int] = (64, 64), key: Key):
        policy_key, value_key = jax.random.split(key)
        layers = (family.observation_size + 2 * latent, *hidden)
        self.actions = family.actions
        self.policy = mlp((*layers, family.actions.outputs), activation=jnp.tanh, start=ACTOR_START, key=policy_key)
        self.value = mlp((*layers, 1), activation=jnp.tanh, key=value_key)

    def trial(self, seen: Seen) -> tuple[Any, Float[Array, "rows"]]:
        """Distributions of actions and values in rows whose observation is that of `believed`."""
        return self.distribution(seen.observation), self.value(seen.observation)[:, 0]

    def distribution(self, told: Float[Array, "rows numbers"]) -> Any:
        """Of the action in every row."""
        return self.actions.distribution(self.policy(told))


def believed(observation: Float[Array, "rows features"], belief: Gaussian) -> Float[Array, "rows numbers"]:
    """What an actor sees: observations, and beside them means and log variances, through which no gradient flows."""
    numbers = jax.lax.stop_gradient((belief.mean, 2 * belief.log_std))
    return jnp.concatenate([observation, *(x.astype(observation.dtype) for x in numbers)], axis=-1)


class BeliefPolicy(eqx.Module):
    """Acts on what it sees and believes: for `RecurrentPlayer`, whose memory is then the encoder's."""

    encoder: BeliefEncoder
    actor: BeliefActor

    @property
    def memory(self) -> AbstractMemory:
        """The encoder's."""
        return self.encoder.memory

    @property
    def actions(self) -> Discrete | Box:
        """Of the family."""
        return self.actor.actions

    def trial(self, seen: Seen) -> tuple[Any, Float[Array, "rows"]]:
        """Distributions of actions and values in all rows of one trial, from its beginning."""
        told = believed(seen.observation, self.encoder.trial(seen))
        return self.actor.trial(seen._replace(observation=told))

    def step(self, state: Tree, seen: Seen) -> tuple[Tree, Any]:
        """The memory, and the distributions of actions, in N worlds one row later."""
        state, belief = self.encoder.step(state, seen)
        return state, self.actor.distribution(believed(seen.observation, belief))


class VariBADState(NamedTuple):
    """All that changes: save its arrays, and training goes on as if it had not stopped."""

    acting: Learner
    """A `BeliefActor`."""
    modelling: Learner
    """A `TaskModel`."""
    acting_outer: OuterState
    modelling_outer: OuterState
    key: Key
    updates: Int[Array, ""]

    @property
    def policy(self) -> BeliefPolicy:
        """What acts."""
        return BeliefPolicy(self.model.encoder, self.acting.model)

    @property
    def model(self) -> TaskModel:
        """What is believed of tasks, and what that means."""
        return self.modelling.model

    def player(self, *, noise: bool = True) -> RecurrentPlayer:
        """What plays with the policy as it is; `noise` as in `RecurrentPlayer`."""
        return RecurrentPlayer(self.policy, noise)

    def beliefs(self, trials: Trials) -> Gaussian:
        """What is believed in every row of some trials before its action, (worlds, episodes, horizon, latent)."""
        rows = lived(trials, self.policy.actions)
        belief = jax.vmap(self.model.encoder.trial)(rows.seen)
        return jax.tree.map(lambda x: x.reshape(*trials.reward.shape, -1), belief)


class VariBADProgress(NamedTuple):
    """What an update saw."""

    returns: Float[Array, "episodes"]
    """Of the episodes of a trial, the mean over trials, before the update."""
    reconstruction: Float[Array, ""]
    """The surprise of `TrialBound`, in nats a trial; of one minibatch, before the update."""
    divergence: Float[Array, ""]
    """By how much a row changes the belief, in nats; likewise."""
    loss: Float[Array, ""]
    """The policy's."""
    kl: Float[Array, ""]
    """KL(policy that played || policy after the update), approximately, in nats a step."""


@cites(ZINTGRAF_2020)
class VariBAD(eqx.Module):
    r"""The settings of VariBAD (Zintgraf et al. 2020): PPO on trials, by a policy that sees its belief about the task.

    A recurrent encoder turns the trial so far into a Gaussian over m; decoders of rewards (and of observations) train
    it to know what the whole trial brings, `TrialBound`. The policy sees mean and log variance as numbers and trains
    them not.

    ```python
    family = rl.families.BernoulliBandits(arms=5, horizon=10)
    learner = rl.VariBAD(family, trials=512)
    state = learner.init(*learner.networks(key=network_key), key=key)
    state, progress = learner.train(state, 100)
    rl.play(family, tasks, state.player(), key=key).returns()
    ```

    - `family`, `episodes`, `trials`, `epochs`, `minibatches`, `objective`, `learning_rate`, `clip_norm`, `discount`,
      `trace`, `reward_scale`: of the policy, see `RL2`.
    - `latent`: length of m.
    - `model_epochs`, `model_rate`: passes of encoder and decoders over the same trials, in as many minibatches, and
      the rate of their Adam.
    - `decoded`, `divergence`: see `TrialBound`.

    **Deviations:** encoder and decoders learn from the trials of the update alone, not from a buffer of earlier ones;
    the bound is a mean over rows where the paper has a sum, which Adam does not feel; before the first row the belief
    is N(0, I), in the authors' code what the encoder says of an empty trial.

    **Raises:** `ValueError` for a count below 1, a share that is not from 0 to 1, or if the minibatches do not divide
    the trials.
    """

    control: RL2
    bound: TrialBound
    optim: optax.GradientTransformation = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    model_epochs: int = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        *,
        latent: int = 5,
        episodes: int = 1,
        trials: int = 512,
        epochs: int = 4,
        minibatches: int = 4,
        model_epochs: int = 1,
        decoded: int = 8,
        divergence: float = 0.1,
        objective: ProximalLoss | None = None,
        learning_rate: float | optax.Schedule = 1e-3,
        model_rate: float | optax.Schedule = 1e-3,
        clip_norm: float = 1.0,
        discount: float = 0.99,
        trace: float = 0.95,
        reward_scale: float = 1.0,
    ):
        check_counts(latent=latent, model_epochs=model_epochs, decoded=decoded)
        self.control = RL2(
            family,
            episodes=episodes,
            trials=trials,
            epochs=epochs,
            minibatches=minibatches,
            objective=objective,
            learning_rate=learning_rate,
            clip_norm=clip_norm,
            discount=discount,
            trace=trace,
            reward_scale=reward_scale,
        )
        self.bound = TrialBound(jnp.asarray(divergence), decoded)
        self.optim = optax.adam(model_rate)
        self.latent, self.model_epochs = latent, model_epochs

    def networks(
        self,
        *,
        width: int = 64,
        hidden: Sequence[int] = (64, 64),
        by_arrival: bool = False,
        outcomes: bool = False,
        key: Key,
    ) -> tuple[BeliefActor, TaskModel]:
        """Untrained ones; the key is consumed.

        - `width`: of the encoder, a `GRU`.
        - `hidden`: units of the hidden layers of actor and decoders.
        - `by_arrival`, `outcomes`: see `TaskDecoder`.
        """
        actor_key, memory_key, encoder_key, decoder_key = jax.random.split(key, 4)
        family = self.control.family
        encoder = BeliefEncoder(family, GRU(inputs(family), width, key=memory_key), self.latent, key=encoder_key)
        decoder = TaskDecoder(
            family, self.latent, hidden=hidden, by_arrival=by_arrival, outcomes=outcomes, key=decoder_key
        )
        return BeliefActor(family, self.latent, hidden=hidden, key=actor_key), TaskModel(encoder, decoder)

    def init(self, actor: BeliefActor, model: TaskModel, *, key: Key) -> VariBADState:
        """The state before the first trial; the key is consumed.

        **Raises:** `ValueError` if the actor has no room for the beliefs of the model.
        """
        numbers = self.control.family.observation_size + model.encoder.head.bias.shape[0]
        room = actor.policy.layers[0].weight.shape[0]
        if room != numbers:
            raise ValueError(
                f"actor: takes {room} numbers, but observation and belief are {numbers}; make actor and model with one "
                "latent."
            )
        acting_key, modelling_key, key = jax.random.split(key, 3)
        control = self.control.init(actor, key=acting_key)
        modelling = Learner(model, NoAdaptation())
        size = self.control.trials // self.control.minibatches
        outer = outer_init(modelling, Average(), self.optim, num_groups=size, key=modelling_key)
        return VariBADState(control.learner, modelling, control.outer, outer, key, jnp.zeros((), jnp.int32))

    @eqx.filter_jit(donate="none")
    def train(self, state: VariBADState, updates: int) -> tuple[VariBADState, VariBADProgress]:
        """Trials with an update after each lot, in one compiled dispatch; progress has the updates as leading axis."""
        return scan(lambda state, _: self._update(state), state, length=updates)

    def _update(self, state: VariBADState) -> tuple[VariBADState, VariBADProgress]:
        key, task_key, play_key, acting_key, modelling_key = jax.random.split(state.key, 5)
        control = self.control
        tasks = control.family.sample(task_key, control.trials)
        trials = play(control.family, tasks, state.player(), key=play_key, episodes=control.episodes)
        told = trials._replace(observation=believed(trials.observation, state.beliefs(trials)))
        acting, acting_outer, seen = control.improve(state.acting, state.acting_outer, told, key=acting_key)
        modelling, modelling_outer, terms = self.understand(
            state.modelling, state.modelling_outer, lived(trials, control.family.actions), key=modelling_key
        )
        state = VariBADState(acting, modelling, acting_outer, modelling_outer, key, state.updates + 1)
        return state, VariBADProgress(seen.returns, *terms, seen.loss, seen.kl)

    def understand(
        self, modelling: Learner, outer: OuterState, rows: Lived, *, key: Key
    ) -> tuple[Learner, OuterState, tuple[Array, Array]]:
        """All passes of encoder and decoders over trials; the terms of the first minibatch before them.

        The key is consumed.
        """
        order_key, first_key, key = jax.random.split(key, 3)
        trials, minibatches = self.control.trials, self.control.minibatches
        size = trials // minibatches
        orders = minibatch_orders(order_key, self.model_epochs, 1, trials, minibatches)[:, 0]

        def query(order: Array, key: Key) -> tuple[Lived, Array]:
            return jax.tree.map(lambda x: x[order], rows), jax.random.split(key, size)

        def step(carry: tuple[Learner, OuterState], drawn: tuple[Array, Key]) -> tuple:
            task = Task(None, query(*drawn), jnp.arange(size))
            learner, outer, _ = outer_step(*carry, task, objective=self.bound)
            return (learner, outer), None

        terms = jax.vmap(lambda each: self.bound.terms(modelling.model, each))(query(orders[0], first_key))
        keys = jax.random.split(key, orders.shape[0])
        (modelling, outer), _ = scan(step, (modelling, outer), (orders, keys))
        return modelling, outer, jax.tree.map(jnp.mean, terms)
