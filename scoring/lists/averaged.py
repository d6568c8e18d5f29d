"""The users over whom scores are averaged, the same ones for every list of a night."""

import numpy as np

from pipelines.model_rows.tonight import drawn_users
from pipelines.rankers.shrinkage import MEAN_USERS
from scoring.lists.candidates import Candidates


def averaged_users(candidates: Candidates, seed: int) -> np.ndarray:
    """Indices of a sample of users with a history, chosen by a hash of their ids: int64, ascending."""
    warm = np.flatnonzero(candidates.has_history)
    found: np.ndarray = warm[drawn_users(candidates.user_id[warm], MEAN_USERS, seed)]
    return found
