"""A run's rows into a table and back, as Arrow tables, as fast as the database can."""

import sqlite3
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import URL, Connection, Table

from nightreel.core import columns
from nightreel.core.ids import ListIds
from scoring.database.id_columns import Id, ids_by_column
from scoring.database.postgresql_copy import HEADER, TRAILER, decoded, encoded
from scoring.database.sqlite_staging import STAGED, CopiedRows, StagedRows
from scoring.database.url import sqlite_file

_Part = TypeVar("_Part")
_ROWS_AT_A_TIME = 16_384
_TYPES = {int: pa.int32(), float: pa.float64(), str: pa.large_string()}


@dataclass(frozen=True)
class ReadyRows:
    """Rows of a run, laid out for the database by one thread so that another may write them."""

    table: str
    run_id: int
    names: Sequence[str]
    content: bytes | StagedRows

    @classmethod
    def of(cls, url: URL, table: Table, run_id: int, rows: pa.Table) -> "ReadyRows":
        """Lay the rows out; columns of nulls alone are left out, as are those that are not there.

        Args:
            url: of the database.
            rows: int32, int64, float64 and text, as the table has them; without the run's id.
        """
        if len(rows):
            rows = rows.select([name for name in rows.column_names if rows[name].null_count < len(rows)])
        if (file := sqlite_file(url)) is not None:
            return cls(table.name, run_id, rows.column_names, StagedRows(rows, file))
        of_run = pa.repeat(pa.scalar(run_id, pa.int32()), len(rows))
        return cls(
            table.name,
            run_id,
            rows.column_names,
            encoded(rows.add_column(0, columns.RUN_ID, pa.chunked_array([of_run]))),
        )

    def write(self, connection: Connection, first: Callable[[], object] = lambda: None) -> None:
        """Add the rows, once, in a transaction of their own.

        Args:
            first: what the transaction begins with.
        """
        raw = connection.connection.driver_connection
        names = ", ".join((columns.RUN_ID, *self.names))
        if isinstance(self.content, StagedRows):
            assert isinstance(raw, sqlite3.Connection)
            values = ", ".join((str(self.run_id), *self.names))
            with self.content.attached(raw), connection.begin():
                first()
                connection.exec_driver_sql(
                    f"INSERT INTO {self.table} ({names}) SELECT {values} FROM {STAGED}"
                )
            return
        assert isinstance(raw, psycopg.Connection)
        with connection.begin():
            first()
            statement = f"COPY {self.table} ({names}) FROM STDIN (FORMAT BINARY)"
            with raw.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(self.content)


@dataclass(frozen=True)
class StoredRows:
    """The rows of a run that are read back.

    Attributes:
        key: the columns that say whose list a row is of; with the run and the rank, the primary key.
        schema: the columns to read, with the table's types.
    """

    table: str
    run_id: int
    key: tuple[str, ...]
    schema: pa.Schema

    @classmethod
    def of(cls, table: Table, run_id: int, ids: ListIds, only: Collection[str] | None = None) -> "StoredRows":
        """The columns of a table of lists but the run's id.

        Args:
            only: by default all; at least the key and the rank.
        """
        is_text = {name: of_column.is_text for name, of_column in ids_by_column(ids).items()}
        read = [
            column
            for column in table.columns
            if column.name != columns.RUN_ID and (only is None or column.name in only)
        ]
        types = [
            (pa.large_string() if is_text[column.name] else pa.int64())
            if isinstance(column.type, Id)
            else _TYPES[column.type.python_type]
            for column in read
        ]
        key = tuple(column.name for column in read if column.primary_key and column.name != columns.RANK)
        names = [column.name for column in read]
        return cls(table.name, run_id, key, pa.schema(list(zip(names, types, strict=True))))

    @property
    def order(self) -> tuple[str, ...]:
        """The columns that the rows are in the order of."""
        return (*self.key, columns.RANK)

    def select(self, table: str, more: str = "") -> str:
        """The query for the rows of a table, in order."""
        return (
            f"SELECT {', '.join(self.schema.names)} FROM {table} "
            f"WHERE {columns.RUN_ID} = {self.run_id}{more} ORDER BY {', '.join(self.order)}"
        )


def whole_lists(
    connection: Connection, stored: StoredRows, *, rows_at_a_time: int = _ROWS_AT_A_TIME
) -> Generator[pa.Table, None, None]:
    """A run's committed rows in the order of the primary key, read once, in blocks of whole lists.

    On PostgreSQL it is the connection's transaction that reads; on SQLite a connection of its own, which sees
    nothing new while the connection's transaction holds the write lock. Another thread reads ahead: use the
    connection for nothing else meanwhile, and close the generator if not all are read.
    """
    file = sqlite_file(connection.engine.url)
    if file is None:
        parts = _from_postgresql(connection, stored, rows_at_a_time)
    else:
        parts = _from_sqlite(file, stored, rows_at_a_time)
    waiting = stored.schema.empty_table()
    with closing(_read_ahead(parts)) as ahead:
        for part in ahead:
            rows = pa.concat_tables([waiting, part]).combine_chunks()
            whole = len(rows) - _rows_of_last(rows, stored.key)
            waiting = rows.slice(whole)
            if whole:
                yield rows.slice(0, whole)
    if len(waiting):
        yield waiting


def _rows_of_last(rows: pa.Table, key: Sequence[str]) -> int:
    """How many rows the last list has among these."""
    is_last = reduce(pc.and_, (pc.equal(rows[name], rows[name][-1]) for name in key))
    return int(pc.sum(is_last).as_py())


def _from_sqlite(file: Path, stored: StoredRows, rows_max: int) -> Generator[pa.Table, None, None]:
    """While one part becomes an Arrow table, the next one is copied."""

    def copied(last: Sequence[Any]) -> CopiedRows:
        after = f" AND ({', '.join(stored.order)}) > ({', '.join('?' for _ in last)})" if last else ""
        query = f"{stored.select(f'lists.{stored.table}', after)} LIMIT {rows_max}"
        return CopiedRows(file, query, last, stored.order)

    def copies() -> Generator[CopiedRows, None, None]:
        part = copied(())
        while part.rows:
            yield part
            if part.rows < rows_max:
                return
            part = copied(part.last)

    with closing(_read_ahead(copies())) as parts:
        for part in parts:
            yield part.table().cast(stored.schema)


def _from_postgresql(
    connection: Connection, stored: StoredRows, rows_max: int
) -> Generator[pa.Table, None, None]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    statement = f"COPY ({stored.select(stored.table)}) TO STDOUT (FORMAT BINARY)"
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        messages = (bytes(message) for message in copy)
        # The header may come with the first row or without one.
        rows = [next(messages).removeprefix(HEADER)]
        while part := list(islice(messages, rows_max)):
            # Neither the rest of the header nor the trailer.
            rows = [row for row in (*rows, *part) if len(row) > len(TRAILER)]
            if rows:
                yield decoded(rows, stored.schema)
            rows = []


def _read_ahead(parts: Generator[_Part, None, None]) -> Generator[_Part, None, None]:
    """The same parts; another thread makes the next one while one is looked at."""
    with closing(parts), ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as thread:
        reading = thread.submit(next, parts, None)
        while (part := reading.result()) is not None:
            reading = thread.submit(next, parts, None)
            yield part
