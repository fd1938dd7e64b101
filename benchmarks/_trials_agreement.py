"""That both sides of `trials_training.py` compute the same update: from the same weights, trials and noise, in float64.

`rl2` and `pearl` return the largest difference of PyTorch's numbers from ours, relative to the largest of ours: of the
loss, of Adam's running means of the gradients after all steps, and of the parameters.
"""

import _torch_pearl
import _torch_rl2
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch

from mutatis import rl
from mutatis.rl import families
from mutatis.rl._batch import minibatch_orders

POINTS = families.PointGoals()
RL2 = {
    "episodes": 2,
    "trials": 32,
    "epochs": 2,
    "minibatches": 4,
    "learning_rate": 1e-3,
    "discount": 0.99,
    "trace": 0.9,
}
PEARL = {
    "latent": 5,
    "prior_episodes": 1,
    "episodes": 3,
    "updates": 3,
    "meta_batch": 4,
    "batch": 16,
    "context": 8,
    "divergence": 0.1,
    "learning_rate": 3e-4,
    "discount": 0.99,
    "polyak": 0.005,
    "reward_scale": 5.0,
    "replay_capacity": 100,
}
WIDTH, HIDDEN, TASKS = 24, (24, 24), 6


def rl2():
    """All passes over trials that our policy played."""
    policy_key, init_key, play_key, task_key, order_key = jax.random.split(jax.random.key(0), 5)
    learner = rl.RL2(POINTS, **RL2)
    policy = in_double(rl.recurrent_policy(POINTS, width=WIDTH, key=policy_key))
    state = learner.init(policy, key=init_key)
    tasks = POINTS.sample(task_key, RL2["trials"])
    trials = rl.play(POINTS, tasks, rl.RecurrentPlayer(policy), key=play_key, episodes=RL2["episodes"])
    rows = learner.assess(policy, trials)
    improve = eqx.filter_jit(lambda state: learner.improve(state.learner, state.outer, trials, key=order_key))
    changed, outer, progress = improve(state)

    other = _torch_rl2.RL2(width=WIDTH, **RL2)
    other.policy.double()
    put(policy_numbers(policy), other.policy)
    played = _torch_rl2.Trials(*map(steps_first, inputs_and_outputs(rows, trials)))
    orders = minibatch_orders(order_key, RL2["epochs"], 1, RL2["trials"], RL2["minibatches"])[:, 0]
    loss, kl, returns = other.improve(played, list(tensor(orders)))
    means = policy_numbers(adam_means(outer).model)
    return {
        "loss": apart([loss], [progress.loss]),
        "gradients": apart(torch_means(other.optim, other.policy.parameters()), means),
        "parameters": apart(other.policy.parameters(), policy_numbers(changed.model)),
        "reports": apart([kl, returns], [progress.kl, progress.returns]),
    }


def inputs_and_outputs(rows, trials):
    """The fields of `_torch_rl2.Trials`, trials first."""
    seen = rows.seen
    beside = [x.astype(seen.observation.dtype)[..., None] for x in (seen.reward, seen.first)]
    inputs = jnp.concatenate([seen.observation, POINTS.actions.encode(seen.action), *beside], axis=-1)
    return inputs, rows.action, rows.log_prob, rows.value, trials.reward.reshape(rows.value.shape)


def policy_numbers(policy):
    """In the order of PyTorch's `parameters`, in its layout."""
    memory, zeros = policy.memory, np.zeros(2 * policy.memory.width)
    heads = [array for head in (policy.policy, policy.value) for array in (head.weight.T, head.bias)]
    return [memory.rows.weight.T, memory.state.T, memory.rows.bias, np.concatenate([zeros, memory.bias]), *heads]


def pearl():
    """Three updates of all networks from trials that our player played."""
    goals = POINTS.sample(jax.random.key(0), TASKS)
    learner = rl.PEARL(POINTS, **PEARL)
    state = learner.init(goals.astype(jnp.float32), hidden=HIDDEN, key=jax.random.key(1))
    trials = rl.play(POINTS, state.tasks, state.player(), key=jax.random.key(2), episodes=PEARL["episodes"])
    rows = learner._transitions(trials, None)
    prior = learner._transitions(jax.tree.map(lambda x: x[:, : PEARL["prior_episodes"]], trials), None)
    state = state._replace(replay=state.replay.add(rows), contexts=state.contexts.add(prior))
    state = in_double(state)

    other = _torch_pearl.Pearl(tensor(goals), hidden=HIDDEN, **PEARL)
    for module, net in pairs(other, state):
        put(net_numbers(net), module.double())
    other.log_temperature.data = other.log_temperature.data.double()
    update = eqx.filter_jit(lambda state, key: learner.update(state, key=key))
    losses, expected = [], []
    for key in jax.random.split(jax.random.key(3), PEARL["updates"]):
        losses.append(other.update(*same_sample(state, key)))
        state, loss = update(state, key)
        expected.append(loss)
    return {
        "loss": apart(losses, expected),
        "gradients": apart(*gradient_means(other, state)),
        "parameters": apart(
            [parameter for module, _ in pairs(other, state) for parameter in module.parameters()],
            [array for _, net in pairs(other, state) for array in net_numbers(net)],
        ),
        "temperature": apart([other.log_temperature], [state.log_temperature]),
    }


def pairs(other, state):
    """PyTorch's modules and our networks."""
    twins = ((other.critics, state.critics.model), (other.targets, state.targets))
    critics = [pair for theirs, ours in twins for pair in zip(theirs, (ours.first, ours.second), strict=True)]
    return [*critics, (other.belief, state.critics.rule.net), (other.actor, state.actor.model)]


def net_numbers(net):
    """Weights and biases of a perceptron, in PyTorch's order and layout."""
    layers = [layer for layer in getattr(net, "module", net).layers if hasattr(layer, "weight")]
    return [array for layer in layers for array in (layer.weight.T, layer.bias)]


def gradient_means(other, state):
    critics, actor = adam_means(state.critic_outer), adam_means(state.actor_outer)
    nets = (critics.model.first, critics.model.second, critics.rule.net, actor.model)
    modules = (*other.critics, other.belief)
    theirs = [each for module in modules for each in torch_means(other.critic_optim, module.parameters())]
    theirs += torch_means(other.actor_optim, other.actor.parameters())
    return theirs, [array for net in nets for array in net_numbers(net)]


def same_sample(state, key):
    """The batch, the contexts and the noise that our update draws from its key."""
    chosen_key, batch_key, context_key, *noise_keys = jax.random.split(key, 6)
    index = jax.random.choice(chosen_key, TASKS, (PEARL["meta_batch"],), replace=False)
    batch = state.replay.sample_of(index, PEARL["batch"], key=batch_key)
    context = rl_rows(state.contexts.sample_of(index, PEARL["context"], key=context_key))
    normal = lambda *shape: jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float64))
    target_keys, actor_keys, belief_keys = (jax.random.split(each, PEARL["meta_batch"]) for each in noise_keys)
    z_keys, next_keys = jnp.moveaxis(jax.vmap(jax.random.split)(target_keys), 1, 0)
    z, action = normal(PEARL["latent"]), normal(PEARL["batch"], _torch_pearl.ACTIONS)
    noise = z(z_keys), action(next_keys), z(belief_keys), action(actor_keys)
    rows = jnp.concatenate([rl_rows(batch), batch.next_observation, batch.terminated[..., None]], axis=-1)
    return tensor(rows), tensor(context), _torch_pearl.Noise(*map(tensor, noise))


def rl_rows(seen):
    return jnp.concatenate([seen.observation, seen.action, seen.reward[..., None]], axis=-1)


def in_double(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, tree)


def tensor(array):
    return torch.from_numpy(np.array(array))


def steps_first(array):
    return tensor(jnp.moveaxis(array, 1, 0))


def put(arrays, module):
    for parameter, array in zip(module.parameters(), arrays, strict=True):
        parameter.data.copy_(tensor(array))


def adam_means(outer):
    """Adam's running means of the gradients, shaped as the learner."""
    has = lambda state: hasattr(state, "mu")
    (adam,) = [state for state in jax.tree.leaves(outer.optim_state, is_leaf=has) if has(state)]
    return adam.mu


def torch_means(optim, parameters):
    return [optim.state[parameter]["exp_avg"] for parameter in parameters]


def apart(theirs, ours):
    """The largest difference, relative to the largest of ours, over some arrays."""
    flat = lambda arrays: np.concatenate([np.ravel(array) for array in arrays])
    theirs, ours = flat([x.detach().numpy() for x in theirs]), flat([np.asarray(x) for x in ours])
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())
