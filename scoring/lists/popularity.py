"""One list for all, by liked plays of the last days: what any list must beat. Played videos are left out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.ascending import indices_in
from nightreel.core.instants import DAY_US, unix_us
from nightreel.core.settings import DataSettings
from pipelines.backtest_files import YESTERDAY
from pipelines.labels import LengthBuckets, is_liked
from pipelines.local_days import INSTANT, ends_of_days
from pipelines.pair_bits import bits_at
from scoring.lists.candidates import Candidates

HALF_LIFE_DAYS = 3
_BLOCK_USERS = 1024
_BATCH_ROWS = 262_144


@dataclass(frozen=True)
class LikedPlays:
    """Number of liked plays of each video on each local day of the log.

    Attributes:
        ends_us: int64 [days], ascending, end of each day in microseconds since 1970 UTC.
        video_id: int64 [videos], ascending.
        counts: int64 [days, videos].
    """

    ends_us: np.ndarray
    video_id: np.ndarray
    counts: np.ndarray

    @classmethod
    def count(cls, plays: pl.DataFrame, settings: DataSettings, buckets: LengthBuckets) -> "LikedPlays":
        """Count a log as `read_plays` returns it, batch by batch, with the label that the settings define."""
        parts = []
        for batch in plays.iter_slices(_BATCH_ROWS):
            ratio, length = (batch[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
            liked = is_liked(settings.targets.label, buckets, ratio, length, settings)
            ends = ends_of_days(batch[columns.EVENT_TIMESTAMP].cast(INSTANT), settings.zone)
            rows = batch.select(columns.VIDEO_ID).with_columns(ends.alias("end"), pl.Series("liked", liked))
            parts.append(rows.group_by("end", columns.VIDEO_ID).agg(pl.col("liked").sum().cast(pl.Int64)))
        whole = pl.concat(parts)
        ends_us, day = np.unique(whole["end"].to_physical().to_numpy(), return_inverse=True)
        video_id, video = np.unique(whole[columns.VIDEO_ID].to_numpy(), return_inverse=True)
        counts = np.zeros((len(ends_us), len(video_id)), dtype=np.int64)
        np.add.at(counts, (day, video), whole["liked"].to_numpy())
        return cls(ends_us, video_id, counts)

    def of_last(self, days: int, as_of: datetime) -> np.ndarray:
        """Liked plays in the last `days` days of the log before the instant: float64 [videos]."""
        total: np.ndarray = self._before(as_of)[-days:].sum(axis=0).astype(np.float64)
        return total

    def faded(self, as_of: datetime) -> np.ndarray:
        """Liked plays before the instant, with weights halved every HALF_LIFE_DAYS: float64 [videos].

        Ages are whole days and sums are rounded, so that ties are ties on every processor.
        """
        counts = self._before(as_of)
        faded: np.ndarray = np.round(faded_weights(self.ends_us[: len(counts)], as_of) @ counts, 6)
        return faded

    def _before(self, as_of: datetime) -> np.ndarray:
        return self.counts[: np.searchsorted(self.ends_us, unix_us(as_of), side="right")]


def faded_weights(ends_us: np.ndarray, as_of: datetime) -> np.ndarray:
    """Weight of a liked play by the end of its day: halved every HALF_LIFE_DAYS before the instant.

    Args:
        ends_us: int64, microseconds since 1970 UTC, none after the instant.
    """
    age_days = np.rint((unix_us(as_of) - ends_us) / DAY_US)
    weights: np.ndarray = 0.5 ** (age_days / HALF_LIFE_DAYS)
    return weights


# Each list by its name: what it orders videos by.
POPULARITIES: dict[str, Callable[[LikedPlays, datetime], np.ndarray]] = {
    YESTERDAY: lambda plays, as_of: plays.of_last(1, as_of),
    "popularity_3_days": lambda plays, as_of: plays.of_last(3, as_of),
    "popularity_7_days": lambda plays, as_of: plays.of_last(7, as_of),
    "popularity_half_life": LikedPlays.faded,
}


def one_list_for_all(
    candidates: Candidates, video_id: np.ndarray, value: np.ndarray, depth: int
) -> Iterator[pl.DataFrame]:
    """Each user's first `depth` unseen videos by falling value, ties by video_id; value 0 is not listed.

    Args:
        video_id: int64, ascending.
        value: float64, one entry per video.

    Yields:
        user_id, video_id, rank (from 1), for a block of users.
    """
    at, is_known = indices_in(video_id, candidates.video_id)
    own = np.zeros(len(at))
    own[is_known] = value[at[is_known]]
    order = np.argsort(-own, kind="stable")
    order = order[own[order] > 0]
    for start in range(0, len(candidates.user_id), _BLOCK_USERS):
        users = slice(start, start + _BLOCK_USERS)
        user, rank, video = _first_unseen(order, candidates.seen.of(users), depth)
        yield pl.DataFrame(
            {
                columns.USER_ID: candidates.user_id[users][user],
                "rank": rank.astype(np.int32),
                columns.VIDEO_ID: candidates.video_id[video],
            }
        )


def _first_unseen(
    order: np.ndarray, seen: np.ndarray, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first `depth` of an order that each user has not seen: user, rank from 1, video."""
    listed = np.full((len(seen), depth), -1)
    left = np.arange(len(seen)) if len(order) else np.zeros(0, dtype=np.int64)
    width = 4 * depth
    while len(left):
        # Most of them are near the top.
        head = order[:width]
        is_open = bits_at(seen, left[:, None], head[None, :]) == 0
        rank = np.cumsum(is_open, axis=1, dtype=np.int32)
        is_done = (rank[:, -1] >= depth) | (width >= len(order))
        row, position = np.nonzero(is_open & (rank <= depth) & is_done[:, None])
        listed[left[row], rank[row, position] - 1] = head[position]
        left = left[~is_done]
        width *= 4
    user, position = np.nonzero(listed >= 0)
    return user, position + 1, listed[user, position]
