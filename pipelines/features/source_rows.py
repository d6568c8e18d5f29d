"""Writes a source that goes on from the one before: its earlier rows stay as they are, new ones follow them.

Row groups that a night does not touch go from file to file without a look at their rows, so memory does not
grow with the log. They are written so that this costs little: without dictionaries, by a fast compression.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import fingerprint_of_files
from nightreel.core.checksums import is_usable

_RECORD = "source-{}.json"
# Nights of small logs bring few rows: groups of fewer than these are joined.
_ROWS_OF_GROUP = 65_536
# A group is in memory as a whole, more than once, while it goes from file to file.
_BYTES_OF_GROUP = 1 << 24


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
        added = (_table(frame).cast(file.schema_arrow) for frame in frames)
        return _write(chain(_before(file, start), added), file.schema_arrow, path)


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


def _before(file: pq.ParquetFile, start: datetime) -> Iterator[pa.Table]:
    instant = file.metadata.schema.names.index(columns.EVENT_TIMESTAMP)
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group)
        known = file.metadata.row_group(group).column(instant).statistics
        if known is None or not known.has_min_max or known.max >= start:
            rows = rows.filter(
                pc.less(rows[columns.EVENT_TIMESTAMP], pa.scalar(start, pa.timestamp("us", "UTC")))
            )
        yield rows


def _write(parts: Iterable[pa.Table], schema: pa.Schema, path: Path) -> int:
    rows, waiting = 0, schema.empty_table()
    with pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False) as writer:
        for part in parts:
            waiting = pa.concat_tables([waiting, part])
            if waiting.num_rows >= _ROWS_OF_GROUP or waiting.nbytes >= _BYTES_OF_GROUP:
                at_once = max(_BYTES_OF_GROUP * waiting.num_rows // waiting.nbytes, 1)
                writer.write_table(waiting, row_group_size=at_once)
                waiting = schema.empty_table()
            rows += part.num_rows
        if waiting.num_rows:
            writer.write_table(waiting)
    return rows


def _table(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
