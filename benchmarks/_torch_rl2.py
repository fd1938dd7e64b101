"""RL2 by PPO on the point robot in PyTorch, written from the formulas: the other side of `trials_training.py`.

Arrays are (steps, trials, ...), as `nn.GRU` likes them best. Trials are played in two ways: "batched", all worlds at
once, and "stepped", one world and one step at a time. The update is the same; `_trials_agreement.py` holds it beside
ours, number by number.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from _torch_points import ACTIONS, HORIZON, Point, Points
from _torch_sac import clip_
from torch import nn

INPUTS = 2 + ACTIONS + 2
"""Observation, action and reward before, whether an episode begins."""
LEAST_LOG_STD, GREATEST_LOG_STD = math.log(0.05), math.log(3)


class Policy(nn.Module):
    """A memory with two heads: (steps, trials, inputs) -> means and log deviations of actions, values."""

    def __init__(self, width):
        super().__init__()
        self.memory = nn.GRU(INPUTS, width)
        self.policy, self.value = nn.Linear(width, 2 * ACTIONS), nn.Linear(width, 1)
        for part in self.memory.weight_hh_l0.data.chunk(3):
            nn.init.orthogonal_(part)
        nn.init.uniform_(self.policy.weight, -0.01, 0.01)
        for bias in (self.memory.bias_ih_l0, self.memory.bias_hh_l0, self.policy.bias):
            nn.init.zeros_(bias)
        # Two of the three parts of the state's bias only add to the rows' bias; ours does not have them.
        only_new = torch.arange(3 * width) >= 2 * width
        self.memory.bias_hh_l0.register_hook(lambda gradient: gradient * only_new)

    def forward(self, rows):
        said, _ = self.memory(rows)
        return *self.chances(said), self.value(said).squeeze(-1)

    def step(self, row, state):
        """One step of some worlds, without a graph: (worlds, inputs)."""
        memory = self.memory
        weights = memory.weight_ih_l0, memory.weight_hh_l0, memory.bias_ih_l0, memory.bias_hh_l0
        state = torch.gru_cell(row, state, *weights)
        return *self.chances(state), state

    def chances(self, said):
        mean, log_std = self.policy(said).chunk(2, -1)
        return mean, log_std.clamp(LEAST_LOG_STD, GREATEST_LOG_STD)


def log_prob(mean, log_std, action):
    z = (action - mean) * (-log_std).exp()
    return (-0.5 * z.square() - log_std).sum(-1) - 0.5 * ACTIONS * math.log(2 * math.pi)


class Trials(NamedTuple):
    """What was seen, done, expected and earned, (steps, trials, ...)."""

    rows: torch.Tensor
    action: torch.Tensor
    log_prob: torch.Tensor
    value: torch.Tensor
    reward: torch.Tensor


@torch.no_grad()
def play_batched(policy, goals, episodes):
    """Trials in all worlds at once."""
    world, width, count = Points(goals), policy.memory.hidden_size, len(goals)
    state, before = torch.zeros(count, width), torch.zeros(count, ACTIONS + 1)
    first, later = torch.ones(count, 1), torch.zeros(count, 1)
    rows, states, means, deviations, actions, rewards = ([] for _ in range(6))
    for _ in range(episodes):
        observation = world.reset()
        for step in range(HORIZON):
            row = torch.cat([observation, before, later if step else first], 1)
            mean, log_std, state = policy.step(row, state)
            action = torch.addcmul(mean, log_std.exp(), torch.randn_like(mean))
            observation, reward = world.step(action)
            before = torch.cat([action.clamp(-1, 1), reward[:, None]], 1)
            seen = zip(
                (rows, states, means, deviations, actions, rewards),
                (row, state, mean, log_std, action, reward),
                strict=True,
            )
            for kept, new in seen:
                kept.append(new)
    rows, states, means, deviations, actions, rewards = map(
        torch.stack, (rows, states, means, deviations, actions, rewards)
    )
    return Trials(rows, actions, log_prob(means, deviations, actions), policy.value(states).squeeze(-1), rewards)


@torch.no_grad()
def play_stepped(policy, goals, episodes):
    """Trials one after the other, and in each one step after the other."""
    generator = np.random.default_rng(int(torch.randint(2**31, ())))
    trials = [play_one(policy, goal, episodes, generator) for goal in goals.numpy()]
    return Trials(*(torch.stack(part, 1) for part in zip(*trials, strict=True)))


def play_one(policy, goal, episodes, generator):
    world, state = Point(goal, generator), torch.zeros(1, policy.memory.hidden_size)
    before, kept = np.zeros(ACTIONS + 1, np.float32), []
    for _ in range(episodes):
        observation = world.reset()
        for step in range(HORIZON):
            row = torch.from_numpy(np.concatenate([observation, before, [step == 0]], dtype=np.float32))
            mean, log_std, state = policy.step(row[None], state)
            action = torch.normal(mean, log_std.exp())
            done = action[0].numpy()
            observation, reward = world.step(done)
            before = np.append(np.clip(done, -1, 1), np.float32(reward))
            chance, value = log_prob(mean, log_std, action)[0], policy.value(state)[0, 0]
            kept.append((row, action[0], chance, value, torch.tensor(reward)))
    return [torch.stack(part) for part in zip(*kept, strict=True)]


PLAY = {"batched": play_batched, "stepped": play_stepped}


class RL2:
    """A policy, its optimiser, trials and the passes over them."""

    def __init__(
        self,
        *,
        width,
        episodes,
        trials,
        epochs,
        minibatches,
        learning_rate,
        discount,
        trace,
        clip=0.2,
        value=0.5,
        entropy=0.01,
        way="batched",
    ):
        self.policy = Policy(width)
        self.episodes, self.trials, self.epochs, self.minibatches = episodes, trials, epochs, minibatches
        self.discount, self.trace, self.clip, self.value, self.entropy = discount, trace, clip, value, entropy
        self.optim = torch.optim.Adam(self.policy.parameters(), lr=learning_rate, eps=1e-5, fused=True)
        self.play_trials = PLAY[way]

    def play(self):
        """Trials of goals anywhere in the square."""
        return self.play_trials(self.policy, 2 * torch.rand(self.trials, 2) - 1, self.episodes)

    def train(self, updates):
        """Trials with an update after each lot; the mean loss of the last."""
        for _ in range(updates):
            each = [torch.randperm(self.trials).chunk(self.minibatches) for _ in range(self.epochs)]
            loss, _, _ = self.improve(self.play(), [order for orders in each for order in orders])
        return loss

    def improve(self, trials, orders):
        """All passes: the mean loss, the KL from the policy that played, and the return of each episode."""
        advantage = self.advantages(trials.reward, trials.value)
        scaled = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
        parts = trials.rows, trials.action, trials.log_prob, scaled, advantage + trials.value
        parameters, losses = list(self.policy.parameters()), []
        for order in orders:
            self.optim.zero_grad(set_to_none=True)
            loss = self.loss(*(part.index_select(1, order) for part in parts))
            loss.backward()
            clip_(parameters, 1.0)
            self.optim.step()
            losses.append(loss.detach())
        with torch.no_grad():
            mean, log_std, _ = self.policy(trials.rows)
            change = log_prob(mean, log_std, trials.action) - trials.log_prob
            returns = trials.reward.unflatten(0, (self.episodes, HORIZON)).sum(1).mean(1)
            return torch.stack(losses).mean(), (change.expm1() - change).mean(), returns

    def advantages(self, reward, value):
        """Generalised advantages over whole trials."""
        delta = reward - value
        delta[:-1] += self.discount * value[1:]
        later, advantage = torch.zeros_like(delta[0]), torch.empty_like(delta)
        for step in reversed(range(len(delta))):
            later = torch.add(delta[step], later, alpha=self.discount * self.trace, out=advantage[step])
        return advantage

    def loss(self, rows, action, old, advantage, target):
        """The clipped surrogate with the terms of value and entropy."""
        mean, log_std, value = self.policy(rows)
        ratio = (log_prob(mean, log_std, action) - old).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
        entropy = log_std.sum(-1).mean() + 0.5 * ACTIONS * math.log(2 * math.pi * math.e)
        return self.value * (value - target).square().mean() - gain - self.entropy * entropy
