"""The mean over users of the score that orders a video; what a user's own score adds is its personal part."""

import numpy as np

from nightreel.core import columns
from pipelines.model_rows.sides import Sides
from pipelines.rankers.pair_ranker import PairRanker

_BLOCK_USERS = 32


def means_over_users(pairs: PairRanker, users: np.ndarray) -> np.ndarray:
    """The mean over some users of the score that orders each video.

    Args:
        users: positions in the sides.

    Returns:
        float64 [videos].
    """
    total = np.zeros(len(pairs.sides.video_factors))
    for start in range(0, len(users), _BLOCK_USERS):
        for _, als, regressed in pairs.block(users[start : start + _BLOCK_USERS]).regressed_grid():
            # User after user, so that the sum does not depend on how many are asked for at a time.
            for own_als, own in zip(als, regressed, strict=True):
                total += pairs.ranker.ordering(own, own_als)
    return total / max(len(users), 1)


def plays_of(sides: Sides) -> np.ndarray:
    """The length of each user's history, in plays: float64 [users]."""
    return np.nan_to_num(sides.user_feature(columns.USER_AGG_INTERACTIONS).astype(np.float64))
