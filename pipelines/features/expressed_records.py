"""The daily records of videos that expressions aggregate."""

from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue import View
from nightreel.core.play_days import read_days
from pipelines.features.expressed_plays import roots_of
from pipelines.features.points import VISIBLE


def expressed_records(files: list[Path], view: View) -> pl.DataFrame:
    """The records of some days with VISIBLE and what a view reads, by video and day.

    Args:
        files: of the days, at least one.

    Raises:
        InputError: a file is not as ingest wrote it.
    """
    needed = {columns.VIDEO_ID, columns.LOCAL_DATE, *view.join_keys, *roots_of(view)}
    stored = pl.scan_parquet(files[0], hive_partitioning=False).collect_schema()
    rows = read_days(files, [name for name in stored if name in needed])
    rows = rows.sort(columns.VIDEO_ID, columns.LOCAL_DATE)
    return rows.with_columns((pl.col(columns.LOCAL_DATE) + pl.duration(days=1)).alias(VISIBLE))
