"""The URL of the database of the lists: SQLite by default, PostgreSQL where it is named."""

from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError

from nightreel.core.errors import InputError
from nightreel.core.settings import masked_url, parsed_url
from nightreel.core.settings.needs import DatabaseNeeds

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
_URL_REMEDY = (
    "Set NIGHTREEL_DATABASE_URL to sqlite:////folder/file.sqlite or "
    "postgresql+psycopg://user:password@host/database; "
    "write special characters of a password as %XX (`@` as %40)."
)


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
