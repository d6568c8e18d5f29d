"""Stores the rows of queries, such as `[data] plays = "sql:SELECT ..."`, as Parquet files.

The first answer is the raw file. With `watermark`, later nights ask for rows at or above the highest value
seen; these are a delivery, known from its arrival on, and rows that come again count once. Without it the
whole query is asked each time, and a changed answer is a changed raw file.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.errors import InputError
from nightreel.core.settings import DataSettings, Paths
from pipelines.ingest.databases import QueryRequest, answer
from pipelines.ingest.deliveries import ARCHIVE, archived_name, next_arrival
from pipelines.ingest.mapping import files_given, query_file
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import BIG_MATRIX, CAPTIONS, EXPOSURES, INCOMING, USER_FEATURES

_STATE = "warehouse.json"


def fetch(paths: Paths, settings: DataSettings) -> list[Path]:
    """Run the queries of `[data]` and store their rows in the home; returns the new files.

    Raises:
        InputError: if a query or source_url is wrong.
        NightreelError: if the database cannot be reached.
    """
    written = []
    for file in (BIG_MATRIX, USER_FEATURES, CAPTIONS, EXPOSURES):
        given = files_given(file, settings)
        if given is not None and given.query is not None:
            written += _fetch(file, given.query, paths, settings)
    return written


def _fetch(file: RawFile, query: str, paths: Paths, settings: DataSettings) -> list[Path]:
    watermark = _watermark(file, settings)
    target, state = query_file(file, settings), _State(paths, file, query, watermark)
    target.parent.mkdir(parents=True, exist_ok=True)
    last = state.last if target.is_file() and watermark is not None else None
    new = target.with_name(f".{target.name}.new")
    try:
        found = write_answer(
            answer(QueryRequest(query, watermark, last), settings.source_url), new, watermark
        )
        if last is not None:
            return _deliver(file, new, found, state, settings)
        if target.is_file() and new.read_bytes() == target.read_bytes():
            return []
        if not found.rows:
            raise InputError(f"{file.table}: the query of [data] returns no rows.", "Correct the query.")
        new.replace(target)
        state.save(found)
        return [target]
    finally:
        new.unlink(missing_ok=True)


def _watermark(file: RawFile, settings: DataSettings) -> str | None:
    log = settings.log
    if log is None or not file.is_timed:
        return None
    if file is EXPOSURES:
        return None if log.exposures is None else log.exposures.watermark
    return log.watermark


def _deliver(
    file: RawFile, new: Path, found: "_Found", state: "_State", settings: DataSettings
) -> list[Path]:
    """Store the rows as a delivery that arrives now, unless they are those of the last time."""
    if found.last in (None, state.last) and found.rows == state.rows_at_last:
        return []
    archive = settings.raw_dir / INCOMING / ARCHIVE
    archive.mkdir(parents=True, exist_ok=True)
    arrived = next_arrival(settings.raw_dir, datetime.now(UTC))
    path = new.replace(archive / archived_name(f"{Path(file.name).stem}-query.parquet", arrived))
    state.save(found)
    return [path]


class _Found:
    """Counts of an answer's written rows: all, the highest watermark, and the rows that have it."""

    def __init__(self) -> None:
        self.rows = 0
        self.last: Any = None
        self.rows_at_last = 0

    def add(self, values: pl.Series) -> None:
        """Count the watermarks of some rows."""
        highest: Any = values.max()
        if highest is None:
            return
        if self.last is None or highest > self.last:
            self.last, self.rows_at_last = highest, 0
        self.rows_at_last += int((values == self.last).sum())


class _State:
    """The record of a query's answers, in `data/state`; it is empty if the query has changed."""

    def __init__(self, paths: Paths, file: RawFile, query: str, watermark: str | None) -> None:
        self._path, self._name = paths.state / _STATE, file.table
        self._query = fingerprint(query=query, watermark=watermark)
        try:
            self._all: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._all = {}
        own = self._all.get(self._name, {})
        own = own if own.get("query") == self._query else {}
        kind, value = own.get("last") or ("none", "")
        read: dict[str, Callable[[str], Any]] = {
            "datetime": datetime.fromisoformat,
            "date": date.fromisoformat,
            "Decimal": Decimal,
        }
        self.last: Any = read[kind](value) if kind in read else value if own.get("last") else None
        self.rows_at_last = own.get("rows_at_last", 0)

    def save(self, found: _Found) -> None:
        """Write the record, once the answer's file is in place."""
        last = found.last
        named = type(last).__name__ if isinstance(last, date | Decimal) else "plain"
        written = last.isoformat() if isinstance(last, date) else last
        kept = None if last is None else (named, str(written) if isinstance(written, Decimal) else written)
        self._all[self._name] = {"query": self._query, "last": kept, "rows_at_last": found.rows_at_last}
        with atomic_write(self._path) as temporary:
            temporary.write_text(json.dumps(self._all, indent=1), encoding="utf-8")


def write_answer(parts: Iterator[pa.Table], path: Path, watermark: str | None) -> _Found:
    """Write the parts of an answer as one Parquet file.

    Raises:
        InputError: if the query lacks the watermark column, or has two columns of one name.
    """
    found, writer = _Found(), None
    empty: pa.Table | None = None
    try:
        for table in parts:
            if watermark is not None and watermark not in table.column_names:
                raise InputError(
                    f"watermark: the query has no column {watermark}; it has "
                    f"{', '.join(table.column_names)}.",
                    "Select it in the query of [data], or name another.",
                )
            twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
            if twice is not None:
                raise InputError(f"The query of [data] has two columns {twice}.", f"Name one: {twice} AS ...")
            if not table.num_rows:
                empty = table
                continue
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            found.rows += table.num_rows
            if watermark is not None:
                found.add(pl.Series(table[watermark]))
    finally:
        if writer is not None:
            writer.close()
    if writer is None and empty is not None:
        pl.DataFrame(schema=dict.fromkeys(empty.column_names, pl.String)).write_parquet(path)
    return found
