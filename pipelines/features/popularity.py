"""Daily counts of a video: their running mean over its days so far, and those of its last ended day.

Means are of whole numbers' sums, which are kept for each video: a night with records of new days alone reads
these days and the sums, and its rows follow those of the night before.
"""

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.play_days import digests_of_days, files_by_day, read_days
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.features.pieces import by_key
from pipelines.features.recorded_days import only_later_days, recorded_days, write_record
from pipelines.features.running_sums import running_sums
from pipelines.features.source_rows import is_source_of, note_source, write_source
from pipelines.local_days import end_of_day, ends_of_dates

_SO_FAR = "so_far.parquet"
_DAYS = "days of {}"
_TOTALS = [*columns.DAILY_COUNTS, *map(_DAYS.format, columns.DAILY_COUNTS)]


def write_popularity(settings: FeatureNeeds, *, force: bool) -> int:
    """Write the source of `video_daily_popularity`, and keep the sums; returns its rows."""
    view, table = BUILTIN.view(columns.VIDEO_DAILY_POPULARITY), settings.paths.video_daily
    folder, path = (
        settings.paths.state / "values_of_days" / view.name,
        settings.paths.feature_source(view.name),
    )
    files, digests = files_by_day(table), digests_of_days(table)
    decisive = fingerprint(time_zone=settings.data.time_zone)
    known = {} if force else recorded_days(folder, decisive, [folder / _SO_FAR])
    goes_on = only_later_days(known, digests) and is_source_of(folder, path, _columns(settings))
    new = [day for day in files if not goes_on or day not in known]
    if not new:
        return int(pq.read_metadata(path).num_rows)
    before = pl.read_parquet(folder / _SO_FAR) if goes_on else _no_totals()
    names = (columns.VIDEO_ID, columns.LOCAL_DATE, *columns.DAILY_COUNTS)
    daily = read_days([files[day] for day in new], names)
    frames = [daily, before]
    found = by_key(video_daily_popularity, columns.VIDEO_ID, frames, settings.data, settings.cluster)
    found = view.conformed(found).sort(columns.EVENT_TIMESTAMP, maintain_order=True)
    start = end_of_day(new[0], settings.data.zone) if goes_on else None
    rows = write_source(path, start, [found], settings.paths)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        _so_far(daily, before).write_parquet(temporary / _SO_FAR)
        write_record(temporary, decisive, digests)
        note_source(temporary, path)
    return rows


def video_daily_popularity(
    video_daily: pl.DataFrame, before: pl.DataFrame, settings: DataSettings
) -> pl.DataFrame:
    """Means and last values of the daily counts, stamped when the day had ended.

    A row for local day D carries D+1 00:00 in the business zone, in UTC, so no play of day D sees it. A mean
    is over the video's days up to D that have the count; null if there is none yet.

    Args:
        video_daily: one row per video and date, with the DAILY_COUNTS (int64, null where not counted).
        before: of videos with earlier days, the sums of their counts, and how many days had each (int64).
    """
    ordered = video_daily.sort(columns.VIDEO_ID, columns.LOCAL_DATE)
    counts = ordered.select(columns.DAILY_COUNTS)
    sums = running_sums(counts, ordered[columns.VIDEO_ID])
    days = running_sums(counts.select(pl.all().is_not_null()), ordered[columns.VIDEO_ID])
    earlier = ordered.select(columns.VIDEO_ID).join(
        before, on=columns.VIDEO_ID, how="left", maintain_order="left"
    )
    earlier = earlier.with_columns(pl.col(_TOTALS).fill_null(0))
    so_far = [
        ((earlier[count] + sums[count]) / (earlier[_DAYS.format(count)] + days[count]))
        .fill_nan(None)
        .cast(pl.Float32)
        .alias(average)
        for count, average in zip(columns.DAILY_COUNTS, columns.AVERAGE_DAILY_COUNTS, strict=True)
    ]
    last = [
        pl.col(count).cast(pl.Float32).alias(name)
        for count, name in zip(columns.DAILY_COUNTS, columns.LAST_DAY_COUNTS, strict=True)
    ]
    known_at = ends_of_dates(ordered[columns.LOCAL_DATE], settings.zone).alias(columns.EVENT_TIMESTAMP)
    return ordered.select(columns.VIDEO_ID, known_at, *so_far, *last)


def _so_far(video_daily: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The totals of each video, with those of the days before."""
    counts = pl.col(columns.DAILY_COUNTS)
    days = counts.count().cast(pl.Int64).name.map(_DAYS.format)
    of_days = video_daily.group_by(columns.VIDEO_ID).agg(counts.sum(), days)
    both = pl.concat([before, of_days.select(before.columns)])
    return both.group_by(columns.VIDEO_ID).agg(pl.col(_TOTALS).sum()).sort(columns.VIDEO_ID)


def _no_totals() -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys((columns.VIDEO_ID, *_TOTALS), pl.Int64))


def _columns(settings: FeatureNeeds) -> pl.DataFrame:
    """The source without rows."""
    names = (columns.VIDEO_ID, *columns.DAILY_COUNTS)
    nothing = pl.DataFrame(schema=dict.fromkeys(names, pl.Int64) | {columns.LOCAL_DATE: pl.Date})
    found = video_daily_popularity(nothing, _no_totals(), settings.data)
    return BUILTIN.view(columns.VIDEO_DAILY_POPULARITY).conformed(found)
