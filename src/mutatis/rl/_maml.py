"""MAML for policies: a start from which one gradient step on a task's own episodes goes far."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._citation import cites
from mutatis._direction import AbstractDirection, Unrolled
from mutatis._outer import OuterState, outer_init, outer_step
from mutatis._references import FINN_2017, ROTHFUSS_2019
from mutatis._rule import Learner
from mutatis._task import Task
from mutatis._tree import scan
from mutatis._types import Key, Losses, Tree
from mutatis._weighting import AbstractWeighting
from mutatis.rl._batch import Batch
from mutatis.rl._collect import Policy
from mutatis.rl._exploration import Exploring
from mutatis.rl._family import Family
from mutatis.rl._judged import judged
from mutatis.rl._play import Memoryless, Trials, play
from mutatis.rl._proximal import Proximal
from mutatis.rl._settings import check_counts, check_shares
from mutatis.rl._trust_region import TrustRegionState
from mutatis.rl._trust_region_update import TrustRegion, trust_region_step
from mutatis.weightings._average import Average


class Acting(eqx.Module):
    """A policy of `mutatis.rl` as `Memoryless` takes it.

    - `noise`: whether actions are drawn, or the likeliest (the mean) is taken.
    """

    policy: Policy
    noise: bool = eqx.field(static=True, default=True)

    def __call__(self, observation: Float[Array, "worlds features"], key: Key) -> Array:
        """Actions in all worlds."""
        chances = self.policy(observation, jnp.zeros((), jnp.int32))
        return chances.sample(key=key) if self.noise else chances.mode


class ActingByTask(eqx.Module):
    """Policies that a rule adapted, one for each task; the worlds of a task lie next to each other.

    - `state`: of the rule, (tasks, ...).
    """

    learner: Learner
    state: Tree

    def __call__(self, observation: Float[Array, "worlds features"], key: Key) -> Array:
        """Actions in all worlds."""
        rule, model = self.learner.rule, self.learner.model
        tasks = jax.tree.leaves(self.state)[0].shape[0]
        act = lambda state, observation, key: Acting(rule.bind(model, state))(observation, key)
        by_task = observation.reshape(tasks, -1, observation.shape[1])
        action = jax.vmap(act)(self.state, by_task, jax.random.split(key, tasks))
        return action.reshape(-1, *action.shape[2:])


class MAMLState(NamedTuple):
    """All that changes: save its arrays, and training goes on as if it had not stopped."""

    learner: Learner
    outer: OuterState
    key: Key
    steps: Int[Array, ""]


class MAMLProgress(NamedTuple):
    """What a step saw; means over its tasks."""

    before: Float[Array, ""]
    """Return of an episode before adaptation."""
    after: Float[Array, ""]
    """And after it."""
    loss: Float[Array, ""]
    """Surrogate of the adapted policies before the outer step."""
    accepted: Float[Array, ""]
    """1 if the outer step was taken, 0 if no step within a trust region helped."""


@cites(FINN_2017, ROTHFUSS_2019)
class MAML(eqx.Module):
    r"""The settings of MAML for policies (Finn et al. 2017, section 4.2).

    ```python
    rule = mutatis.GradientSteps(rl.surrogate_loss, learning_rate=0.1)
    learner = rl.MAML(rl.families.PointGoals(), tasks=20, episodes=20)
    state = learner.init(mutatis.Learner(policy, rule), key=key)
    state, progress = learner.train(state, 100)
    player = rl.AdaptingPlayer(state.learner, family, episodes=20)
    ```

    In each step, on every task: episodes with the policy as it is; the rule adapts it to them; episodes with the
    adapted policy, which judge it. The outer step goes through the rule, second derivatives included. With
    `TrustRegion` it is `trust_region_step`, on surrogate and KL of the *adapted* policy to the one that played
    (MAML-TRPO); with `Proximal` it is its `epochs` of steps on the clipped surrogate, each on all episodes at once
    (ProMP without its KL penalty, Rothfuss et al. 2019, algorithm 1).

    The rule's objective is judged on pairs `(Batch, distributions that played)`. With `surrogate_loss` the inner
    gradient is that of the ratio $\pi_\theta(a|s) / \pi_\text{played}(a|s)$ times the advantage: at the policy that
    played it equals $\nabla \log \pi \, A$, and its own derivative has the term that a plain log-likelihood lacks
    (low variance curvature, Rothfuss et al. 2019, section 5).

    - `family`: the tasks; those of a step are drawn by `family.sample`.
    - `method`: of the outer step, `TrustRegion(...)` or `Proximal(...)`; the minibatches of the latter and what either
      says of a value network have no effect.
    - `tasks`: in a step.
    - `episodes`: of each task, before adaptation and again after.
    - `discount`, `trace`: gamma and lambda. The baseline is linear, fitted to the very episodes that it serves.
    - `normalise_advantages`: to mean zero and deviation one within each task, as in rllab. The inner gradient is then
      as long for a goal that is near as for one that is far; as they are, its length tells them apart.
    - `exploration`: weight of the term by which episodes before adaptation answer for the return after it (E-MAML, see
      `Exploring`); 0 leaves it out.
    - `weighting`: how the tasks share the step.

    **Raises:** `ValueError` for a count below 1, a share that is not from 0 to 1, a negative exploration, or a
    weighting that needs positive losses.
    """

    family: Family
    method: TrustRegion | Proximal
    weighting: AbstractWeighting
    discount: Float[Array, ""]
    trace: Float[Array, ""]
    tasks: int = eqx.field(static=True)
    episodes: int = eqx.field(static=True)
    normalise_advantages: bool = eqx.field(static=True)
    exploration: float = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        method: TrustRegion | Proximal | None = None,
        *,
        tasks: int = 20,
        episodes: int = 10,
        discount: float = 0.99,
        trace: float = 1.0,
        normalise_advantages: bool = True,
        exploration: float = 0.0,
        weighting: AbstractWeighting | None = None,
    ):
        check_counts(tasks=tasks, episodes=episodes)
        check_shares(discount=discount, trace=trace)
        self.family, self.weighting = family, Average() if weighting is None else weighting
        self.weighting.refuse_for_policies("weighting")
        self.method = TrustRegion() if method is None else method
        if not exploration >= 0:
            raise ValueError(f"exploration is {exploration}; pass a weight of at least 0.")
        self.discount, self.trace = jnp.asarray(discount), jnp.asarray(trace)
        self.tasks, self.episodes = tasks, episodes
        self.normalise_advantages, self.exploration = normalise_advantages, exploration

    def init(self, learner: Learner, *, key: Key) -> MAMLState:
        """The state before the first step; the key is consumed."""
        key, outer_key = jax.random.split(key)
        outer = outer_init(learner, self.weighting, self.method.optim, num_groups=self.tasks, key=outer_key)
        return MAMLState(learner, outer, key, jnp.zeros((), jnp.int32))

    @eqx.filter_jit(donate="none")
    def train(self, state: MAMLState, steps: int) -> tuple[MAMLState, MAMLProgress]:
        """Steps of the outer loop, in one compiled dispatch; progress has the steps as leading axis."""
        return scan(lambda state, _: self._step(state), state, length=steps)

    def _step(self, state: MAMLState) -> tuple[MAMLState, MAMLProgress]:
        key, task_key, before_key, adapt_key, after_key = jax.random.split(state.key, 5)
        tasks = self.family.sample(task_key, self.tasks)
        learner = state.learner
        rule, model = learner.rule, learner.model
        first = self._episodes(tasks, Acting(model), before_key)
        context = jax.vmap(lambda trials: self._judged(model, trials))(first)
        update = lambda context, key: rule.update(model, rule.init(model), context, key=key)
        adapted = jax.vmap(update)(context, jax.random.split(adapt_key, self.tasks))
        second = self._episodes(tasks, ActingByTask(learner, adapted), after_key)
        query = jax.vmap(lambda state, trials: self._judged(rule.bind(model, state), trials))(adapted, second)
        direction = Exploring(self.exploration, _standardised(second)) if self.exploration else Unrolled()
        task = Task(context, query, jnp.arange(self.tasks))
        learner, outer, losses = self._follow(learner, state.outer, task, direction)
        before, after = (trials.returns().mean() for trials in (first, second))
        progress = MAMLProgress(before, after, losses.mean(), _taken(outer, losses))
        return MAMLState(learner, outer, key, state.steps + 1), progress

    def _follow(
        self, learner: Learner, outer: OuterState, tasks: Task, direction: AbstractDirection
    ) -> tuple[Learner, OuterState, Losses]:
        """The outer step, or all steps, on the episodes of this round; the losses before it."""
        method = self.method
        if not isinstance(method, Proximal):
            return trust_region_step(learner, outer, tasks, direction=direction, divergence_direction=Unrolled())
        objective = lambda policy, query: method.objective.of(
            policy(query[0].observation, query[0].task), None, query[0]
        )

        def step(carry: tuple[Learner, OuterState], _: None) -> tuple[tuple[Learner, OuterState], Losses]:
            learner, outer, losses = outer_step(*carry, tasks, objective=objective, direction=direction)
            return (learner, outer), losses

        (learner, outer), losses = scan(step, (learner, outer), length=method.epochs)
        return learner, outer, losses[0]

    def _episodes(self, tasks: Tree, policy: Callable[[Array, Key], Array], key: Key) -> Trials:
        """Episodes of every task, all side by side in one lot of worlds; leaves lead with tasks and episodes."""
        worlds = jax.tree.map(lambda x: jnp.repeat(x, self.episodes, axis=0), tasks)
        trials = play(self.family, worlds, Memoryless(policy), key=key)
        return jax.tree.map(lambda x: x[:, 0].reshape(self.tasks, self.episodes, *x.shape[2:]), trials)

    def _judged(self, policy: Policy, trials: Trials) -> tuple[Batch, Any]:
        return judged(
            policy, trials, discount=self.discount, trace=self.trace, normalise_advantages=self.normalise_advantages
        )


def _standardised(trials: Trials) -> Float[Array, "tasks"]:
    """The mean return of each task's episodes, to mean zero and deviation one over the tasks."""
    returns = trials.returns().mean(axis=1)
    return (returns - returns.mean()) / (returns.std() + 1e-8)


def _taken(outer: OuterState, losses: Losses) -> Float[Array, ""]:
    """Whether a trust region took its step; steps of another optimiser always are."""
    state: Any = outer.optim_state
    accepted = state.accepted if isinstance(state, TrustRegionState) else jnp.ones(())
    return accepted.astype(losses.dtype)
