"""The runs and the scheduled jobs, as tables and as the chart of how long nights took."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select

from nightreel.browse.charts import Bars, bars
from nightreel.browse.table import Column, Table, table
from nightreel.core import columns
from nightreel.operations.jobs import NIGHT, RETRAIN, latest_jobs
from scoring.database.tables import FAILED, PUBLISHED, STORED, published_run, recommendation_run

RUNS_MAX = 50
_JOBS_MAX = 20
HAVE_LISTS = (PUBLISHED, STORED)
_SECONDS = "How long each stage took."
_RUN_COLUMNS = (
    Column(columns.RUN_ID, "Run", "The run's number; it leads to users with a list in it.", "run"),
    Column("said", "Status", "published: made for apps; shown: apps read it now; stored: kept, not shown."),
    Column("audit", "Audit", "Whether it passed the checks before publishing."),
    Column("as_of", "As of, UTC", "The instant whose knowledge the lists were made with.", "instant"),
    Column("published_at", "Published, UTC", "When apps could first read it.", "instant"),
    Column("model_version", "Model", "The version of the models that scored."),
    Column("users", "Users", "How many users have a list.", "number"),
    Column("rows", "Rows", "Rows of all lists together.", "number"),
    Column("stage_seconds", "Seconds by stage", _SECONDS),
    Column("error", "Why not", "Why a run has no lists."),
)
_JOB_COLUMNS = (
    Column("job", "Job", "night: the lists; retrain: the models."),
    Column("due_at", "Due, UTC", "When it should begin.", "instant"),
    Column("status", "Status", "done, running or failed."),
    Column("attempts", "Tries", "How often it was started.", "number"),
    Column("ended_at", "Ended, UTC", "When its last try ended.", "instant"),
    Column("stage_seconds", "Seconds by stage", _SECONDS),
    Column("remarks", "Remarks", "What the job did without, such as files in quarantine."),
    Column("error", "Why not", "Why it failed."),
)


@dataclass(frozen=True)
class PageRun:
    """A run as the pages show it.

    Attributes:
        seconds: of each stage.
        shown: whether apps read it.
    """

    run_id: int
    status: str
    replay: bool
    as_of: datetime
    published_at: datetime | None
    model_version: str
    users: int | None
    rows: int | None
    error: str | None
    seconds: Mapping[str, float]
    shown: bool

    @property
    def has_lists(self) -> bool:
        """Whether its lists can be looked at."""
        return self.status in HAVE_LISTS

    def in_words(self) -> dict[str, str]:
        """Its status, the result of its audit, and the seconds of its stages, as text."""
        words = (self.status, "shown" if self.shown else "", "replay" if self.replay else "")
        return {
            "said": ", ".join(word for word in words if word),
            "audit": {PUBLISHED: "passed", STORED: "passed", FAILED: "not passed"}.get(self.status, ""),
            "stage_seconds": _by_stage(self.seconds),
        }


def shown_id(connection: Connection) -> int | None:
    """The run that apps read; None before the first."""
    found: int | None = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
    return found


def read_runs(connection: Connection) -> list[PageRun]:
    """The newest runs, and all that have lists, newest first."""
    shown = shown_id(connection)
    key = recommendation_run.c[columns.RUN_ID]
    newest = (connection.execute(select(func.max(key))).scalar() or 0) - RUNS_MAX
    # Runs with lists are few (keep_runs), and needed however many have failed since.
    has_lists = recommendation_run.c.status.in_(HAVE_LISTS)
    chosen = select(recommendation_run).where(or_(key > newest, has_lists))
    return [
        PageRun(
            run.run_id,
            run.status,
            run.replay,
            run.as_of,
            run.published_at,
            run.model_version,
            run.users,
            run.rows,
            run.error,
            json.loads(run.stages or "{}"),
            shown=run.run_id == shown,
        )
        for run in connection.execute(chosen.order_by(key.desc()))
    ]


def with_lists(runs: list[PageRun], run_id: int | None) -> PageRun | None:
    """The run with this id, if it has lists."""
    return next((run for run in runs if run.has_lists and run.run_id == run_id), None)


def read_jobs(connection: Connection) -> list[dict[str, Any]]:
    """The newest scheduled jobs, newest first."""
    jobs: list[dict[str, Any]] = [
        {**run, "job": name, "stage_seconds": _by_stage(run["seconds"])}
        for name in (NIGHT, RETRAIN)
        for run in latest_jobs(connection, name, _JOBS_MAX)
    ]
    return sorted(jobs, key=lambda job: job["due_at"], reverse=True)[:_JOBS_MAX]


def runs_table(runs: list[PageRun]) -> Table:
    """The runs; the one that apps read is marked."""
    rows = [{**vars(run), **run.in_words()} for run in runs]
    return table("runs", "Runs", _RUN_COLUMNS, rows, marked="shown")


def jobs_table(jobs: list[dict[str, Any]]) -> Table:
    """The scheduled jobs."""
    return table("jobs", "Scheduled jobs", _JOB_COLUMNS, jobs)


def seconds_chart(runs: list[PageRun]) -> Bars | None:
    """A bar for each run with known seconds, oldest first; None if there are fewer than two."""
    timed = [(run, sum(run.seconds.values())) for run in reversed(runs) if run.seconds]
    if len(timed) < 2:
        return None
    return bars(
        "Seconds that each night's scoring took",
        [(f"run {run.run_id}", seconds) for run, seconds in timed],
        unit="s",
    )


def _by_stage(seconds: Mapping[str, float | None] | Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if value is not None)
