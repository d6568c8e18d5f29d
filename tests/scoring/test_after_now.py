"""What a wrong clock has recorded for later than now settles no night, and is reported."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from nightreel.core.errors import AuditError
from nightreel.core.settings import Settings
from nightreel.core.steps import StepResult
from nightreel.operations import doctor, jobs, schedule
from nightreel.operations.due import last_due
from nightreel.operations.heartbeat import read_heartbeat, write_beat
from nightreel.operations.jobs import NIGHT, Job
from nightreel.operations.metrics import metrics_text
from nightreel.operations.night import run_job
from nightreel.operations.schedule import Scheduler, _ticking, wake
from nightreel.operations.stages import Stage
from nightreel.operations.status import DUE, FRESH, STALE, status
from scoring.database.connection import reading, sql_engine
from scoring.database.schema import upgrade_database
from scoring.database.score_facts import ScoreFacts
from scoring.database.tables import job_run, recommendation_run
from tests.conftest import Nightreel
from tests.fixtures.lists import make_blocks, make_candidates
from tests.scoring.test_publish_atomic import publish_lists

pytestmark = pytest.mark.current_schema

CANDIDATES = make_candidates(31)
LATER = datetime(2131, 6, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 8, 15, tzinfo=UTC)


@pytest.fixture
def published(settings: Settings) -> Settings:
    """A list that was published long ago: tonight's is missing."""
    publish_lists(settings, CANDIDATES, make_blocks(CANDIDATES, 1, k=10))
    _change_run(settings, published_at=LONG_AGO, started_at=LONG_AGO)
    return settings


def _change_run(settings: Settings, **values: datetime) -> None:
    with sql_engine(settings).begin() as connection:
        connection.execute(update(recommendation_run).values(**values))


def _plant(settings: Settings, due_at: datetime, status: str = "done", **values: object) -> None:
    """A job as a machine whose clock says LATER records it."""
    job = {"job": NIGHT, "due_at": due_at, "status": status, "attempts": 1, "started_at": LATER, **values}
    with sql_engine(settings).begin() as connection:
        connection.execute(insert(job_run).values(job))


def _tonight(settings: Settings) -> Job:
    due = last_due(settings.schedule.cron, settings.zone_of_schedule, datetime.now(UTC))
    assert due is not None
    return Job(NIGHT, due)


def _environment(settings: Settings) -> dict[str, str]:
    return {"NIGHTREEL_DATABASE_URL": settings.sqlalchemy_url}


def test_a_job_of_later_settles_no_night_and_status_says_so(
    published: Settings, nightreel: Nightreel, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plant(published, LATER - timedelta(hours=1))
    done = nightreel("status", "--json", home=published.home, **_environment(published))
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["state"], facts["night"]) == (1, STALE, None)
    assert facts["after_now"] == ["job night began 2131-06-01 12:00 UTC, after now"]
    plain = nightreel("status", home=published.home, **_environment(published))
    assert "after now: job night began 2131-06-01 12:00 UTC" in plain.stdout
    monkeypatch.setattr(schedule, "GRACE", timedelta(hours=48))
    assert Scheduler(published, lambda _job: []).due() == _tonight(published)


@pytest.mark.parametrize("ended", ["done", "failed", "running"])
def test_tonights_own_record_of_later_is_begun_anew(published: Settings, ended: str) -> None:
    tonight = _tonight(published)
    _plant(published, tonight.due_at, ended, attempts=jobs.ATTEMPTS_MAX)
    assert jobs.is_open(published, tonight)
    assert jobs.begin(published, tonight) == 1
    jobs.end(published, tonight)
    assert not jobs.is_open(published, tonight)
    assert status(published, datetime.now(UTC)).state == FRESH


@pytest.mark.parametrize("what", ["published_at", "as_of"])
def test_a_run_of_later_is_not_fresh_until_a_night_was_done(published: Settings, what: str) -> None:
    now = datetime.now(UTC)
    _change_run(published, published_at=now)
    assert status(published, now).state == FRESH
    _change_run(published, **{what: LATER})
    found = status(published, now)
    # Tonight's list may still come, but is not there.
    assert found.state in (STALE, DUE)
    (line,) = found.facts["after_now"]
    assert line.startswith("run 1 ") and "2131-06-01" in line
    assert "nightreel_records_after_now 1.0\n" in metrics_text(published, now)
    tonight = _tonight(published)
    jobs.begin(published, tonight)
    jobs.end(published, tonight, run_id=1)
    assert status(published, datetime.now(UTC)).state == FRESH
    finding = doctor.freshness(published, datetime.now(UTC))
    assert finding.state == "warning" and line in finding.found and "clock" in finding.remedy


@pytest.mark.parametrize("what", ["known_at", "newest_play_at"])
def test_a_run_that_knew_what_came_later_is_reported(published: Settings, what: str) -> None:
    now = datetime.now(UTC)
    _change_run(published, published_at=now, **{what: LATER})
    (line,) = status(published, now).facts["after_now"]
    assert line.startswith("run 1 ") and line.endswith("2131-06-01 12:00 UTC, after now")


def test_clocks_of_two_machines_may_differ_a_little(published: Settings) -> None:
    now = datetime.now(UTC)
    _change_run(published, published_at=now + timedelta(minutes=4))
    found = status(published, now)
    assert found.state == FRESH and "after_now" not in found.facts


def test_a_run_as_of_later_is_still_the_measure_of_the_next(published: Settings) -> None:
    _change_run(published, as_of=LATER)
    few = make_candidates(31, users=4)
    with pytest.raises(AuditError, match="in line with the last run"):
        publish_lists(published, few, make_blocks(few, 2, k=10))
    publish_lists(published, CANDIDATES, make_blocks(CANDIDATES, 2, k=10))


def test_a_night_reports_what_is_of_later_and_is_kept_among_many_such(published: Settings) -> None:
    with sql_engine(published).begin() as connection:
        rows = [
            {"job": NIGHT, "due_at": LATER + timedelta(minutes=minute), "status": "done", "attempts": 1}
            for minute in range(450)
        ]
        connection.execute(insert(job_run), [row | {"started_at": row["due_at"]} for row in rows])
    tonight = _tonight(published)
    made = ScoreFacts(run_id=1, status="published", as_of="", database="")
    run_job(published, tonight, [Stage("score", lambda: StepResult("score", False, (), (), made))])
    with reading(published) as connection:
        of_tonight = select(job_run).where(job_run.c.due_at == tonight.due_at)
        record = connection.execute(of_tonight).one()
    assert record.status == "done" and "after now: it is ignored" in record.remarks
    assert not jobs.is_open(published, tonight)
    assert status(published, datetime.now(UTC)).facts[NIGHT]["status"] == "done"


def test_a_heartbeat_of_later_is_no_sign_of_life(settings: Settings) -> None:
    upgrade_database(settings)
    write_beat(settings.paths, {"pid": 1, "host": "", "doing": None, "state": FRESH})
    now = datetime.now(UTC)
    before = read_heartbeat(settings.paths, now - timedelta(days=365))
    assert before is not None and not before["alive"]
    (line,) = status(settings, now - timedelta(days=365)).facts["after_now"]
    assert "heartbeat" in line
    alive = read_heartbeat(settings.paths, now)
    assert alive is not None and alive["alive"]


def test_a_pause_ends_with_the_clock_that_began_it(settings: Settings) -> None:
    """The job could not begin while the clock was wrong; when it is right, a night is not waited for."""
    upgrade_database(settings)
    clock = [datetime(2131, 8, 14, 18, tzinfo=UTC)]
    started: list[datetime] = []

    def command(job: Job) -> list[str]:
        started.append(job.due_at)
        return [sys.executable, "-c", "raise SystemExit(3)"]

    scheduler = Scheduler(settings, command, now=lambda: clock[0])
    scheduler.tick()
    clock[0] = datetime(2126, 8, 14, 18, tzinfo=UTC)
    scheduler.tick()
    assert started == [datetime(2131, 8, 14, 18, tzinfo=UTC), datetime(2126, 8, 14, 18, tzinfo=UTC)]


def test_ticks_go_on_where_the_clock_has_gone_back(settings: Settings) -> None:
    ticking = _ticking(Scheduler(settings, lambda _job: []))
    ticking.start(paused=True)
    try:
        for job in ticking.get_jobs():
            job.modify(next_run_time=LATER)
        now = datetime.now(UTC)
        wake(ticking, now)
        assert {job.next_run_time for job in ticking.get_jobs()} == {now}
        wake(ticking, now - timedelta(seconds=1))
        assert {job.next_run_time for job in ticking.get_jobs()} == {now}
    finally:
        ticking.shutdown()


@pytest.mark.parametrize("command", [["score"], ["score", "--dry-run"], ["run"]])
def test_an_as_of_in_the_future_is_refused_before_anything_is_made(
    command: list[str], tmp_path: Path, nightreel: Nightreel
) -> None:
    done = nightreel(*command, "--as-of", LATER.isoformat(), home=tmp_path)
    assert done.returncode == 2
    assert "2131-06-01" in done.stderr and "in the future" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
