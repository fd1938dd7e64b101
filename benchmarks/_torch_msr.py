"""The step of MSR in PyTorch, written from the formulas: the other side of `symmetry_step.py`.

vec(W) = U v with U (out * in, filters), y = W x. For every task v moves by one gradient step on the support; U, the
start of v and the rate of that step follow the mean loss on the queries. As in the original, 10,000 tasks are drawn
beforehand, the first 8,000 are for training, and each use divides a task's examples into support and query anew.

- "loop": a Python loop over the tasks, the inner step by `torch.autograd.grad` with `create_graph=True`, one backward.
- "higher": the same loop, each task with a copy of the module by the package `higher` and a backward of its own, as the
  original has it.
- "vmap": all tasks at once by `torch.func`.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.func import functional_call, grad, vmap

TASKS, TRAINING = 10_000, 8_000


class SharedLinear(nn.Module):
    def __init__(self, inputs, outputs, filters, dtype=torch.float32):
        super().__init__()
        self.shape = outputs, inputs
        self.columns = nn.Parameter(0.01 * torch.randn(outputs * inputs, filters, dtype=dtype))
        self.filters = nn.Parameter(torch.randn(filters, dtype=dtype) / outputs)

    def forward(self, x):
        return F.linear(x, (self.columns @ self.filters).view(self.shape))


class Step:
    """One outer step: `Step(way, ...)(x, y) -> loss`; x (tasks, examples, inputs), the first `support` of each task."""

    def __init__(self, way, *, inputs, outputs, filters, support, dtype=torch.float32):
        self.support, self.net = support, SharedLinear(inputs, outputs, filters, dtype)
        self.rate = nn.Parameter(torch.tensor(0.1, dtype=dtype))
        self.optim = torch.optim.Adam([*self.net.parameters(), self.rate], lr=1e-3)
        self.inner = torch.optim.SGD([self.net.filters], lr=0.1)
        self.gradient = {"loop": self.one_by_one, "higher": self.by_higher, "vmap": self.at_once}[way]

    def __call__(self, x, y):
        self.optim.zero_grad()
        loss = self.gradient(x, y)
        self.optim.step()
        return loss

    def one_by_one(self, x, y):
        params, total = dict(self.net.named_parameters()), 0.0
        for support, query in self.sides(x, y):
            (slope,) = torch.autograd.grad(self.loss(params, *support), params["filters"], create_graph=True)
            total = total + self.loss(params | {"filters": params["filters"] - self.rate * slope}, *query)
        loss = total / len(x)
        loss.backward()
        return loss.item()

    def at_once(self, x, y):
        params = dict(self.net.named_parameters())

        def task_loss(support, query):
            moved = lambda filters: self.loss(params | {"filters": filters}, *support)
            slope = grad(moved)(params["filters"])
            return self.loss(params | {"filters": params["filters"] - self.rate * slope}, *query)

        k = self.support
        loss = vmap(task_loss)((x[:, :k], y[:, :k]), (x[:, k:], y[:, k:])).mean()
        loss.backward()
        return loss.item()

    def by_higher(self, x, y):
        import higher

        settings = {"copy_initial_weights": False, "override": {"lr": [self.rate]}}
        total = 0.0
        for support, query in self.sides(x, y):
            with higher.innerloop_ctx(self.net, self.inner, **settings) as (net, inner):
                inner.step(F.mse_loss(net(support[0]), support[1]))
                loss = F.mse_loss(net(query[0]), query[1])
                (loss / len(x)).backward()
                total += loss.item()
        return total / len(x)

    def sides(self, x, y):
        for rows, targets in zip(x, y, strict=True):
            yield (rows[: self.support], targets[: self.support]), (rows[self.support :], targets[self.support :])

    def loss(self, params, x, y):
        return F.mse_loss(functional_call(self.net, params, (x,)), y)


class Tasks:
    """`Tasks(...)(number) -> (x, y)`: training tasks of a convolution along a line, each with a filter of its own."""

    def __init__(self, *, inputs, taps, examples):
        outputs, filters = inputs - taps + 1, torch.randn(TASKS, taps)
        self.x = torch.randn(TASKS, examples, inputs)
        self.y = sum(filters[:, i, None, None] * self.x[:, :, i : i + outputs] for i in range(taps))

    def __call__(self, number):
        task = torch.randperm(TRAINING)[:number, None]
        order = torch.rand(number, self.x.shape[1]).argsort(1)
        return self.x[task, order], self.y[task, order]
