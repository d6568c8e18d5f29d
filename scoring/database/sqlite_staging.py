"""Rows between Arrow and a SQLite database, without a Python object for each value.

ADBC's driver binds and reads whole columns, but brings a SQLite of its own, and two copies of SQLite in one
process must not open the same file: each drops the other's locks on it. So rows pass through a staging file,
which is ADBC's at one time and that of Python's SQLite at another; between it and the database SQLite copies
them itself (docs/decisions/publishing.md).
"""

import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from urllib.parse import quote

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa
from adbc_driver_manager import dbapi

STAGED = "staging.staged"
_PREFIX, _NAME = "nightreel-", "staging.sqlite"
# The file is gone with the process: nothing of it has to survive.
_UNSAFE = ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF")


class StagedRows:
    """Rows in a staging file, which is removed once they are used, or with this object."""

    def __init__(self, rows: pa.Table) -> None:
        folder = mkdtemp(prefix=_PREFIX)
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._file = Path(folder, _NAME)
        with _by_adbc(self._file) as cursor:
            for pragma in _UNSAFE:
                cursor.execute(pragma).fetchall()
            cursor.execute("BEGIN")
            cursor.adbc_ingest("staged", rows, mode="create")
            cursor.execute("COMMIT")

    @contextmanager
    def attached(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Let a connection read the rows as the table STAGED, once; not from within a transaction."""
        connection.execute("ATTACH ? AS staging", (str(self._file),))
        try:
            yield
        finally:
            connection.execute("DETACH staging")
            self._remove()


def fetched(database: Path, query: str, values: Sequence[Any]) -> pa.Table:
    """The answer to a query, of committed rows alone; a column of nulls alone has no type.

    Args:
        database: read by a connection of its own.
        query: with `?` for each of the values.
    """
    with TemporaryDirectory(prefix=_PREFIX) as folder:
        file = Path(folder, _NAME)
        with closing(sqlite3.connect(f"file:{quote(str(file))}", uri=True, isolation_level=None)) as reader:
            for pragma in _UNSAFE:
                reader.execute(pragma)
            reader.execute("ATTACH ? AS lists", (f"file:{quote(str(database))}?mode=ro",))
            reader.execute(f"CREATE TABLE staged AS {query}", values)
            names = [str(column[0]) for column in reader.execute("SELECT * FROM staged LIMIT 0").description]
            counts = ", ".join(f"count({name})" for name in names)
            rows, *with_value = reader.execute(f"SELECT count(*), {counts} FROM staged").fetchone()
        found = [name for name, values in zip(names, with_value, strict=True) if values]
        with _by_adbc(file) as cursor:
            # The driver takes the type of a column from its first batch: all rows are one.
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(rows, 1))})
            answer = cursor.execute(f"SELECT {', '.join(found) or '1'} FROM staged").fetch_arrow_table()
    nulls = pa.nulls(rows)
    return pa.table({name: answer[name] if name in found else nulls for name in names})


@contextmanager
def _by_adbc(file: Path) -> Iterator[dbapi.Cursor]:
    """A cursor of ADBC's, whose errors become those of Python's SQLite."""
    driver, uri = adbc_driver_sqlite._driver_path(), {"uri": str(file)}
    try:
        with (
            dbapi.connect(driver, db_kwargs=uri, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except adbc_driver_manager.Error as error:
        raise sqlite3.OperationalError(f"{file.parent.parent}: {error}") from error
