"""Kept counts of plays and liked plays by user, category and day: a night reads only the days that changed.

A day's counts depend on its plays, on the category of each video, and on the day when it became known. So the
digest of each day's plays is kept, and the day's videos with their categories. A day is read again if either
differs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import digests_of_days, files_by_day, read_days
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.daily_sums import is_liked
from pipelines.features.points import VISIBLE
from pipelines.features.recorded_days import recorded_days, write_record
from pipelines.features.video_groups import KNOWN_FROM, group_changes, with_groups_as_known

PLAYS, LIKED, CATEGORY = "plays", "liked", "category"
_DAY = "day"
_NAMES = "counts.parquet", "videos.parquet"
_READ = (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO, columns.PLAY_DURATION)


@dataclass(frozen=True)
class CategoryCounts:
    """Each user's plays and liked plays by category.

    Attributes:
        rows: user_id, CATEGORY, VISIBLE (the first day on which they count), PLAYS, LIKED, and the day after
            the plays' own, on which they may first be seen.
        videos: the videos of each such day: video_id, VISIBLE (that day), CATEGORY and KNOWN_FROM, both null
            if no category is known.
        digests: of the plays of each local day.
        same_before: rows with an earlier VISIBLE are those that were kept; None if none were kept.
    """

    rows: pl.DataFrame
    videos: pl.DataFrame
    digests: Mapping[date, str]
    same_before: date | None

    @classmethod
    def of(cls, settings: FeatureNeeds, folder: Path, decisive: str, *, force: bool) -> "CategoryCounts":
        """The counts of all days: kept ones from the folder, the others from the plays.

        Args:
            decisive: a digest of what decides the counts besides the plays and their videos' categories.
        """
        changes = group_changes(columns.CATEGORY_LEVELS[0], CATEGORY, settings)
        interactions = settings.paths.interactions
        files, digests = files_by_day(interactions), digests_of_days(interactions)
        of_rows, of_videos = kept = [folder / name for name in _NAMES]
        known = {} if force else recorded_days(folder, decisive, kept)
        rows, videos, differs = [], [], []
        again = {day for day in {*known, *digests} if known.get(day) != digests.get(day)}
        if known:
            before = pl.read_parquet(of_videos)
            now = with_groups_as_known(before.select(columns.VIDEO_ID, VISIBLE), changes, CATEGORY)
            is_other = pl.any_horizontal(
                now[name].ne_missing(before[name]) for name in (CATEGORY, KNOWN_FROM)
            )
            others = [frame.filter(pl.select(is_other).to_series()) for frame in (before, now)]
            differs = [day for frame in others for day in _counted_from(frame)]
            again |= {day - timedelta(days=1) for day in others[0][VISIBLE].unique()}
            seen_again = pl.Series([day + timedelta(days=1) for day in again], dtype=pl.Date).implode()
            rows.append(pl.scan_parquet(of_rows).filter(~pl.col(_DAY).is_in(seen_again)).collect())
            videos.append(before.filter(~pl.col(VISIBLE).is_in(seen_again)))
            differs += [day + timedelta(days=1) for day in again]
        for day in sorted(again & files.keys()):
            of_day, its_videos = _of_day(day, files[day], changes, settings)
            rows.append(of_day)
            videos.append(its_videos)
        return cls(
            pl.concat(rows),
            pl.concat(videos).sort(VISIBLE, maintain_order=True),
            digests,
            min(differs, default=max(digests) + timedelta(days=1)) if known else None,
        )

    def write(self, folder: Path, decisive: str) -> None:
        """Keep the counts in an empty folder."""
        of_rows, of_videos = (folder / name for name in _NAMES)
        self.rows.write_parquet(of_rows)
        self.videos.write_parquet(of_videos)
        write_record(folder, decisive, self.digests)


def _of_day(
    day: date, path: Path, changes: pl.DataFrame, settings: FeatureNeeds
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows and the videos of a day's plays."""
    plays = read_days([path], _READ)
    liked = is_liked(pl.col(columns.WATCH_RATIO).cast(pl.Float64), settings.data)
    seen = pl.lit(day + timedelta(days=1)).alias(VISIBLE)
    cells = plays.select(columns.VIDEO_ID).unique().sort(columns.VIDEO_ID).with_columns(seen)
    videos = with_groups_as_known(cells, changes, CATEGORY)
    of_videos = videos.drop_nulls().select(
        columns.VIDEO_ID, CATEGORY, pl.max_horizontal(VISIBLE, KNOWN_FROM).alias(VISIBLE)
    )
    keys = [columns.USER_ID, CATEGORY, VISIBLE]
    counts = (pl.len().cast(pl.UInt32).alias(PLAYS), liked.sum().cast(pl.UInt32).alias(LIKED))
    rows = plays.join(of_videos, on=columns.VIDEO_ID).group_by(keys).agg(counts).sort(keys)
    return rows.with_columns(seen.alias(_DAY)), videos


def _counted_from(videos: pl.DataFrame) -> Iterable[date]:
    """For each video and day, the first day on which its plays of that day count."""
    found: list[date] = (
        videos.drop_nulls().select(pl.max_horizontal(VISIBLE, KNOWN_FROM)).to_series().to_list()
    )
    return found
