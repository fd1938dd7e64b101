"""DREAM: learn what a task demands from its number, and apart from it to explore for just that."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mutatis._citation import cites
from mutatis._outer import OuterState, outer_init, outer_step
from mutatis._references import LIU_2021_DREAM
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import scan
from mutatis._types import Key, Scalar, Tree
from mutatis.nn._layers import beside
from mutatis.rl._dream_networks import DREAMNetworks, Episode, exploiter_rows, explorer_rows, step_rows
from mutatis.rl._dream_player import DREAMPlayer
from mutatis.rl._episodes import TrialReplay
from mutatis.rl._family import Discrete, Family
from mutatis.rl._play import play
from mutatis.rl._recurrent_q import RecurrentQ, temporal_difference
from mutatis.rl._settings import check_counts, check_shares
from mutatis.rl._soft import followed
from mutatis.rules._none import NoAdaptation
from mutatis.weightings._average import Average


class ExploredTrial(NamedTuple):
    """A task, the episode that explored it, and one that exploited."""

    task: Tree
    is_told: Bool[Array, "*trials"]
    """Whether exploiting knew the task's number."""
    explored: Episode
    exploited: Episode


class DREAMState(NamedTuple):
    """All that changes: save its arrays, and training goes on as if it had not stopped."""

    learner: Learner
    outer: OuterState
    targets: DREAMNetworks
    replay: TrialReplay
    key: Key
    iterations: Int[Array, ""]

    @property
    def networks(self) -> DREAMNetworks:
        """All of them."""
        return self.learner.model

    def player(self) -> DREAMPlayer:
        """Explores in the first episode of a trial and exploits in all others, without random actions."""
        return DREAMPlayer(self.networks)


class DREAMProgress(NamedTuple):
    """What an iteration saw."""

    returns: Float[Array, "2"]
    """Of exploring and of exploiting, the means over trials, with random actions among them."""
    loss: Float[Array, ""]
    """Of the last update, the mean over trials."""
    embedding_error: Float[Array, ""]
    """Squared distance of what the whole exploration says from what the task's number says; the mean over trials."""


@cites(LIU_2021_DREAM)
class DREAM(eqx.Module):
    r"""The settings of DREAM (Liu et al. 2021): two recurrent double Q-learners that train each other's missing part.

    Exploiting reads z = f(task) + noise, a few numbers that a bottleneck keeps to what exploiting needs. Exploring is
    paid for what its trajectory tells of them, anew whenever a trial is sampled, with the embeddings of that moment:

    $$r_t = |f(\mu) - g(\tau_{:t})|^2 - |f(\mu) - g(\tau_{:t+1})|^2 - c$$

    and g, the trajectory's embedding, is drawn to f at every step (eq. 5 and 6, algorithm 1). Without the task's number
    (at test, and in every other trial of training) exploiting reads g of the whole exploration, and is trained on it as
    it stands, so that it knows what to do when much is still open.

    - `family`: with discrete actions.
    - `identify`: what f sees of one task, (features,), such as one number out of many.
    - `instruction`: so many last features of the observation belong to the episode and not to the task; exploring does
      not see them.
    - `trials`, `updates`: an iteration's, all side by side, and the updates after them.
    - `batch`: trials in an update.
    - `latent`, `noise`: length of z, deviation of what is added to it.
    - `bound`: of the squared length of f(task), above which it costs. With the noise it is the bottleneck.
    - `step_cost`: c.
    - `trace`: lambda of the values' targets, see `temporal_difference`.
    - `anneal`: iterations in which the share of random actions falls from 1.
    - `random`: the least and the greatest share of random actions after that; the worlds lie between them, each always
      at its place, so that some always try much and some little (Horgan et al. 2018).
    - `capacity`: trials that are kept.
    - `decoupled`: `False` for the ablation: g is learned from exploiting alone, and exploring is paid, at its end, what
      exploiting then got.

    **Deviations:** target networks follow slowly in place of being copied now and then; targets of several steps; one
    optimiser and one clip of gradients for all four networks; trials side by side with different shares of random
    actions, and updates between them; g does not know the order of the steps, where the original reads them with an
    LSTM.

    **Raises:** `ValueError` for a count below 1, a share that is not from 0 to 1, actions that are not discrete, fewer
    places than trials, shares of random actions that are none, or an instruction as long as the observation.
    """

    family: Family
    identify: Callable[[Tree], Array]
    optim: optax.GradientTransformation = eqx.field(static=True)
    discount: Float[Array, ""]
    polyak: Float[Array, ""]
    noise: Float[Array, ""]
    bound: Float[Array, ""]
    step_cost: Float[Array, ""]
    trace: Float[Array, ""]
    random: Float[Array, "2"]
    anneal: int = eqx.field(static=True)
    instruction: int = eqx.field(static=True)
    trials: int = eqx.field(static=True)
    updates: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    decoupled: bool = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        identify: Callable[[Tree], Array],
        *,
        instruction: int = 0,
        trials: int = 32,
        updates: int = 16,
        batch: int = 32,
        latent: int = 64,
        noise: float = 0.1,
        bound: float = 10.0,
        step_cost: float = 0.1,
        learning_rate: float | optax.Schedule = 1e-3,
        clip_norm: float = 10.0,
        discount: float = 0.99,
        polyak: float = 0.005,
        trace: float = 0.8,
        anneal: int = 200,
        random: tuple[float, float] = (0.01, 0.4),
        capacity: int = 4_096,
        decoupled: bool = True,
    ):
        check_counts(trials=trials, updates=updates, batch=batch, latent=latent, anneal=anneal)
        check_shares(discount=discount, polyak=polyak, trace=trace)
        if not isinstance(family.actions, Discrete):
            raise ValueError("family: its actions are not Discrete, and Q-learning takes the best of a few.")
        if capacity < trials:
            raise ValueError(f"capacity is {capacity}, less than the {trials} trials of an iteration.")
        if not 0 < random[0] <= random[1] <= 1:
            raise ValueError(f"random is {random}; choose shares with 0 < least <= greatest <= 1.")
        if not 0 <= instruction < family.observation_size:
            raise ValueError(
                f"instruction is {instruction}; an observation has {family.observation_size} features, and exploring "
                "must see at least one."
            )
        self.family, self.identify = family, identify
        self.optim = optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(learning_rate))
        self.discount, self.polyak, self.noise = map(jnp.asarray, (discount, polyak, noise))
        self.bound, self.step_cost = map(jnp.asarray, (bound, step_cost))
        self.trace, self.random, self.anneal = jnp.asarray(trace), jnp.asarray(random), anneal
        self.instruction, self.trials, self.updates, self.batch = instruction, trials, updates, batch
        self.latent, self.capacity, self.decoupled = latent, capacity, decoupled

    def networks(self, *, width: int = 64, key: Key) -> DREAMNetworks:
        """Untrained ones; the key is consumed."""
        task = jax.eval_shape(lambda: jax.tree.map(lambda x: x[0], self.family.sample(jax.random.key(0), 1)))
        identity = jax.eval_shape(self.identify, task).shape[0]
        return DREAMNetworks(self.family, identity, self.instruction, self.latent, width, key=key)

    def init(self, networks: DREAMNetworks, *, key: Key) -> DREAMState:
        """The state before the first trial; the key is consumed."""
        key, outer_key = jax.random.split(key)
        learner = Learner(networks, NoAdaptation())
        outer = outer_init(learner, Average(), self.optim, num_groups=self.batch, key=outer_key)
        one = jax.eval_shape(lambda key: self._played(networks, jnp.zeros(self.trials), key)[0], key)
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), one)
        return DREAMState(
            learner, outer, networks, TrialReplay.empty(like, self.capacity), key, jnp.zeros((), jnp.int32)
        )

    @eqx.filter_jit(donate="none")
    def train(self, state: DREAMState, iterations: int) -> tuple[DREAMState, DREAMProgress]:
        """Iterations of trials and updates, in one compiled dispatch; progress has them as leading axis."""
        return scan(lambda state, _: self._iterate(state), state, length=iterations)

    def _iterate(self, state: DREAMState) -> tuple[DREAMState, DREAMProgress]:
        key, play_key, update_key = jax.random.split(state.key, 3)
        explored, returns = self._played(state.networks, self.random_shares(state.iterations), play_key)
        replay = state.replay.add(explored)
        state = state._replace(replay=replay, key=key, iterations=state.iterations + 1)
        keys = jax.random.split(update_key, self.updates)
        state, (losses, errors) = scan(lambda state, key: self.update(state, key=key), state, keys)
        return state, DREAMProgress(returns.mean(axis=0), losses[-1], errors[-1])

    def random_shares(self, iterations: Int[Array, ""]) -> Float[Array, "trials"]:
        """Of random actions in every world, after so many iterations."""
        done = jnp.minimum(iterations / self.anneal, 1)
        low, high = jnp.log(self.random)
        # Pairs of worlds, one told and one not, share a place.
        place = (jnp.arange(self.trials) // 2) / max(1, (self.trials - 1) // 2)
        return 1 - done + done * jnp.exp(low + (high - low) * place)

    def _played(
        self, networks: DREAMNetworks, random_share: Array, key: Key
    ) -> tuple[ExploredTrial, Float[Array, "trials 2"]]:
        """A trial of each of some tasks, and the returns; every other one exploits knowing its task's number."""
        task_key, noise_key, play_key = jax.random.split(key, 3)
        tasks = self.family.sample(task_key, self.trials)
        told = networks.identity(jax.vmap(self.identify)(tasks).astype(self.noise.dtype))
        told = told + self.noise * jax.random.normal(noise_key, told.shape, told.dtype)
        is_told = (jnp.arange(self.trials) % 2 == 0) & self.decoupled
        player = DREAMPlayer(networks, random_share, told, is_told)
        trials = play(self.family, tasks, player, key=play_key, episodes=2)
        return ExploredTrial(tasks, is_told, Episode.of(trials, 0), Episode.of(trials, 1)), trials.returns()

    def update(self, state: DREAMState, *, key: Key) -> tuple[DREAMState, tuple[Scalar, Scalar]]:
        """One step of all networks on a batch of trials: the mean loss, and the error of what trajectories say."""
        sample_key, noise_key = jax.random.split(key)
        batch = state.replay.sample(self.batch, key=sample_key)
        query = (batch, jax.random.split(noise_key, self.batch))
        objective = DREAMLoss(self, state.targets)
        task = Task(None, query, jnp.arange(self.batch))
        learner, outer, losses = outer_step(state.learner, state.outer, task, objective=objective)
        errors = jax.vmap(lambda trial: objective.distances(state.networks, trial)[-1])(batch)
        targets = followed(state.targets, learner.model, self.polyak)
        return state._replace(learner=learner, outer=outer, targets=targets), (losses.mean(), errors.mean())


class DREAMLoss(eqx.Module):
    """The loss of all four networks on one trial, each reached by its own part alone.

    Exploiting trains its network and, where it was told the task, through z the embedding f, which the bottleneck
    trains too; trajectories train g; exploring trains its network. Not `decoupled`, exploiting trains g in the place of
    f.
    """

    settings: DREAM
    targets: DREAMNetworks

    def __call__(self, networks: DREAMNetworks, query: tuple[ExploredTrial, Key]) -> Scalar:
        """The sum of the parts."""
        trial, key = query
        exploiting, bottleneck = self.exploiting(networks, trial, key)
        parts = exploiting + bottleneck + self.exploring(networks, trial)
        return parts + self.embedding(networks, trial) if self.settings.decoupled else parts

    def exploiting(self, networks: DREAMNetworks, trial: ExploredTrial, key: Key) -> tuple[Scalar, Scalar]:
        """The squared errors of exploiting, and what f(task) costs for its length."""
        of = self.settings
        known = self.task_embedding(networks, trial)
        noisy = known + of.noise * jax.random.normal(key, known.shape, known.dtype)
        explored = networks.trajectory.prefixes(*self._steps(trial))[-1]
        z = jnp.where(trial.is_told, noisy, jax.lax.stop_gradient(explored)) if of.decoupled else explored
        rows = exploiter_rows(trial.exploited, of.family.actions)
        error = self._error(networks.exploiter, self.targets.exploiter, rows, trial.exploited, z)
        return error, jnp.maximum(jnp.sum(jnp.square(known)), of.bound) * of.decoupled

    def embedding(self, networks: DREAMNetworks, trial: ExploredTrial) -> Scalar:
        """Squared distance of g from f, the mean over all beginnings of the trajectory; trains g alone."""
        return jnp.mean(self._distances(networks, trial, jax.lax.stop_gradient(self.task_embedding(networks, trial))))

    def exploring(self, networks: DREAMNetworks, trial: ExploredTrial) -> Scalar:
        """The squared errors of exploring."""
        rows = explorer_rows(trial.explored, self.settings.family.actions, self.settings.instruction)
        paid = trial.explored._replace(reward=self.exploring_rewards(networks, trial))
        return self._error(networks.explorer, self.targets.explorer, rows, paid, None)

    def exploring_rewards(self, networks: DREAMNetworks, trial: ExploredTrial) -> Float[Array, "horizon"]:
        """What every step of exploring was worth, as the embeddings are now; no gradient flows."""
        real = trial.explored.real
        if not self.settings.decoupled:
            last = real & ~jnp.concatenate([real[1:], jnp.zeros(1, bool)])
            return jnp.where(last, trial.exploited.reward.sum(), 0)
        distances = jax.lax.stop_gradient(self.distances(networks, trial))
        return jnp.where(real, distances[:-1] - distances[1:] - self.settings.step_cost, 0)

    def distances(self, networks: DREAMNetworks, trial: ExploredTrial) -> Float[Array, "horizon+1"]:
        """Squared distances of g from f before the first step, and after each."""
        return self._distances(networks, trial, self.task_embedding(networks, trial))

    def task_embedding(self, networks: DREAMNetworks, trial: ExploredTrial) -> Float[Array, "latent"]:
        """f of the trial's task."""
        return networks.identity(self.settings.identify(trial.task)[None].astype(self.settings.noise.dtype))[0]

    def _distances(self, networks: DREAMNetworks, trial: ExploredTrial, known: Array) -> Array:
        said = networks.trajectory.prefixes(*self._steps(trial))
        return jnp.sum(jnp.square(said - known[None]), axis=1)

    def _steps(self, trial: ExploredTrial) -> tuple[Array, Bool[Array, "horizon"]]:
        rows = step_rows(trial.explored, self.settings.family.actions, self.settings.instruction)
        return rows, trial.explored.real

    def _error(self, network: RecurrentQ, target: RecurrentQ, rows: Array, episode: Episode, z: Array | None) -> Scalar:
        joined = rows if z is None else beside(rows, z)
        values = network.episode(joined, episode.real)
        later = jax.lax.stop_gradient(target.episode(joined, episode.real))
        return temporal_difference(
            values,
            later,
            episode.action,
            episode.reward,
            episode.terminated,
            episode.real,
            self.settings.discount,
            self.settings.trace,
        )
