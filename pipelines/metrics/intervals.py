"""Confidence intervals of means over users: the percentile bootstrap, seeded.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
_BLOCK = 100


@dataclass(frozen=True)
class Bootstrap:
    """Draws of users with replacement, shared by everything that is compared on the same users.

    Attributes:
        counts: float64 [resamples, users], how often each user was drawn.
    """

    counts: np.ndarray

    @classmethod
    def of(cls, users: int, *, seed: int, resamples: int = RESAMPLES) -> "Bootstrap":
        """Draw as many users as there are, `resamples` times."""
        random = np.random.default_rng(seed)
        counts = np.empty((resamples, users))
        for start in range(0, resamples, _BLOCK):
            block = counts[start : start + _BLOCK]
            block[:] = random.multinomial(users, np.full(users, 1 / users), size=len(block))
        return cls(counts)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Each column's mean in each draw, over the drawn users that have a value.

        Args:
            values: float64 [users, columns]; NaN where a user has none.

        Returns:
            float64 [resamples, columns]; NaN for a draw in which no user has a value.
        """
        exists = ~np.isnan(values)
        if exists.all():
            whole: np.ndarray = self.counts @ values / max(len(values), 1)
            return whole
        drawn = self._drawn(exists)
        sums = self.counts @ np.where(exists, values, 0.0)
        means: np.ndarray = np.divide(sums, drawn, out=np.full_like(sums, np.nan), where=drawn > 0)
        return means

    def _drawn(self, exists: np.ndarray) -> np.ndarray:
        """How many drawn users have a value: float64 [resamples, columns].

        Most columns exist for the same users as some other one, and counts are exact in any order.

        Args:
            exists: bool [users, columns].
        """
        numbers: dict[bytes, int] = {}
        packed = np.packbits(exists, axis=0).T
        of_column = np.array([numbers.setdefault(column.tobytes(), len(numbers)) for column in packed])
        _, first = np.unique(of_column, return_index=True)
        drawn: np.ndarray = (self.counts @ exists[:, first].astype(np.float64))[:, of_column]
        return drawn

    def intervals(self, values: np.ndarray, confidence: float = 0.95) -> np.ndarray:
        """Interval of each column's mean: float64 [2, columns], NaN for a column without any value."""
        return interval_of_draws(self.means(values), confidence)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Each column's sum in each draw: float64 [resamples, columns].

        Args:
            values: float64 [users, columns].
        """
        sums: np.ndarray = self.counts @ values
        return sums


def interval_of_draws(draws: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """The percentile interval of each column.

    Args:
        draws: float64 [resamples, columns], NaN where a draw gave no value.

    Returns:
        float64 [2, columns], NaN for a column without any value.
    """
    tail = (1 - confidence) / 2
    whole = ~np.isnan(draws).any(axis=0)
    found = np.full((2, draws.shape[1]), np.nan)
    found[:, whole] = np.quantile(draws[:, whole], [tail, 1 - tail], axis=0)
    for column in np.flatnonzero(~whole & ~np.isnan(draws).all(axis=0)):
        found[:, column] = np.nanquantile(draws[:, column], [tail, 1 - tail])
    return found


def bootstrap_intervals(values: np.ndarray, *, seed: int, confidence: float = 0.95) -> np.ndarray:
    """Interval of each column's mean when users are drawn again with replacement.

    All columns share the same draws, so that systems may be compared in pairs. One user gives an interval of
    no width.

    Args:
        values: float64 [users, columns]; NaN where a user has none.

    Returns:
        float64 [2, columns].
    """
    return Bootstrap.of(len(values), seed=seed).intervals(values, confidence)
