"""On-policy training: act with the policy in all worlds, judge what came of it, update, and again."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mutatis._tree import scan
from mutatis._types import Key
from mutatis._weighting import AbstractWeighting
from mutatis.rl._baseline import AbstractBaseline, ActorCritic
from mutatis.rl._batch import AbstractPolicyUpdate, Rollout, assess, by_task
from mutatis.rl._collect import Moments, Policy, Standardised, collect, discounted_so_far
from mutatis.rl._environment import Environment
from mutatis.rl._settings import check_shares
from mutatis.weightings._average import Average


class PolicyState(NamedTuple):
    """All that changes: save its arrays, and training goes on as if it had not stopped."""

    model: ActorCritic
    memory: Any
    """Of the update: optimiser, weighting."""
    environment: Any
    observation: Float[Array, "worlds features"]
    time: Int[Array, "worlds"]
    """Actions in the episode under way."""
    so_far: Float[Array, "worlds"]
    """Its rewards, added up."""
    discounted: Float[Array, "worlds"]
    """The same as `discounted_so_far` counts them; zero unless rewards are normalised."""
    observed: Moments | None
    """Of all observations before this roll-out, if they are normalised."""
    earned: Moments | None
    """Of discounted returns, by task, if rewards are normalised."""
    key: Key
    rollouts: Int[Array, ""]

    @property
    def policy(self) -> Policy:
        """What acts: from observations as the world shows them."""
        return self.model.policy if self.observed is None else Standardised(self.model.policy, self.observed)


class PolicyProgress(NamedTuple):
    """What a roll-out and its update saw, by task."""

    reward: Float[Array, "tasks"]
    """Mean of all steps, as the environment paid it."""
    success: Float[Array, "tasks"]
    """Share of all steps with success; NaN where the environment does not know."""
    episode_return: Float[Array, "tasks"]
    """Mean sum of rewards of the episodes that ended; NaN where none did."""
    episodes: Int[Array, "tasks"]
    """How many ended."""
    loss: Float[Array, "tasks"]
    kl: Float[Array, "tasks"]


class PolicyGradient(eqx.Module):
    """The settings of on-policy training; the method is an object that is handed in.

    ```python
    agent = rl.PolicyGradient(environment, rl.Proximal(epochs=10, minibatches=32), steps=2048)
    state = agent.init(policy, rl.ValueBaseline(network), key=key)
    state, progress = agent.train(state, 100)
    action = agent.act(state.policy, observation)
    ```

    - `environment`: see `Environment`. Episodes go on from one roll-out to the next.
    - `method`: `Proximal(...)` or `TrustRegion(...)`.
    - `steps`: of each world in a roll-out.
    - `discount`, `trace`: gamma and lambda, see `generalised_advantages`.
    - `weighting`: how the tasks share the update; any of the library's.
    - `normalise_advantages`: to mean zero and deviation one within each task and roll-out.
    - `normalise_observations`: whether policy and baseline see them standardised by the moments of all observations
      before the roll-out, shared by the tasks.
    - `normalise_rewards`: whether each task's rewards are divided by the standard deviation of its discounted returns
      so far, those of this roll-out included. `PolicyProgress` tells them as they were paid.

    A linear baseline is fitted to each roll-out after its update, for the next, as in rllab; at first it is zero.

    **Raises:** `ValueError` if `steps` is below 1, a share is not from 0 to 1, or the weighting needs positive losses.

    **Deviations:** Gymnasium's `NormalizeObservation` and `NormalizeReward` change their moments within a roll-out, so
    that the policy that is judged is not quite the one that acted; and `NormalizeReward` goes on adding after an
    episode that was truncated. Here moments stay through a roll-out, and each episode begins at zero.
    """

    environment: Environment
    method: AbstractPolicyUpdate
    weighting: AbstractWeighting
    discount: Float[Array, ""]
    trace: Float[Array, ""]
    steps: int = eqx.field(static=True)
    normalise_advantages: bool = eqx.field(static=True)
    normalise_observations: bool = eqx.field(static=True)
    normalise_rewards: bool = eqx.field(static=True)

    def __init__(
        self,
        environment: Environment,
        method: AbstractPolicyUpdate,
        *,
        steps: int,
        discount: float = 0.99,
        trace: float = 0.95,
        weighting: AbstractWeighting | None = None,
        normalise_advantages: bool = True,
        normalise_observations: bool = False,
        normalise_rewards: bool = False,
    ):
        if steps < 1:
            raise ValueError(f"steps is {steps}; a roll-out needs at least one step in each world, pass 1 or more.")
        check_shares(discount=discount, trace=trace)
        self.environment, self.method, self.steps = environment, method, steps
        self.discount, self.trace = jnp.asarray(discount), jnp.asarray(trace)
        self.weighting = Average() if weighting is None else weighting
        self.weighting.refuse_for_policies("weighting")
        self.normalise_advantages = normalise_advantages
        self.normalise_observations, self.normalise_rewards = normalise_observations, normalise_rewards

    def init(self, policy: Policy, baseline: AbstractBaseline, *, key: Key) -> PolicyState:
        """The state before the first roll-out.

        - `policy`: see `ActorCritic`.
        - `baseline`: `LinearBaseline`, or `ValueBaseline` with a network.
        - `key`: consumed; every random number of the training comes from it.
        """
        env, model = self.environment, ActorCritic(policy, baseline)
        key, reset_key, method_key = jax.random.split(key, 3)
        environment, observation = env.reset(reset_key)
        zeros = jnp.zeros(env.num_envs, observation.dtype)
        moments = lambda wanted, *shape: Moments.of_nothing(shape, observation.dtype) if wanted else None
        state = PolicyState(
            model=model,
            memory=self.method.init(model, self.weighting, env.num_tasks, key=method_key),
            environment=environment,
            observation=observation,
            time=jnp.zeros(env.num_envs, jnp.int32),
            so_far=zeros,
            discounted=zeros,
            observed=moments(self.normalise_observations, env.observation_size),
            earned=moments(self.normalise_rewards, env.num_tasks),
            key=key,
            rollouts=jnp.zeros((), jnp.int32),
        )
        return _apart(state)

    def restarted(self, state: PolicyState, *, key: Key) -> PolicyState:
        """The same training at the start of a new episode in every world; the key is consumed."""
        environment, observation = self.environment.reset(key)
        begun = {name: jnp.zeros_like(getattr(state, name)) for name in ("time", "so_far", "discounted")}
        return _apart(state._replace(environment=environment, observation=observation, **begun))

    @eqx.filter_jit(donate="all-except-first")
    def train(self, state: PolicyState, rollouts: int) -> tuple[PolicyState, PolicyProgress]:
        """Roll-outs with an update after each, in one compiled dispatch.

        One program for each number of roll-outs; the state is used up. Progress has the roll-outs as leading axis.
        """
        return scan(lambda state, _: self._rollout(state), state, length=rollouts)

    def act(
        self, policy: Policy, observation: Float[Array, "worlds features"], *, key: Key | None = None
    ) -> Float[Array, "worlds actions"]:
        """Actions in all worlds: drawn if there is a key, which is consumed, else without noise.

        - `policy`: `state.policy`.
        """
        tasks = self.environment.num_tasks
        every = jax.vmap(policy)(observation.reshape(tasks, -1, observation.shape[1]), jnp.arange(tasks))
        action = every.mean if key is None else every.sample(key=key)
        return action.reshape(observation.shape[0], -1)

    def _rollout(self, state: PolicyState) -> tuple[PolicyState, PolicyProgress]:
        env = self.environment
        key, act_key = jax.random.split(state.key)
        environment, observation, rollout, seen = collect(
            env, state.environment, state.observation, state.policy, steps=self.steps, key=act_key, so_far=state.so_far
        )
        state = state._replace(environment=environment, observation=observation, so_far=seen.so_far, key=key)
        after, learned_from = self._normalised(state, rollout)
        batch = assess(
            state.model.baseline,
            learned_from,
            num_tasks=env.num_tasks,
            discount=self.discount,
            trace=self.trace,
            normalise=self.normalise_advantages,
            start=state.time,
        )
        model, memory, update = self.method.update(state.model, state.memory, batch)
        ended = rollout.terminated[-1] | rollout.truncated[-1]
        last_time = batch.time.reshape(env.num_tasks, self.steps, -1)[:, -1].reshape(-1)
        state = after._replace(
            model=ActorCritic(model.policy, model.baseline.fit(batch.observation, batch.time, batch.returns)),
            memory=memory,
            time=jnp.where(ended, 0, last_time + 1).astype(state.time.dtype),
            rollouts=state.rollouts + 1,
        )
        episode_return = jnp.where(seen.ended > 0, seen.ended_return / seen.ended, jnp.nan)
        return state, PolicyProgress(seen.reward, seen.success, episode_return, seen.ended, *update)

    def _normalised(self, state: PolicyState, rollout: Rollout) -> tuple[PolicyState, Rollout]:
        """The state with the moments after the roll-out, and the roll-out as policy and baseline see it."""
        if state.observed is not None:
            observed = state.observed.add(rollout.observation.reshape(-1, rollout.observation.shape[-1]))
            standardised = state.observed.standardised
            rollout = rollout._replace(
                observation=standardised(rollout.observation), last_observation=standardised(rollout.last_observation)
            )
            state = state._replace(observed=observed)
        if state.earned is not None:
            ended = rollout.terminated | rollout.truncated
            discounted, returns = discounted_so_far(rollout.reward, ended, state.discounted, self.discount)
            tasks = self.environment.num_tasks
            earned = state.earned.add(by_task(returns, tasks).T)
            scale = jnp.repeat(jax.lax.rsqrt(earned.variance + 1e-8), self.environment.num_envs // tasks)
            reward = (rollout.reward * scale[None]).astype(rollout.reward.dtype)
            rollout = rollout._replace(reward=reward)
            state = state._replace(discounted=discounted, earned=earned)
        return state, rollout


def _apart(state: PolicyState) -> PolicyState:
    """Nothing in two places of the state: each roll-out writes over the last one's memory."""
    return jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, state)
