"""Kept counts of plays and liked plays by user, category and day: a night reads only the days that changed.

Each day's counts are a file, and the sums of all days another one: a night that only brings a new day opens
no file of an earlier day. A day's counts depend on its plays, on the category of each video, and on the day
when it became known. So the digest of each day's plays is kept, and the day's videos with their categories. A
day is read again if either differs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import carry_over
from nightreel.core.checksums import is_usable, require_as_written
from nightreel.core.play_days import digests_of_days, files_by_day
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.daily_sums import is_liked
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.points import VISIBLE
from pipelines.features.recorded_days import recorded_days, write_record
from pipelines.features.video_groups import KNOWN_FROM, group_changes, with_groups_as_known

PLAYS, LIKED, CATEGORY = "plays", "liked", "category"
_NAMES = "sums.parquet", "videos.parquet"
_NO_ROWS = pl.DataFrame(
    schema={
        columns.USER_ID: pl.Int64,
        CATEGORY: pl.Int64,
        VISIBLE: pl.Date,
        PLAYS: pl.UInt32,
        LIKED: pl.UInt32,
    }
)
_READ = (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO, columns.PLAY_DURATION)


@dataclass(frozen=True)
class CategoryCounts:
    """Each user's plays and liked plays by category.

    Attributes:
        rows: of `same_before` and later, or all of them if none were kept: user_id, CATEGORY, VISIBLE (the
            first day on which they count), PLAYS, LIKED.
        before: the sums of the earlier rows, by user and category.
        videos: the videos of each day: video_id, VISIBLE (the day after), CATEGORY and KNOWN_FROM, both null
            if no category is known.
        digests: of the plays of each local day.
        same_before: rows with an earlier VISIBLE are those that were kept; None if none were kept.
        days: the rows of each day that was read.
    """

    rows: pl.DataFrame
    before: pl.DataFrame
    videos: pl.DataFrame
    digests: Mapping[date, str]
    same_before: date | None
    days: Mapping[date, pl.DataFrame]

    @classmethod
    def of(cls, settings: FeatureNeeds, folder: Path, decisive: str, *, force: bool) -> "CategoryCounts":
        """The counts of all days: kept ones from the folder, the others from the plays.

        Args:
            decisive: a digest of what decides the counts besides the plays and their videos' categories.
        """
        changes = group_changes(columns.CATEGORY_LEVELS[0], CATEGORY, settings)
        interactions = settings.paths.interactions
        files, digests = files_by_day(interactions), digests_of_days(interactions)
        of_sums, of_videos = kept = [folder / name for name in _NAMES]
        known = {} if force else recorded_days(folder, decisive, kept)
        again = {day for day in {*known, *digests} if known.get(day) != digests.get(day)}
        if not known:
            read = {day: _of_day(day, path, changes, settings) for day, path in files.items()}
            rows = pl.concat(of_day for of_day, _ in read.values())
            videos = pl.concat(of_day for _, of_day in read.values())
            days = {day: of_day for day, (of_day, _) in read.items()}
            return cls(rows, _summed(rows.clear()), videos, digests, None, days)
        before = pl.read_parquet(of_videos)
        now = with_groups_as_known(before.select(columns.VIDEO_ID, VISIBLE), changes, CATEGORY)
        is_other = pl.any_horizontal(now[name].ne_missing(before[name]) for name in (CATEGORY, KNOWN_FROM))
        others = [frame.filter(pl.select(is_other).to_series()) for frame in (before, now)]
        of_others = {day - timedelta(days=1) for day in others[0][VISIBLE].unique()}
        again |= of_others
        differs = [day for frame in others for day in _counted_from(frame)]
        differs += [day + timedelta(days=1) for day in again]
        same_before = min(differs, default=max(digests) + timedelta(days=1))
        gained, read = GainedPlays.since(known, interactions), {}
        for day in sorted(again & files.keys()):
            of_kept = _file_of(folder, day)
            if day in gained.until and day not in of_others and of_kept.is_file() and is_usable(of_kept):
                # Late plays change the counts of their users alone.
                users = gained.new(day, [columns.USER_ID])[columns.USER_ID].unique().implode()
                rows, videos = _of_day(day, files[day], changes, settings, users)
                others_of_day = pl.scan_parquet(of_kept).filter(~pl.col(columns.USER_ID).is_in(users))
                of_day = before.filter(pl.col(VISIBLE) == day + timedelta(days=1))
                read[day] = (
                    pl.concat([others_of_day.collect(), rows]),
                    pl.concat([of_day, videos]).unique(columns.VIDEO_ID).sort(columns.VIDEO_ID),
                )
            else:
                read[day] = _of_day(day, files[day], changes, settings)
        seen_again = pl.Series([day + timedelta(days=1) for day in again], dtype=pl.Date).implode()
        videos = pl.concat(
            [before.filter(~pl.col(VISIBLE).is_in(seen_again)), *(of_day for _, of_day in read.values())]
        ).sort(VISIBLE, maintain_order=True)
        days = {day: of_day for day, (of_day, _) in read.items()}
        rows = pl.concat([_NO_ROWS, *days.values()])
        if max(_counted_from(before), default=date.min) < same_before:
            return cls(rows, pl.read_parquet(of_sums), videos, digests, same_before, days)
        of_days = [_file_of(folder, day) for day in sorted(known.keys() - again)]
        if not all(path.is_file() and is_usable(path) for path in of_days):
            return cls.of(settings, folder, decisive, force=True)
        rows = pl.concat([*map(pl.read_parquet, of_days), rows])
        is_new = pl.col(VISIBLE) >= same_before
        earlier = _summed(rows.filter(~is_new))
        return cls(rows.filter(is_new), earlier, videos, digests, same_before, days)

    def write(self, folder: Path, kept: Path, decisive: str) -> None:
        """Keep the counts in an empty folder.

        Args:
            kept: the folder that they were read from, for the days that are the same.
        """
        of_sums, of_videos = (folder / name for name in _NAMES)
        names = [columns.USER_ID, CATEGORY, PLAYS, LIKED]
        _summed(pl.concat([self.before.select(names), self.rows.select(names)])).write_parquet(of_sums)
        self.videos.write_parquet(of_videos)
        _file_of(folder, date.min).parent.mkdir()
        for day in self.digests:
            path = _file_of(folder, day)
            if day in self.days:
                self.days[day].write_parquet(path)
            else:
                carry_over(_file_of(kept, day), path)
        write_record(folder, decisive, self.digests)


def _file_of(folder: Path, day: date) -> Path:
    return folder / "days" / f"{day.isoformat()}.parquet"


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    keys = [columns.USER_ID, CATEGORY]
    return rows.group_by(keys).agg(pl.col(PLAYS, LIKED).sum()).sort(keys)


def _of_day(
    day: date, path: Path, changes: pl.DataFrame, settings: FeatureNeeds, users: pl.Series | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows and the videos of a day's plays.

    Args:
        users: in one row; only plays of these users. None for all.
    """
    require_as_written([path])
    scan = pl.scan_parquet(path, hive_partitioning=False)
    if users is not None:
        scan = scan.filter(pl.col(columns.USER_ID).is_in(users))
    plays = scan.select(_READ).collect()
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
    return rows, videos


def _counted_from(videos: pl.DataFrame) -> Iterable[date]:
    """For each video and day, the first day on which its plays of that day count."""
    found: list[date] = (
        videos.drop_nulls().select(pl.max_horizontal(VISIBLE, KNOWN_FROM)).to_series().to_list()
    )
    return found
