"""Reads one user's list as JSON made by the database itself: thousands per second from a SQLite file.

Opening a SQLite file costs more than reading a list, so a connection is kept between lists; but not during a
publish, which ends best with no other connection to the file: docs/decisions/sqlite-journal.md.
"""

import sqlite3
import threading
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, text

from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.failures import translate_errors
from scoring.database.tables import ROW_FIELDS
from scoring.database.url import database_url, sqlite_file

_OF_USER = """FROM (
  SELECT * FROM recommendation WHERE run_id = {run} AND user_id = :user ORDER BY rank LIMIT :most
) AS l"""
_SHOWN = "(SELECT run_id FROM published_run)"
_PAIRS = ", ".join(f"'{name}', {name}" for name in ROW_FIELDS)
_SQLITE = f"SELECT max(run_id), json_group_array(json_object({_PAIRS})) {_OF_USER}"
_AS_JSON = f"coalesce(json_agg(json_build_object({_PAIRS}) ORDER BY rank), '[]')::text"
_POSTGRESQL = f"SELECT max(run_id), {_AS_JSON} {_OF_USER}"


class ListReader:
    """Lists of one database; threads may share it, and read one at a time."""

    def __init__(self, settings: DatabaseNeeds) -> None:
        self._url = database_url(settings)
        self._file = sqlite_file(self._url)
        self._lock = threading.Lock()
        self._kept: sqlite3.Connection | None = None
        self._number: int | None = None
        self._engine: Engine | None = None

    @property
    def is_quick(self) -> bool:
        """Whether a list is read fast enough to do it on the event loop."""
        return self._file is not None

    def read(self, user: int | str, run: int | None, most: int) -> tuple[int, str] | None:
        """The run, and the first `most` rows of the user's list as a JSON array; None if there are none.

        Args:
            run: None for the one that apps read.

        Raises:
            NightreelError: the database cannot be read.
        """
        parameters = {"user": user, "most": most} | ({} if run is None else {"run": run})
        of_run = _SHOWN if run is None else ":run"
        with translate_errors(self._url):
            if self._file is None:
                row = self._from_server(_POSTGRESQL.replace("{run}", of_run), parameters)
            else:
                row = self._from_file(self._file, _SQLITE.replace("{run}", of_run), parameters)
        return None if row[0] is None else (int(row[0]), str(row[1]))

    def _from_file(self, file: Path, query: str, parameters: dict[str, int | str]) -> tuple[int | None, str]:
        with self._lock:
            is_published_to = Path(f"{file}-wal").exists()
            number = file.stat().st_ino if file.exists() else None
            # A restored file has another inode; the open one is the file from before.
            if is_published_to or self._kept is None or number != self._number:
                self._close()
                self._number = number
                address = f"file:{quote(str(file))}?mode=ro"
                self._kept = sqlite3.connect(address, uri=True, timeout=5, check_same_thread=False)
            try:
                found: tuple[int | None, str] = self._kept.execute(query, parameters).fetchone()
            except sqlite3.Error:
                self._close()
                raise
            if is_published_to:
                self._close()
            return found

    def _from_server(self, query: str, parameters: dict[str, int | str]) -> tuple[int | None, str]:
        if self._engine is None:
            options = {"connect_timeout": 10, "prepare_threshold": None}
            self._engine = create_engine(self._url, pool_size=4, pool_pre_ping=True, connect_args=options)
        with self._engine.connect() as connection:
            run, rows = connection.execute(text(query), parameters).one()
        return run, rows

    def _close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None
