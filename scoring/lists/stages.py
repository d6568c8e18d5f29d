"""The scores of each stage for one user's pairs."""

from dataclasses import dataclass

import numpy as np

# Videos that the filter keeps for a user: positions, ascending, als_score, what brought them, probability.
Filtered = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Stages:
    """Each stage's scores of one user's pairs that reach the regressor; all arrays have the same length.

    Attributes:
        videos: int64, their indices, ascending.
        als: float32, NaN where unknown.
        brought_by: uint32, one bit per candidate source, as `Retrieval.of_user` returns it.
        ordering: float64, what the list is ordered by.
    """

    videos: np.ndarray
    als: np.ndarray
    brought_by: np.ndarray
    classifier: np.ndarray
    regressor: np.ndarray
    ordering: np.ndarray
