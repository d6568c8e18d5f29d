"""Writes a source that goes on from the one before: its earlier rows stay as they are, new ones follow them.

Row groups that a night does not touch are copied as bytes. Only the last one is decoded each night while it
is small: the night's rows join it, so that a log of many small nights does not become as many row groups.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, takewhile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint_of_files
from nightreel.core.checksums import is_usable
from nightreel.core.newest_rows import NewestRows
from nightreel.core.settings import Paths
from pipelines.features.appended_parquet import AppendingWriter, Beginning

_RECORD = "source-{}.json"
# Nights of small logs bring few rows: row groups with fewer rows and bytes than these are joined.
_ROWS_OF_GROUP = 65_536
_BYTES_OF_GROUP = 1 << 22


def write_rows_from(source: Path, start: datetime | None, frames: Iterable[pl.DataFrame], path: Path) -> int:
    """Write a source's rows before an instant, and then frames of its columns; returns the rows of both.

    Args:
        start: None to write the frames alone, at least one; there may be no source then.
    """
    if start is None:
        parts = map(_table, frames)
        first = next(parts)
        return _write(chain((first,), parts), first.schema, path)
    with pq.ParquetFile(source) as file:
        beginning = Beginning.of(source, _groups_that_stay(file.metadata, start))
        added = (_table(frame).cast(file.schema_arrow) for frame in frames)
        return _write(chain(_before(file, start, beginning), added), file.schema_arrow, path, beginning)


def write_source(source: Path, start: datetime | None, frames: Iterable[pl.DataFrame], paths: Paths) -> int:
    """Replace a source as `write_rows_from` says, and keep the newest row of each key; returns its rows."""
    newest = NewestRows.of(source, paths)
    with atomic_write(source, checksum=True) as temporary:
        rows = write_rows_from(source, start, frames, temporary)
    newest.keep(start)
    return rows


def note_source(folder: Path, source: Path) -> None:
    """Note with what is kept in a folder that this source was written together with it."""
    (folder / _RECORD.format(source.stem)).write_text(
        json.dumps(fingerprint_of_files([source])), encoding="utf-8"
    )


def is_source_of(folder: Path, source: Path, frame: pl.DataFrame) -> bool:
    """Whether a source is the one that was noted in a folder, with the columns and types of a frame."""
    try:
        recorded = json.loads((folder / _RECORD.format(source.stem)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if recorded != fingerprint_of_files([source]) or not is_usable(source):
        return False
    return bool(pq.read_schema(source).remove_metadata() == _table(frame).schema)


def _groups_that_stay(metadata: pq.FileMetaData, start: datetime) -> int:
    """How many of the first row groups have no row from an instant on; not the last one while it is small."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    found = sum(1 for _ in takewhile(lambda group: _is_before(group, start), groups))
    is_last_small = bool(groups) and not _is_large(groups[-1].num_rows, groups[-1].total_byte_size)
    return min(found, len(groups) - is_last_small)


def _is_large(rows: int, size_bytes: int) -> bool:
    return rows >= _ROWS_OF_GROUP or size_bytes >= _BYTES_OF_GROUP


def _is_before(group: pq.RowGroupMetaData, start: datetime) -> bool:
    """Whether statistics say that all rows of a row group are before an instant."""
    chunks = map(group.column, range(group.num_columns))
    known = next(chunk for chunk in chunks if chunk.path_in_schema == columns.EVENT_TIMESTAMP).statistics
    return known is not None and known.has_min_max and known.max < start


def _before(file: pq.ParquetFile, start: datetime, beginning: Beginning | None) -> Iterator[pa.Table]:
    """The rows before an instant that are not in a beginning of the file, by row groups."""
    first = 0 if beginning is None else beginning.metadata.num_row_groups
    for group in range(first, file.num_row_groups):
        rows = file.read_row_group(group)
        if not _is_before(file.metadata.row_group(group), start):
            rows = rows.filter(
                pc.less(rows[columns.EVENT_TIMESTAMP], pa.scalar(start, pa.timestamp("us", "UTC")))
            )
        yield rows


def _write(
    parts: Iterable[pa.Table], schema: pa.Schema, path: Path, beginning: Beginning | None = None
) -> int:
    rows = 0 if beginning is None else beginning.metadata.num_rows
    waiting = schema.empty_table()
    with AppendingWriter(path, schema, beginning) as writer:
        for part in parts:
            waiting = pa.concat_tables([waiting, part])
            while _is_large(waiting.num_rows, waiting.nbytes):
                at_once = max(_BYTES_OF_GROUP * waiting.num_rows // waiting.nbytes, 1)
                writer.write(waiting.slice(0, at_once))
                writer.complete()
                waiting = waiting.slice(at_once)
            rows += part.num_rows
        if waiting.num_rows:
            writer.write(waiting)
        writer.complete()
    return rows


def _table(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
