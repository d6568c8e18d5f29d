"""One writer at a time for a database; a dead one's place is free at once.

SQLite: an advisory lock of the operating system on a file beside the database. PostgreSQL: an advisory lock
of the session. Both go with their process, however it ends, so none is ever left behind.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from nightreel.errors import BusyError, NightreelError
from scoring.database import identity, sqlite_file

_REMEDY = "Wait until it has ended, or end it; then run this again."
# Numbers for the database, as PostgreSQL wants them.
_WRITER_KEY, _JOB_KEY = int.from_bytes(b"nightrel"), int.from_bytes(b"nightjob")
_PATIENCE_MS = 2_000
# PostgreSQL 14 and later: a session notices within a second, not at the end of its statement, that its client
# is gone.
_NOTICE_DEATH = text(
    "SELECT set_config(name, '1000', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"
)
_HOLDER = text(
    "SELECT application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = :high AND objid = :low "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@contextmanager
def sole_writer(engine: Engine) -> Iterator[Connection]:
    """A connection that alone may publish to this database until the block ends.

    Raises BusyError, which says who writes, where another process does.
    """
    with _sole(engine, _WRITER_KEY, "lock", "is publishing to this database") as connection:
        yield connection


@contextmanager
def sole_job(engine: Engine) -> Iterator[None]:
    """Be the only scheduled job on this database until the block ends; who only publishes is not kept out.

    Raises BusyError, which says who runs one, where another process does.
    """
    with _sole(engine, _JOB_KEY, "job.lock", "is running a job on this database"):
        yield


@contextmanager
def sole_scheduler(path: Path) -> Iterator[None]:
    """Be the only scheduler of a home, whose lock file this is, until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked_file(path, "is the scheduler of this home"):
        yield


@contextmanager
def _sole(engine: Engine, key: int, suffix: str, does: str) -> Iterator[Connection]:
    file = sqlite_file(engine.url)
    if file is None:
        with engine.connect() as connection:
            _lock_session(connection, key, does)
            yield connection
    else:
        with _locked_file(file.with_name(f"{file.name}.{suffix}"), does), engine.connect() as connection:
            yield connection


def _lock_session(connection: Connection, key: int, does: str) -> None:
    """Take the session's advisory lock: it stays until this very connection is closed.

    Waits a moment: the server ends a killed process's session shortly after it, not with it.
    """
    with connection.begin():
        connection.execute(_NOTICE_DEATH)
        connection.execute(text(f"SET LOCAL lock_timeout = {_PATIENCE_MS}"))
        with suppress(OperationalError), connection.begin_nested():
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
            return
        parts = {"high": key >> 32, "low": key & 0xFFFF_FFFF}
        holder = connection.execute(_HOLDER, parts).first()
    who = "another session" if holder is None else f"{holder[0] or 'a session'}, since {holder[1]:%F %T %Z}"
    raise BusyError(f"{who} {does}.", _REMEDY)


@contextmanager
def _locked_file(path: Path, does: str) -> Iterator[None]:
    """Hold the lock file, and say in it who does; the file itself stays, only its lock comes and goes."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise NightreelError(f"{path}: {error.strerror}.", "Make its folder writable.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{_holder_in(path)} {does}.", _REMEDY) from None
        who = json.dumps({"holder": identity(), "since": datetime.now(UTC).isoformat(timespec="seconds")})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, who.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder_in(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"{found['holder']}, since {found['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        # It has the lock but has not signed yet.
        return "Another process"
