"""A full disk is one line with the path and the room that is needed; last night's list can still be read."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightreel.core.disk import DiskFullError
from nightreel.core.settings import Settings, load_settings
from nightreel.operations.incoming import merge_deliveries
from nightreel.operations.materialize import materialize
from pipelines.ingest import ingest
from tests.fixtures.fork_server import forks
from tests.fixtures.published_home import NIGHT as AN_INSTANT
from tests.fixtures.synthetic_home import make_synthetic_home, publish_night

SETTINGS = """ranker.lightgbm.num_iterations = 10
features.als.factors = 4
threads = 1
lists.top_k = 5
ranker.filter_k = 20
ranker.objective = "shown"
"""
LIST = "SELECT user_id, rank, video_id FROM latest_recommendation ORDER BY user_id, rank"
_ROOM_KIB = 6_000
_PAGE_BYTES = 4_096


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published home, to be copied."""
    folder = tmp_path_factory.mktemp("full") / "home"
    with pytest.MonkeyPatch.context() as patch:
        settings = make_synthetic_home(folder, patch, SETTINGS, users=40, videos=80, plays=4_000, days=12)
        ingest(settings)
        publish_night(settings)
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The home on a disk of its own, with some room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    used = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
    options = f"size={used // 1024 + _ROOM_KIB}k"
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip(f"no file system may be mounted here: {mounting.stderr.decode().strip()}")
    try:
        shutil.copytree(made, disk / "home")
        monkeypatch.setenv("NIGHTREEL_HOME", str(disk / "home"))
        yield load_settings()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _fill(settings: Settings, left_bytes: int) -> Path:
    """Another program takes what is free but so much."""
    filler = settings.home.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(_PAGE_BYTES))
        except OSError:
            pass
    os.truncate(filler, max(0, filler.stat().st_size - left_bytes))
    return filler


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def _nightreel(*arguments: str) -> tuple[int, list[str]]:
    """Exit code, and what is said besides the log, of the command in a process of its own."""
    done = forks.run(["nightreel", *arguments])
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("{")]


def _list(settings: Settings) -> list[tuple[int, int, int]]:
    """What an app reads, on a connection of its own."""
    connection = sqlite3.connect(settings.paths.sqlite)
    try:
        return connection.execute(LIST).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("left_bytes", [0, 3 * _PAGE_BYTES])
@pytest.mark.parametrize("step", ["ingest", "features", "train", "score"])
def test_a_full_disk_is_one_line_and_the_list_stays(home: Settings, step: str, left_bytes: int) -> None:
    before = _list(home)
    filler = _fill(home, left_bytes)
    code, said = _nightreel(step, "--force")
    assert (code, len(said)) == (1, 1), said
    assert f"nightreel: {home.home}/" in said[0]
    assert "the disk is full: " in said[0] and " free, " in said[0] and " needed. Free some space" in said[0]
    assert _list(home) == before
    assert not [*home.home.rglob(".partial*"), *home.home.rglob(".*staging*")]
    filler.unlink()
    assert _nightreel(step, *(["--force"] if step == "score" else []))[0] == 0
    assert _list(home) == before


def test_a_disk_that_fills_after_a_publish_leaves_the_list_readable(home: Settings) -> None:
    """No nightreel process meets the full disk; and there was room enough while one was at work."""
    _remount(home.home.parent, "size=3g")
    before = _list(home)
    assert _nightreel("score", "--force")[0] == 0
    assert sorted(path.name for path in home.paths.sqlite.parent.glob(f"{home.paths.sqlite.name}-*")) == []
    used = sum(file.stat().st_size for file in home.home.rglob("*") if file.is_file())
    _remount(home.home.parent, f"size={used // 1024 + _ROOM_KIB}k")
    _fill(home, 0)
    assert _list(home) == before


@pytest.mark.slow
def test_a_night_on_a_full_disk_fails_with_that_reason(home: Settings) -> None:
    before = _list(home)
    users = home.data.raw_dir / "user_features.csv"
    users.write_bytes(users.read_bytes())  # so that there is something to do
    filler = _fill(home, 0)
    code, said = _nightreel("schedule", "--once")
    assert (code, len(said)) == (1, 1), said
    assert said[0].startswith(f"nightreel: {home.home}") and "the disk is full: " in said[0]
    assert _list(home) == before
    filler.unlink()
    assert _nightreel("schedule", "--once")[0] == 0
    assert len(_list(home)) == len(before)


def test_a_good_delivery_is_not_quarantined_when_the_disk_is_full(home: Settings) -> None:
    """Of a disk that has room for no other file."""
    incoming = home.data.raw_dir / "incoming"
    incoming.mkdir()
    delivery = incoming / "user_features_new.csv"
    delivery.write_bytes((home.data.raw_dir / "user_features.csv").read_bytes())
    disk = home.home.parent
    found = os.statvfs(disk)
    _remount(disk, f"nr_inodes={found.f_files - found.f_ffree}")
    with pytest.raises(DiskFullError, match=r"incoming: the disk is full.*another file"):
        merge_deliveries(home)
    assert delivery.is_file()
    _remount(disk, f"nr_inodes={found.f_files}")
    assert merge_deliveries(home).summary["remarks"] == []
    assert not delivery.exists()


def test_the_online_store_is_named(home: Settings) -> None:
    filler = _fill(home, 0)
    with pytest.raises(DiskFullError, match=r"online_store\.db: the disk is full"):
        materialize(home, AN_INSTANT)
    filler.unlink()
    assert not materialize(home, AN_INSTANT).skipped
