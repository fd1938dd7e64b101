"""Multi-head soft actor-critic in PyTorch, written from the formulas: the other side of `mt10_training.py`.

Rows are ordered by task, (tasks, rows, ...), so one trunk takes all of them and the heads are one batched product.
`tests/rl/test_torch_sac.py` holds the update beside ours, number by number.
"""

import itertools
import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

LEAST_LOG_STD, GREATEST_LOG_STD = -20.0, 2.0


class MultiHead(nn.Module):
    """One trunk for all tasks and a last layer for each: (tasks, rows, inputs) -> (tasks, rows, outputs)."""

    def __init__(self, sizes, tasks):
        super().__init__()
        *trunk, outputs = sizes
        layers = [layer for pair in itertools.pairwise(trunk) for layer in (nn.Linear(*pair), nn.ReLU(inplace=True))]
        self.trunk = nn.Sequential(*layers)
        bound = trunk[-1] ** -0.5
        self.weight = nn.Parameter(torch.empty(tasks, trunk[-1], outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(tasks, 1, outputs).uniform_(-bound, bound))

    def forward(self, x):
        hidden = self.trunk(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return torch.baddbmm(self.bias, hidden, self.weight)


class Twin(nn.Module):
    """Two critics: (2, tasks, rows)."""

    def __init__(self, sizes, tasks):
        super().__init__()
        self.first, self.second = MultiHead(sizes, tasks), MultiHead(sizes, tasks)

    def forward(self, observation, action):
        x = torch.cat([observation, action], -1)
        return torch.stack([self.first(x).squeeze(-1), self.second(x).squeeze(-1)])


class Replay:
    """The last transitions of each task, each one row of one table, so that a batch is one gather."""

    def __init__(self, tasks, capacity, observation_size, action_size):
        self.parts = [observation_size, action_size, 1, observation_size, 1]
        self.table = torch.zeros(tasks, capacity, sum(self.parts))
        self.first_row = (torch.arange(tasks) * capacity)[:, None]
        self.added, self.capacity = 0, capacity

    def add(self, observation, action, reward, next_observation, terminated):
        """One step of one world of each task; the oldest makes room."""
        row = [observation, action, reward[:, None], next_observation, terminated[:, None]]
        torch.cat(row, 1, out=self.table[:, self.added % self.capacity])
        self.added += 1

    def sample(self, batch):
        """`batch` transitions of each task, with replacement, as five tensors (tasks, batch, ...)."""
        tasks = len(self.table)
        places = torch.randint(min(self.added, self.capacity), (tasks, batch)) + self.first_row
        rows = self.table.flatten(0, 1).index_select(0, places.flatten()).unflatten(0, (tasks, batch))
        observation, action, reward, next_observation, terminated = rows.split(self.parts, -1)
        return observation, action, reward.squeeze(-1), next_observation, terminated.squeeze(-1)


def draw(outputs, noise):
    """Actions in (-1, 1) and their log-densities, from a network's outputs and standard normal noise."""
    mean, log_std = outputs.chunk(2, -1)
    log_std = log_std.clamp(LEAST_LOG_STD, GREATEST_LOG_STD)
    u = mean + log_std.exp() * noise
    gaussian = -0.5 * (noise.square() + math.log(2 * math.pi)) - log_std
    squeezed = 2 * (math.log(2) - u - F.softplus(-2 * u))
    return u.tanh(), (gaussian - squeezed).sum(-1)


def clip_(parameters, most):
    """Scales the gradients to a joint norm of at most `most`."""
    # `clip_grad_norm_` divides by the norm plus 1e-6, which would be another update than ours in the seventh digit.
    gradients = [parameter.grad for parameter in parameters]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    torch._foreach_mul_(gradients, (most / norm).clamp(max=1.0))


class SoftActorCritic:
    """Networks, temperatures, optimisers, and the update of all of them."""

    def __init__(
        self,
        actor_sizes,
        critic_sizes,
        tasks,
        *,
        learning_rate=3e-4,
        clip=1.0,
        discount=0.99,
        polyak=0.005,
        compiled=False,
    ):
        self.actor = MultiHead(actor_sizes, tasks)
        self.critics, self.targets = Twin(critic_sizes, tasks), Twin(critic_sizes, tasks).requires_grad_(False)
        self.targets.load_state_dict(self.critics.state_dict())
        self.actions, self.clip, self.discount, self.polyak = actor_sizes[-1] // 2, clip, discount, polyak
        self.log_temperature = nn.Parameter(torch.zeros(tasks))
        adam = lambda parameters: torch.optim.Adam(parameters, lr=learning_rate, eps=1e-5, fused=True)
        self.actor_optim, self.critic_optim = adam(self.actor.parameters()), adam(self.critics.parameters())
        self.temperature_optim = adam([self.log_temperature])
        if compiled:
            self.should = torch.compile(self.should, fullgraph=True)
            self.critic_losses = torch.compile(self.critic_losses, fullgraph=True)
            self.actor_losses = torch.compile(self.actor_losses, fullgraph=True)

    def double(self):
        """In 64 bits, before the first update."""
        for part in (self.actor, self.critics, self.targets):
            part.double()
        self.log_temperature.data = self.log_temperature.data.double()
        return self

    @torch.no_grad()
    def act(self, observation):
        """Drawn actions in one world of each task."""
        noise = torch.randn(len(observation), 1, self.actions)
        return draw(self.actor(observation[:, None]), noise)[0][:, 0]

    def update(self, batch, noise=None):
        """One update from five tensors (tasks, rows, ...); the losses of critics and actor by task, before it.

        - `noise`: three times standard normal numbers, (3, tasks, rows, actions): of the targets' actions, of the
          actor's, and of those that the temperatures are judged by; drawn if there is none.
        """
        observation, action, reward, next_observation, terminated = batch
        noise = torch.randn(3, *action.shape) if noise is None else noise
        temperature = self.log_temperature.detach().exp()[:, None]
        with torch.no_grad():
            target = self.should(reward, next_observation, terminated, temperature, noise[0])
        critic_losses = self.critic_losses(observation, action, target)
        self._step(self.critic_optim, self.critics, critic_losses)
        self.critics.requires_grad_(False)
        actor_losses, log_prob = self.actor_losses(observation, temperature, noise[1], noise[2])
        self._step(self.actor_optim, self.actor, actor_losses)
        self.critics.requires_grad_(True)
        self.log_temperature.grad = self.actions - log_prob.mean(1)
        self.temperature_optim.step()
        with torch.no_grad():
            old, new = list(self.targets.parameters()), list(self.critics.parameters())
            torch._foreach_lerp_(old, new, self.polyak)
        return critic_losses.detach(), actor_losses.detach()

    def should(self, reward, next_observation, terminated, temperature, noise):
        """What the critics should say: the reward and the soft value of what followed."""
        action, log_prob = draw(self.actor(next_observation), noise)
        value = self.targets(next_observation, action).amin(0) - temperature * log_prob
        return reward + self.discount * (1 - terminated) * value

    def critic_losses(self, observation, action, target):
        """Half the mean squared error of both critics, by task."""
        return 0.5 * (self.critics(observation, action) - target).square().mean(2).sum(0)

    def actor_losses(self, observation, temperature, noise, other_noise):
        """By task, and the log-densities of other draws from the same policies, without gradient."""
        outputs = self.actor(observation)
        action, log_prob = draw(outputs, noise)
        first, second = self.critics(observation, action)
        losses = (temperature * log_prob - torch.minimum(first, second)).mean(1)
        return losses, draw(outputs.detach(), other_noise)[1]

    def _step(self, optim, module, losses):
        optim.zero_grad(set_to_none=True)
        losses.mean().backward()
        if self.clip is not None:
            clip_(list(module.parameters()), self.clip)
        optim.step()
