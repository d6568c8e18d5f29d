"""Rows of a query as Parquet files: of `[data] plays = "sql:SELECT ..."` and its like.

The first answer is the raw file. With `watermark`, later nights ask for what is at or above the highest value
seen, and what comes is a delivery, known from its arrival on; rows that come again count once. Without it
the query is asked again each time, and a changed answer is a changed raw file.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import bindparam, create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.data_settings import SQL
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings, masked_url, parsed_url
from pipelines.ingest.deliveries import ARCHIVE, archived_name, next_arrival
from pipelines.ingest.mapping import files_given, query_file
from pipelines.ingest.raw_files import BIG_MATRIX, CAPTIONS, INCOMING, USER_FEATURES, RawFile

_ROWS_AT_A_TIME = 50_000
_STATE = "warehouse.json"
_LAST = "nightreel_last"
_TYPES: tuple[tuple[tuple[type, ...], pa.DataType], ...] = (
    ((bool,), pa.bool_()),
    ((bool, int), pa.int64()),
    ((bool, int, float, Decimal), pa.float64()),
)


def fetch(settings: Settings) -> list[Path]:
    """Bring what the queries of `[data]` answer into the home; returns the files that are new.

    Raises InputError where a query or source_url is wrong, NightreelError where the database is away.
    """
    written = []
    for file in (BIG_MATRIX, USER_FEATURES, CAPTIONS):
        given = files_given(file, settings)
        if given is not None and given.query is not None:
            written += _fetch(file, given.query, settings)
    return written


def _fetch(file: RawFile, query: str, settings: Settings) -> list[Path]:
    target, state = query_file(file, settings), _State(settings, file, query)
    watermark = settings.data.watermark if settings.data is not None and file is BIG_MATRIX else None
    target.parent.mkdir(parents=True, exist_ok=True)
    last = state.last if target.is_file() and watermark is not None else None
    new = target.with_name(f".{target.name}.new")
    try:
        with _connection(settings) as connection:
            found = _write(_answer(connection, query, watermark, last), new, watermark)
        if last is not None:
            return _deliver(file, new, found, state, settings)
        if target.is_file() and new.read_bytes() == target.read_bytes():
            return []
        if not found.rows:
            raise InputError(f"{file.table}: the query of [data] answers no rows.", "Correct the query.")
        new.replace(target)
        state.save(found)
        return [target]
    finally:
        new.unlink(missing_ok=True)


def _deliver(file: RawFile, new: Path, found: "_Found", state: "_State", settings: Settings) -> list[Path]:
    """The rows as a delivery that arrives now; none where only those of the last time came again."""
    if found.last in (None, state.last) and found.rows == state.rows_at_last:
        return []
    archive = settings.raw_dir / INCOMING / ARCHIVE
    archive.mkdir(parents=True, exist_ok=True)
    arrived = next_arrival(settings.raw_dir, datetime.now(UTC))
    path = new.replace(archive / archived_name(f"{Path(file.name).stem}-query.parquet", arrived))
    state.save(found)
    return [path]


class _Found:
    """What was written of an answer: rows, the highest watermark, and how many rows have it."""

    def __init__(self) -> None:
        self.rows = 0
        self.last: Any = None
        self.rows_at_last = 0

    def add(self, values: list[Any]) -> None:
        """Count the watermarks of some rows."""
        known = [value for value in values if value is not None]
        highest = max(known, default=None)
        if highest is None:
            return
        if self.last is None or highest > self.last:
            self.last, self.rows_at_last = highest, 0
        self.rows_at_last += sum(value == self.last for value in known)


class _State:
    """What was seen of a query's answers, in `data/state`; nothing, where the query is another by now."""

    def __init__(self, settings: Settings, file: RawFile, query: str) -> None:
        self._path, self._name = settings.paths.state / _STATE, file.table
        self._query = fingerprint(query=query, watermark=settings.data and settings.data.watermark)
        try:
            self._all: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._all = {}
        own = self._all.get(self._name, {})
        own = own if own.get("query") == self._query else {}
        kind, value = own.get("last") or ("none", "")
        instants = {"datetime": datetime.fromisoformat, "date": date.fromisoformat}
        self.last: Any = instants[kind](value) if kind in instants else value if own.get("last") else None
        self.rows_at_last = own.get("rows_at_last", 0)

    def save(self, found: _Found) -> None:
        """Note what was found, after its file stands."""
        last = found.last
        named = type(last).__name__ if isinstance(last, date) else "plain"
        written = (
            last.isoformat() if isinstance(last, date) else float(last) if isinstance(last, Decimal) else last
        )
        kept = None if last is None else (named, written)
        self._all[self._name] = {"query": self._query, "last": kept, "rows_at_last": found.rows_at_last}
        with atomic_write(self._path) as temporary:
            temporary.write_text(json.dumps(self._all, indent=1), encoding="utf-8")


@contextmanager
def _connection(settings: Settings) -> Iterator[Connection]:
    if settings.source_url is None:
        raise InputError(
            f"[data] has a query ({SQL}SELECT ...), and source_url is not set.",
            "Set NIGHTREEL_SOURCE_URL to the database's URL, e.g. postgresql+psycopg://user:password@host/db.",
        )
    url = settings.source_url.get_secret_value()
    try:
        sql_engine = create_engine(parsed_url(url))
    except (ArgumentError, SQLAlchemyError, ValueError, ModuleNotFoundError) as error:
        first = str(error).splitlines()[0].replace(url, "***")
        raise InputError(
            f"source_url: {masked_url(url)}: {first}.", "Correct it, or install the database's driver."
        ) from None
    try:
        with sql_engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).splitlines()
        line = f"source_url {masked_url(url)}: {said[0] if said else type(error).__name__}."
        remedy = "Correct the query of [data] or source_url, or try again when the database is there."
        if getattr(error, "connection_invalidated", False):
            raise NightreelError(line, remedy) from None
        raise InputError(line, remedy) from None
    finally:
        sql_engine.dispose()


def _answer(
    connection: Connection, query: str, watermark: str | None, last: Any
) -> Iterator[tuple[list[str], list[Any]]]:
    """The columns and rows of the answer, some at a time, from a cursor of the server where it has them."""
    asked = query.strip().rstrip(";")
    statement = text(asked.replace(":", r"\:"))
    if last is not None:
        quoted = connection.dialect.identifier_preparer.quote(watermark or "")
        inner = asked.replace(":", r"\:")
        statement = text(f"SELECT * FROM ({inner}) AS nightreel_source WHERE {quoted} >= :{_LAST}")
        statement = statement.bindparams(bindparam(_LAST, last))
    options = {"stream_results": True, "max_row_buffer": _ROWS_AT_A_TIME}
    result = connection.execution_options(**options).execute(statement)
    names = list(result.keys())
    yield names, []
    while rows := result.fetchmany(_ROWS_AT_A_TIME):
        yield names, list(rows)


def _write(parts: Iterator[tuple[list[str], list[Any]]], path: Path, watermark: str | None) -> _Found:
    found, writer = _Found(), None
    schema: pa.Schema | None = None
    names: list[str] = []
    try:
        for names, rows in parts:
            if watermark is not None and watermark not in names:
                raise InputError(
                    f"watermark: the query has no column {watermark}; it has {', '.join(names)}.",
                    "Select it in the query of [data], or name another.",
                )
            if not rows:
                continue
            values = list(zip(*rows, strict=True))
            if schema is None:
                schema = pa.schema(
                    [(name, _type(column)) for name, column in zip(names, values, strict=True)]
                )
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            assert writer is not None
            arrays = [_array(column, field) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            found.rows += len(rows)
            if watermark is not None:
                found.add(list(values[names.index(watermark)]))
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        pl.DataFrame(schema=dict.fromkeys(names, pl.String)).write_parquet(path)
    return found


def _type(values: tuple[Any, ...]) -> pa.DataType:
    """The type of a column by its first rows; text where they are of several kinds, or none is known."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and all(issubclass(kind, datetime) for kind in kinds):
        zoned = any(value.tzinfo is not None for value in values if value is not None)
        return pa.timestamp("us", "UTC" if zoned else None)
    return next((found for of, found in _TYPES if kinds and kinds <= set(of)), pa.string())


def _array(values: tuple[Any, ...], field: pa.Field) -> pa.Array:
    if field.type == pa.string():
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    if field.type == pa.float64():
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise InputError(
            f"column {field.name} of the query of [data]: first values like {field.type}, then others.",
            "Cast it in the query, e.g. CAST(... AS TEXT).",
        ) from None
