"""Records of runs and jobs that say a later instant than now: a clock that was wrong has written them.

Such records do not count: they make no night done and no list fresh. They are found here, to be reported.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, RowMapping, or_, select

from nightreel.core import columns
from nightreel.core.clock import SKEW, is_future
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading
from scoring.database.tables import job_run, recommendation_run

_NAMED_MAX = 5
_OF_RUN = {
    "published_at": "was published",
    "started_at": "began",
    "as_of": "is as of",
    "known_at": "knew what had arrived by",
    "newest_play_at": "has a play of",
}
_OF_JOB = {"started_at": "began", "due_at": "was due"}


def found_after(settings: DatabaseNeeds, now: datetime) -> list[str]:
    """`records_after` for the settings' database."""
    with reading(settings) as connection:
        return records_after(connection, now)


def records_after(connection: Connection, now: datetime) -> list[str]:
    """A line for each of the newest runs and jobs that are dated after now, newest first."""
    latest = now + SKEW
    runs = select(recommendation_run).where(or_(*(recommendation_run.c[name] > latest for name in _OF_RUN)))
    newest_first = recommendation_run.c[columns.RUN_ID].desc()
    lines = [
        f"run {run[columns.RUN_ID]} {_said(run, _OF_RUN, now)}"
        for run in connection.execute(runs.order_by(newest_first).limit(_NAMED_MAX)).mappings()
    ]
    jobs = select(job_run).where(or_(*(job_run.c[name] > latest for name in _OF_JOB)))
    return lines + [
        f"job {job['job']} {_said(job, _OF_JOB, now)}"
        for job in connection.execute(jobs.order_by(job_run.c.due_at.desc()).limit(_NAMED_MAX)).mappings()
    ]


def _said(record: RowMapping, words: Mapping[str, str], now: datetime) -> str:
    name = next(name for name in words if is_future(record[name], now))
    return f"{words[name]} {record[name]:%Y-%m-%d %H:%M} UTC, after now"
