"""A replay remembers the last transitions of each task, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mutatis.rl import Replay, Transitions, replay_bytes


def transitions(step, worlds=4):
    """Whose numbers say from which step and world they are."""
    number = 100.0 * step + jnp.arange(worlds)
    return Transitions(number[:, None], number[:, None], number, number[:, None] + 0.5, jnp.zeros(worlds))


def filled(steps, capacity=6):
    replay = Replay.empty(2, capacity, 1, 1)
    for step in range(steps):
        replay = replay.add(transitions(step))
    return replay


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_samples_are_the_last_transitions_of_each_task(steps):
    batch = filled(steps).sample(400, key=jax.random.key(0))
    kept = range(max(0, steps - 3), steps)  # two worlds of a task a step, room for six
    for task in range(2):
        seen = set(np.unique(np.asarray(batch.reward[task])).tolist())
        assert seen == {100.0 * step + 2 * task + world for step in kept for world in range(2)}
        np.testing.assert_array_equal(batch.next_observation[task, :, 0], batch.reward[task] + 0.5)


def test_every_transition_is_as_likely():
    batch = filled(3).sample(30_000, key=jax.random.key(1))
    counts = np.unique(np.asarray(batch.reward[1]), return_counts=True)[1]
    assert len(counts) == 6 and abs(counts / 30_000 - 1 / 6).max() < 0.01


def test_reward_scale_makes_the_mean_square_one():
    replay = filled(5)
    rewards = np.stack([np.asarray(transitions(step).reward).reshape(2, 2) for step in range(5)], axis=1)
    rms = np.sqrt((rewards**2).mean(axis=(1, 2)))
    np.testing.assert_allclose(replay.reward_scale, 1 / rms, rtol=1e-6)
    assert Replay.empty(3, 2, 1, 1).reward_scale.tolist() == [1.0, 1.0, 1.0]


def test_too_large_a_replay_is_refused_with_its_size():
    assert replay_bytes(10, 100_000, 39, 4) == 4 * 10 * 100_000 * 84
    with pytest.raises(MemoryError, match=r"capacity: 100,000,000,000 .* GiB; there are .* Give at most"):
        Replay.empty(10, 100_000_000_000, 39, 4)
    with pytest.raises(ValueError, match="capacity"):
        Replay.empty(10, 0, 39, 4)
    with pytest.raises(ValueError, match="capacity: 1 is less than the 2 worlds"):
        Replay.empty(2, 1, 1, 1).add(transitions(0))
