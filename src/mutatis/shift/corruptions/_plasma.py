"""Fractal noise by midpoint displacement."""

import numpy as np


def plasma(noise: np.ndarray, decay: float) -> np.ndarray:
    """Diamond-square noise on a torus, scaled to [0, 1].

    Starting from one corner at height 0, every halving of the grid gives the middle of each square the mean
    of its four corners, then the middle of each edge the mean of its two ends and the two middles beside it,
    each plus `noise` at that pixel times an amplitude. The amplitude is multiplied by `decay**-2` per
    halving: the benchmark's generator scales its draws by the amplitude twice.

    **Arguments:** `noise`, `(n, S, S)` in [-1, 1], `S` a power of two.

    **Source:** Fournier, Fussell and Carpenter (1982), in the form the benchmark uses.
    """
    size = noise.shape[1]
    height = np.zeros_like(noise)
    step, amplitude = size, 1.0
    while step >= 2:
        half = step // 2
        corners = height[:, ::step, ::step]
        below, right = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=2)
        across = noise[:, ::step, half::step]
        down = noise[:, half::step, ::step]
        middles = (corners + below + right + np.roll(below, -1, axis=2)) / 4
        middles += np.float32(amplitude) * noise[:, half::step, half::step]
        between = (corners + right + middles + np.roll(middles, 1, axis=1)) / 4 + np.float32(amplitude) * across
        beside = (corners + below + middles + np.roll(middles, 1, axis=2)) / 4 + np.float32(amplitude) * down
        height[:, half::step, half::step] = middles
        height[:, ::step, half::step] = between
        height[:, half::step, ::step] = beside
        step, amplitude = half, amplitude / decay**2
    height -= height.min(axis=(1, 2), keepdims=True)
    return height / height.max(axis=(1, 2), keepdims=True)
