"""The weight of a score's personal part, by the length of the user's history.

A score's mean over users says how good a video is. A user's own difference from it is taste or, if little is
known of the user, noise. Past nights tell how much of it to keep: for each segment of history length the
weight is fitted on users that the models have not seen, and stays 1 (the score as it is) unless another
weight is better by more than chance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MEAN_USERS = 256  # users over which ordering scores are averaged
_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
_SEGMENTS = 3  # segments of users with a history
_STANDARD_ERRORS = 3.0
_EXAMPLES_MIN = 30


@dataclass(frozen=True)
class Shrinkage:
    """The weight of a score's personal part in each segment of history length.

    Attributes:
        borders: ascending, the number of plays at which the next segment begins.
        weights: one per segment, 0 to 1; 1 leaves scores as they are.
    """

    borders: tuple[float, ...] = ()
    weights: tuple[float, ...] = (1.0,)

    @property
    def changes_nothing(self) -> bool:
        """Whether every score stays as it is."""
        return all(weight == 1.0 for weight in self.weights)

    def applied(self, scores: np.ndarray, common: np.ndarray, plays: np.ndarray) -> np.ndarray:
        """Scores with their personal part weighted.

        Args:
            scores: float64 [rows].
            common: float64 [rows], the video's mean over users; NaN (unknown) leaves the score as it is.
            plays: float64 [rows], the length of the user's history.

        Returns:
            float64 [rows].
        """
        weight = np.array(self.weights)[np.searchsorted(self.borders, plays, side="right")]
        return np.where(np.isnan(common), scores, common + weight * (scores - common))

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"borders": list(self.borders), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, content: dict[str, Any] | None) -> "Shrinkage":
        """What `to_dict` gave; without shrinkage for a version that has none."""
        return cls() if content is None else cls(tuple(content["borders"]), tuple(content["weights"]))


def fitted_shrinkage(
    scores: np.ndarray,
    common: np.ndarray,
    plays: np.ndarray,
    first_rows: np.ndarray,
    quality: Callable[[np.ndarray], np.ndarray],
    *,
    confirmed_by: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Shrinkage:
    """The weights that rank best.

    Args:
        scores, common, plays: of each row, as `Shrinkage.applied` takes them.
        first_rows: the first row of each example.
        quality: gives one figure per example for an array of scores; higher is better.
        confirmed_by: a second such figure, which has to gain too.
    """
    of_example = plays[first_rows]
    some = of_example[of_example > 0]
    shares = np.arange(1, _SEGMENTS) / _SEGMENTS
    inner = np.quantile(some, shares, method="higher").tolist() if len(some) else []
    borders = tuple(sorted({1.0, *inner}))
    segment = np.searchsorted(borders, of_example, side="right")
    before = quality(scores)
    confirmed_before = None if confirmed_by is None else confirmed_by(scores)
    best = np.ones(len(borders) + 1)
    best_gain = np.zeros(len(best))
    for weight in _WEIGHTS:
        uniform = Shrinkage((), (weight,))
        tried = uniform.applied(scores, common, plays)
        gain = quality(tried) - before
        confirmed = gain if confirmed_by is None else confirmed_by(tried) - confirmed_before
        for number in range(len(best)):
            own = gain[segment == number]
            if len(own) < _EXAMPLES_MIN:
                continue
            by_chance = _STANDARD_ERRORS * own.std() / np.sqrt(len(own))
            is_confirmed = confirmed[segment == number].sum() > 0
            if is_confirmed and own.mean() > max(by_chance, best_gain[number]):
                best[number], best_gain[number] = weight, own.mean()
    return Shrinkage(borders, tuple(best.tolist()))


def mean_of_others(scores: np.ndarray, of_same: np.ndarray) -> np.ndarray:
    """Each row's mean score of the other rows with the same `of_same`, NaN if there is none: float64."""
    count = np.bincount(of_same)[of_same]
    total = np.bincount(of_same, scores)[of_same]
    return np.where(count > 1, (total - scores) / np.maximum(count - 1, 1), np.nan)
