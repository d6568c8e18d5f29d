"""The scheduler's record of its jobs: the jobs still to be done are read from here, not kept in memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

from sqlalchemy import Connection, Row, insert, inspect, select, update

from nightreel.core.clock import SKEW, is_future
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import translate_errors
from scoring.database.schema import SCHEMA_VERSION, recorded_version, require_not_newer, upgrade_database
from scoring.database.tables import DONE, FAILED, RUNNING, job_run
from scoring.database.url import database_exists, database_url

NIGHT, RETRAIN = "night", "retrain"
ATTEMPTS_MAX = 3
_ERROR_CHARACTERS = 1_000
_KEPT = 400


@dataclass(frozen=True)
class Job:
    """A job and the instant (UTC) at which it was due."""

    name: str
    due_at: datetime


class JobRun(TypedDict):
    """A row of `job_run`, without the job's name, as `nightreel status --json` prints it.

    Attributes:
        seconds: of each stage that was begun; None where they are unknown.
    """

    due_at: datetime
    status: str
    run_id: int | None
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    remarks: str | None
    error: str | None
    seconds: Mapping[str, float | None]


def is_open(settings: DatabaseNeeds, job: Job, now: datetime | None = None) -> bool:
    """Whether the job is still to be done: not done since it was due, not failed, not started too often.

    A job that is `running` counts as open: its process holds the lock or, if nothing does, has died. Records
    of jobs that began after `now` (by default the clock's time) are ignored.
    """
    if not _has_table(settings):
        return True
    now = now or datetime.now(UTC)
    with reading(settings) as connection:
        later = select(job_run).where(job_run.c.job == job.name, job_run.c.started_at >= job.due_at)
        runs = connection.execute(later).all()
        if any(run.status == DONE and not is_future(run.started_at, now) for run in runs):
            return False
        mine = connection.execute(_of(job)).first()
    if mine is None or is_future(mine.started_at, now):
        return True
    return bool(mine.status == RUNNING and mine.attempts < ATTEMPTS_MAX)


def begin(settings: DatabaseNeeds, job: Job) -> int:
    """Record that the job begins, upgrading an older schema; returns the number of this attempt."""
    if not _is_current(settings):
        upgrade_database(settings)
    now = datetime.now(UTC)
    with translate_errors(database_url(settings)), sql_engine(settings).begin() as connection:
        before = connection.execute(_of(job)).first()
        attempts = 1
        if before is not None and not is_future(before.started_at, now):
            attempts += before.attempts
        values: dict[str, Any] = {
            "status": RUNNING,
            "attempts": attempts,
            "started_at": now,
            "ended_at": None,
            "error": None,
        }
        if before is None:
            connection.execute(insert(job_run).values(job=job.name, due_at=job.due_at, **values))
        else:
            connection.execute(_change(job).values(**values))
        _prune(connection, now)
    return attempts


def end(
    settings: DatabaseNeeds,
    job: Job,
    *,
    error: str | None = None,
    run_id: int | None = None,
    stages: Mapping[str, Mapping[str, Any]] | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """Record how the job ended: failed if there is an `error`, else done."""
    with translate_errors(database_url(settings)), sql_engine(settings).begin() as connection:
        values = {
            "status": DONE if error is None else FAILED,
            "ended_at": datetime.now(UTC),
            "run_id": run_id,
            "stages": json.dumps(stages or {}),
            "remarks": "\n".join(remarks) or None,
            "error": None if error is None else error[:_ERROR_CHARACTERS],
        }
        connection.execute(_change(job).values(**values))


def fail_if_running(settings: DatabaseNeeds, job: Job, error: str) -> None:
    """Record the failure of a job whose process was ended from outside, unless it recorded its own end."""
    if not _has_table(settings):
        return
    with translate_errors(database_url(settings)), sql_engine(settings).begin() as connection:
        connection.execute(
            _change(job)
            .where(job_run.c.status == RUNNING)
            .values(status=FAILED, ended_at=datetime.now(UTC), error=error[:_ERROR_CHARACTERS])
        )


def error_of(settings: DatabaseNeeds, job: Job) -> str | None:
    """The recorded reason why the job failed; None without one."""
    if not _has_table(settings):
        return None
    with reading(settings) as connection:
        found = connection.execute(_of(job)).first()
    return None if found is None else found.error


def forget(settings: DatabaseNeeds, job: Job) -> None:
    """Remove the record of a job that was abandoned on purpose, so that it becomes due again."""
    if not _has_table(settings):
        return
    with translate_errors(database_url(settings)), sql_engine(settings).begin() as connection:
        connection.execute(job_run.delete().where(job_run.c.job == job.name, job_run.c.due_at == job.due_at))


def latest_jobs(connection: Connection, name: str, limit: int, *, by: datetime | None = None) -> list[JobRun]:
    """The job's last runs, newest first; with `by`, only those that were due and began by this instant."""
    query = select(job_run).where(job_run.c.job == name).order_by(job_run.c.due_at.desc()).limit(limit)
    if by is not None:
        query = query.where(job_run.c.due_at <= by + SKEW, job_run.c.started_at <= by + SKEW)
    return [_job_run(row) for row in connection.execute(query)]


def _job_run(row: Row[Any]) -> JobRun:
    return {
        "due_at": row.due_at,
        "status": row.status,
        "run_id": row.run_id,
        "attempts": row.attempts,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "remarks": row.remarks,
        "error": row.error,
        "seconds": _seconds(row.stages),
    }


def _seconds(stages: str | None) -> dict[str, float | None]:
    return {name: facts.get("seconds") for name, facts in json.loads(stages or "{}").items()}


def check_readable(settings: DatabaseNeeds) -> None:
    """Raise an error if the database cannot be read or has a newer schema; no database yet is fine."""
    if database_exists(settings):
        with reading(settings) as connection:
            require_not_newer(recorded_version(connection))


def _is_current(settings: DatabaseNeeds) -> bool:
    if not database_exists(settings):
        return False
    with reading(settings) as connection:
        return recorded_version(connection) == SCHEMA_VERSION


def _has_table(settings: DatabaseNeeds) -> bool:
    if not database_exists(settings):
        return False
    with reading(settings) as connection:
        return inspect(connection).has_table(job_run.name)


def _of(job: Job) -> Any:
    return select(job_run).where(job_run.c.job == job.name, job_run.c.due_at == job.due_at)


def _change(job: Job) -> Any:
    return update(job_run).where(job_run.c.job == job.name, job_run.c.due_at == job.due_at)


def _prune(connection: Connection, now: datetime) -> None:
    """Remove the oldest records; those that are dated after now do not count against the limit."""
    began = job_run.c.started_at
    newest_first = select(began).where(began <= now + SKEW).order_by(began.desc())
    oldest = connection.execute(newest_first.offset(_KEPT).limit(1)).scalar()
    if oldest is not None:
        connection.execute(job_run.delete().where(began <= oldest))
