"""Rows between Arrow and a SQLite database, without a Python object for each value.

ADBC's driver binds and reads whole columns, but brings a SQLite of its own, and two copies of SQLite in one
process must not open the same file: each drops the other's locks on it. So rows pass through a staging file,
which is ADBC's at one time and that of Python's SQLite at another; between it and the database SQLite copies
them itself (docs/decisions/publishing.md).

The file is in a hidden folder beside the database. Its process holds the lock on that folder, so that the
next writer can tell what a killed process has left behind.
"""

import fcntl
import os
import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import adbc_driver_manager
import adbc_driver_sqlite
import pyarrow as pa

from nightreel.core.disk import full_disk_named, is_disk_full

if TYPE_CHECKING:
    from adbc_driver_manager import dbapi

STAGED = "staging.staged"
_NAME = "rows.sqlite"
# Nothing of the file has to survive its process, and it is read and written from end to end.
_UNSAFE = ("PRAGMA page_size = 65536", "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF")


class StagedRows:
    """Rows in a staging file beside a database, which is removed once they are used, or with this object."""

    def __init__(self, rows: pa.Table, database: Path) -> None:
        with full_disk_named(database):
            folder = _Folder(database)
        self._remove = weakref.finalize(self, folder.remove)
        self._file = folder.path / _NAME
        try:
            with _by_adbc(self._file) as cursor:
                for pragma in _UNSAFE:
                    cursor.execute(pragma).fetchall()
                cursor.execute("BEGIN")
                cursor.adbc_ingest("staged", rows, mode="create")
                cursor.execute("COMMIT")
        except BaseException:
            # At once: on a full disk what comes next needs the room.
            self._remove()
            raise

    @contextmanager
    def attached(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Let a connection read the rows as the table STAGED, once; not from within a transaction."""
        connection.execute("ATTACH ? AS staging", (str(self._file),))
        try:
            yield
        finally:
            connection.execute("DETACH staging")
            self._remove()


class CopiedRows:
    """The answer to a query in a staging file, of committed rows alone, to be read once.

    Attributes:
        rows: how many.
        last: values of the last row, none if there are no rows.
    """

    def __init__(self, database: Path, query: str, values: Sequence[Any], last: Sequence[str]) -> None:
        """Copy the rows.

        Args:
            database: read by a connection of its own.
            query: with `?` for each of the values.
            last: the columns whose values in the last row are wanted.
        """
        folder = _Folder(database, may_be_elsewhere=True)
        self._remove = weakref.finalize(self, folder.remove)
        self._file = folder.path / _NAME
        uri = f"file:{quote(str(self._file))}"
        try:
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as reader:
                for pragma in _UNSAFE:
                    reader.execute(pragma)
                reader.execute("ATTACH ? AS lists", (f"file:{quote(str(database))}?mode=ro",))
                reader.execute(f"CREATE TABLE staged AS {query}", values)
                (rows,) = reader.execute("SELECT max(rowid) FROM staged").fetchone()
                found = reader.execute(f"SELECT {', '.join(last)} FROM staged WHERE rowid = ?", (rows,))
                self.rows: int = rows or 0
                self.last: tuple[Any, ...] = found.fetchone() or ()
        except BaseException:
            self._remove()
            raise

    def table(self) -> pa.Table:
        """The rows, once; a column of nulls alone has the type int64."""
        try:
            with _by_adbc(self._file) as cursor:
                # The driver takes the type of a column from its first batch: all rows are one.
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(self.rows, 1))})
                return cursor.execute("SELECT * FROM staged").fetch_arrow_table()
        finally:
            self._remove()


def remove_leftovers(database: Path) -> None:
    """Remove the staging files of processes that were killed; those of living ones stay."""
    for path in database.parent.glob(f"{escape(_prefix(database))}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)


def _prefix(database: Path) -> str:
    return f".{database.name}.staging-"


class _Folder:
    """A hidden folder beside a database, locked while this process has it.

    Args:
        may_be_elsewhere: for a reader, who need not have the right, or the room, to write beside the
            database: it is then in the temporary folder, where only this process removes it.
    """

    def __init__(self, database: Path, *, may_be_elsewhere: bool = False) -> None:
        try:
            self.path, self._descriptor = _locked_folder(database, database.parent)
        except OSError as error:
            if not may_be_elsewhere or not (is_disk_full(error) or not os.access(database.parent, os.W_OK)):
                raise
            self.path, self._descriptor = _locked_folder(database, Path(gettempdir()))

    def remove(self) -> None:
        """Remove it with all that it holds."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def _locked_folder(database: Path, parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(mkdtemp(prefix=_prefix(database), dir=parent))
        # A writer may take a folder that is not locked yet for a leftover; then there is another.
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            os.close(descriptor)


@contextmanager
def _by_adbc(file: Path) -> Iterator["dbapi.Cursor"]:
    """A cursor of ADBC's, whose errors become those of Python's SQLite."""
    # The import loads pandas if it is installed, which commands that move no rows do not need.
    from adbc_driver_manager import dbapi

    driver, uri = adbc_driver_sqlite._driver_path(), {"uri": str(file)}
    try:
        with (
            dbapi.connect(driver, db_kwargs=uri, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except adbc_driver_manager.Error as error:
        raise sqlite3.OperationalError(f"{file.parent.parent}: {error}") from error
