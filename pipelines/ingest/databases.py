"""Queries a database and returns the answer in batches, as Arrow tables of types that Parquet can store.

PostgreSQL, SQLite and DuckDB by their ADBC drivers; any other by a driver of SQLAlchemy.
Why ADBC: docs/decisions/warehouses.md.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import SecretStr
from sqlalchemy import URL, bindparam, create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from nightreel.core.errors import InputError, NightreelError
from nightreel.core.extras import require_source_driver
from nightreel.core.log_layout import SQL
from nightreel.core.settings import masked_url, parsed_url
from pipelines.ingest.answers import plain, table_of_rows

_ROWS_AT_A_TIME = 50_000
_INT64_MAX = 2**63 - 1
_LAST = "nightreel_last"
_AGAIN = "Correct the query of [data], or its source_url, or try again when the database is there."
# Beginnings of the drivers' messages if the database cannot be reached, rather than the query being wrong.
_AWAY = ("IO:", "TIMEOUT:", "CANCELLED:", "UNAVAILABLE:", "INTERNAL: IO Error: Could not set lock")

_STATUS = re.compile(r"^[A-Z_]+: ")


@dataclass(frozen=True)
class QueryRequest:
    """A query to a database.

    Attributes:
        watermark: the column by which new rows are distinguished from old ones.
        last: if given, only rows whose watermark is at or above it are asked for.
        rows_max: the most rows to fetch; None for all.
    """

    query: str
    watermark: str | None = None
    last: Any = None
    rows_max: int | None = None

    @property
    def asked(self) -> str:
        """The query in a form that can be a subquery."""
        return self.query.strip().rstrip(";")

    def since(self, column: str, last: str) -> str:
        """The query for new rows; `column` and `last` are quoted as the database wants them."""
        return f"{self._table} WHERE {column} >= {last}"

    @property
    def first(self) -> str:
        """The query for its first rows."""
        return f"{self._table} LIMIT {self.rows_max}"

    @property
    def _table(self) -> str:
        # The query may end with a comment.
        return f"SELECT * FROM ({self.asked}\n) AS nightreel_source"


def answer(request: QueryRequest, source_url: SecretStr | None) -> Iterator[pa.Table]:
    """The rows of the answer, some at a time; the first table has the columns, and may have no rows.

    Args:
        source_url: the setting.

    Raises:
        InputError: if the URL or the query is wrong, or a driver is missing.
        NightreelError: if the database cannot be reached.
    """
    url = _parsed(source_url)
    kind = url.get_backend_name()
    if kind in NATIVE and url.drivername in NATIVE[kind] and not (kind == "sqlite" and url.query):
        with _translated(url):
            yield from _from_adbc(request, url)
    else:
        with _translated(url), _connected(url) as connection:
            yield from _from_sqlalchemy(request, connection)


def _parsed(source_url: SecretStr | None) -> URL:
    if source_url is None:
        raise InputError(
            f"[data] has a query ({SQL}SELECT ...), and [data] source_url is not set.",
            "Set NIGHTREEL_DATA_SOURCE_URL to the database's URL, e.g. postgresql+psycopg://user:password@host/db.",
        )
    given = source_url.get_secret_value()
    try:
        url = parsed_url(given)
    except (ArgumentError, ValueError) as error:
        said = str(error).splitlines()[0].replace(given, "***")
        raise InputError(f"source_url: {masked_url(given)}: {said}.", "Correct it.") from None
    require_source_driver(url.get_backend_name())
    if url.get_backend_name() in ("sqlite", "duckdb") and not url.query:
        file = Path(url.database or "")
        if not file.is_file():
            raise InputError(f"source_url: {file}: no such file.", "Set it to the file of the database.")
    return url


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    """Errors of drivers as one-line errors of nightreel, without passwords."""
    import adbc_driver_manager

    try:
        yield
    except adbc_driver_manager.Error as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        is_away = said.startswith(_AWAY)
        said = _STATUS.sub("", said)
    except SQLAlchemyError as error:
        said = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
        is_away = bool(getattr(error, "connection_invalidated", False))
    else:
        return
    if url.password:
        said = said.replace(str(url.password), "***")
    line = f"source_url {masked_url(url.render_as_string(hide_password=True))}: {said.rstrip('.')}."
    raise (NightreelError if is_away else InputError)(line, _AGAIN) from None


def _from_adbc(request: QueryRequest, url: URL) -> Iterator[pa.Table]:
    from adbc_driver_manager import dbapi

    kind = url.get_backend_name()
    connect: dict[str, Any] = {"postgresql": _postgresql, "sqlite": _sqlite, "duckdb": _duckdb}[kind](url)
    statement, values = request.asked, list[Any]()
    if request.last is not None:
        column = '"' + str(request.watermark).replace('"', '""') + '"'
        if kind == "postgresql":
            # With a parameter its driver would fetch the whole answer at once.
            from psycopg.sql import Literal

            statement = request.since(column, Literal(request.last).as_string(None))
        else:
            is_wide = isinstance(request.last, int) and request.last > _INT64_MAX
            values = [Decimal(request.last) if is_wide else request.last]
            statement = request.since(column, "?")
    if request.rows_max is not None:
        # The driver of PostgreSQL reads an answer to its end.
        statement = request.first
    with dbapi.connect(**connect) as connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**_BATCHES[kind])
        cursor.execute(statement, values or None)
        reader = cursor.fetch_record_batch()
        yield plain(reader.schema.empty_table(), request.watermark)
        gathered: list[pa.RecordBatch] = []
        for batch in reader:
            gathered.append(batch)
            if sum(one.num_rows for one in gathered) >= _ROWS_AT_A_TIME:
                yield plain(pa.Table.from_batches(gathered), request.watermark)
                gathered = []
        if gathered:
            yield plain(pa.Table.from_batches(gathered), request.watermark)


def _postgresql(url: URL) -> dict[str, Any]:
    import adbc_driver_postgresql as driver

    uri = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return {"driver": driver._driver_path(), "db_kwargs": {"uri": uri}}


def _sqlite(url: URL) -> dict[str, Any]:
    import adbc_driver_sqlite as driver

    return {"driver": driver._driver_path(), "db_kwargs": {"uri": url.database or ""}}


def _duckdb(url: URL) -> dict[str, Any]:
    import adbc_driver_duckdb as driver

    options = {"path": url.database or "", "access_mode": "READ_ONLY"}
    return {"driver": driver.driver_path(), "entrypoint": "duckdb_adbc_init", "db_kwargs": options}


# URLs that ADBC's drivers serve, by kind of database; SQLAlchemy serves URLs that name another driver.
NATIVE = {
    "postgresql": ("postgresql", "postgresql+psycopg"),
    "sqlite": ("sqlite",),
    "duckdb": ("duckdb",),
}
# SQLite's driver takes the type of a column from the first batch.
_BATCHES: dict[str, dict[str, str]] = {
    "postgresql": {},
    "sqlite": {"adbc.sqlite.query.batch_rows": str(_ROWS_AT_A_TIME)},
    "duckdb": {},
}


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    try:
        sql_engine = create_engine(url)
    except (ArgumentError, SQLAlchemyError, ValueError, ModuleNotFoundError) as error:
        said, shown = str(error).splitlines()[0], masked_url(url.render_as_string(hide_password=True))
        raise InputError(
            f"source_url: {shown}: {said}.", "Correct it, or install the database's driver."
        ) from None
    try:
        with sql_engine.connect() as connection:
            yield connection
    finally:
        sql_engine.dispose()


def _from_sqlalchemy(request: QueryRequest, connection: Connection) -> Iterator[pa.Table]:
    """Through SQLAlchemy, with a server-side cursor where the database has them."""
    statement = text(request.asked.replace(":", r"\:"))
    if request.last is not None:
        column = connection.dialect.identifier_preparer.quote(request.watermark or "")
        since = request.since(column, "").replace(":", r"\:")
        statement = text(f"{since}:{_LAST}").bindparams(bindparam(_LAST, request.last))
    options = {"stream_results": True, "max_row_buffer": _ROWS_AT_A_TIME}
    result = connection.execution_options(**options).execute(statement)
    names, schema = list(result.keys()), None
    yield table_of_rows(names, [], request.watermark)
    while rows := result.fetchmany(request.rows_max or _ROWS_AT_A_TIME):
        table = table_of_rows(names, list(rows), request.watermark, schema)
        schema = table.schema
        yield table
        if request.rows_max is not None:
            return
