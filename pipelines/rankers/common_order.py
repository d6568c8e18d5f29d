"""The mean ordering score of each video over users; a user's difference from it is the personal part."""

import numpy as np

from nightreel.core import columns
from pipelines.model_rows.blocks import made_in_order
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.rankers.pair_ranker import PairRanker

_BLOCK_USERS = 32


def means_over_users(pairs: PairRanker, users: np.ndarray, threads: int = 1) -> np.ndarray:
    """The mean over some users of the score that orders each video.

    Args:
        users: positions in `joined`.

    Returns:
        float64 [videos].
    """

    def orderings(some: np.ndarray) -> list[np.ndarray]:
        grids = pairs.block(some).regressed_grid()
        return [
            pairs.ranker.ordering(own, own_als)
            for _, als, regressed in grids
            for own_als, own in zip(als, regressed, strict=True)
        ]

    total = np.zeros(len(pairs.joined.video_factors))
    blocks = (users[start : start + _BLOCK_USERS] for start in range(0, len(users), _BLOCK_USERS))
    for found in made_in_order(orderings, blocks, threads):
        # User after user, so that the sum depends neither on blocks nor on threads.
        for ordering in found:
            total += ordering
    return total / max(len(users), 1)


def plays_of(joined: JoinedFeatures) -> np.ndarray:
    """The length of each user's history, in plays: float64 [users]."""
    return np.nan_to_num(joined.user_feature(columns.USER_AGG_INTERACTIONS).astype(np.float64))
