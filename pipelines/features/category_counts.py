"""Kept counts of plays and liked plays by user, category and day: a night reads only the days that changed.

Each day's counts are a file, and the sums of all days another one: a night that only brings a new day opens
no file of an earlier day. A day's counts depend on its plays, on the category of each video, and on the day
when it became known. So the digest of each day's plays is kept, and the day's videos with their categories. A
day is read again if either differs.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import carry_over
from nightreel.core.checksums import is_usable, require_as_written
from nightreel.core.play_days import digests_of_days, files_by_day
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.points import VISIBLE
from pipelines.features.recorded_days import recorded_days, write_record
from pipelines.features.sums_of_days import is_liked
from pipelines.features.video_groups import KNOWN_FROM, group_changes, with_groups_as_known
from pipelines.id_codes import IdCodes, codes_of

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
_KEYS = [columns.USER_ID, CATEGORY, VISIBLE]
# Cells of users, days and categories at a time.
_CELLS = 4_000_000
_READ = (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO, columns.PLAY_DURATION)


@dataclass(frozen=True)
class CategoryCounts:
    """Each user's plays and liked plays by category.

    Rows have user_id, CATEGORY, VISIBLE (the first day on which they count), PLAYS and LIKED.

    Attributes:
        days: the rows of `same_before` and later, or all of them if none were kept: of each day's plays, in
            order of users; with whole numbers as short as their values allow.
        before: the sums of the earlier rows, by user and category, in this order.
        videos: the videos of each day: video_id, VISIBLE (the day after), CATEGORY and KNOWN_FROM, both null
            if no category is known.
        digests: of the plays of each local day.
        same_before: rows with an earlier VISIBLE are those that were kept; None if none were kept.
    """

    days: Sequence[pl.DataFrame]
    before: pl.DataFrame
    videos: pl.DataFrame
    digests: Mapping[date, str]
    same_before: date | None

    @classmethod
    def of(
        cls, settings: FeatureNeeds, folder: Path, target: Path, decisive: str, *, force: bool
    ) -> "CategoryCounts":
        """The counts of all days: kept ones from the folder, the others from the plays.

        Args:
            target: the folder, there already, in which the counts are kept from now on; each day's are
                written there at once.
            decisive: a digest of what decides the counts besides the plays and their videos' categories.
        """
        changes = group_changes(columns.CATEGORY_LEVELS[0], CATEGORY, settings)
        interactions = settings.paths.interactions
        files, digests = files_by_day(interactions), digests_of_days(interactions)
        of_sums, of_videos = kept = [folder / name for name in _NAMES]
        known = {} if force else recorded_days(folder, decisive, kept)
        again = {day for day in {*known, *digests} if known.get(day) != digests.get(day)}
        of_target = _file_of(target, date.min).parent
        shutil.rmtree(of_target, ignore_errors=True)
        of_target.mkdir()
        if not known:
            read = {}
            for day, path in files.items():
                rows, videos = _of_day(day, path, changes, settings)
                rows.write_parquet(_file_of(target, day))
                read[day] = _short(rows), videos
            videos = pl.concat(of_day for _, of_day in read.values())
            return cls([rows for rows, _ in read.values()], _summed(_NO_ROWS), videos, digests, None)
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
                rows = pl.concat([others_of_day.collect(), rows]).sort(_KEYS)
                of_day = before.filter(pl.col(VISIBLE) == day + timedelta(days=1))
                videos = pl.concat([of_day, videos]).unique(columns.VIDEO_ID).sort(columns.VIDEO_ID)
            else:
                rows, videos = _of_day(day, files[day], changes, settings)
            rows.write_parquet(_file_of(target, day))
            read[day] = _short(rows), videos
        seen_again = pl.Series([day + timedelta(days=1) for day in again], dtype=pl.Date).implode()
        videos = pl.concat(
            [before.filter(~pl.col(VISIBLE).is_in(seen_again)), *(of_day for _, of_day in read.values())]
        ).sort(VISIBLE, maintain_order=True)
        days = [rows for rows, _ in read.values()]
        if max(_counted_from(before), default=date.min) < same_before:
            for day in digests.keys() - read.keys():
                carry_over(_file_of(folder, day), _file_of(target, day))
            return cls(days, pl.read_parquet(of_sums), videos, digests, same_before)
        of_days = {day: _file_of(folder, day) for day in sorted(known.keys() - again)}
        if not all(path.is_file() and is_usable(path) for path in of_days.values()):
            return cls.of(settings, folder, target, decisive, force=True)
        for day, path in of_days.items():
            carry_over(path, _file_of(target, day))
        days += [_short(pl.read_parquet(path)) for path in of_days.values()]
        is_new = pl.col(VISIBLE) >= same_before
        earlier = [rows.filter(~is_new) for rows in days]
        sums = pl.concat(map(_summed, parts_of_users(earlier)))
        return cls([rows.filter(is_new) for rows in days], sums, videos, digests, same_before)

    def write(self, target: Path, decisive: str) -> None:
        """Keep the counts in a folder that has those of single days."""
        of_sums, of_videos = (target / name for name in _NAMES)
        before = self.before.with_columns(pl.lit(date.min).alias(VISIBLE)).select(_NO_ROWS.columns)
        pl.concat(map(_summed, parts_of_users([before, *self.days]))).write_parquet(of_sums)
        self.videos.write_parquet(of_videos)
        write_record(target, decisive, self.digests)


def _file_of(folder: Path, day: date) -> Path:
    return folder / "days" / f"{day.isoformat()}.parquet"


def parts_of_users(days: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows of some users at a time, in order of the users: at least one part.

    Args:
        days: rows in order of users.
    """
    users = _distinct(days, columns.USER_ID)
    cells_a_user = len(_distinct(days, CATEGORY)) * len(_distinct(days, VISIBLE))
    first_users = users[:: max(1, _CELLS // max(1, cells_a_user))]
    borders = [
        [*np.searchsorted(rows[columns.USER_ID].to_numpy(), first_users).tolist(), rows.height]
        for rows in days
    ]
    for part in range(max(1, len(first_users))):
        own = (
            rows[starts[part] : starts[part + 1]].cast(_NO_ROWS.schema)
            for rows, starts in zip(days, borders, strict=True)
            if rows.height
        )
        yield pl.concat([_NO_ROWS, *own])


def _distinct(days: Sequence[pl.DataFrame], name: str) -> np.ndarray:
    found = (rows[name].to_physical().unique().cast(pl.Int64).to_numpy() for rows in days)
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))


def _short(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with each whole number as short as all values of its column allow."""
    return rows.with_columns(column.shrink_dtype() for column in rows if column.dtype.is_integer())


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums by user and category, in this order."""
    (users, user), (categories, category) = (codes_of(rows[name]) for name in (columns.USER_ID, CATEGORY))
    cell = user * len(categories) + category
    plays, liked = (np.bincount(cell, rows[name].to_numpy()) for name in (PLAYS, LIKED))
    at = np.flatnonzero(plays)
    found = {
        columns.USER_ID: users[at // max(1, len(categories))],
        CATEGORY: categories[at % max(1, len(categories))],
        PLAYS: plays[at].astype(np.uint32),
        LIKED: liked[at].astype(np.uint32),
    }
    return pl.DataFrame(found, schema=_NO_ROWS.drop(VISIBLE).schema)


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
    group = [CATEGORY, VISIBLE]
    groups = of_videos.select(group).unique().sort(group)
    group_of_video = of_videos.join(groups.with_row_index(), on=group, how="left", maintain_order="left")
    video, is_known = IdCodes(of_videos[columns.VIDEO_ID].to_numpy()).known(
        plays[columns.VIDEO_ID].to_numpy()
    )
    user_ids, user = codes_of(plays[columns.USER_ID])
    # One number for user, group and whether the play was liked: sorting these takes a fraction of the time of
    # grouping by three columns.
    cell = user[is_known] * groups.height + group_of_video["index"].to_numpy()[video[is_known]]
    number = np.sort(cell * 2 + plays.select(liked).to_series().to_numpy()[is_known])
    cell, is_liked_play = number >> 1, number & 1
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    found = {
        columns.USER_ID: user_ids[cell[starts] // max(1, groups.height)],
        **{name: groups[name].gather(cell[starts] % max(1, groups.height)) for name in group},
        PLAYS: np.diff(starts, append=len(cell)).astype(np.uint32),
        LIKED: np.add.reduceat(is_liked_play, starts).astype(np.uint32),
    }
    return pl.DataFrame(found, schema=_NO_ROWS.schema), videos


def _counted_from(videos: pl.DataFrame) -> Iterable[date]:
    """For each video and day, the first day on which its plays of that day count."""
    found: list[date] = (
        videos.drop_nulls().select(pl.max_horizontal(VISIBLE, KNOWN_FROM)).to_series().to_list()
    )
    return found
