"""When the plays of a local day arrived, and what its file was before some of them did."""

import hashlib
from datetime import datetime
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from pipelines.local_days import ALWAYS_KNOWN, INSTANT

_CREATED = columns.CREATED_TIMESTAMP


def arrivals_in(path: Path) -> dict[datetime, int]:
    """The number of a day's plays by the instant of their arrival.

    If all arrived at once, only the file's footer is read.
    """
    metadata = pq.read_metadata(path)
    names = metadata.schema.names
    if _CREATED not in names or not metadata.num_rows:
        return {ALWAYS_KNOWN: metadata.num_rows}
    at = names.index(_CREATED)
    of_groups = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
    if all(one is not None and one.has_min_max for one in of_groups):
        bounds = {one.min for one in of_groups} | {one.max for one in of_groups}
        if len(bounds) == 1:
            return {bounds.pop(): metadata.num_rows}
    counts = pl.read_parquet(path, columns=[_CREATED])[_CREATED].value_counts()
    return dict(counts.iter_rows())


def digest_until(path: Path, instant: datetime) -> str:
    """The digest of a day's file without the plays that arrived after an instant.

    If another one was recorded at that instant, the day has lost or changed plays since, or an older
    nightreel wrote the file.
    """
    plays = pl.read_parquet(path).filter(pl.col(_CREATED) <= pl.lit(instant, dtype=INSTANT))
    file = BytesIO()
    plays.rechunk().write_parquet(file, statistics=True)
    return hashlib.sha256(file.getbuffer()).hexdigest()
