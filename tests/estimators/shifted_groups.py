"""Problems on which adaptation is needed, or idle, by construction."""

import numpy as np


def flipped_by_group(num_groups, rows, seed, noise=2.0):
    """Labels whose rule turns round with the sign of a group offset that no single row shows.

    x = (z, offset + noise), y = [z * sign(offset) > 0]. One row tells sign(offset) with probability
    Phi(|offset| / noise), about 0.69 here; the mean of n rows with Phi(|offset| sqrt(n) / noise).
    """
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), rows)
    sign = rng.permutation(np.where(np.arange(num_groups) % 2, 1.0, -1.0))[groups]
    z = rng.normal(size=len(groups))
    X = np.stack([z, sign + noise * rng.normal(size=len(groups))], axis=1)
    return X, (z * sign > 0).astype(int), groups


def moved_by_group(num_groups, rows, seed, spread=4.0):
    """Inputs moved by a group offset much larger than what decides: x = z + offset, y = [z_1 + z_2 > 0]."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), rows)
    z = rng.normal(size=(len(groups), 2))
    offsets = spread * rng.normal(size=(num_groups, 2))
    return z + offsets[groups], (z.sum(1) > 0).astype(int), groups


def levels_by_group(num_groups, rows, seed):
    """Regression: y = z + 3 offset, where the offset shows only in the group's mean of a noisy feature."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), rows)
    offset = rng.normal(size=num_groups)[groups]
    z = rng.normal(size=len(groups))
    X = np.stack([z, offset + 2.0 * rng.normal(size=len(groups))], axis=1)
    return X, z + 3.0 * offset, groups
