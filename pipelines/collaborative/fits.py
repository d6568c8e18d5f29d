"""The result of every ALS model: factors of users and of videos, and the id of each row."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

FIRST_ITERATIONS = 5
"""Iterations of the first fit, which starts from random factors; more change the order of no list."""
REFIT_ITERATIONS = 2
"""Iterations of each later fit, which starts from the one before and is near its end then."""
REGULARIZATION_PLAYS = 15.0
"""Weight, in plays, that pulls factors to zero: someone with fewer plays than this is mostly the mean."""


@dataclass(frozen=True)
class Fit:
    """The factors of one fit: sorted ids, each with a float32 row; only ids with a play before cutoff.

    The higher the product of a user's and a video's row, the better the video fits the user; what it
    estimates is the model's own, so products of two models cannot be compared.
    """

    cutoff: datetime
    user_ids: np.ndarray
    user_factors: np.ndarray
    video_ids: np.ndarray
    video_factors: np.ndarray
