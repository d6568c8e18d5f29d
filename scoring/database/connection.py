"""Opens the database of the lists: SQLite by default, PostgreSQL by URL; its failures become one line."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nightreel.core.disk import (
    DiskFullError,
    disk_full,
    full_path,
    has_less_than,
    is_disk_full,
    require_room,
    size_of,
)
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.locks import identity
from nightreel.core.settings import masked_url, parsed_url
from nightreel.core.settings.needs import DatabaseNeeds

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
_URL_REMEDY = (
    "Set NIGHTREEL_DATABASE_URL to sqlite:////folder/file.sqlite or "
    "postgresql+psycopg://user:password@host/database; "
    "write special characters of a password as %XX (`@` as %40)."
)
_REMEDIES = {
    "unsupported startup parameter": (
        "A pooler (PgBouncer) stands before the database and refuses an option of the URL: take the option "
        "out of [database] url, or add it to the pooler's ignore_startup_parameters."
    ),
    "statement pooling mode": (
        "Let the pooler (PgBouncer) use pool_mode = transaction or session for this database, or name "
        "PostgreSQL itself in [database] url."
    ),
    "query_wait_timeout": (
        "The pooler (PgBouncer) has no connection free: raise its default_pool_size; nightreel uses up to "
        "four."
    ),
}
_FULL_REMEDY = (
    "Free some space on the disk of the database's server, or lower [database] keep_runs; then run the same "
    "again."
)
# What SQLite writes beside the file, in WAL mode, before the first row.
_WAL_LEAST_BYTES = 2**18
_FILLING_BYTES = 2**30
_BUSY_TIMEOUT_MS = 30_000
# How long a publish waits for a reader to end its transaction, and how long each try keeps new ones waiting.
_READERS_WAIT_S = 300.0
_TRY_MS, _PAUSE_S = 50, 0.2
_PUBLISHES = "publishes"
_CONNECT_TIMEOUT_S = 10


def database_url(settings: DatabaseNeeds) -> URL:
    """The URL to publish to, with its driver; a relative SQLite path counts from the home.

    Raises:
        InputError: it cannot be used; the message never contains the URL.
    """
    try:
        url = parsed_url(settings.sqlalchemy_url)
    except (ArgumentError, ValueError):
        # The parser's message may hold a part of the password.
        raise InputError("Setting `[database] url`: not a database URL.", _URL_REMEDY) from None
    if url.drivername in ("postgres", POSTGRESQL):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in (SQLITE, "sqlite+pysqlite", "postgresql+psycopg"):
        raise InputError(f"Setting `[database] url`: {url.drivername} is not supported.", _URL_REMEDY)
    if url.get_backend_name() == SQLITE:
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise InputError("Setting `[database] url`: SQLite needs the path of a file.", _URL_REMEDY)
        url = url.set(database=str(settings.paths.home / Path(url.database).expanduser()))
    return url


def masked(url: URL) -> str:
    """The URL without its password, safe to log."""
    return masked_url(url)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite URL; None for a server."""
    return Path(url.database or "") if url.get_backend_name() == SQLITE else None


def database_exists(settings: DatabaseNeeds) -> bool:
    """Whether there is a database to open; True for any server, which is not contacted."""
    file = sqlite_file(database_url(settings))
    return file is None or file.exists()


def sql_engine(settings: DatabaseNeeds) -> Engine:
    """An engine for transactions that may write; it connects on first use.

    On SQLite every transaction takes the write lock at its beginning, so none fails half-way waiting for it.
    """
    url = database_url(settings)
    file = sqlite_file(url)
    if file is None:
        return create_engine(
            url,
            poolclass=NullPool,
            # No state is kept in a session, as behind a pooler each transaction may have another one. So no
            # options that a pooler refuses, and no statements prepared on one session, missed on the next.
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "application_name": identity(),
                "prepare_threshold": None,
            },
        )
    if not file.parent.is_dir():
        if settings.paths.home not in file.parents:
            raise InputError(f"{file.parent}: no such folder for the database.", "Make it, or name another.")
        file.parent.mkdir(parents=True)
    opened = create_engine(
        url,
        poolclass=NullPool,
        # The thread that loads rows uses the connection of the thread that scores; never both at once.
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(opened, "connect", _prepare_sqlite)
    event.listen(opened, "begin", _begin_immediate)
    event.listen(opened, "close", _leave_for_readers)
    return opened


@contextmanager
def reading(settings: DatabaseNeeds) -> Iterator[Connection]:
    """A read-only connection; all statements within the block see the same state.

    Raises:
        InputError: the SQLite file does not exist yet.
        NightreelError: the database cannot be read.
    """
    url = database_url(settings)
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise InputError(f"{file}: no such database yet.", "Run `nightreel score` first.")
    opened = sql_engine(settings) if file is None else create_engine(url, poolclass=NullPool)
    with translate_errors(url), opened.connect() as connection:
        if file is None:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        else:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            # The driver would begin no transaction for reading; one makes all statements see one state.
            connection.exec_driver_sql("BEGIN")
        yield connection


class DatabaseAwayError(NightreelError):
    """The database cannot be reached, or another process holds it; a later attempt may succeed."""


@contextmanager
def translate_errors(url: URL) -> Iterator[None]:
    """Turn database and driver errors into one line that names the database, without its password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
        file = sqlite_file(url)
        if file is not None and is_disk_full(error):
            raise disk_full(full_path(error, file), error, needed_bytes=_run_bytes(file)) from error
        cause = getattr(error, "orig", None) or error
        first_line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        said = first_line
        for secret in _secrets(url):
            said = said.replace(secret, "***")
        if is_disk_full(error):
            raise DiskFullError(f"{masked(url)}: {said.rstrip('.')}.", _FULL_REMEDY) from error
        failure = DatabaseAwayError if _is_away(error) else NightreelError
        raise failure(f"{masked(url)}: {said.rstrip('.')}.", _remedy(said)) from error


def _run_bytes(file: Path) -> int:
    """About what a run takes in a SQLite file: the file has those that are kept."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as reader,
    ):
        runs = reader.execute("SELECT count(*) FROM recommendation_run WHERE published_at IS NOT NULL")
        return size_of(file) // max(1, int(runs.fetchone()[0]))
    return 0


def _remedy(said: str) -> str:
    """The remedy for a message of the database or of a pooler before it."""
    for words, remedy in _REMEDIES.items():
        if words in said:
            return remedy
    return "Check that the database is there, that it may be written and that its disk is not full."


def _secrets(url: URL) -> set[str]:
    """Passwords in the URL, as they are and as they are written there."""
    options = [url.query[name] for name in ("password", "sslpassword") if name in url.query]
    plain = {url.password, *(value for value in options if isinstance(value, str))} - {None, ""}
    return {form for secret in plain for form in (str(secret), quote(str(secret)), quote_plus(str(secret)))}


def _is_away(error: Exception) -> bool:
    """Whether the database was unavailable, rather than refusing a request."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.OperationalError):
        return cause.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if getattr(error, "connection_invalidated", False):
        return True
    # Without a state no server has answered; 08: connection, 55P03: a lock was not to be had in time,
    # 57P: shut down, starting or in recovery.
    return isinstance(cause, psycopg.OperationalError) and (
        cause.sqlstate is None or cause.sqlstate.startswith(("08", "55P03", "57P"))
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Transactions begin when we say so (`_begin_immediate`), not when the driver guesses.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def enter_wal_mode(connection: Connection) -> None:
    """On SQLite, let readers and this connection not wait for each other until it is closed.

    At other times the file is not in WAL mode, because a WAL database cannot be read once its disk is full:
    docs/decisions/sqlite-journal.md.

    Raises:
        DiskFullError: there is no room for the WAL.
        DatabaseAwayError: a reader's transaction does not end.
    """
    file = sqlite_file(connection.engine.url)
    if file is None:
        return
    connection.info[_PUBLISHES] = True
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    (mode,) = driver.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        return
    require_room(file, _WAL_LEAST_BYTES)
    driver.execute(f"PRAGMA busy_timeout = {_TRY_MS}")
    end = time.monotonic() + _READERS_WAIT_S
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() > end:
                raise DatabaseAwayError(
                    f"{file}: a reader has kept a transaction open for {_READERS_WAIT_S / 60:g} minutes.",
                    f"End that reader (`fuser {file}` names its process), then run the same command again.",
                ) from None
        time.sleep(_PAUSE_S)
    driver.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")


def keep_readable(settings: DatabaseNeeds) -> None:
    """If a SQLite file's disk is full, or nearly so, leave WAL mode so that lists can still be read."""
    file = sqlite_file(database_url(settings))
    if file is None or not file.is_file() or not has_less_than(file, _FILLING_BYTES):
        return
    # The second without any room: the one page that changes is then not copied to the disk before.
    for mode in ("DELETE", "MEMORY"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=0)) as connection:
            # Alone, SQLite does without the file that it shares with others.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute(f"PRAGMA journal_mode = {mode}")
            return


def _leave_for_readers(connection: sqlite3.Connection, record: Any) -> None:
    """After a publish, or on a disk that fills up, end WAL mode, unless others have the file open.

    These share the memory that a reader needs in that mode, and leave it there for new ones.
    """
    with suppress(sqlite3.Error):
        file = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        if record.info.get(_PUBLISHES) or has_less_than(file, _FILLING_BYTES):
            connection.execute("PRAGMA busy_timeout = 0")
            # While readers read; what is left to be done then keeps them out for an instant only.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
