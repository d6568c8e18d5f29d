"""What a local day's plays come to by user and by video: whole numbers, watch_ratio in millionths.

So sums do not depend on the order in which threads add them up, and those of some plays can be added to those
of others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from pipelines.features.seen_pairs import DAY, FIRST_PLAYS, PAIR, AddedPlays
from pipelines.id_codes import codes_of
from pipelines.local_days import ends_of_dates, ends_of_days

PLAYS, LIKED, RATIO, NEW_PAIR = "plays", "liked", "ratio", "new_pair"
RATIO_UNIT = 1_000_000
# Columns of the plays that are summed.
READ = (
    columns.USER_ID,
    columns.VIDEO_ID,
    columns.EVENT_TIMESTAMP,
    columns.PLAY_DURATION,
    columns.VIDEO_DURATION,
    columns.WATCH_RATIO,
)
SUMMED = (PLAYS, NEW_PAIR, LIKED, RATIO, columns.PLAY_DURATION)


@dataclass(frozen=True)
class DailySums:
    """Sums over the plays of each local day.

    Attributes:
        users, videos: one row per key and local day with a play, sorted; event_timestamp is the day's end.
            Sums, all int64: plays; new_pair (first plays of a user and a video); liked; ratio (watch_ratio in
            millionths); play_duration (ms).
        durations: video_id, event_timestamp, video_duration (ms) of the day's last play.
    """

    users: pl.DataFrame
    videos: pl.DataFrame
    durations: pl.DataFrame

    @classmethod
    def of(cls, plays: pl.DataFrame) -> "DailySums":
        """Sum `stamped` plays, given in order of time; `new_pair` is left out."""
        # A day's plays are neighbours.
        day = plays[columns.EVENT_TIMESTAMP].rle_id().to_numpy()
        ends = plays[columns.EVENT_TIMESTAMP].unique(maintain_order=True)
        (users, _), (videos, play) = (_by_day(plays, key, day, ends) for key in PAIR)
        durations = videos.select(columns.VIDEO_ID, columns.EVENT_TIMESTAMP).with_columns(
            plays[columns.VIDEO_DURATION].gather(play)
        )
        return cls(users, videos, durations)

    @classmethod
    def together(cls, parts: Sequence["DailySums"]) -> "DailySums":
        """The sums of all plays, from those of parts that have no day in common."""
        frames = ((part.users, part.videos, part.durations) for part in parts)
        return cls(*map(pl.concat, zip(*frames, strict=True)))._sorted()

    def with_first_plays(self, added: AddedPlays, settings: DataSettings) -> "DailySums":
        """The same with `new_pair`, from what adding these plays to the pairs so far has said."""
        users, videos = (
            frame.join(
                _first_plays(first, key, settings),
                on=[key, columns.EVENT_TIMESTAMP],
                how="left",
                maintain_order="left",
            )
            .with_columns(pl.col(NEW_PAIR).fill_null(0))
            .select(key, columns.EVENT_TIMESTAMP, *SUMMED)
            for key, frame, first in zip(
                PAIR, (self.users, self.videos), (added.users, added.videos), strict=True
            )
        )
        return DailySums(users, videos, self.durations)

    def _sorted(self) -> "DailySums":
        return DailySums(
            self.users.sort(columns.USER_ID, columns.EVENT_TIMESTAMP),
            self.videos.sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP),
            self.durations.sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP),
        )


def _by_day(
    plays: pl.DataFrame, key: str, day: np.ndarray, ends: pl.Series
) -> tuple[pl.DataFrame, np.ndarray]:
    """Sums but `new_pair` by key and day, in this order, and the index of the last play of each.

    Args:
        day: of each play, its index in `ends`.
    """
    ids, code = codes_of(plays[key])
    # Sums of whole numbers are exact in float64, far beyond what a day has.
    cells, cell = codes_of(pl.Series(code * len(ends) + day))
    last = np.empty(len(cells), dtype=np.int64)
    last[cell] = np.arange(len(cell))
    sums = {
        name: np.bincount(cell, plays[name].cast(pl.Float64).fill_null(0).to_numpy(), len(cells))
        for name in SUMMED
        if name != NEW_PAIR
    }
    found = {key: ids[cells // len(ends)], columns.EVENT_TIMESTAMP: ends.gather(cells % len(ends))}
    return pl.DataFrame(found | {name: of_name.astype(np.int64) for name, of_name in sums.items()}), last


def _first_plays(first: pl.DataFrame, key: str, settings: DataSettings) -> pl.DataFrame:
    """A key's first plays of each day, stamped with its end, as `new_pair`."""
    stamps = ends_of_dates(first[DAY], settings.zone).alias(columns.EVENT_TIMESTAMP)
    return first.select(key, stamps, pl.col(FIRST_PLAYS).alias(NEW_PAIR))


def stamped(plays: pl.DataFrame, settings: DataSettings) -> pl.DataFrame:
    """Plays, of which READ is there, with the values to sum and the end of their local day."""
    ratio = pl.col(columns.WATCH_RATIO).cast(pl.Float64)
    return plays.select(
        *PAIR,
        ends_of_days(plays[columns.EVENT_TIMESTAMP], settings.zone),
        pl.lit(1, dtype=pl.Int64).alias(PLAYS),
        is_liked(ratio, settings).alias(LIKED),
        (ratio.clip(0, settings.targets.watch_ratio_clip) * RATIO_UNIT).round().cast(pl.Int32).alias(RATIO),
        columns.PLAY_DURATION,
        columns.VIDEO_DURATION,
    )


def is_liked(ratio: pl.Expr, settings: DataSettings) -> pl.Expr:
    """Whether a play counts as liked: by its watch_ratio, or by how long it lasted."""
    above = ratio > settings.targets.like_threshold
    if settings.targets.long_view_s is None:
        return above
    return above | (pl.col(columns.PLAY_DURATION) >= settings.targets.long_view_s * 1_000)
