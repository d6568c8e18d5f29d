"""What the page shows, read from the published tables in one look: all of it is of the same state."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, or_, select

from nightreel.core import columns
from nightreel.core.settings import Settings
from nightreel.operations.jobs import NIGHT, RETRAIN, latest_jobs
from scoring.database.connection import reading
from scoring.database.schema import require_current
from scoring.database.show import descriptions, read
from scoring.database.tables import (
    FAILED,
    PUBLISHED,
    STORED,
    published_run,
    recommendation,
    recommendation_run,
)

ROWS_MAX = 200
RUNS_MAX = 50
PLAYS_MAX = 30
_NEARBY = 8
_JOBS_MAX = 20
_HAVE_LISTS = (PUBLISHED, STORED)


@dataclass(frozen=True)
class Question:
    """What was asked for: a user, a run (None: the one that apps read), and a run to compare it with."""

    user: int | None = None
    run: int | None = None
    other: int | None = None


@dataclass
class Look:
    """The page's contents; `remark` says what of the question there is not."""

    question: Question
    runs: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    run: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    plays: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    remark: str = ""

    @property
    def kept(self) -> int:
        """Videos that both lists have."""
        return sum(change["before"] is not None and change["now"] is not None for change in self.changes)


def look(settings: Settings, question: Question) -> Look:
    """Read everything that the question asks for.

    Raises InputError where there is no database yet or it is of another version, NightreelError where it
    cannot be read.
    """
    with reading(settings) as connection:
        require_current(connection)
        shown = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        found = Look(question, _runs(connection, shown), _jobs(connection))
        wanted = shown if question.run is None else question.run
        found.run = _with_lists(found.runs, wanted)
        found.other = None if question.other is None else _with_lists(found.runs, question.other)
        lists: dict[str, list[dict[str, Any]]] = {"now": [], "before": []}
        if found.run is not None:
            found.users = _users_from(connection, found.run, question.user or 0)
            if question.user is not None:
                lists["now"] = _list(connection, found.run, question.user)
                if found.other is not None:
                    lists["before"] = _list(connection, found.other, question.user)
    found.remark = _remark(found, lists["now"])
    found.rows = lists["now"]
    if found.other is not None and found.rows:
        found.changes = _changes(lists["before"], lists["now"])
    if found.run is not None and question.user is not None:
        found.plays = _last_plays(settings, question.user, found.run["as_of"])
    _describe(settings, found)
    return found


def _remark(found: Look, rows: list[dict[str, Any]]) -> str:
    asked = found.question
    if not found.runs:
        return "Nothing is published yet. Run `nightreel run` first."
    if found.run is None and asked.run is None:
        return "No run is published yet; choose one that is stored, or run `nightreel run`."
    if found.run is None:
        return "There is no such run with lists: it failed, was pruned, or never was."
    if asked.other is not None and found.other is None:
        return f"There is no run {asked.other} with lists to compare with."
    if asked.user is not None and not rows:
        return f"User {asked.user} has no list in run {found.run[columns.RUN_ID]}."
    return ""


def _runs(connection: Connection, shown: int | None) -> list[dict[str, Any]]:
    key = recommendation_run.c[columns.RUN_ID]
    newest = (connection.execute(select(func.max(key))).scalar() or 0) - RUNS_MAX
    # Runs with lists are few (keep_runs, keep_replays), and needed however many have failed since.
    has_lists = recommendation_run.c.status.in_(_HAVE_LISTS)
    wanted = select(recommendation_run).where(or_(key > newest, has_lists))
    runs = [dict(run) for run in connection.execute(wanted.order_by(key.desc())).mappings()]
    for run in runs:
        run["shown"] = run[columns.RUN_ID] == shown
        run["has_lists"] = run["status"] in _HAVE_LISTS
        run["seconds"] = json.loads(run["stages"] or "{}")
        run["audit"] = {PUBLISHED: "passed", STORED: "passed", FAILED: "not passed"}.get(run["status"], "")
    return runs


def _jobs(connection: Connection) -> list[dict[str, Any]]:
    jobs = [row._asdict() for name in (NIGHT, RETRAIN) for row in latest_jobs(connection, name, _JOBS_MAX)]
    for job in jobs:
        stages = json.loads(job["stages"] or "{}")
        job["seconds"] = {name: facts.get("seconds") for name, facts in stages.items()}
    return sorted(jobs, key=lambda job: job["due_at"], reverse=True)[:_JOBS_MAX]


def _with_lists(runs: list[dict[str, Any]], run_id: int | None) -> dict[str, Any] | None:
    having = (run for run in runs if run["status"] in _HAVE_LISTS and run[columns.RUN_ID] == run_id)
    return next(having, None)


def _users_from(connection: Connection, run: dict[str, Any], first: int) -> list[int]:
    """A few users with a list, from this number on."""
    of_run = (recommendation.c[columns.RUN_ID] == run[columns.RUN_ID]) & (recommendation.c.rank == 1)
    user = recommendation.c[columns.USER_ID]
    query = select(user).where(of_run, user >= first).order_by(user).limit(_NEARBY)
    return list(connection.execute(query).scalars())


def _list(connection: Connection, run: dict[str, Any], user: int) -> list[dict[str, Any]]:
    query = (
        select(recommendation)
        .where(
            recommendation.c[columns.RUN_ID] == run[columns.RUN_ID],
            recommendation.c[columns.USER_ID] == user,
        )
        .order_by(recommendation.c.rank)
        .limit(ROWS_MAX)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _changes(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each video of either list with its rank in both, in the order of `now`, then those that left."""
    ranks = {row[columns.VIDEO_ID]: row[columns.RANK] for row in before}
    stayed = [
        {
            columns.VIDEO_ID: row[columns.VIDEO_ID],
            "now": row[columns.RANK],
            "before": ranks.pop(row[columns.VIDEO_ID], None),
        }
        for row in now
    ]
    return [
        *stayed,
        *({columns.VIDEO_ID: video, "now": None, "before": rank} for video, rank in ranks.items()),
    ]


def _last_plays(settings: Settings, user: int, as_of: datetime) -> list[dict[str, Any]]:
    """The user's last plays that the run could know of, newest first; none where there are no tables."""
    interactions = settings.paths.table("interactions")
    if not interactions.is_file():
        return []
    known = (pl.col(columns.USER_ID) == user) & (pl.col(columns.EVENT_TIMESTAMP) < as_of)
    plays = pl.scan_parquet(interactions).filter(known)
    newest = plays.sort(columns.EVENT_TIMESTAMP, descending=True).head(PLAYS_MAX)
    return read(newest, interactions).to_dicts()


def _describe(settings: Settings, found: Look) -> None:
    """Put caption and categories beside every video."""
    shown = [*found.rows, *found.plays, *found.changes]
    videos = sorted({row[columns.VIDEO_ID] for row in shown})
    described = descriptions(settings.paths.table("video_captions"), videos)
    for row in shown:
        names = described.get(row[columns.VIDEO_ID], {})
        row["caption"] = names.get(columns.CAPTION) or ""
        row["category"] = " / ".join(names[name] for name in columns.CATEGORY_NAMES if names.get(name))
