"""PEARL on the point robot in PyTorch, written from the formulas: the other side of `trials_training.py`.

Trials are played in two ways: "batched", all tasks at once, and "stepped", one world and one step at a time, as the
published code does. The update is the same; `_trials_agreement.py` holds it beside ours, number by number.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from _torch_points import ACTIONS, HORIZON, Point, Points
from _torch_sac import draw
from torch import nn

SEEN = 2
ROW = SEEN + ACTIONS + 1
"""Observation, action and reward: what a belief is made from."""
PARTS = [SEEN, ACTIONS, 1, SEEN, 1]
"""Observation, action, reward, next observation, whether the episode was terminated."""


class Noise(NamedTuple):
    """Standard normal numbers of an update: of z and the next action, and of the actor's z and action."""

    z: torch.Tensor
    next_action: torch.Tensor
    actor_z: torch.Tensor
    action: torch.Tensor


class Table:
    """The last rows of each task, (tasks, capacity, numbers)."""

    def __init__(self, tasks, capacity):
        self.rows, self.added, self.capacity = torch.zeros(tasks, capacity, sum(PARTS)), 0, capacity
        self.first_row = torch.arange(tasks) * capacity

    def add(self, rows):
        """Rows of every task, (tasks, rows, numbers); the oldest make room."""
        count = rows.shape[1]
        self.rows[:, (self.added + torch.arange(count)) % self.capacity] = rows
        self.added += count

    def sample(self, tasks, count):
        """`count` rows of some tasks, with replacement, (chosen, count, numbers)."""
        places = torch.randint(min(self.added, self.capacity), (len(tasks), count)) + self.first_row[tasks, None]
        return self.rows.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, places.shape)


def perceptron(inputs, hidden, outputs):
    layers = [nn.Linear(*pair) for pair in itertools.pairwise((inputs, *hidden, outputs))]
    between = [part for layer in layers[:-1] for part in (layer, nn.ReLU(inplace=True))]
    return nn.Sequential(*between, layers[-1])


def beside(x, z):
    """Every row joined to its task's z."""
    return torch.cat([x, z[:, None].expand(*x.shape[:2], z.shape[1])], -1)


def worth(critics, x):
    """Estimates of both critics, (2, tasks, rows)."""
    return torch.stack([critic(x).squeeze(-1) for critic in critics])


class Pearl:
    """Networks, optimisers, replay, trials and updates."""

    def __init__(
        self,
        goals,
        *,
        hidden,
        latent,
        prior_episodes,
        episodes,
        updates,
        meta_batch,
        batch,
        context,
        divergence,
        learning_rate,
        discount,
        polyak,
        reward_scale,
        replay_capacity,
        way="batched",
    ):
        self.goals, self.latent = goals, latent
        self.prior_episodes, self.episodes, self.updates = prior_episodes, episodes, updates
        self.meta_batch, self.batch, self.context = meta_batch, batch, context
        self.divergence, self.discount, self.polyak, self.reward_scale = divergence, discount, polyak, reward_scale
        self.actor = perceptron(SEEN + latent, hidden, 2 * ACTIONS)
        critic = lambda: perceptron(SEEN + latent + ACTIONS, hidden, 1)
        self.critics, self.targets = nn.ModuleList([critic(), critic()]), nn.ModuleList([critic(), critic()])
        self.targets.load_state_dict(self.critics.state_dict())
        self.targets.requires_grad_(False)
        self.belief = perceptron(ROW, hidden, 2 * latent)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        adam = lambda parameters: torch.optim.Adam(parameters, lr=learning_rate, fused=True)
        self.critic_optim = adam([*self.critics.parameters(), *self.belief.parameters()])
        self.actor_optim, self.temperature_optim = adam(self.actor.parameters()), adam([self.log_temperature])
        self.replay = Table(len(goals), replay_capacity)
        self.contexts = Table(len(goals), prior_episodes * HORIZON)
        self.play = {"batched": self.play_batched, "stepped": self.play_stepped}[way]

    def train(self, iterations):
        """Trials of all tasks and the updates after them; the critics' loss of the last."""
        for _ in range(iterations):
            trials = self.play()
            self.replay.add(trials)
            self.contexts.add(trials[:, : self.prior_episodes * HORIZON])
            for _ in range(self.updates):
                loss = self.update(*self.sample())
        return loss

    @torch.no_grad()
    def play_batched(self):
        """Episodes of all tasks at once, (tasks, rows, numbers)."""
        tasks, world, kept = len(self.goals), Points(self.goals), []
        ended = torch.zeros(tasks, 1)
        for episode in range(self.episodes):
            z = self.held_true(torch.stack(kept, 1) if episode >= self.prior_episodes else None, tasks)
            observation = world.reset()
            for _ in range(HORIZON):
                outputs = self.actor(torch.cat([observation, z], 1))
                action, _ = draw(outputs, torch.randn(tasks, ACTIONS))
                after, reward = world.step(action)
                kept.append(torch.cat([observation, action, reward[:, None], after, ended], 1))
                observation = after
        return torch.stack(kept, 1)

    @torch.no_grad()
    def play_stepped(self):
        """As `play_batched`, one step of one world after the other."""
        generator = np.random.default_rng(int(torch.randint(2**31, ())))
        return torch.stack([self.play_one(Point(goal, generator)) for goal in self.goals.numpy()])

    def play_one(self, world):
        kept = []
        for episode in range(self.episodes):
            seen = torch.from_numpy(np.stack(kept))[None] if episode >= self.prior_episodes else None
            z = self.held_true(seen, 1)
            observation = world.reset()
            for _ in range(HORIZON):
                outputs = self.actor(torch.cat([torch.from_numpy(observation)[None], z], 1))
                action = draw(outputs, torch.randn(1, ACTIONS))[0][0].numpy()
                after, reward = world.step(action)
                kept.append(np.concatenate([observation, action, [reward], after, [0]], dtype=np.float32))
                observation = after
        return torch.from_numpy(np.stack(kept))

    def held_true(self, seen, tasks):
        """A z for each task, from the belief after what was seen, or from the prior."""
        noise = torch.randn(tasks, self.latent)
        if seen is None:
            return noise
        mean, variance = self.believe(seen[..., :ROW])
        return torch.addcmul(mean, variance.sqrt(), noise)

    def believe(self, context):
        """Means and variances of z, (tasks, latent): the product of the prior and the rows' factors."""
        mean, raw = self.belief(context).chunk(2, -1)
        precision = 1 / F.softplus(raw).clamp(min=1e-7)
        variance = 1 / (1 + precision.sum(1))
        return variance * (precision * mean).sum(1), variance

    def sample(self):
        """What an update is made from: transitions, rows for the beliefs, noise."""
        chosen = torch.randperm(len(self.goals))[: self.meta_batch]
        z, action = (self.meta_batch, self.latent), (self.meta_batch, self.batch, ACTIONS)
        noise = Noise(*(torch.randn(shape) for shape in (z, action, z, action)))
        return self.replay.sample(chosen, self.batch), self.contexts.sample(chosen, self.context)[..., :ROW], noise

    def update(self, batch, context, noise):
        """One update of critics and belief, actor and temperature; the critics' loss.

        - `batch`: (tasks, rows, numbers). `context`: (tasks, rows, numbers of a belief's row).
        """
        observation, action, reward, next_observation, terminated = batch.split(PARTS, -1)
        temperature = self.log_temperature.detach().exp()
        mean, variance = self.believe(context)
        deviation = variance.sqrt()
        z = torch.addcmul(mean, deviation, noise.z)
        with torch.no_grad():
            after, log_prob = draw(self.actor(beside(next_observation, z)), noise.next_action)
            value = worth(self.targets, torch.cat([beside(next_observation, z), after], -1)).amin(0)
            value = value - temperature * log_prob
            target = self.reward_scale * reward[..., 0] + self.discount * (1 - terminated[..., 0]) * value
        error = 0.5 * (worth(self.critics, torch.cat([beside(observation, z), action], -1)) - target).square()
        divergence = 0.5 * (variance + mean.square() - 1 - variance.log()).sum(-1)
        loss = error.mean(2).sum(0).mean() + self.divergence * divergence.mean()
        self.descend(self.critic_optim, loss)
        actor_z = torch.addcmul(mean, deviation, noise.actor_z).detach()
        self.update_actor(observation, actor_z, noise.action, temperature)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.targets.parameters()), list(self.critics.parameters()), self.polyak)
        return loss.detach()

    def update_actor(self, observation, z, noise, temperature):
        self.critics.requires_grad_(False)
        told = beside(observation, z)
        action, log_prob = draw(self.actor(told), noise)
        value = worth(self.critics, torch.cat([told, action], -1)).amin(0)
        self.descend(self.actor_optim, (temperature * log_prob - value).mean())
        self.critics.requires_grad_(True)
        self.log_temperature.grad = ACTIONS - log_prob.detach().mean()
        self.temperature_optim.step()

    @staticmethod
    def descend(optim, loss):
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
