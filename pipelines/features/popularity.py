"""Daily counts of a video: their running mean over its days so far, and those of its last ended day."""

import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from pipelines.features.running_sums import running_sums
from pipelines.local_days import ends_of_dates


def video_daily_popularity(video_daily: pl.DataFrame, settings: DataSettings) -> pl.DataFrame:
    """Means and last values of the daily counts, stamped when the day had ended.

    A row for local day D carries D+1 00:00 in the business zone, in UTC, so no play of day D sees it. A mean
    is over the video's days up to D that have the count; null if there is none yet.

    Args:
        video_daily: one row per video and date, with the DAILY_COUNTS (int64, null where not counted).
    """
    ordered = video_daily.sort(columns.VIDEO_ID, columns.LOCAL_DATE)
    counts = ordered.select(columns.DAILY_COUNTS)
    sums = running_sums(counts, ordered[columns.VIDEO_ID])
    days = running_sums(counts.select(pl.all().is_not_null()), ordered[columns.VIDEO_ID])
    so_far = [
        (sums[count] / days[count]).fill_nan(None).cast(pl.Float32).alias(average)
        for count, average in zip(columns.DAILY_COUNTS, columns.AVERAGE_DAILY_COUNTS, strict=True)
    ]
    last = [
        pl.col(count).cast(pl.Float32).alias(name)
        for count, name in zip(columns.DAILY_COUNTS, columns.LAST_DAY_COUNTS, strict=True)
    ]
    known_at = ends_of_dates(ordered[columns.LOCAL_DATE], settings.zone).alias(columns.EVENT_TIMESTAMP)
    return ordered.select(columns.VIDEO_ID, known_at, *so_far, *last)
