"""`nightreel export`: the lists of a run, or what changed since another, to files and Redis, whole."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text

from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.show import lists_of_users
from scoring.exporting import export, export_to_redis
from tests.conftest import Nightreel
from tests.fixtures.fork_server import forks
from tests.fixtures.published_home import publish_small_lists

REDIS = shutil.which("redis-server")


def _read(file: Path) -> pl.DataFrame:
    kinds = {".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}
    return kinds[file.suffix](file)


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_every_row_of_a_run_is_in_the_file(settings: Settings, tmp_path: Path, kind: str) -> None:
    publish_small_lists(settings, (1, 2))
    result = export(settings, tmp_path / f"lists{kind}", 1)
    expected = lists_of_users(settings, run_id=1)
    assert result.summary["rows"] == expected.height
    found = _read(tmp_path / f"lists{kind}")
    for name in ("user_id", "rank", "video_id", "source"):
        assert found[name].to_list() == expected[name].to_list()
    assert found["score"].to_list() == pytest.approx(expected["score"].to_list())


def test_what_changed_since_a_run_and_who_is_gone(settings: Settings, tmp_path: Path) -> None:
    publish_small_lists(settings, (1, 1, 2))
    assert export(settings, tmp_path / "none.jsonl", 2, since=1).summary["rows"] == 0
    users = lists_of_users(settings, run_id=1)["user_id"].unique().sort().to_list()
    gone, new, same = users[3], users[5], users[7]
    with sql_engine(settings).begin() as connection:
        connection.execute(text(f"DELETE FROM recommendation WHERE run_id = 3 AND user_id = {gone}"))
        connection.execute(text(f"DELETE FROM recommendation WHERE run_id = 2 AND user_id = {new}"))
        connection.execute(text(f"DELETE FROM recommendation WHERE run_id = 3 AND user_id = {same}"))
        connection.execute(
            text(
                "INSERT INTO recommendation (run_id, user_id, rank, video_id, score, source) "
                "SELECT 3, user_id, rank, video_id, score + 1, source FROM recommendation "
                f"WHERE run_id = 2 AND user_id = {same}"
            )
        )
    now, before = (lists_of_users(settings, run_id=run).group_by("user_id").agg("video_id") for run in (3, 2))
    both = now.join(before, on="user_id", suffix="_before")
    changed = both.filter(pl.col("video_id") != pl.col("video_id_before"))["user_id"].to_list()
    export(settings, tmp_path / "since.parquet", 3, since=2)
    found = _read(tmp_path / "since.parquet")
    by_change = found.group_by("change").agg(pl.col("user_id").unique())
    assert {row["change"]: sorted(row["user_id"]) for row in by_change.to_dicts()} == {
        "gone": [gone],
        "new": [new],
        "changed": sorted(changed),
    }
    assert same not in changed
    assert found.filter(pl.col("change") == "gone").select("rank", "video_id").rows() == [(None, None)]
    kept = found.filter(pl.col("change") != "gone").drop("change")
    expected = lists_of_users(settings, run_id=3).filter(pl.col("user_id").is_in([*changed, new]))
    assert kept.select("user_id", "rank", "video_id").equals(
        expected.select("user_id", pl.col("rank").cast(pl.Int32), "video_id")
    )


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server of Debian's, on a socket of its own folder."""
    if REDIS is None:
        pytest.skip("no redis-server: `apt-get install redis-server`")
    redis = pytest.importorskip("redis", reason="no client of Redis: the extra nightreel[redis]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += ["--requirepass", "secret"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"redis://:secret@127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200))
    client.ping()
    yield url
    server.kill()
    server.wait()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = Settings.model_validate({"home": tmp_path})
    publish_small_lists(settings, (1, 2))
    return settings


def test_redis_has_the_lists_that_apps_read(home: Settings, redis_url: str, nightreel: Nightreel) -> None:
    import redis

    done = nightreel("export", "--to", redis_url, "--key", "night", "--json", home=home.home)
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stdout
    assert json.loads(done.stdout)["summary"]["run_id"] == 2
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    found = {int(user): json.loads(rows) for user, rows in client.hgetall("night").items()}
    lists = lists_of_users(home)
    for (user,), rows in lists.group_by("user_id"):
        assert [row["video_id"] for row in found.pop(user)] == rows.sort("rank")["video_id"].to_list()
    assert found == {}
    assert client.hget("night:run", "run_id") == "2"
    assert client.ttl("night") == -1
    assert sorted(client.keys("night*")) == ["night", "night:run"]


def test_readers_of_redis_meet_one_run_whole(home: Settings, redis_url: str) -> None:
    import redis

    whole = {run: dict(_videos(lists_of_users(home, run_id=run))) for run in (1, 2)}
    export_to_redis(home, redis_url, "atomic", 1)
    client, ended, seen = redis.Redis.from_url(redis_url, decode_responses=True), threading.Event(), []

    def look() -> None:
        while not ended.is_set():
            found = {int(user): json.loads(rows) for user, rows in client.hgetall("atomic").items()}
            seen.append({user: tuple(row["video_id"] for row in rows) for user, rows in found.items()})

    reader = threading.Thread(target=look)
    reader.start()
    for run in (2, 1) * 5:
        export_to_redis(home, redis_url, "atomic", run)
    ended.set()
    reader.join()
    assert seen
    assert all(one in whole.values() for one in seen)


_KILLED = """
import os, signal, sys
from redis.client import Pipeline
from nightreel.core.settings import load_settings
from scoring.exporting import export_to_redis, redis as exporting

exporting._USERS_AT_A_TIME = 7
at, done, run = int(sys.argv[2]), 0, Pipeline.execute

def execute(pipeline, *arguments, **named):
    # Of the batches and the exchange at the end, the one that is to be the last thing sent, or not sent.
    global done
    done += 1
    if done == at and sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = run(pipeline, *arguments, **named)
    if done == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

Pipeline.execute = execute
export_to_redis(load_settings(), sys.argv[1], "killed", 2)
"""


@pytest.mark.parametrize(
    ("at", "when", "shown"),
    [(1, "before", 1), (1, "after", 1), (4, "after", 1), (6, "after", 1), (7, "before", 1), (7, "after", 2)],
)
def test_a_killed_export_leaves_one_run_whole(
    home: Settings, redis_url: str, at: int, when: str, shown: int
) -> None:
    import redis

    whole = {run: dict(_videos(lists_of_users(home, run_id=run))) for run in (1, 2)}
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    for key in client.scan_iter("killed*"):
        client.delete(key)
    export_to_redis(home, redis_url, "killed", 1)
    environment = {**os.environ, "NIGHTREEL_HOME": str(home.home)}
    done = forks.run(["-c", _KILLED, redis_url, str(at), when], env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr

    def read() -> tuple[dict[int, tuple[int, ...]], str | None]:
        found = {int(user): json.loads(rows) for user, rows in client.hgetall("killed").items()}
        lists = {user: tuple(row["video_id"] for row in rows) for user, rows in found.items()}
        return lists, client.hget("killed:run", "run_id")

    assert read() == (whole[shown], str(shown))
    # What it had loaded expires, and does not disturb the next export.
    assert all(client.ttl(key) > 0 for key in client.scan_iter("killed:loading:*"))
    export_to_redis(home, redis_url, "killed", 2)
    assert read() == (whole[2], "2")


def _videos(lists: pl.DataFrame) -> Iterator[tuple[int, tuple[int, ...]]]:
    for (user,), rows in lists.group_by("user_id"):
        yield user, tuple(rows.sort("rank")["video_id"].to_list())


def test_what_cannot_be_exported_says_why(home: Settings, tmp_path: Path, nightreel: Nightreel) -> None:
    with pytest.raises(InputError, match="no such run"):
        export(home, tmp_path / "lists.csv", 1, since=9)
    with pytest.raises(InputError, match=r"not one of \.csv, \.jsonl, \.parquet"):
        export(home, tmp_path / "lists.txt", 1)
    with pytest.raises(NightreelError, match=r"redis://:\*\*\*@127\.0\.0\.1:1/0: .*are unchanged"):
        export_to_redis(home, "redis://:secret@127.0.0.1:1/0", "lists", None)
    for arguments, said in (
        ((), "either FILE or --to URL"),
        (("a.csv", "--to", "redis://host"), "either FILE or --to URL"),
        (("--to", "http://host"), "not the URL of a Redis server"),
        (("--to", "redis://host", "--since", "1"), "--since: only with a file"),
    ):
        done = nightreel("export", *arguments, home=home.home)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
