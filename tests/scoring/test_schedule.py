"""Jobs by the clock and the table: once each, one at a time, ended when they hang, caught up when missed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from nightreel.core.errors import BusyError
from nightreel.core.settings import Settings
from nightreel.operations import jobs, supervise
from nightreel.operations import schedule as schedule_module
from nightreel.operations.jobs import NIGHT, RETRAIN, Job
from nightreel.operations.schedule import Scheduler
from scoring.database.connection import reading, sql_engine
from scoring.database.schema import upgrade_database
from scoring.database.tables import job_run
from scoring.database.writer import sole_job, sole_scheduler
from tests.fixtures.fork_server import Forked, forks

pytestmark = [pytest.mark.one_database, pytest.mark.current_schema]

ROOT = Path(__file__).parents[2]


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Runs:
    """A scheduler whose jobs are recorded in this process, and end at once with the codes given."""

    def __init__(self, settings: Settings, now: datetime, *codes: int) -> None:
        self.settings = settings
        self.clock = Clock(now)
        self.codes = list(codes)
        self.jobs: list[Job] = []
        self.scheduler = self.restarted()

    def restarted(self) -> Scheduler:
        self.scheduler = Scheduler(self.settings, self._command, now=self.clock)
        return self.scheduler

    def _command(self, job: Job) -> list[str]:
        self.jobs.append(job)
        code = self.codes.pop(0) if self.codes else 0
        if code in (0, 1):
            jobs.begin(self.settings, job)
            jobs.end(self.settings, job, error="it was so" if code else None)
        elif code == -9:
            jobs.begin(self.settings, job)
            return [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
        return [sys.executable, "-c", f"raise SystemExit({code})"]

    def tick(self, **after: float) -> list[datetime]:
        """The due instants of the jobs that a tick so much later has run."""
        self.clock.now += timedelta(**after)
        known = len(self.jobs)
        self.scheduler.tick()
        return [job.due_at for job in self.jobs[known:]]


def record(settings: Settings, job: Job) -> dict[str, object]:
    with reading(settings) as connection:
        query = select(job_run).where(job_run.c.job == job.name, job_run.c.due_at == job.due_at)
        return dict(connection.execute(query).one()._asdict())


@pytest.fixture
def fresh(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A grace of three hours: at first nothing is due."""
    upgrade_database(settings)
    monkeypatch.setattr(schedule_module, "GRACE", timedelta(hours=3))
    return settings


def now_due() -> datetime:
    """A due instant after every record that a test makes: the record's clock is the real one."""
    return datetime(2100, 8, 14, 18, tzinfo=UTC)


def test_done_once_and_not_again_after_a_restart(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due - timedelta(minutes=1))
    assert runs.tick() == []
    assert runs.tick(minutes=1) == [due]
    assert runs.tick(seconds=5) == []
    assert record(fresh, Job(NIGHT, due))["status"] == "done"
    with reading(fresh) as connection:
        assert len(connection.execute(select(job_run)).all()) == 1


def test_a_night_missed_while_down_is_caught_up_once(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due + timedelta(hours=2, minutes=59))
    assert runs.tick() == [due]
    assert runs.tick(seconds=5) == []


def test_missed_by_more_than_the_grace_is_not_caught_up(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due + timedelta(hours=3, minutes=1))
    assert runs.tick() == []
    assert runs.tick(days=1, hours=-3) == [due + timedelta(days=1)]


def test_of_several_missed_only_the_last_is_caught_up(fresh: Settings) -> None:
    often = fresh.changed({"schedule.cron": "*/10 * * * *"})
    due = now_due()
    runs = Runs(often, due + timedelta(hours=2, minutes=7))
    assert runs.tick() == [due + timedelta(hours=2)]
    assert runs.tick(minutes=4) == [due + timedelta(hours=2, minutes=10)]


def test_done_by_hand_since_it_was_due_is_done(fresh: Settings) -> None:
    """The records' clock is the real one, so tonight here is the last full minute."""
    due = datetime.now(UTC).replace(second=0, microsecond=0)
    by_hand = Job(NIGHT, datetime.now(UTC))
    jobs.begin(fresh, by_hand)
    assert jobs.is_open(fresh, Job(NIGHT, due))
    jobs.end(fresh, by_hand)
    assert not jobs.is_open(fresh, Job(NIGHT, due))
    assert jobs.is_open(fresh, Job(RETRAIN, due))


def test_a_failed_night_is_not_repeated_and_the_next_one_runs(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due, 1)
    assert runs.tick() == [due]
    assert runs.tick(minutes=10) == []
    runs.restarted()
    assert runs.tick(minutes=10) == []
    assert runs.tick(days=1) == [due + timedelta(days=1)]


def test_a_killed_job_is_tried_again_but_not_for_ever(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due, -9, -9, -9, -9)
    for _ in range(jobs.ATTEMPTS_MAX):
        assert runs.tick(minutes=2) == [due]
    assert runs.tick(minutes=2) == []
    found = record(fresh, Job(NIGHT, due))
    assert (found["status"], found["attempts"]) == ("failed", jobs.ATTEMPTS_MAX)
    assert "killed by signal 9" in str(found["error"])


def test_a_job_that_cannot_even_begin_is_not_tried_for_ever(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due, 2, 2, 2, 2, 2)
    assert [len(runs.tick(minutes=2)) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_a_job_that_another_runs_is_waited_for(fresh: Settings) -> None:
    due = now_due()
    runs = Runs(fresh, due, 3, 0)
    assert runs.tick() == [due]
    assert runs.tick(seconds=5) == []
    assert runs.tick(minutes=2) == [due]


def test_training_comes_after_the_night_and_only_where_it_is_set(fresh: Settings) -> None:
    due = now_due()
    assert [job.name for job in _all_of(Runs(fresh, due))] == [NIGHT]
    both = fresh.changed({"schedule.retrain": "0 2 * * *"})
    later = due + timedelta(days=1)
    assert [job.name for job in _all_of(Runs(both, later))] == [NIGHT, RETRAIN]


def _all_of(runs: Runs) -> list[Job]:
    runs.tick()
    return runs.jobs


@pytest.mark.parametrize("change", [datetime(2100, 3, 14, tzinfo=UTC), datetime(2100, 11, 7, tzinfo=UTC)])
def test_over_a_change_of_the_clocks_a_night_is_run_once(fresh: Settings, change: datetime) -> None:
    """Every ten minutes for three days in New York, 02:30 local on the wall: each night once."""
    zone = ZoneInfo("America/New_York")
    assert (change + timedelta(days=1)).astimezone(zone).dst() != change.astimezone(zone).dst()
    there = _settings_with(fresh, **{"schedule.cron": "30 2 * * *", "schedule.zone": str(zone)})
    runs = Runs(there, change - timedelta(days=1))
    nights = [due.astimezone(zone).date() for _ in range(3 * 24 * 6) for due in runs.tick(minutes=10)]
    assert len(nights) == len(set(nights)) == 3


def _settings_with(settings: Settings, **changes: object) -> Settings:
    return settings.changed(changes)


def test_a_hung_job_is_ended_at_its_limit_and_the_next_night_runs(
    fresh: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "STOP_WITHIN_S", 0.5)
    due = now_due()
    alert = tmp_path / "alert.json"
    short = _settings_with(
        fresh,
        **{
            "schedule.job_limit_minutes": 0.5 / 60,
            "schedule.on_failure": SecretStr(f"cat > {alert}"),
        },
    )
    hang = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    clock = Clock(due)
    started: list[Job] = []

    def command(job: Job) -> list[str]:
        started.append(job)
        jobs.begin(short, job)
        return [sys.executable, "-c", hang]

    scheduler = Scheduler(short, command, now=clock)
    scheduler.tick()
    found = record(short, Job(NIGHT, due))
    assert found["status"] == "failed" and "job_limit_minutes" in str(found["error"])
    failure = json.loads(alert.read_text())
    assert failure["job"] == NIGHT and "job_limit_minutes" in failure["error"]
    clock.now += timedelta(days=1)
    scheduler.tick()
    assert [job.due_at for job in started] == [due, due + timedelta(days=1)]


def test_a_job_that_outlasts_its_interval_is_one_at_a_time_and_coalesced(fresh: Settings) -> None:
    """Every minute, and each run takes three by the clock: one run after the other, missed ones left out."""
    often = _settings_with(fresh, **{"schedule.cron": "* * * * *"})
    due = now_due()
    clock = Clock(due)
    started: list[datetime] = []
    running = threading.Semaphore(1)

    def command(job: Job) -> list[str]:
        assert running.acquire(blocking=False)
        started.append(job.due_at)
        jobs.begin(often, job)
        jobs.end(often, job)
        clock.now += timedelta(minutes=3)
        running.release()
        if len(started) == 3:
            scheduler.stop.set()
        return [sys.executable, "-c", ""]

    scheduler = Scheduler(often, command, now=clock)
    scheduler.tick()
    assert started == [due + timedelta(minutes=minutes) for minutes in (0, 3, 6)]


def test_a_failure_is_posted_to_a_webhook(fresh: Settings) -> None:
    bodies: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        hook = SecretStr(f"http://127.0.0.1:{server.server_port}/token")
        Runs(_settings_with(fresh, **{"schedule.on_failure": hook}), now_due(), 1).tick()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [json.loads(body)["error"] for body in bodies] == ["it was so"]


@pytest.mark.parametrize("target", ["exit 7", "http://127.0.0.1:9/secret", "http://[bad"])
def test_an_alert_that_fails_stops_nothing(
    fresh: Settings, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(_settings_with(fresh, **{"schedule.on_failure": SecretStr(target)}), now_due(), 1)
    assert len(runs.tick()) == 1
    assert "secret" not in "".join(capfd.readouterr())


def test_a_database_that_is_away_stops_no_scheduler(tmp_path: Path) -> None:
    away = Settings.model_validate({"home": tmp_path, "database.url": "postgresql://me@127.0.0.1:9/db"})
    runs = Runs(away, now_due())
    assert runs.tick() == []
    assert not runs.scheduler.stop.is_set()


def test_a_scheduler_starts_though_the_database_is_away_and_stops_when_told(tmp_path: Path) -> None:
    process = forks.start(
        ["-c", _SCHEDULER, str(tmp_path / "one"), "0"],
        env={**os.environ, "NIGHTREEL_DATABASE_URL": "postgresql://me:pw@127.0.0.1:9/db"},
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(lambda: _beats(tmp_path, "one").get("state") == "unknown")
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "the database cannot be reached" in said and "pw@" not in said


def test_one_scheduler_a_home_and_one_job_a_database(fresh: Settings) -> None:
    lock = fresh.paths.state / "schedule.lock"
    busy = pytest.raises(BusyError, match=f"process {os.getpid()}, since .* is the scheduler of this home")
    with sole_scheduler(lock), busy, sole_scheduler(lock):
        pytest.fail("two schedulers")
    opened = sql_engine(fresh)
    with sole_job(opened), pytest.raises(BusyError, match="is running a job"), sole_job(opened):
        pytest.fail("two jobs")


# The real process: its jobs are these few lines, its clock the real one.
_SCHEDULER = """
import sys
from nightreel.core.settings import Settings
from nightreel.operations.schedule import schedule
from nightreel.core import logs
logs.configure()
settings = Settings.model_validate(
    {
        'home': sys.argv[1],
        'schedule': {'cron': '* * * * *'},
    }
)
JOB = '''
import sys, time
from datetime import datetime
from nightreel.core.settings import Settings
from nightreel.operations import jobs
from scoring.database.connection import sql_engine
from nightreel.operations.jobs import Job
from scoring.database.writer import sole_job
settings = Settings.model_validate({"home": sys.argv[1]})
job = Job("night", datetime.fromisoformat(sys.argv[2]))
try:
    with sole_job(sql_engine(settings)):
        if not jobs.is_open(settings, job):
            sys.exit(0)
        attempt = jobs.begin(settings, job)
        with open(sys.argv[1] + "/../log.txt", "a") as log:
            log.write(f"{job.due_at.isoformat()}\\\\n")
        time.sleep(float(sys.argv[3]))
        jobs.end(settings, job)
except Exception as error:
    sys.exit(getattr(error, "exit_code", 9))
'''
schedule(settings, lambda job: [sys.executable, '-c', JOB, sys.argv[1], job.due_at.isoformat(), sys.argv[2]])
"""


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Forked]]:
    """Start real schedulers on this database, each on a home of its own, whose jobs take some seconds."""
    environment = dict(os.environ)
    environment["NIGHTREEL_DATABASE_URL"] = (
        settings.database.url.get_secret_value()
        if settings.database.url is not None
        else f"sqlite:///{tmp_path / 'shared.sqlite'}"
    )
    started = []

    def start(home: str, seconds: float) -> Forked:
        folder = tmp_path / home
        folder.mkdir(exist_ok=True)
        process = forks.start(
            ["-c", _SCHEDULER, str(folder), str(seconds)], env=environment, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _wait_for(what: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def _log(tmp_path: Path) -> list[str]:
    path = tmp_path / "log.txt"
    return path.read_text().splitlines() if path.is_file() else []


def _beats(tmp_path: Path, home: str) -> dict[str, object]:
    try:
        said: dict[str, object] = json.loads((tmp_path / home / "data/state/heartbeat.json").read_text())
    except (OSError, ValueError):
        return {}
    return said


def test_two_schedulers_on_one_database_run_each_night_once(
    start: Callable[..., Forked], settings: Settings, tmp_path: Path
) -> None:
    if settings.database.url is None:
        url = SecretStr(f"sqlite:///{tmp_path / 'shared.sqlite'}")
        settings = settings.changed({"database.url": url})
    both = {home: start(home, 1) for home in ("one", "two")}
    _wait_for(lambda: bool(_log(tmp_path)) and all(_beats(tmp_path, home) for home in both))

    def open_nights() -> list[str]:
        return [
            due for due in _log(tmp_path) if jobs.is_open(settings, Job(NIGHT, datetime.fromisoformat(due)))
        ]

    # One that is stopped while it runs is due again, and rightly done by the other.
    _wait_for(lambda: not open_nights())
    for process in both.values():
        process.terminate()
    assert [process.wait(timeout=30) for process in both.values()] == [0, 0]
    assert len(_log(tmp_path)) == len(set(_log(tmp_path)))


def test_sigterm_abandons_the_job_and_the_next_start_does_it(
    start: Callable[..., Forked], tmp_path: Path
) -> None:
    """And while the first one lives, a second scheduler of the same home says so."""
    first = start("one", 600)
    _wait_for(lambda: len(_log(tmp_path)) == 1)
    _, said = start("one", 0).communicate(timeout=60)
    assert f"process {first.pid}" in said and "is the scheduler of this home" in said
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 0
    start("one", 0)
    _wait_for(lambda: len(_log(tmp_path)) >= 2)


def test_a_killed_schedulers_job_goes_on_and_the_next_one_waits_for_it(
    start: Callable[..., Forked], tmp_path: Path
) -> None:
    first = start("one", 4)
    _wait_for(lambda: len(_log(tmp_path)) == 1)
    first.kill()
    first.wait()
    second = start("one", 0)
    _wait_for(lambda: _beats(tmp_path, "one").get("pid") == second.pid)
    second.terminate()
    assert second.wait(timeout=30) == 0
    assert len(_log(tmp_path)) == len(set(_log(tmp_path)))
