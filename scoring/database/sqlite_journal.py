"""When a SQLite file is in WAL mode: while lists are published, and at no other time.

A WAL database cannot be read once its disk is full: docs/decisions/sqlite-journal.md.
"""

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from nightreel.core.disk import has_less_than, require_room
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.failures import DatabaseAwayError
from scoring.database.url import database_url, sqlite_file

# What SQLite writes beside the file, in WAL mode, before the first row.
_WAL_LEAST_BYTES = 2**18
_FILLING_BYTES = 2**30
BUSY_TIMEOUT_MS = 30_000
# How long a publish waits for a reader to end its transaction, and how long each try keeps new ones waiting.
_READERS_WAIT_S = 300.0
_TRY_MS, _PAUSE_S = 50, 0.2
_PUBLISHES = "publishes"


def enter_wal_mode(connection: Connection) -> None:
    """On SQLite, let readers and this connection not wait for each other until it is closed.

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
    driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def keep_readable(settings: DatabaseNeeds) -> None:
    """If a SQLite file's disk is full, or nearly so, leave WAL mode so that lists can still be read."""
    file = sqlite_file(database_url(settings))
    if file is None or not file.is_file() or not has_less_than(file, _FILLING_BYTES):
        return
    # The second without any room: the one page that changes is then not copied to the disk before.
    for mode in ("DELETE", "MEMORY"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=0)) as connection:
            # In exclusive mode, SQLite does not need the file that it shares with other processes.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute(f"PRAGMA journal_mode = {mode}")
            return


def leave_for_readers(connection: sqlite3.Connection, record: Any) -> None:
    """After a publish, or on a disk that fills up, end WAL mode, unless others have the file open.

    These share the memory that a reader needs in that mode, and leave it there for new ones.
    """
    with suppress(sqlite3.Error):
        file = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        if record.info.get(_PUBLISHES) or has_less_than(file, _FILLING_BYTES):
            connection.execute("PRAGMA busy_timeout = 0")
            # Beside readers; the rest of the work then blocks them only for an instant.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
