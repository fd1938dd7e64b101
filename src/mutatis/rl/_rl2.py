"""RL2: a recurrent policy, trained by reinforcement learning over whole trials, becomes itself a learning algorithm."""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Shaped

from mutatis._citation import cites
from mutatis._outer import OuterState, outer_init, outer_step
from mutatis._references import DUAN_2016_RL2, WANG_2016
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import scan
from mutatis._types import Key, Scalar
from mutatis._weighting import AbstractWeighting
from mutatis.rl._batch import minibatch_orders
from mutatis.rl._family import Box, Discrete, Family
from mutatis.rl._play import Trials, play
from mutatis.rl._proximal import ProximalLoss, approximate_divergence
from mutatis.rl._recurrent import RecurrentPlayer, RecurrentPolicy, Seen
from mutatis.rl._settings import check_counts, check_shares
from mutatis.rules._none import NoAdaptation
from mutatis.weightings._average import Average


class TrialPolicy(Protocol):
    """What acts in whole trials, such as `RecurrentPolicy`."""

    def trial(self, seen: Seen) -> tuple[Any, Float[Array, "rows"]]:
        """Distributions of actions and values in all rows of one trial, from its beginning."""
        ...


class TrialRows(NamedTuple):
    """The rows of trials, one after the other over the episodes, with what they were worth."""

    seen: Seen
    action: Shaped[Array, "..."]
    log_prob: Float[Array, "*trials rows"]
    advantage: Float[Array, "*trials rows"]
    value: Float[Array, "*trials rows"]
    target: Float[Array, "*trials rows"]
    """Advantage before normalisation, plus value."""


class RL2State(NamedTuple):
    """All that changes: save its arrays, and training goes on as if it had not stopped."""

    learner: Learner
    outer: OuterState
    key: Key
    updates: Int[Array, ""]

    @property
    def policy(self) -> RecurrentPolicy:
        """What acts, see `RecurrentPlayer`."""
        return self.learner.model


class RL2Progress(NamedTuple):
    """What an update saw."""

    returns: Float[Array, "episodes"]
    """Of the episodes of a trial, the mean over trials, before the update."""
    loss: Float[Array, ""]
    kl: Float[Array, ""]
    """KL(policy that played || policy after the update), approximately, in nats a step."""


@cites(DUAN_2016_RL2, WANG_2016)
class RL2(eqx.Module):
    """The settings of RL2 (Duan et al. 2016; Wang et al. 2016): PPO on trials of several episodes.

    ```python
    family = rl.families.BernoulliBandits(arms=5, horizon=10)
    learner = rl.RL2(family, trials=512)
    state = learner.init(rl.recurrent_policy(family, key=policy_key), key=key)
    state, progress = learner.train(state, 100)
    rl.play(family, tasks, rl.RecurrentPlayer(state.policy), key=key).returns()
    ```

    - `family`: the tasks; those of a trial are drawn by `family.sample`.
    - `episodes`: of a trial. The policy's memory and the advantages go on from one to the next, for what is learned
      in one is worth something in the next.
    - `trials`: in an update, each with a task of its own.
    - `epochs`, `minibatches`: passes over them, and minibatches of whole trials in each.
    - `objective`: clip, value and entropy terms, see `ProximalLoss`.
    - `discount`, `trace`: gamma and lambda, see `trial_advantages`.
    - `reward_scale`: by which rewards are multiplied before anything is learned from them.
    - `weighting`: how the trials of a minibatch share the step.

    **Deviations:** PPO in place of the TRPO of Duan et al. and the A3C of Wang et al., as in later work; no row is cut:
    gradients go through whole trials.

    **Raises:** `ValueError` for a count below 1, a share that is not from 0 to 1, or if the minibatches do not divide
    the trials.
    """

    family: Family
    objective: ProximalLoss
    optim: optax.GradientTransformation = eqx.field(static=True)
    weighting: AbstractWeighting
    discount: Float[Array, ""]
    trace: Float[Array, ""]
    reward_scale: Float[Array, ""]
    episodes: int = eqx.field(static=True)
    trials: int = eqx.field(static=True)
    epochs: int = eqx.field(static=True)
    minibatches: int = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        *,
        episodes: int = 1,
        trials: int = 512,
        epochs: int = 4,
        minibatches: int = 4,
        objective: ProximalLoss | None = None,
        learning_rate: float | optax.Schedule = 1e-3,
        clip_norm: float = 1.0,
        discount: float = 0.99,
        trace: float = 0.95,
        reward_scale: float = 1.0,
        weighting: AbstractWeighting | None = None,
    ):
        check_counts(episodes=episodes, trials=trials, epochs=epochs, minibatches=minibatches)
        check_shares(discount=discount, trace=trace)
        if trials % minibatches:
            raise ValueError(f"minibatches is {minibatches}, which does not divide the {trials} trials.")
        self.family, self.weighting = family, Average() if weighting is None else weighting
        self.weighting.refuse_for_policies("weighting")
        self.objective = ProximalLoss(entropy=0.01) if objective is None else objective
        self.optim = optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(learning_rate, eps=1e-5))
        self.discount, self.trace, self.reward_scale = map(jnp.asarray, (discount, trace, reward_scale))
        self.episodes, self.trials, self.epochs, self.minibatches = episodes, trials, epochs, minibatches

    def init(self, policy: TrialPolicy, *, key: Key) -> RL2State:
        """The state before the first trial; the key is consumed."""
        key, outer_key = jax.random.split(key)
        learner = Learner(policy, NoAdaptation())
        size = self.trials // self.minibatches
        outer = outer_init(learner, self.weighting, self.optim, num_groups=size, key=outer_key)
        return RL2State(learner, outer, key, jnp.zeros((), jnp.int32))

    @eqx.filter_jit(donate="none")
    def train(self, state: RL2State, updates: int) -> tuple[RL2State, RL2Progress]:
        """Trials with an update after each lot, in one compiled dispatch; progress has the updates as leading axis."""
        return scan(lambda state, _: self._update(state), state, length=updates)

    def _update(self, state: RL2State) -> tuple[RL2State, RL2Progress]:
        key, task_key, play_key, order_key = jax.random.split(state.key, 4)
        tasks = self.family.sample(task_key, self.trials)
        player = RecurrentPlayer(state.policy)
        trials = play(self.family, tasks, player, key=play_key, episodes=self.episodes)
        learner, outer, progress = self.improve(state.learner, state.outer, trials, key=order_key)
        return RL2State(learner, outer, key, state.updates + 1), progress

    def improve(
        self, learner: Learner, outer: OuterState, trials: Trials, *, key: Key
    ) -> tuple[Learner, OuterState, RL2Progress]:
        """All passes over trials that the learner's model played: a `TrialPolicy`. The key is consumed."""
        rows = self.assess(learner.model, trials)
        orders = minibatch_orders(key, self.epochs, 1, self.trials, self.minibatches)[:, 0]

        def step(carry: tuple[Learner, OuterState], order: Array) -> tuple[tuple[Learner, OuterState], Array]:
            query = jax.tree.map(lambda x: x[order], rows)
            task = Task(None, query, jnp.arange(order.shape[0]))
            learner, outer, losses = outer_step(*carry, task, objective=TrialLoss(self.objective))
            return (learner, outer), losses.mean()

        (learner, outer), losses = scan(step, (learner, outer), orders)
        kl = _divergence(learner.model, rows)
        return learner, outer, RL2Progress(trials.returns().mean(axis=0), losses.mean(), kl)

    def assess(self, policy: TrialPolicy, trials: Trials) -> TrialRows:
        """What every row was worth to the policy that played it; advantages have mean 0 and deviation 1 over all."""
        seen, action = jax.vmap(lambda trial: trial_rows(trial, self.family.actions))(trials)
        chances, value = jax.vmap(policy.trial)(seen)
        reward = self.reward_scale * trials.reward.reshape(value.shape)
        advantage = jax.vmap(lambda *each: trial_advantages(*each, discount=self.discount, trace=self.trace))(
            reward, value, seen.real
        )
        share = seen.real / jnp.sum(seen.real)
        centred = advantage - jnp.sum(share * advantage)
        scaled = centred / (jnp.sqrt(jnp.sum(share * jnp.square(centred))) + 1e-8)
        return TrialRows(seen, action, chances.log_prob(action), scaled, value, advantage + value)


def trial_rows(trial: Trials, actions: Discrete | Box) -> tuple[Seen, Shaped[Array, "rows ..."]]:
    """One trial, (episodes, horizon, ...), as a policy saw it and what it did: rows over all episodes."""
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trial._replace(info={}))
    episodes, horizon = trial.reward.shape
    first = jnp.tile(jnp.arange(horizon) == 0, episodes)
    numbers = jnp.arange(episodes * horizon)
    latest = jax.lax.cummax(jnp.where(rows.real, numbers, -1))
    before = jnp.concatenate([jnp.full(1, -1), latest[:-1]])
    none = actions.none(episodes * horizon)
    is_first = (before < 0).reshape(-1, *(1,) * (none.ndim - 1))
    action = jnp.where(is_first, none, rows.action[before])
    reward = jnp.where(before < 0, 0, rows.reward[before])
    return Seen(rows.observation, action, reward, first, rows.real), rows.action


def trial_advantages(
    reward: Float[Array, "rows"],
    value: Float[Array, "rows"],
    real: Bool[Array, "rows"],
    *,
    discount: float | Scalar,
    trace: float | Scalar,
) -> Float[Array, "rows"]:
    r"""Generalised advantages of one trial, which go on where an episode ends; after the trial comes nothing.

    $$A_t = \delta_t + \gamma \lambda A_{t'}, \qquad \delta_t = r_t + \gamma V_{t'} - V_t$$

    with t' the next row that is real (Schulman et al. 2016, eq. 16; not cut at the ends of episodes as in Duan et al.
    2016, section 2.2). Rows that are not real have 0.
    """

    def back(later: tuple[Array, Array], row: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        next_value, next_advantage = later
        reward, value, real = row
        advantage = reward + discount * next_value - value + discount * trace * next_advantage
        on = lambda new, old: jnp.where(real, new, old).astype(new.dtype)
        return (on(value, next_value), on(advantage, next_advantage)), on(advantage, jnp.zeros_like(advantage))

    nothing = jnp.zeros((), value.dtype)
    return jax.lax.scan(back, (nothing, nothing), (reward.astype(value.dtype), value, real), reverse=True)[1]


class TrialLoss(eqx.Module):
    """`ProximalLoss` on one trial, the policy's memory included."""

    objective: ProximalLoss

    def __call__(self, policy: TrialPolicy, rows: TrialRows) -> Scalar:
        """Rows after the end of an episode do not count."""
        return self.objective.of(*policy.trial(rows.seen), rows, rows.seen.real)


def _divergence(policy: TrialPolicy, rows: TrialRows) -> Scalar:
    """The mean over real rows."""
    chances, _ = jax.vmap(policy.trial)(rows.seen)
    each = approximate_divergence(chances.log_prob(rows.action) - rows.log_prob)
    return jnp.sum(each * rows.seen.real) / jnp.sum(rows.seen.real)
