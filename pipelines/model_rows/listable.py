"""Which videos were known at an instant, with author, category and upload: a past night's catalogue."""

from datetime import datetime

import polars as pl

from nightreel import columns
from nightreel.settings import Settings
from pipelines.local_days import INSTANT


def known_videos(settings: Settings, as_of: datetime) -> pl.DataFrame:
    """video_id ascending, author and category (int64, -1 where unknown), uploaded_us (int64).

    A video is known from the end of the first day with a daily record or a play of it; where its upload is
    unknown, its age counts from then.
    """
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    by_now = stamp <= pl.lit(as_of, dtype=INSTANT)
    days = [
        pl.scan_parquet(settings.paths.feature_source(view)).select(columns.VIDEO_ID, stamp)
        for view in (columns.VIDEO_DAILY_POPULARITY, columns.VIDEO_ENGAGEMENT)
    ]
    first = pl.concat(days).filter(by_now).group_by(columns.VIDEO_ID).agg(stamp.min().alias("first"))
    profile = (
        pl.scan_parquet(settings.paths.feature_source(columns.VIDEO_PROFILE))
        .filter(by_now)
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .group_by(columns.VIDEO_ID)
        .agg(
            pl.col(columns.AUTHOR_ID).drop_nulls().last().cast(pl.Int64).alias("author"),
            pl.col(columns.CATEGORY_LEVELS[0]).drop_nulls().last().cast(pl.Int64).alias("category"),
            pl.col(columns.UPLOAD_DATE).drop_nulls().last().cast(INSTANT).alias("uploaded"),
        )
    )
    known = (
        first.join(profile, on=columns.VIDEO_ID, how="left")
        .with_columns(pl.col("author", "category").fill_null(-1))
        .sort(columns.VIDEO_ID)
        .collect()
    )
    uploaded = pl.coalesce("uploaded", "first").dt.timestamp("us").alias("uploaded_us")
    return known.select(columns.VIDEO_ID, "author", "category", uploaded)
