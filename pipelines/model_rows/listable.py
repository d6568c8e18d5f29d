"""Which videos were known at an instant, with author, category and upload: a past night's catalogue."""

from datetime import datetime

import polars as pl

from nightreel import columns
from nightreel.settings import Settings
from pipelines.local_days import ALWAYS_KNOWN, INSTANT


def known_videos(settings: Settings, as_of: datetime) -> pl.DataFrame:
    """video_id ascending, author and category (int64, -1 where unknown), uploaded_us (int64).

    A video is known from the end of the first day with a daily record or a play of it; where its upload is
    unknown, its age counts from then.
    """
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    known = (
        pl.scan_parquet(settings.paths.feature_source(columns.VIDEO_PROFILE))
        .filter(stamp <= pl.lit(as_of, dtype=INSTANT))
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .group_by(columns.VIDEO_ID, maintain_order=True)
        .agg(
            stamp.filter(stamp > pl.lit(ALWAYS_KNOWN, dtype=INSTANT)).min().alias("first"),
            *(
                pl.col(name).drop_nulls().last().cast(pl.Int64).fill_null(-1).alias(short)
                for name, short in (
                    (columns.AUTHOR_ID, "author"),
                    (columns.CATEGORY_LEVELS[0], "category"),
                )
            ),
            pl.col(columns.UPLOAD_DATE).drop_nulls().last().cast(INSTANT).alias("uploaded"),
        )
        .filter(pl.col("first").is_not_null())
        .collect()
    )
    uploaded = pl.coalesce("uploaded", "first").dt.timestamp("us").alias("uploaded_us")
    return known.select(columns.VIDEO_ID, "author", "category", uploaded)
