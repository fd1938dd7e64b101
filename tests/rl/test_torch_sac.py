"""The update that `benchmarks/mt10_training.py` times in PyTorch is ours: same losses, same parameters after it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points import points

from mutatis import nn, rl

torch = pytest.importorskip("torch")
_torch_sac = pytest.importorskip("_torch_sac", reason="the benchmarks are not beside the tests")

GOALS = jnp.array([[0.5, 0.5], [-0.5, 0.3], [0.0, -0.7]])
TASKS, BATCH, ACTIONS, UPDATES = len(GOALS), 16, 2, 3
ACTOR_SIZES, CRITIC_SIZES = (2, 24, 24, 2 * ACTIONS), (2 + ACTIONS, 24, 24, 1)


def in_double(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, tree)


def our_side():
    """A learner and a state in 64 bits with transitions of random actions, some of which ended their episode."""
    sac = rl.SoftActorCritic(points(GOALS, worlds_per_task=1), batch=BATCH)
    actor_key, first_key, second_key, key = jax.random.split(jax.random.key(0), 4)
    critics = rl.Twin(*(nn.multi_head_net(CRITIC_SIZES, TASKS, key=each) for each in (first_key, second_key)))
    state = sac.init(nn.multi_head_net(ACTOR_SIZES, TASKS, key=actor_key), critics, capacity=200, key=key)
    state, _ = sac.explore(state, 60)
    ended = jnp.arange(200) % 3 == 0
    storage = state.replay.storage._replace(terminated=jnp.broadcast_to(ended, (TASKS, 200)).astype(jnp.float32))
    return sac, in_double(state._replace(replay=eqx.tree_at(lambda replay: replay.storage, state.replay, storage)))


def numbers(net):
    """Weights and biases of one of our networks in the order of PyTorch's `parameters`, in PyTorch's layout."""
    linear = [layer for layer in net.trunk.layers if hasattr(layer, "weight")]
    trunk = [array for layer in linear for array in (layer.weight.T, layer.bias)]
    return [np.array(array) for array in (net.weight, net.bias[:, None], *trunk)]


def torch_side(state):
    """The other side with the same weights."""
    other = _torch_sac.SoftActorCritic(ACTOR_SIZES, CRITIC_SIZES, TASKS).double()
    for theirs, ours in pairs(other, state):
        theirs.data.copy_(torch.from_numpy(ours))
    return other


def pairs(other, state):
    """What should be equal: parameters of the other side, and ours as arrays."""
    nets = [state.actor.model]
    nets += [net for twin in (state.critics.model, state.targets) for net in (twin.first, twin.second)]
    ours = [array for net in nets for array in numbers(net)] + [np.array(state.log_temperature)]
    modules = (other.actor, other.critics, other.targets)
    theirs = [parameter for module in modules for parameter in module.parameters()] + [other.log_temperature]
    return zip(theirs, ours, strict=True)


def same_numbers(state, key):
    """The batch and the noise that our update draws from its key, for the other side."""
    sample_key, *noise_keys = jax.random.split(key, 4)
    draw = jax.vmap(lambda key: jax.random.normal(key, (BATCH, ACTIONS), jnp.float64))
    noise = jnp.stack([draw(jax.random.split(each, TASKS)) for each in noise_keys])
    batch = state.replay.sample(BATCH, key=sample_key)
    return [torch.from_numpy(np.array(part)) for part in batch], torch.from_numpy(np.array(noise))


def test_updates_are_the_same_in_float64():
    sac, state = our_side()
    other = torch_side(state)
    update = eqx.filter_jit(lambda state, key: sac.update(state, key=key))
    for key in jax.random.split(jax.random.key(1), UPDATES):
        expected = other.update(*same_numbers(state, key))
        state, losses = update(state, key)
        for theirs, ours in zip(expected, losses, strict=True):
            np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-11)
        for theirs, ours in pairs(other, state):
            np.testing.assert_allclose(theirs.detach().numpy(), ours, rtol=0, atol=1e-11)


def test_every_parameter_moves():
    _, state = our_side()
    other = torch_side(state)
    before = [theirs.detach().clone() for theirs, _ in pairs(other, state)]
    other.update(*same_numbers(state, jax.random.key(1)))
    for theirs, old in zip((theirs for theirs, _ in pairs(other, state)), before, strict=True):
        assert (theirs.detach() != old).any()


def test_replay_gives_each_task_its_own_transitions():
    replay = _torch_sac.Replay(TASKS, 4, 2, ACTIONS)
    rows = torch.arange(TASKS, dtype=torch.float32)
    for step in range(6):
        now = rows + 10 * step
        replay.add(now[:, None].expand(-1, 2), now[:, None].expand(-1, ACTIONS), now, now[:, None].expand(-1, 2), now)
    observation, action, reward, next_observation, terminated = replay.sample(200)
    assert (reward % 10 == rows[:, None]).all()
    assert set((reward // 10).unique().tolist()) == {2.0, 3.0, 4.0, 5.0}
    for part in (observation, action, next_observation):
        assert (part == reward[..., None]).all()
    assert (terminated == reward).all()
