"""Failures of the database and its driver as one line that names the database, without its password."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from nightreel.core.disk import DiskFullError, disk_full, full_path, is_disk_full, size_of
from nightreel.core.errors import NightreelError
from scoring.database.url import masked, sqlite_file

_REMEDIES = {
    "unsupported startup parameter": (
        "A pooler (PgBouncer) in front of the database refuses an option of the URL: take the option "
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
