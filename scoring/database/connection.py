"""Opens the database of the lists, for writing or for reading."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from nightreel.core.errors import InputError
from nightreel.core.locks import identity
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.failures import translate_errors
from scoring.database.sqlite_journal import BUSY_TIMEOUT_MS, leave_for_readers
from scoring.database.url import database_url, sqlite_file

_CONNECT_TIMEOUT_S = 10


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
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(opened, "connect", _prepare_sqlite)
    event.listen(opened, "begin", _begin_immediate)
    event.listen(opened, "close", leave_for_readers)
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


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Transactions begin when we say so (`_begin_immediate`), not when the driver guesses.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
