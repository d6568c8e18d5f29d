"""How far predictions are from outcomes: the calibration of probabilities, the error of amounts.

Sources: reliability diagram: Murphy and Winkler (Applied Statistics 1977); expected calibration error:
Naeini, Cooper and Hauskrecht (AAAI 2015); Brier score: Brier (Monthly Weather Review 1950).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width: mean predicted, share observed and pairs; float64 / int64 [bins].

    Empty bins are NaN.
    """

    predicted: np.ndarray
    observed: np.ndarray
    pairs: np.ndarray

    @property
    def expected_error(self) -> float:
        """ECE = sum over bins of pairs / all pairs * |observed - predicted|."""
        filled = self.pairs > 0
        gaps = np.abs(self.observed[filled] - self.predicted[filled])
        return float((gaps * self.pairs[filled]).sum() / max(self.pairs.sum(), 1))


def reliability(probability: np.ndarray, happened: np.ndarray, bins: int = 10) -> Reliability:
    """Group predicted probabilities, 0 to 1, in bins of equal width; the last one includes 1."""
    position = np.minimum((probability * bins).astype(np.int64), bins - 1)
    pairs = np.bincount(position, minlength=bins)
    empty = np.full(bins, np.nan)
    filled = pairs > 0
    means = [
        np.divide(
            np.bincount(position, weights=values, minlength=bins), pairs, out=empty.copy(), where=filled
        )
        for values in (probability, happened.astype(np.float64))
    ]
    return Reliability(means[0], means[1], pairs)


def brier_score(probability: np.ndarray, happened: np.ndarray) -> float:
    """Mean of (probability - outcome) squared, the outcome 0 or 1."""
    return float(((probability - happened) ** 2).mean())


def mean_absolute_error(predicted: np.ndarray, actual: np.ndarray) -> float:
    """MAE = mean of |predicted - actual|."""
    return float(np.abs(predicted - actual).mean())


def root_mean_square_error(predicted: np.ndarray, actual: np.ndarray) -> float:
    """RMSE = square root of the mean of (predicted - actual) squared."""
    return float(np.sqrt(((predicted - actual) ** 2).mean()))
