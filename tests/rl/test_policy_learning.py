"""PPO and TRPO learn two tasks at once whose best return is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reach_toy import TASKS, best_return, play, tanh_net

import mutatis
from mutatis import nn
from mutatis.rl._baseline import ActorCritic, LinearBaseline, ValueBaseline
from mutatis.rl._batch import assess
from mutatis.rl._gaussian import GaussianPolicy
from mutatis.rl._proximal import ProximalLoss, ppo_update
from mutatis.rl._trust_region import trust_region
from mutatis.rl._trust_region_update import trpo_update


def policy_and_value():
    keys = jax.random.split(jax.random.key(0), 2)
    policy = GaussianPolicy(nn.OneHotTask(tanh_net(6, 32, 32, 2, key=keys[0]), TASKS), 2, std=0.5)
    return policy, ValueBaseline(nn.OneHotTask(tanh_net(6, 32, 32, 1, key=keys[1]), TASKS))


def without_noise(policy):
    return eqx.tree_at(lambda p: p.log_std, policy, jnp.full_like(policy.log_std, -12.0))


def shortfall(policy):
    """How much the return without noise is below the best, as a share of it, for each task."""
    key = jax.random.key(99)
    _, returns = eqx.filter_jit(play)(without_noise(policy), key, 1000)
    of_task = lambda x: np.asarray(x).reshape(TASKS, -1).mean(axis=1)
    return of_task(returns) / of_task(best_return(key, 1000)) - 1


@pytest.mark.parametrize("weighting", [mutatis.Average(), mutatis.PCGrad()], ids=["mean", "PCGrad"])
def test_proximal_policy_optimisation(weighting):
    learner = mutatis.Learner(ActorCritic(*policy_and_value()), mutatis.NoAdaptation())
    optim = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
    state = mutatis.outer_init(learner, weighting, optim, num_groups=TASKS, key=jax.random.key(1))
    objective = ProximalLoss()

    @eqx.filter_jit
    def train(learner, state, keys):
        arrays, static = eqx.partition((learner, state), eqx.is_array)

        def iteration(arrays, key):
            learner, state = eqx.combine(arrays, static)
            rollout, _ = play(learner.model.policy, key, 64)
            batch = assess(learner.model.baseline, rollout, num_tasks=TASKS, discount=0.9, trace=0.9)
            learner, state, _ = ppo_update(learner, state, batch, objective=objective, epochs=5, minibatches=4)
            return eqx.filter((learner, state), eqx.is_array), None

        return eqx.combine(jax.lax.scan(iteration, arrays, keys)[0], static)

    learner, state = train(learner, state, jax.random.split(jax.random.key(2), 120))
    assert shortfall(learner.model.policy).mean() < 0.15


def test_trust_region_policy_optimisation():
    policy, _ = policy_and_value()
    learner = mutatis.Learner(policy, mutatis.NoAdaptation())
    optim = trust_region(jnp.array(0.02, jnp.float32))
    state = mutatis.outer_init(learner, mutatis.Average(), optim, num_groups=TASKS, key=jax.random.key(1))
    baseline = LinearBaseline(TASKS, 4)

    @eqx.filter_jit
    def train(learner, state, baseline, keys):
        arrays, static = eqx.partition((learner, state, baseline), eqx.is_array)

        def iteration(arrays, key):
            learner, state, baseline = eqx.combine(arrays, static)
            rollout, _ = play(learner.model, key, 256)
            batch = assess(baseline, rollout, num_tasks=TASKS, discount=0.9, trace=0.9)
            baseline = baseline.fit(batch.observation, batch.time, batch.returns)
            learner, state, _ = trpo_update(learner, state, batch)
            return eqx.filter((learner, state, baseline), eqx.is_array), state.optim_state

        arrays, seen = jax.lax.scan(iteration, arrays, keys)
        return *eqx.combine(arrays, static), seen

    learner, state, baseline, seen = train(learner, state, baseline, jax.random.split(jax.random.key(2), 200))
    assert shortfall(learner.model).mean() < 0.15
    assert np.all(seen.constraint <= np.float32(0.02)) and np.all(seen.accepted)
