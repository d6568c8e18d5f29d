"""Which videos were known at an instant, with their groups and upload: a past night's catalogue."""

from datetime import datetime

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.settings import DataSettings, Paths
from pipelines.local_days import INSTANT, ends_of_days

FIRST_KNOWN = "first_known"


def first_known(paths: Paths, settings: DataSettings, as_of: datetime) -> pl.LazyFrame:
    """The videos known at an instant, and since when: video_id (ascending), FIRST_KNOWN.

    A video is known from the end of the first day with a daily record or a play of it, or from the end of its
    upload day if that was known by then. The file of items alone, which has no times, does not make a video
    known.
    """
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    days = [
        pl.scan_parquet(paths.feature_source(view)).select(columns.VIDEO_ID, stamp)
        for view in (columns.VIDEO_DAILY_POPULARITY, columns.VIDEO_ENGAGEMENT)
    ]
    uploaded = pl.col(columns.UPLOAD_DATE).map_batches(
        lambda days: ends_of_days(days, settings.zone), return_dtype=INSTANT
    )
    profiles = pl.scan_parquet(paths.feature_source(columns.VIDEO_PROFILE))
    described = profiles.filter(pl.col(columns.UPLOAD_DATE).is_not_null()).select(
        columns.VIDEO_ID, pl.max_horizontal(stamp, uploaded).cast(INSTANT).alias(columns.EVENT_TIMESTAMP)
    )
    return (
        pl.concat([*days, described])
        .filter(stamp <= pl.lit(as_of, dtype=INSTANT))
        .group_by(columns.VIDEO_ID)
        .agg(stamp.min().alias(FIRST_KNOWN))
        .sort(columns.VIDEO_ID)
    )


def known_videos(paths: Paths, settings: DataSettings, as_of: datetime) -> pl.DataFrame:
    """The catalogue of videos known at an instant.

    Where a video's upload is unknown, its age counts from when it was first known.

    Returns:
        video_id ascending, each group by its key (int64, -1 where unknown), uploaded_us (int64).
    """
    by_now = pl.col(columns.EVENT_TIMESTAMP) <= pl.lit(as_of, dtype=INSTANT)
    profile = (
        pl.scan_parquet(paths.feature_source(columns.VIDEO_PROFILE))
        .filter(by_now)
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .group_by(columns.VIDEO_ID)
        .agg(
            *(
                pl.col(str(group.of_video)).drop_nulls().last().cast(pl.Int64).alias(group.join_key)
                for group in GROUPS
            ),
            pl.col(columns.UPLOAD_DATE).drop_nulls().last().cast(INSTANT).alias("uploaded"),
        )
    )
    known = (
        first_known(paths, settings, as_of)
        .join(profile, on=columns.VIDEO_ID, how="left")
        .with_columns(pl.col(group.join_key for group in GROUPS).fill_null(-1))
        .sort(columns.VIDEO_ID)
        .collect()
    )
    uploaded = pl.coalesce("uploaded", FIRST_KNOWN).dt.timestamp("us").alias("uploaded_us")
    return known.select(columns.VIDEO_ID, *(group.join_key for group in GROUPS), uploaded)
