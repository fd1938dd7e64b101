"""The updates that `benchmarks/trials_training.py` times in PyTorch are ours: same losses, gradients and parameters."""

import pytest

torch = pytest.importorskip("torch")
_trials_agreement = pytest.importorskip("_trials_agreement", reason="the benchmarks are not beside the tests")
_torch_rl2, _torch_pearl = _trials_agreement._torch_rl2, _trials_agreement._torch_pearl


@pytest.mark.parametrize("method", ["rl2", "pearl"])
def test_updates_are_the_same_in_float64(method):
    apart = getattr(_trials_agreement, method)()
    assert set(apart) > {"loss", "gradients", "parameters"}
    for name, difference in apart.items():
        assert difference < 1e-12, name


@pytest.mark.parametrize("way", ["batched", "stepped"])
def test_trials_of_rl2_tell_what_was_done(way):
    torch.manual_seed(0)
    policy = _torch_rl2.RL2(width=8, **_trials_agreement.RL2).policy
    goals = torch.rand(5, 2) * 2 - 1
    trials = _torch_rl2.PLAY[way](policy, goals, 2)
    assert trials.rows[:, :, 5].nonzero()[:, 0].unique().tolist() == [0, 20]
    same = torch.testing.assert_close
    same(trials.rows[1:, :, 2:4], trials.action[:-1].clamp(-1, 1))
    same(trials.rows[1:, :, 4], trials.reward[:-1])
    after = trials.rows[:, :, :2] + 0.1 * trials.action.clamp(-1, 1)
    same(trials.rows[1:20, :, :2], after[:19])
    same(trials.reward, -(after - goals).norm(dim=2))
    mean, log_std, value = policy(trials.rows)
    same(value, trials.value)
    same(_torch_rl2.log_prob(mean, log_std, trials.action), trials.log_prob)


@pytest.mark.parametrize("way", ["play_batched", "play_stepped"])
def test_trials_of_pearl_tell_what_was_done(way):
    torch.manual_seed(0)
    goals = torch.rand(5, 2) * 2 - 1
    rows = getattr(_torch_pearl.Pearl(goals, hidden=(8,), **_trials_agreement.PEARL), way)()
    observation, action, reward, after, terminated = rows.split(_torch_pearl.PARTS, -1)
    same = torch.testing.assert_close
    same(after, observation + 0.1 * action)
    same(reward[..., 0], -(after - goals[:, None]).norm(dim=2))
    same(observation[:, 1:20], after[:, :19])
    assert rows.shape == (5, 60, 8) and not terminated.any()


def test_tables_keep_the_last_rows_of_each_task():
    table = _torch_pearl.Table(tasks=3, capacity=4)
    numbers = 10 * torch.arange(6.0)[None, :, None] + torch.arange(3.0)[:, None, None]
    for part in numbers.expand(3, 6, 8).split(3, 1):
        table.add(part)
    drawn = table.sample(torch.tensor([2, 0]), 100)
    assert sorted(drawn[0].unique().tolist()) == [22, 32, 42, 52]
    assert sorted(drawn[1].unique().tolist()) == [20, 30, 40, 50]
