"""What had been played before a protocol's instant: of its videos, by its users, and of its pairs."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel.core import columns
from pipelines.evaluate.protocols import Pairs
from pipelines.id_codes import IdCodes
from pipelines.pair_bit_loops import set_bits
from pipelines.pair_bits import bits_at

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class History:
    """Counts of the plays before the instant.

    Attributes:
        video_id: int64, the videos of the pairs, ascending.
        views, viewers: int64 [videos], how often and by how many users each had been played.
        first_us: int64 [videos], its first play, microseconds since 1970 UTC; undefined without one.
        user_id: int64, everyone who had played anything, ascending.
        plays: int64 [users], the number of each one's plays.
        is_again: bool [pairs], whether the user had played the video.
    """

    video_id: np.ndarray
    views: np.ndarray
    viewers: np.ndarray
    first_us: np.ndarray
    user_id: np.ndarray
    plays: np.ndarray
    is_again: np.ndarray

    @classmethod
    def of(cls, pairs: Pairs) -> "History":
        """Read the history: its users, then the plays in batches, beside a bit for each user and video."""
        counts = pairs.history.group_by(columns.USER_ID).agg(pl.len().alias("plays"))
        of_users = counts.sort(columns.USER_ID).collect(engine="streaming")
        user_id = of_users[columns.USER_ID].to_numpy()
        video_id = np.unique(pairs.rows[columns.VIDEO_ID].to_numpy())
        users, videos = IdCodes(user_id), IdCodes(video_id)
        played = np.zeros((len(user_id), -(-len(video_id) // 8)), dtype=np.uint8)
        views, viewers = np.zeros((2, len(video_id)), dtype=np.int64)
        first_us = np.full(len(video_id), _NEVER)
        asked = (columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        for batch in pairs.history.select(asked).collect_batches(maintain_order=False):
            row, _ = users.known(batch[columns.USER_ID].to_numpy())
            column, is_asked = videos.known(batch[columns.VIDEO_ID].to_numpy())
            is_new = set_bits(played, row, column, is_asked)
            column = column[is_asked]
            views += np.bincount(column, minlength=len(video_id))
            viewers += np.bincount(column[is_new[is_asked]], minlength=len(video_id))
            at_us = batch[columns.EVENT_TIMESTAMP].to_physical().to_numpy()
            np.minimum.at(first_us, column, at_us[is_asked])
        row, has_row = users.known(pairs.rows[columns.USER_ID].to_numpy())
        column = videos.of_known(pairs.rows[columns.VIDEO_ID].to_numpy())
        is_again = has_row & (bits_at(played, row, column) > 0) if len(user_id) else has_row
        return cls(video_id, views, viewers, first_us, user_id, of_users["plays"].to_numpy(), is_again)

    def plays_of(self, user_id: np.ndarray) -> np.ndarray:
        """The number of plays of some users: int64 [users]."""
        row, is_known = IdCodes(self.user_id).known(user_id)
        if not len(self.plays):
            return np.zeros(len(user_id), dtype=np.int64)
        found: np.ndarray = np.where(is_known, self.plays[row], 0).astype(np.int64)
        return found
