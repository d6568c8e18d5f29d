"""Whether last night's list is there: for people, monitors and Prometheus."""

import json
import os
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings
from nightreel.operations import doctor, jobs
from nightreel.operations.due import last_due
from nightreel.operations.heartbeat import read_heartbeat
from nightreel.operations.jobs import NIGHT, Job
from nightreel.operations.metrics import metrics_text, served_metrics
from nightreel.operations.schedule import Scheduler
from nightreel.operations.status import DUE, FRESH, STALE, status
from scoring.database.connection import sql_engine
from scoring.database.schema import upgrade_database
from scoring.database.tables import recommendation_run
from tests.conftest import Nightreel
from tests.fixtures.lists import make_blocks, make_candidates
from tests.scoring.test_publish_atomic import publish_lists

pytestmark = [pytest.mark.one_database, pytest.mark.current_schema]

CANDIDATES = make_candidates(61)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _last_due(settings: Settings) -> datetime:
    found = last_due(settings.schedule.cron, settings.zone_of_schedule, datetime.now(UTC))
    assert found is not None
    return found


@pytest.fixture
def published(settings: Settings) -> Settings:
    """A run that was published just now."""
    publish_lists(settings, CANDIDATES, make_blocks(CANDIDATES, 1, k=10))
    return settings


def test_nothing_published_is_stale(settings: Settings) -> None:
    assert status(settings, datetime.now(UTC)).state == STALE
    upgrade_database(settings)
    assert status(settings, datetime.now(UTC)).state == STALE


def test_a_list_is_fresh_until_the_next_night_then_due_then_stale(published: Settings) -> None:
    now = datetime.now(UTC)
    due = _last_due(published)
    assert status(published, now).state == FRESH
    assert status(published, due + DAY - timedelta(seconds=1)).state == FRESH
    limit = timedelta(minutes=published.schedule.job_limit_minutes)
    assert status(published, due + DAY).state == DUE
    assert status(published, due + DAY + limit - timedelta(seconds=1)).state == DUE
    assert status(published, due + DAY + limit).state == STALE
    assert status(published, due + 2 * DAY).state == STALE


def test_a_failed_night_is_stale_at_once_and_says_why(published: Settings) -> None:
    tonight = Job(NIGHT, _last_due(published) + DAY)
    jobs.begin(published, tonight)
    assert status(published, tonight.due_at + HOUR).state == DUE
    jobs.end(published, tonight, error="the disk is on fire", stages={"ingest": {"seconds": 1.5}})
    found = status(published, tonight.due_at + HOUR)
    assert found.state == STALE
    assert found.facts[NIGHT]["error"] == "the disk is on fire"
    assert found.facts[NIGHT]["seconds"] == {"ingest": 1.5}


def test_a_night_that_found_nothing_new_is_fresh(published: Settings) -> None:
    with sql_engine(published).begin() as connection:
        long_ago = "2020-08-15 00:00:00+00:00"
        connection.exec_driver_sql(f"UPDATE recommendation_run SET published_at = '{long_ago}'")
    assert status(published, datetime.now(UTC)).state == STALE
    job = Job(NIGHT, _last_due(published))
    jobs.begin(published, job)
    jobs.end(published, job, run_id=1)
    assert status(published, datetime.now(UTC)).state == FRESH


def test_the_state_is_that_of_the_list_that_is_shown(settings: Settings, nightreel: Nightreel) -> None:
    """After a rollback to an older night's list, that list is judged, though tonight's job is done."""
    for seed in (1, 2):
        publish_lists(settings, CANDIDATES, make_blocks(CANDIDATES, seed, k=10))
    due = _last_due(settings)
    with sql_engine(settings).begin() as connection:
        older = recommendation_run.c.run_id == 1
        connection.execute(update(recommendation_run).where(older).values(published_at=due - HOUR))
    job = Job(NIGHT, due)
    jobs.begin(settings, job)
    jobs.end(settings, job, run_id=2)
    now = datetime.now(UTC)
    assert status(settings, now).state == FRESH
    home = {"home": settings.home, "NIGHTREEL_DATABASE_URL": settings.sqlalchemy_url}
    assert nightreel("rollback", "1", **home).returncode == 0
    done = nightreel("status", **home)
    assert done.returncode == 1 and done.stdout.startswith("state: stale\n"), done.stdout
    found = doctor.freshness(settings, now)
    assert found.state == "wrong" and "the last night made run 2" in found.found
    assert "nightreel rollback 2" in found.remedy
    assert nightreel("rollback", "2", **home).returncode == 0
    assert status(settings, now).state == FRESH


def test_the_heartbeat_says_that_the_scheduler_lives_and_whether_the_list_is_fresh(
    published: Settings,
) -> None:
    now = datetime.now(UTC)
    assert read_heartbeat(published.paths, now) is None
    Scheduler(published, lambda _job: []).beat()
    said = read_heartbeat(published.paths, datetime.now(UTC))
    assert said is not None
    assert (said["pid"], said["state"], said["alive"], said["doing"]) == (os.getpid(), FRESH, True, None)
    later = read_heartbeat(published.paths, now + HOUR)
    assert later is not None and not later["alive"]


def test_the_heartbeat_goes_on_where_the_database_is_away(tmp_path: Path) -> None:
    away = Settings.model_validate({"home": tmp_path, "database.url": "postgresql://me:pw@127.0.0.1:9/db"})
    Scheduler(away, lambda _job: []).beat()
    said = read_heartbeat(away.paths, datetime.now(UTC))
    assert said is not None and said["state"] == "unknown" and "pw@" not in json.dumps(said)
    with pytest.raises(NightreelError):
        status(away, datetime.now(UTC))
    assert metrics_text(away, datetime.now(UTC)).splitlines()[-1] == "nightreel_database_up 0.0"


def test_a_newer_database_is_refused(published: Settings) -> None:
    with sql_engine(published).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(InputError, match="newer than this nightreel"):
        status(published, datetime.now(UTC))


def test_metrics_are_served_as_prometheus_reads_them(published: Settings) -> None:
    # The port is free when asked for; the test's own server takes the first one that is.
    import socket

    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    with served_metrics(published.changed({"schedule.metrics_address": f"127.0.0.1:{port}"})) as served:
        assert served == port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures["nightreel_list_fresh"]) == 1 and float(figures["nightreel_run_id"]) == 1
    assert float(figures["nightreel_users"]) == 40
    assert abs(float(figures["nightreel_published_timestamp_seconds"]) - datetime.now(UTC).timestamp()) < 600


def test_idle_connections_keep_neither_the_metrics_nor_the_scheduler(published: Settings) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    with (
        ExitStack() as idle,
        served_metrics(published.changed({"schedule.metrics_address": f"127.0.0.1:{port}"})),
    ):
        # Of many that say nothing, those beyond the room are closed at once.
        sockets = [
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(40)
        ]
        assert sockets[-1].recv(1) == b""
        # The others are let go in their time.
        assert {one.recv(1) for one in sockets} == {b""}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=10):
            pass
