"""The same training steps in PyTorch, written from the formulas: the other side of `shift_train_step.py`.

Images are (n, channels, height, width). One step takes groups x support images, computes the outer gradient of the
mean loss and lets Adam move. ERM and ARM-CML normalise the whole batch by its moments, ARM-BN and ARM-LL each group
by its own, so these two go through the groups one after the other, as does the inner gradient step of ARM-LL.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

INNER_RATE = 0.1


class ConvNet(nn.Module):
    def __init__(self, channels, classes, width, first_layer):
        super().__init__()
        sizes = [(channels, width, 2)] if first_layer else []
        sizes += [(width if first_layer else channels, width, 0), (width, width, 0)]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 5, padding=p) for i, o, p in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _ in sizes)
        self.hidden, self.head = nn.Linear(width, 200), nn.Linear(200, classes)

    def forward(self, x):
        pooled = range(len(self.convs) - 2, len(self.convs))
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if place in pooled else x
        return self.head(F.relu(self.hidden(x.mean((2, 3)))))


class ContextNet(nn.Sequential):
    def __init__(self, channels, extra, width):
        super().__init__(
            nn.Conv2d(channels, width, 5, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, extra, 5, padding=2),
        )


class LossNet(nn.Sequential):
    def __init__(self, classes, width=32):
        layers = [nn.Linear(classes, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


class Step:
    """One outer step of a method at a width: `Step(method, ...)(x, y) -> loss`; x (groups, support, c, h, w)."""

    def __init__(self, method, *, channels, classes, width, extra=12):
        self.method, cml = method, method == "ARM-CML"
        self.net = ConvNet(channels + extra * cml, classes, width, first_layer=not cml)
        self.rule = nn.Module()
        if cml:
            self.rule = ContextNet(channels, extra, width // 2)
        elif method == "ARM-LL":
            self.rule = LossNet(classes)
        self.optim = torch.optim.Adam([*self.net.parameters(), *self.rule.parameters()], lr=1e-4)

    def __call__(self, x, y):
        self.optim.zero_grad()
        if self.method in ("ERM", "ARM-CML"):
            loss = F.cross_entropy(self.whole_batch(x), y.flatten())
            loss.backward()
            total = loss.item()
        else:
            total = 0.0
            for images, targets in zip(x, y, strict=True):
                loss = F.cross_entropy(self.one_group(images), targets) / len(x)
                loss.backward()
                total += loss.item()
        self.optim.step()
        return total

    def whole_batch(self, x):
        images = x.flatten(0, 1)
        if self.method == "ARM-CML":
            context = self.rule(images).unflatten(0, x.shape[:2]).mean(1, keepdim=True)
            context = context.expand(-1, x.shape[1], -1, -1, -1).flatten(0, 1)
            images = torch.cat([images, context], 1)
        return self.net(images)

    def one_group(self, images):
        if self.method == "ARM-BN":
            return self.net(images)
        params = dict(self.net.named_parameters())
        inner = torch.linalg.vector_norm(self.rule(torch.func.functional_call(self.net, params, (images,))))
        slopes = torch.autograd.grad(inner, list(params.values()), create_graph=True)
        moved = {name: p - INNER_RATE * g for (name, p), g in zip(params.items(), slopes, strict=True)}
        return torch.func.functional_call(self.net, moved, (images,))
