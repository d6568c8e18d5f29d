"""A home behind a URL, on a real S3 server: another machine continues from it, and a crash does no harm."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asof_fixtures import s3
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.mirror import fetch, send
from nightreel.core.settings import Settings, load_settings
from nightreel.core.storage import Folder
from tests.conftest import Nightreel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with s3.served() as environment:
        yield environment


def _settings(home: Path, url: str, **more: object) -> Settings:
    return Settings.model_validate({"home": home, "data.raw_dir": home / "raw", "home_url": url, **more})


def _content(home: Path) -> dict[str, bytes]:
    files = (file for file in home.rglob("*") if file.is_file() and "mirror" not in file.name)
    return {file.relative_to(home).as_posix(): file.read_bytes() for file in files}


def test_every_step_works_on_a_home_and_raw_files_in_s3(
    environment: dict[str, str], nightreel: Nightreel, tmp_path: Path
) -> None:
    at = {
        **environment,
        "NIGHTREEL_HOME": f"s3://{s3.BUCKET}/home",
        "NIGHTREEL_DATA_RAW_DIR": f"s3://{s3.BUCKET}/raw",
        "XDG_CACHE_HOME": str(tmp_path / "work"),
        "NIGHTREEL_RANKER_LIGHTGBM_NUM_ITERATIONS": "5",
        "NIGHTREEL_FEATURES_ALS": '{"factors": 4}',
        "NIGHTREEL_LISTS_TOP_K": "5",
    }
    size = ["--users", "40", "--videos", "50", "--interactions", "2000", "--days", "6"]
    for step in (["synthesize", *size], ["ingest"], ["features"]):
        done = nightreel(*step, cwd=tmp_path, **at)
        assert done.returncode == 0, done.stderr
    # Another machine: it has the path of the working folder, and nothing in it.
    shutil.rmtree(tmp_path / "work")
    done = nightreel("features", cwd=tmp_path, **at)
    assert done.returncode == 0 and "nothing to do" in done.stdout, done.stdout + done.stderr


def test_a_fetched_home_is_the_one_that_was_sent_with_its_times(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{s3.BUCKET}/times"
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "data" / "tables").mkdir(parents=True)
    (here / "data" / "tables" / "one.parquet").write_bytes(b"one")
    (here / "nightreel.toml").write_text("lists.top_k = 7\n")
    send(_settings(here, url))
    fetch(_settings(there, url))
    assert _content(there) == _content(here)
    for name in _content(here):
        assert (there / name).stat().st_mtime_ns == (here / name).stat().st_mtime_ns
    # And back: changed, new and removed files.
    (there / "nightreel.toml").write_text("lists.top_k = 8\n")
    (there / "data" / "tables" / "one.parquet").unlink()
    (there / "data" / "two.json").write_text("{}")
    send(_settings(there, url))
    fetch(_settings(here, url))
    assert _content(here) == _content(there)
    assert not (here / "data" / "tables" / "one.parquet").exists()


def test_a_database_is_sent_whole_while_another_connection_holds_its_log(tmp_path: Path) -> None:
    here, there, url = tmp_path / "here", tmp_path / "there", f"file://{tmp_path}/remote"
    (here / "data").mkdir(parents=True)
    writer = sqlite3.connect(here / "data" / "lists.sqlite")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE lists (user INTEGER)")
    writer.execute("INSERT INTO lists VALUES (1), (2)")
    writer.commit()
    send(_settings(here, url))
    fetch(_settings(there, url))
    reader = sqlite3.connect(there / "data" / "lists.sqlite")
    assert reader.execute("SELECT count(*) FROM lists").fetchone() == (2,)
    reader.close()
    writer.close()


_SENDER = "import sys; from tests.nightreel.test_mirror import send_again; send_again(*sys.argv[1:])"


def send_again(home: str, url: str) -> None:
    send(_settings(Path(home), url))


def test_killed_while_it_sends_the_url_still_gives_the_state_before(tmp_path: Path) -> None:
    here, url = tmp_path / "here", f"file://{tmp_path}/remote"
    (here / "data").mkdir(parents=True)
    names = [f"data/{number}.bin" for number in range(40)]
    for name in names:
        (here / name).write_bytes(b"before")
    send(_settings(here, url))
    before = _content(here)
    for name in names:
        (here / name).write_bytes(os.urandom(2**20))
    objects = tmp_path / "remote" / "files" / "data"
    count = len(list(objects.iterdir()))
    # It finds what this process finds, the tests' own folders among it.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", _SENDER, str(here), url], cwd=ROOT, env=environment)
    end = time.monotonic() + 60
    while len(list(objects.iterdir())) < count + 3:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    fetch(_settings(tmp_path / "there", url))
    assert _content(tmp_path / "there") == before
    # The next time, all of it arrives, and what is needed no more is gone.
    send(_settings(here, url))
    fetch(_settings(tmp_path / "there", url))
    assert _content(tmp_path / "there") == _content(here)
    send(_settings(here, url))
    assert len([name for name in Folder(url).stamps() if name.startswith("files/")]) == 2 * len(names)


def test_raw_files_that_were_taken_in_are_changed_and_removed_at_their_url(tmp_path: Path) -> None:
    remote = tmp_path / "raw"
    (remote / "incoming").mkdir(parents=True)
    (remote / "big_matrix.csv").write_text("a\n1\n")
    (remote / "incoming" / "big_matrix_2.csv").write_text("a\n2\n")
    home = tmp_path / "home"
    settings = Settings.model_validate(
        {"home": home, "data.raw_dir": home / "raw", "data.raw_url": f"file://{remote}"}
    )
    fetch(settings)
    assert (home / "raw" / "incoming" / "big_matrix_2.csv").read_text() == "a\n2\n"
    (home / "raw" / "big_matrix.csv").write_text("a\n1\n2\n")
    (home / "raw" / "incoming" / "big_matrix_2.csv").unlink()
    send(settings)
    assert (remote / "big_matrix.csv").read_text() == "a\n1\n2\n"
    assert list((remote / "incoming").iterdir()) == []
    stamp = (home / "raw" / "big_matrix.csv").stat().st_mtime_ns
    fetch(settings)
    assert (home / "raw" / "big_matrix.csv").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("url", ["s3://bucket/home", "gs://bucket/a/b", "file:///srv/home"])
def test_a_url_is_taken_for_home_and_raw_dir_from_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", url)
    monkeypatch.setenv("NIGHTREEL_DATA_RAW_DIR", f"{url}/raw")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.home_url == url and settings.data.raw_url == f"{url}/raw"
    assert settings.home.parent == tmp_path / "nightreel" and settings.data.raw_dir == settings.home / "raw"


def test_places_that_are_none_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ftp://host/x: files cannot be kept there"):
        Folder("ftp://host/x").stamps()
    (tmp_path / "file").write_text("")
    with pytest.raises(NightreelError, match="Check that it may be read and written"):
        Folder(str(tmp_path / "file")).write("below", b"")


@pytest.mark.parametrize("name", ["../../outside", "data/../../outside", "ABSOLUTE", ""])
def test_a_name_that_leads_out_of_the_home_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    remote, home = tmp_path / "remote", tmp_path / "deep" / "er" / "home"
    (remote / "files").mkdir(parents=True)
    (remote / "files" / "x").write_text("theirs")
    name = str(tmp_path / "outside") if name == "ABSOLUTE" else name
    entry = {"object": "files/x", "size": 6, "mtime_ns": 1}
    manifest = {"generation": "1", "files": {"fine": entry, name: entry}}
    (remote / "home.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="leads out of the folder"):
        fetch(_settings(home, f"file://{remote}"))
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()].count("x") == 1
    assert not list(tmp_path.rglob("outside")) and not (home / "fine").exists()
