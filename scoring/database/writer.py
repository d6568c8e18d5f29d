"""One writer at a time per database; the lock of a dead writer is free at once.

SQLite: the operating system's advisory lock on a file beside the database. PostgreSQL: the advisory lock of a
transaction that stays open on its own connection. A session's lock would stay with a connection pooler
(PgBouncer) after its client is gone; a transaction ends with its client and is never shared. A writer that
loses this connection and its lock cannot publish: a run that another writer has ended is not shown.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from nightreel.core.errors import BusyError
from nightreel.core.locks import locked_file
from scoring.database.failures import translate_errors
from scoring.database.sqlite_journal import enter_wal_mode
from scoring.database.sqlite_staging import remove_leftovers
from scoring.database.url import sqlite_file

_REMEDY = "Wait until it has ended, or end it; then run this again."
# Numbers for the database, as PostgreSQL wants them.
_WRITER_KEY, _JOB_KEY = int.from_bytes(b"nightrel"), int.from_bytes(b"nightjob")
_PATIENCE_MS = 2_000
_LOCK_TIMEOUT = "55P03"
# For the lock's transaction alone. It is idle on purpose; and the server drops a holder whose machine went
# away, and its lock with it, within about a minute. Only those that this server has.
_FOR_THE_LOCK = text(
    "SELECT set_config(name, value, true) FROM pg_settings JOIN (VALUES "
    "('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'), "
    "('lock_timeout', :patience), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), "
    "('tcp_keepalives_count', '3')"
    ") AS asked (name, value) USING (name)"
)
_HOLDER = text(
    "SELECT application_name, xact_start FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = :high AND objid = :low "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@contextmanager
def exclusive_lock(engine: Engine) -> Iterator[Connection]:
    """A connection that alone may publish to this database until the block ends.

    Raises:
        BusyError: another process publishes; the message names it.
    """
    with _sole(engine, _WRITER_KEY, "lock", "is publishing to this database") as connection:
        enter_wal_mode(connection)
        if (file := sqlite_file(engine.url)) is not None:
            remove_leftovers(file)
        yield connection


@contextmanager
def sole_job(engine: Engine) -> Iterator[None]:
    """Be the only scheduled job on this database until the block ends; publishing alone stays possible.

    Raises:
        BusyError: another process runs a job; the message names it.
    """
    with _sole(engine, _JOB_KEY, "job.lock", "is running a job on this database"):
        yield


@contextmanager
def sole_scheduler(path: Path) -> Iterator[None]:
    """Be the only scheduler of the home with this lock file until the block ends."""
    with locked_file(path, "is the scheduler of this home"):
        yield


@contextmanager
def _sole(engine: Engine, key: int, suffix: str, does: str) -> Iterator[Connection]:
    file = sqlite_file(engine.url)
    if file is None:
        with _locked_transaction(engine, key, does), engine.connect() as connection:
            yield connection
    else:
        with locked_file(file.with_name(f"{file.name}.{suffix}"), does), engine.connect() as connection:
            yield connection


@contextmanager
def _locked_transaction(engine: Engine, key: int, does: str) -> Iterator[None]:
    """Hold the advisory lock in a transaction of its own, which ends with the block.

    Waits a moment: the server ends a killed process's transaction shortly after it, not with it.
    """
    with translate_errors(engine.url), engine.connect() as connection, connection.begin() as transaction:
        connection.execute(_FOR_THE_LOCK, {"patience": str(_PATIENCE_MS)})
        try:
            with connection.begin_nested():
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT:
                raise
            raise _busy(connection, key, does) from None
        yield
        with suppress(SQLAlchemyError):
            # The work is done; a lock that was lost meanwhile is not a failure.
            transaction.rollback()


def _busy(connection: Connection, key: int, does: str) -> BusyError:
    parts = {"high": key >> 32, "low": key & 0xFFFF_FFFF}
    holder = connection.execute(_HOLDER, parts).first()
    if holder is None:
        return BusyError(f"another session {does}.", _REMEDY)
    return BusyError(
        f"{holder[0] or 'a session'}, since {holder[1].astimezone(UTC):%F %T} UTC {does}.", _REMEDY
    )
