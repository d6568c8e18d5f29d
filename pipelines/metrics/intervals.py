"""Confidence intervals of means over users: the percentile bootstrap, seeded.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
"""

import numpy as np

RESAMPLES = 1000
_BLOCK = 100


def bootstrap_intervals(values: np.ndarray, *, seed: int, confidence: float = 0.95) -> np.ndarray:
    """Interval of each column's mean when users are drawn again with replacement: float64 [2, columns].

    values: float64 [users, columns], without NaN. All columns share the same draws, so that systems may be
    compared in pairs. One user gives an interval of no width.
    """
    users = len(values)
    random = np.random.default_rng(seed)
    means = np.empty((RESAMPLES, values.shape[1]))
    for start in range(0, RESAMPLES, _BLOCK):
        counts = random.multinomial(users, np.full(users, 1 / users), size=_BLOCK)
        means[start : start + _BLOCK] = counts @ values / users
    tail = (1 - confidence) / 2
    intervals: np.ndarray = np.quantile(means, [tail, 1 - tail], axis=0)
    return intervals
