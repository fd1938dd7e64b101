"""The mean that is less noisy than the median and less moved by outliers than the mean."""

import numpy as np


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """The mean of the middle half of the last axis (Agarwal et al. 2021): without the n // 4 lowest and highest.

    NaN where a value is NaN.
    """
    ordered = np.sort(values, axis=-1)  # NaN comes last, where it would go unnoticed
    cut = values.shape[-1] // 4
    middle = ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return np.where(np.isnan(ordered[..., -1]), np.nan, middle)
