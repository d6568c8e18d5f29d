"""Rows on their way into a SQLite database leave nothing behind, not even if their process is killed."""

import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from nightreel.core.disk import DiskFullError
from nightreel.core.settings import Settings
from scoring.database.failures import translate_errors
from scoring.database.sqlite_staging import StagedRows
from scoring.database.url import database_url
from tests.fixtures.fork_server import forks
from tests.fixtures.published_home import publish_small_lists

ROWS = pa.table({"user_id": pa.array(range(50_000), pa.int64())})
_KILLED = """
import os, sys
from pathlib import Path
from scoring.database.sqlite_staging import StagedRows
from tests.scoring.test_staging import ROWS
rows = StagedRows(ROWS, Path(sys.argv[1]))
os.kill(os.getpid(), 9)
"""


def _hidden(database: Path) -> list[Path]:
    return sorted(database.parent.glob(".*"))


def test_the_next_publish_removes_what_a_killed_one_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    database = settings.paths.sqlite
    publish_small_lists(settings)
    assert _hidden(database) == []
    assert forks.run(["-c", _KILLED, str(database)], env=dict(os.environ)).returncode == -9
    (left,) = _hidden(database)
    assert left.name.startswith(f".{database.name}.staging-") and any(left.iterdir())
    at_work = StagedRows(ROWS, database)
    publish_small_lists(settings, (2,))
    assert left not in _hidden(database) and len(_hidden(database)) == 1
    del at_work
    assert _hidden(database) == []


def test_rows_that_find_the_disk_full_say_so_and_leave_no_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    settings = Settings.model_validate({"home": tmp_path, "database.url": f"sqlite:///{disk}/lists.sqlite"})
    database = disk / "lists.sqlite"
    try:
        full = pytest.raises(DiskFullError, match=r"lists\.sqlite: the disk is full: .* needed\.")
        with full, translate_errors(database_url(settings)):
            StagedRows(ROWS, database)
        assert _hidden(database) == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
