"""What the sums of all days come to: a night that only brings new days goes on from these alone."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nightreel.core import columns
from pipelines.features.profiles import without_repeats

_NAMES = "users_total", "videos_total", "days_total", "durations_changed"


@dataclass(frozen=True)
class Totals:
    """The totals of some days, in order of their ids or days: those of single days added up.

    Attributes:
        users, videos: of each user and video, all int64.
        days: the same of each day, by event_timestamp, its end.
        durations: video_id, event_timestamp and video_duration (ms), without days that repeat the one before.
    """

    users: pl.DataFrame
    videos: pl.DataFrame
    days: pl.DataFrame
    durations: pl.DataFrame

    @classmethod
    def of(cls, users: pl.DataFrame, videos: pl.DataFrame, durations: pl.DataFrame) -> "Totals":
        """Those of the sums of single days, by user and by video, and of the lengths of the days' videos."""
        return cls(
            _added([users.drop(columns.EVENT_TIMESTAMP)], columns.USER_ID),
            _added([videos.drop(columns.EVENT_TIMESTAMP)], columns.VIDEO_ID),
            _added([users.drop(columns.USER_ID)], columns.EVENT_TIMESTAMP),
            _changed([durations]),
        )

    @classmethod
    def read(cls, folder: Path) -> "Totals":
        """Those that `write` wrote."""
        return cls(*map(pl.read_parquet, cls.files(folder)))

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """The paths that `write` writes."""
        return [folder / f"{name}.parquet" for name in _NAMES]

    def plus(self, later: "Totals") -> "Totals":
        """Those of both, where the days of the other are later."""
        return Totals(
            _added([self.users, later.users], columns.USER_ID),
            _added([self.videos, later.videos], columns.VIDEO_ID),
            _added([self.days, later.days], columns.EVENT_TIMESTAMP),
            _changed([self.durations, later.durations]),
        )

    def write(self, folder: Path) -> None:
        """Keep them for another night."""
        frames = (self.users, self.videos, self.days, self.durations)
        for frame, path in zip(frames, self.files(folder), strict=True):
            frame.write_parquet(path)


def _added(parts: list[pl.DataFrame], key: str) -> pl.DataFrame:
    return pl.concat(parts).group_by(key).agg(pl.all().sum()).sort(key)


def _changed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    rows = pl.concat(parts).sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    return without_repeats(rows, [columns.VIDEO_DURATION])
