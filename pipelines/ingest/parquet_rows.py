"""Converts Parquet files and lake tables to CSV, one record per row."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core.errors import InputError
from pipelines.ingest.formats import COPY_AGAIN, PARQUET, Text, head_of, new_file
from pipelines.ingest.lake_tables import lake_kind, lake_rows
from pipelines.ingest.uuids import frame_of

if TYPE_CHECKING:
    import pyarrow.dataset as ds


def parquet_text(path: Path, files: list[Path], scratch: Path) -> Text:
    """The rows of Parquet files; of a folder of them, `column=value` folders are columns."""
    require_parquet(path, files)
    made = new_file(path, scratch, "rows")
    try:
        data = parquet_dataset(path, files)
        with made.open("w", encoding="utf-8", newline="") as copy:
            _write_rows(data.to_batches(), copy)
        names = tuple(data.schema.names)
        parts = _parts(files)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        if getattr(error, "errno", None):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: a Parquet file that cannot be read: {first}", COPY_AGAIN) from None
    return Text(made, True, names, True, ",", (), "Parquet", parts=parts)


def require_parquet(path: Path, files: list[Path]) -> None:
    """Raise InputError unless there are files of a folder, and all are Parquet."""
    if not files:
        raise InputError(f"{path}: a folder without files.", "Put the Parquet files there.")
    other = next((one for one in files if not head_of(one).startswith(PARQUET)), None)
    if other is not None:
        raise InputError(
            f"{other}: not a Parquet file.", f"Only Parquet is read from a folder: move it out of {path}."
        )


def parquet_dataset(path: Path, files: list[Path]) -> "ds.Dataset":
    """The files of a path as one, with `column=value` folders as columns."""
    # The import takes .2 s for pandas, which commands that only read tables do not need.
    import pyarrow.dataset as ds

    is_hive = path.is_dir() or all("=" in one.parent.name for one in files)
    base = str(path) if path.is_dir() else os.path.commonpath([one.parent for one in files])
    if is_hive and not path.is_dir():
        # Folders of `column=value` that a pattern goes through are columns too, the first of them included.
        base = next((str(one) for one in Path(files[0]).parents if "=" not in one.name), base)
    return ds.dataset(
        [str(one) for one in files],
        format="parquet",
        partitioning="hive" if is_hive else None,
        partition_base_dir=base,
    )


def _parts(files: list[Path]) -> tuple[tuple[int, int, Path], ...]:
    """For several files, the row at which each begins."""
    begins, found = 1, []
    for file in files if len(files) > 1 else ():
        found.append((begins, 0, file))
        begins += pq.read_metadata(file).num_rows
    return tuple(found)


def lake_text(path: Path, scratch: Path) -> Text:
    """The rows of a Delta or Iceberg table."""
    made = new_file(path, scratch, "rows")
    try:
        names, parts = lake_rows(path)
        with made.open("w", encoding="utf-8", newline="") as copy:
            _write_frames(parts, copy)
    except InputError:
        raise
    except Exception as error:
        # The packages for such tables raise errors of many kinds.
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: a table that cannot be read: {first}", "Repair it, or name another."
        ) from None
    return Text(made, True, tuple(names), True, ",", (), f"Parquet, {str(lake_kind(path)).capitalize()}")


def _write_rows(batches: Iterable[pa.RecordBatch], copy: TextIO) -> None:
    _write_frames((frame_of(pa.Table.from_batches([one])) for one in batches if one.num_rows), copy)


def _write_frames(frames: Iterable[pl.DataFrame], copy: TextIO) -> None:
    for frame in frames:
        copy.write(
            frame.select(as_text(frame[name]) for name in frame.columns).write_csv(include_header=False)
        )


def as_text(values: pl.Series) -> pl.Series:
    """Values as a CSV would have them; an instant with a zone in UTC, one without as it is."""
    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        if kind.time_zone is not None:
            return values.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    if kind == pl.Boolean:
        return values.cast(pl.Int8)
    if isinstance(kind, pl.List | pl.Array):
        as_list = values.cast(pl.List(pl.String)).list.join(",", ignore_nulls=True)
        return pl.select(pl.format("[{}]", as_list).alias(values.name)).to_series()
    if isinstance(kind, pl.Decimal) and kind.scale:
        # These floats may be ids, which are written without ".0".
        return values.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    if kind == pl.Binary:
        return values.cast(pl.String, strict=False)
    return values if kind.is_float() else values.cast(pl.String)
