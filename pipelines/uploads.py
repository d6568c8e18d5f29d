"""Each video's day of upload, by its daily records or the file of items."""

import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import scan_days, table_exists
from nightreel.core.settings import Paths

FRESH_DAYS = 7
"""A video is fresh for this many days after its upload: a week, as uploads follow a weekly rhythm."""


def upload_days(paths: Paths) -> pl.LazyFrame:
    """video_id (int64) and its first upload date, of the videos that have one."""
    found = [pl.LazyFrame(schema={columns.VIDEO_ID: pl.Int64, columns.UPLOAD_DATE: pl.Date})]
    captions = paths.table("video_captions")
    tables = [scan_days(paths.video_daily)] if table_exists(paths.video_daily) else []
    tables += [pl.scan_parquet(captions)] if captions.is_file() else []
    for table in tables:
        if columns.UPLOAD_DATE in table.collect_schema():
            read = table.filter(pl.col(columns.UPLOAD_DATE).is_not_null())
            found.append(read.select(pl.col(columns.VIDEO_ID).cast(pl.Int64), columns.UPLOAD_DATE))
    return pl.concat(found).group_by(columns.VIDEO_ID).agg(pl.col(columns.UPLOAD_DATE).min())
