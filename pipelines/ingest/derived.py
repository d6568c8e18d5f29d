"""Tables of side files that are missing, derived from the plays, so that no later step lacks a table.

Each row carries the arrival of the plays that it was derived from, so that a replay sees the counts that
were known.
"""

from zoneinfo import ZoneInfo

import polars as pl

from nightreel.core import columns
from pipelines.ingest.merging import CREATED, Known
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import CAPTIONS, ITEM_DAILY, USER_FEATURES
from pipelines.ingest.schemas import stored_type, table_columns

DERIVED = (USER_FEATURES, CAPTIONS, ITEM_DAILY)


def derived(file: RawFile, plays: pl.LazyFrame, zone: ZoneInfo) -> Known:
    """The table that a file of DERIVED would become, made from the plays; what plays do not tell is null."""
    if file.name == ITEM_DAILY.name:
        versions = _days(plays, zone)
    else:
        versions = plays.group_by(file.key).agg(pl.col(CREATED).min()).collect()
    promised = table_columns(file)
    empty = [
        pl.lit(None, dtype=stored_type(column)).alias(name)
        for name, column in promised.items()
        if name not in versions.columns
    ]
    names = [*promised, CREATED]
    versions = versions.with_columns(empty).select(names).sort(*file.key, CREATED)
    last = (pl.struct(file.key) != pl.struct(file.key).shift(-1)).fill_null(value=True)
    is_last = versions.select(last.alias("last"))["last"]
    return Known(versions.filter(is_last), versions.filter(~is_last))


def _days(plays: pl.LazyFrame, zone: ZoneInfo) -> pl.DataFrame:
    """Each video's plays by local day, as known after each delivery that brought any."""
    day = pl.col(columns.EVENT_TIMESTAMP).dt.convert_time_zone(zone.key).dt.date()
    counted = (
        plays.with_columns(day.alias(columns.LOCAL_DATE))
        .group_by(*ITEM_DAILY.key, CREATED)
        .agg(pl.len().cast(pl.Int64).alias("play_cnt"), pl.col(columns.VIDEO_DURATION).max())
        .sort(*ITEM_DAILY.key, CREATED)
        .with_columns(pl.col("play_cnt").cum_sum().over(ITEM_DAILY.key))
    )
    return counted.with_columns(pl.col("play_cnt").alias("show_cnt")).collect()
