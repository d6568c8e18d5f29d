"""Reads what the join needs of a view's parquet source, or of an entity dataframe, into Arrow."""

import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from feast.infra.offline_stores.file_source import FileSource
from numpy.typing import NDArray

from feast_asof.errors import AsOfError

MICROSECONDS_UTC = pa.timestamp("us", tz="UTC")


def open_parquet(path: str, *, what: str, endpoint: str | None = None) -> ds.Dataset:
    """A parquet file, folder or glob as a dataset. Raises AsOfError, saying `what` wanted it."""
    filesystem, plain = FileSource.create_filesystem_and_path(path, endpoint or "")
    files: str | list[str] = plain
    if filesystem is None and glob.has_magic(plain) and not Path(plain).exists():
        files = sorted(glob.glob(plain, recursive=True))
        if not files:
            raise AsOfError(f"{what}: no parquet file matches {plain}.")
    try:
        return ds.dataset(files, format="parquet", filesystem=filesystem)
    except FileNotFoundError:
        raise AsOfError(f"{what}: there is no parquet file or folder at {plain}.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise AsOfError(f"{what}: {plain} cannot be read as parquet: {error}") from None


def read_columns(dataset: ds.Dataset, columns: Sequence[str], *, what: str, path: str) -> pa.Table:
    """These columns of the dataset, each in one chunk. Raises AsOfError for a missing one."""
    for column in columns:
        if column not in dataset.schema.names:
            raise AsOfError(
                f"{what}: column '{column}' is not in {path}, which has {', '.join(dataset.schema.names)}."
            )
    return dataset.to_table(columns=list(dict.fromkeys(columns))).combine_chunks()


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as a single array."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def microseconds(
    column: pa.ChunkedArray | pa.Array, *, what: str, nulls: int | None = None
) -> NDArray[np.int64]:
    """Timestamps as microseconds since 1970 UTC, int64; a time without zone counts as UTC.

    nulls: the value for missing times, or None to refuse them. Raises AsOfError for anything but timestamps.
    """
    array = one_chunk(column)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        try:
            array = pa.array(pd.to_datetime(array.to_pandas(), utc=True))
        except (ValueError, TypeError) as error:
            raise AsOfError(f"{what}: not timestamps: {error}") from None
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(array.type):
        raise AsOfError(f"{what}: has type {array.type}, not a timestamp.")
    if array.null_count and nulls is None:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise AsOfError(f"{what}: has {array.null_count} null timestamps, the first in row {row}.")
    # Nanoseconds are cut to microseconds downwards, so that a value is never taken for known too early.
    numbers = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False).cast(pa.int64())
    if numbers.null_count:
        numbers = pc.fill_null(numbers, nulls)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.int64)
