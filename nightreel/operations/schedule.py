"""The scheduler: checks again and again which job is due and not done, and runs it in a process of its own.

APScheduler only ticks. Due jobs follow from the clock and the table `job_run`, so a night missed while
nothing ran is caught up, and one that was done is not done again.
"""

import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.logs import get_logger
from nightreel.core.settings import ScheduleSettings
from nightreel.core.settings.needs import ScheduleNeeds
from nightreel.operations import jobs
from nightreel.operations.alerts import report_failure
from nightreel.operations.due import latest_due
from nightreel.operations.heartbeat import HEARTBEAT_S, Beat, write_beat
from nightreel.operations.jobs import NIGHT, RETRAIN, Job
from nightreel.operations.metrics import served_metrics
from nightreel.operations.status import status
from nightreel.operations.supervise import ProcessResult, StopReason, run_limited
from scoring.database.failures import DatabaseAwayError
from scoring.database.sqlite_journal import keep_readable
from scoring.database.writer import sole_scheduler

TICK_S = 5
# A job missed by no more than this is caught up, once; with a day or more, two nights would be due at once.
GRACE = timedelta(hours=20)
# After a job whose failure could not be recorded, or that another process runs.
_PAUSE = timedelta(minutes=1)

_log = get_logger(__name__)


class Scheduler:
    """Decides which jobs are due and runs them, one at a time.

    Attributes:
        command: the command of a job's process.
        now: the clock.
    """

    def __init__(
        self,
        settings: ScheduleNeeds,
        command: Callable[[Job], Sequence[str]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._command = command
        self._now = now
        self._settled: dict[str, datetime] = {}
        self._pause_until: dict[str, datetime] = {}
        self._failures: Counter[Job] = Counter()
        self.stop = threading.Event()
        self.doing: Job | None = None

    def due(self) -> Job | None:
        """The job to run now: the night, then training; of each, the last one missed within the grace."""
        settings, now = self._settings, self._now()
        grace = GRACE
        for name, cron in ((NIGHT, settings.schedule.cron), (RETRAIN, settings.schedule.retrain)):
            if cron is None or self._is_paused(name, now):
                continue
            due_at = latest_due(cron, settings.zone_of_schedule, now, grace)
            if due_at is None or self._settled.get(name) == due_at:
                continue
            if jobs.is_open(settings, Job(name, due_at), now):
                return Job(name, due_at)
            self._settled[name] = due_at
        return None

    def _is_paused(self, name: str, now: datetime) -> bool:
        # A pause that would last longer was begun before the clock went back: it is over.
        until = self._pause_until.get(name, now)
        return now < until <= now + _PAUSE

    def tick(self) -> None:
        """Run every due job, one after the other."""
        try:
            while not self.stop.is_set() and (job := self.due()) is not None:
                self.run(job)
        except NightreelError as error:
            _log.error("the due jobs cannot be read", reason=str(error))

    def run(self, job: Job) -> int:
        """Run the job in its process and act on its end; returns its exit code, 0 only if it is done."""
        settings = self._settings
        self.doing = job
        _log.info("job begins", job=job.name, due_at=job.due_at.isoformat())
        try:
            ended = run_limited(
                self._command(job),
                limit_s=60 * settings.schedule.job_limit_minutes,
                stop=self.stop,
            )
        finally:
            self.doing = None
        facts = {"code": ended.code, "why": ended.why.value}
        _log.info("job ended", job=job.name, due_at=job.due_at.isoformat(), **facts)
        self._settle(job, ended)
        return ended.code if ended.code >= 0 else 128 - ended.code

    def _settle(self, job: Job, ended: ProcessResult) -> None:
        """Record how the job ended, and report a failure."""
        if ended.code == 0:
            self._settled[job.name] = job.due_at
            return
        if ended.why is not StopReason.STOPPED:
            self._pause_until[job.name] = self._now() + _PAUSE
        if ended.code == BusyError.exit_code and ended.why is StopReason.ENDED:
            return
        try:
            if ended.why is StopReason.STOPPED:
                # Abandoned on purpose: the next scheduler finds it due.
                jobs.forget(self._settings, job)
                return
            error = self._record(job, ended)
        except NightreelError as away:
            error = f"{_error(self._settings.schedule, ended)} It cannot be recorded: {away}"
            if self._failures[job]:
                return
        self._failures[job] += 1
        _log.error("job failed", job=job.name, due_at=job.due_at.isoformat(), error=error)
        failure = {"job": job.name, "due_at": job.due_at.isoformat(), "error": error, "exit_code": ended.code}
        report_failure(self._settings.schedule, failure | {"host": socket.gethostname()})

    def _record(self, job: Job, ended: ProcessResult) -> str:
        """Record the failure where the job has not, and say why; a job that was killed may be tried again."""
        error = _error(self._settings.schedule, ended)
        if self._failures[job] + 1 >= jobs.ATTEMPTS_MAX:
            self._settled[job.name] = job.due_at
        if (
            ended.code >= 0
            or ended.why is StopReason.LIMIT
            or not jobs.is_open(self._settings, job, self._now())
        ):
            jobs.fail_if_running(self._settings, job, error)
        return jobs.error_of(self._settings, job) or error

    def beat(self) -> None:
        """Write the heartbeat file."""
        doing = self.doing
        said: Beat = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "doing": None if doing is None else doing.name,
            "state": "unknown",
        }
        try:
            found = status(self._settings, self._now())
            said["state"], said["out_of_band"] = found.state, found.facts.get("out_of_band", [])
        except NightreelError as error:
            said["error"] = str(error)
        keep_readable(self._settings)
        write_beat(self._settings.paths, said)


def _error(settings: ScheduleSettings, ended: ProcessResult) -> str:
    if ended.why is StopReason.LIMIT:
        limit = settings.job_limit_minutes
        return f"It took longer than [schedule] job_limit_minutes = {limit:g} and was ended."
    if ended.code < 0:
        return f"Its process was killed by signal {-ended.code}."
    return f"Its exit code was {ended.code}."


def schedule(settings: ScheduleNeeds, command: Callable[[Job], Sequence[str]]) -> None:
    """Run due jobs, in the foreground, until SIGTERM or SIGINT; then a running job has STOP_WITHIN_S.

    While the database cannot be reached, it waits.

    Raises:
        BusyError: this home has a scheduler already.
        InputError: the database cannot be used.
    """
    try:
        jobs.check_readable(settings)
    except DatabaseAwayError as error:
        _log.warning("the database cannot be reached", reason=str(error))
    lock = settings.paths.state / "schedule.lock"
    with sole_scheduler(lock), served_metrics(settings):
        scheduler = Scheduler(settings, command)
        with _stopping(scheduler):
            ticking = _ticking(scheduler)
            ticking.start()
            _log.info(
                "scheduler started", schedule=settings.schedule.cron, zone=str(settings.zone_of_schedule)
            )
            try:
                while not scheduler.stop.wait(TICK_S):
                    wake(ticking, datetime.now(UTC))
            finally:
                scheduler.stop.set()
                ticking.shutdown(wait=True)
                _log.info("scheduler stopped")


def run_once(settings: ScheduleNeeds, command: Callable[[Job], Sequence[str]], name: str = NIGHT) -> int:
    """Run a job now, due or not; returns its exit code."""
    scheduler = Scheduler(settings, command)
    with _stopping(scheduler):
        return scheduler.run(Job(name, datetime.now(UTC)))


def _ticking(scheduler: Scheduler) -> BackgroundScheduler:
    # A tick that comes while a job runs is left out; APScheduler would warn of each.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    ticking = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(2)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )
    now = datetime.now(UTC)
    ticking.add_job(scheduler.tick, "interval", seconds=TICK_S, next_run_time=now, id="tick")
    ticking.add_job(scheduler.beat, "interval", seconds=HEARTBEAT_S, next_run_time=now, id="beat")
    ticking.add_listener(_log_event, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    return ticking


def wake(ticking: BackgroundScheduler, now: datetime) -> None:
    """Let the ticks continue from now if the clock was set back; APScheduler would wait for the old time."""
    for job in ticking.get_jobs():
        if job.next_run_time is not None and job.next_run_time > now + 2 * job.trigger.interval:
            _log.warning("the clock has gone back", what=job.id, waited_for=job.next_run_time.isoformat())
            job.modify(next_run_time=now)


def _log_event(event: JobExecutionEvent) -> None:
    reason = "missed" if event.exception is None else f"{type(event.exception).__name__}: {event.exception}"
    _log.error("scheduler", what=event.job_id, reason=reason)


@contextmanager
def _stopping(scheduler: Scheduler) -> Iterator[None]:
    """SIGTERM and SIGINT stop the scheduler while the block runs."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        scheduler.stop.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
