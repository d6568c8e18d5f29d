"""The server goes away in mid-run, or the disk is full: the old list stays, and the next run succeeds."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, select
from sqlalchemy.pool import NullPool

from nightreel.core.errors import NightreelError
from nightreel.core.settings import Settings
from nightreel.core.steps import StepResult
from nightreel.operations.stages import RETRY_WAIT_S, Outcome, Stage, run_stages
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import DatabaseAwayError, translate_errors
from scoring.database.score_facts import ScoreFacts
from scoring.database.tables import recommendation_run
from scoring.database.url import database_url
from scoring.database.writer import exclusive_lock
from scoring.lists.rows import Lists
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows
from tests.scoring.conftest import Server
from tests.scoring.test_publish_atomic import (
    NIGHT,
    expected_rows,
    publish_lists,
    runs,
    stored_rows,
)

CANDIDATES = make_candidates(51, users=80)


def _blocks(seed: int) -> Iterator[Lists]:
    return make_blocks(CANDIDATES, seed, k=10)


@pytest.fixture
def away(postgresql: Server) -> Iterator[Settings]:
    """Settings on the session's server, which a test may stop; afterwards it runs."""
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS outage")
        connection.execute("CREATE DATABASE outage")
    url = postgresql.url.replace("/postgres?", "/outage?")
    yield Settings.model_validate({"home": postgresql.folder, "database.url": url, "lists.top_k": 10})
    postgresql.start()


@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_server_that_stops_in_mid_run_has_the_old_list_when_it_is_back(
    away: Settings, postgresql: Server, after: int
) -> None:
    publish_lists(away, CANDIDATES, _blocks(1))
    before = shown_rows(away)

    def interrupted() -> Iterator[Lists]:
        for number, block in enumerate(_blocks(2)):
            if number == after:
                postgresql.crash()
            yield block

    with pytest.raises(DatabaseAwayError, match="Check that the database is there"):
        publish_lists(away, CANDIDATES, interrupted(), NIGHT + timedelta(days=1))
    with pytest.raises(NightreelError):
        shown_rows(away)
    postgresql.start()
    assert shown_rows(away) == before
    publish_lists(away, CANDIDATES, _blocks(3), NIGHT + timedelta(days=1))
    assert shown_rows(away) == expected_rows(3, _blocks(3))
    assert runs(away) == [(1, "published"), (2, "failed"), (3, "published")]
    assert set(stored_rows(away)) == {1, 3}


def test_a_server_that_gives_two_connections_only_is_enough(away: Settings, postgresql: Server) -> None:
    """One holds the writer's lock, one writes."""
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS few")
        connection.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 2")
        connection.execute("ALTER DATABASE outage OWNER TO few")
    url = make_url(database_url(away)).set(username="few").render_as_string(hide_password=False)
    limited = Settings.model_validate({"home": away.home, "database.url": url, "lists.top_k": 10})
    publish_lists(limited, CANDIDATES, _blocks(1))
    assert shown_rows(away) == expected_rows(1, _blocks(1))


def test_a_stage_is_tried_again_until_the_server_is_back(away: Settings, postgresql: Server) -> None:
    waits: list[float] = []
    crash_at = {1: 3, 2: 7}

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        postgresql.start()

    def score() -> StepResult:
        attempt = len(waits) + 1

        def blocks() -> Iterator[Lists]:
            for number, block in enumerate(_blocks(attempt)):
                if number == crash_at.get(attempt):
                    postgresql.crash()
                yield block

        with translate_errors(database_url(away)):
            published = publish_lists(away, CANDIDATES, blocks())
        found = ScoreFacts(
            run_id=published.run_id, status="published", as_of="", rows=published.rows, database=""
        )
        return StepResult("score", False, (), (), found)

    publish_lists(away, CANDIDATES, _blocks(0), NIGHT - timedelta(days=1))
    outcome = Outcome()
    run_stages([Stage("score", score)], away.paths, outcome, sleep=sleep)
    assert waits == [RETRY_WAIT_S, 2 * RETRY_WAIT_S]
    assert (outcome.run_id, outcome.stages["score"]["rows"]) == (4, 800)
    assert shown_rows(away) == expected_rows(4, _blocks(3))
    assert runs(away) == [(1, "published"), (2, "failed"), (3, "failed"), (4, "published")]
    assert set(stored_rows(away)) == {1, 4}


def test_a_stage_that_no_wait_helps_is_not_tried_again(tmp_path: Path) -> None:
    tries: list[int] = []

    def fail() -> StepResult:
        tries.append(1)
        raise NightreelError("No.")

    outcome = Outcome()
    settings = Settings(home=tmp_path)
    with pytest.raises(NightreelError, match=r"No\."):
        run_stages([Stage("score", fail)], settings.paths, outcome, sleep=lambda _: pytest.fail("it waited"))
    run_stages([Stage("materialize", fail, optional=True)], settings.paths, outcome)
    assert len(tries) == 2 and outcome.remarks == ["materialize: No."]


def test_waiting_for_the_server_comes_to_an_end(tmp_path: Path) -> None:
    nowhere = Settings.model_validate({"home": tmp_path, "database.url": "postgresql://me@127.0.0.1:9/db"})
    waits: list[float] = []

    def connect() -> StepResult:
        with translate_errors(database_url(nowhere)), exclusive_lock(sql_engine(nowhere)):
            pytest.fail("there is no server")

    with pytest.raises(DatabaseAwayError):
        run_stages([Stage("score", connect)], nowhere.paths, Outcome(), sleep=waits.append)
    assert waits == [10, 20, 40, 80, 160]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def on_small_disk(request: pytest.FixtureRequest, small_disk: Path, tmp_path: Path) -> Iterator[Settings]:
    """A database whose tables are on the small disk."""
    values = {"home": tmp_path, "lists.top_k": 10}
    if request.param == "sqlite":
        yield Settings.model_validate(values | {"database.url": f"sqlite:///{small_disk / 'lists.sqlite'}"})
        return
    server: Server = request.getfixturevalue("postgresql")
    owner = server.folder.stat()
    os.chown(small_disk, owner.st_uid, owner.st_gid)
    for parent in small_disk.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        connection.execute("CREATE DATABASE cramped")
        connection.execute("ALTER DATABASE cramped SET default_tablespace = 'small'")
    yield Settings.model_validate(values | {"database.url": server.url.replace("/postgres?", "/cramped?")})
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE cramped WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


def test_a_full_disk_leaves_the_old_list_and_room_makes_the_next_run(
    on_small_disk: Settings, small_disk: Path
) -> None:
    publish_lists(on_small_disk, CANDIDATES, _blocks(1))
    before = shown_rows(on_small_disk)

    def more_than_fits() -> Iterator[Lists]:
        blocks = [*_blocks(2)]
        for others in range(1, 500):
            for block in blocks:
                yield replace(block, user_id=block.user_id + 10_000 * others)
        pytest.fail("it fitted")

    with pytest.raises(NightreelError, match=r"full|No space|disk I/O|could not") as failure:
        publish_lists(on_small_disk, CANDIDATES, more_than_fits(), NIGHT + timedelta(days=1))
    assert "Free some space" in str(failure.value)
    assert not isinstance(failure.value, DatabaseAwayError)
    assert shown_rows(on_small_disk) == before
    # Another program's file goes: what the failed run has written is not reused at once by every database.
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    publish_lists(on_small_disk, CANDIDATES, _blocks(3), NIGHT + timedelta(days=1))
    assert shown_rows(on_small_disk) == expected_rows(3, _blocks(3))
    assert runs(on_small_disk) == [(1, "published"), (2, "failed"), (3, "published")]
    assert set(stored_rows(on_small_disk)) == {1, 3}
    _whole(on_small_disk)


def _whole(settings: Settings) -> None:
    """The database's integrity check, and a reader that opens it anew."""
    with create_engine(database_url(settings), poolclass=NullPool).connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    with reading(settings) as connection:
        errors = connection.execute(
            select(recommendation_run.c.error).where(recommendation_run.c.run_id == 2)
        )
        assert errors.scalar()
