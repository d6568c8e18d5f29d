"""Whether last night's list is there, for people, monitors and the heartbeat file."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NotRequired, TypedDict

from sqlalchemy import Row

from nightreel.core.clock import is_future
from nightreel.core.instants import MICROSECOND
from nightreel.core.settings.needs import ScheduleNeeds
from nightreel.operations.after_now import records_after
from nightreel.operations.due import last_due, next_due
from nightreel.operations.heartbeat import Heartbeat, read_heartbeat
from nightreel.operations.jobs import NIGHT, RETRAIN, JobRun, latest_jobs
from pipelines.known import deliveries_after
from scoring.database.connection import reading
from scoring.database.kept_runs import shown_run
from scoring.database.schema import recorded_version, require_current
from scoring.database.tables import DONE, FAILED
from scoring.database.url import database_exists
from scoring.outcomes.scorecard import alarms

FRESH = "fresh"  # the list of the last night that was due is there
DUE = "due"  # tonight's is not there yet, and has still time; the one before is there
STALE = "stale"  # a night that was due has left no list, or another list than its own is shown
STALE_DATA = "stale data"  # the list is there, but its newest play is older than max_data_age_hours
REPLAY = "replay"  # apps read a replay that was published on purpose, not the last night's list
NOT_FRESH = (STALE, STALE_DATA, REPLAY)


class ShownRun(TypedDict):
    """The run that apps read."""

    run_id: int
    replay: bool
    as_of: datetime
    newest_play_at: datetime | None
    model_version: str
    published_at: datetime
    users: int | None
    rows: int | None


class StatusFacts(TypedDict):
    """What `nightreel status --json` prints; its keys are public.

    Attributes:
        retrain: only where training is scheduled.
        after_now: records dated after now, if there are any.
        out_of_band: unusual outcomes of the last lists, if there are any.
    """

    state: str
    last_due: datetime | None
    next_due: datetime | None
    shown: ShownRun | None
    night: JobRun | None
    retrain: NotRequired[JobRun | None]
    scheduler: Heartbeat | None
    after_now: NotRequired[list[str]]
    out_of_band: NotRequired[list[str]]


@dataclass(frozen=True)
class Status:
    """One of the states above, and the facts that it follows from."""

    state: str
    facts: StatusFacts


def status(settings: ScheduleNeeds, now: datetime) -> Status:
    """Whether apps read the lists that they should, as of `now`.

    Raises:
        InputError: the database has another schema version.
        NightreelError: the database cannot be read.
    """
    shown: ShownRun | None = None
    nights: list[JobRun] = []
    retrainings: list[JobRun] = []
    future: list[str] = []
    out_of_band: list[str] = []
    if database_exists(settings):
        with reading(settings) as connection:
            if recorded_version(connection) is not None:
                require_current(connection)
                run = shown_run(connection)
                shown = None if run is None else _shown(run)
                nights = latest_jobs(connection, NIGHT, 20, by=now)
                retrainings = latest_jobs(connection, RETRAIN, 1, by=now)
                future = records_after(connection, now)
                out_of_band = alarms(connection)
    zone = settings.zone_of_schedule
    last = last_due(settings.schedule.cron, zone, now)
    facts: StatusFacts = {
        "state": _state(settings, now, last, shown, nights),
        "last_due": last,
        "next_due": next_due(settings.schedule.cron, zone, now),
        "shown": shown,
        "night": nights[0] if nights else None,
        "scheduler": (heartbeat := read_heartbeat(settings.paths, now)),
    }
    if settings.schedule.retrain is not None:
        facts["retrain"] = retrainings[0] if retrainings else None
    if heartbeat is not None and is_future(datetime.fromisoformat(heartbeat["at"]), now):
        future.append(f"the scheduler's heartbeat says {heartbeat['at']}, after now")
    future += deliveries_after(settings.data, now)
    if future:
        facts["after_now"] = future
    if out_of_band:
        facts["out_of_band"] = out_of_band
    return Status(facts["state"], facts)


def _state(
    settings: ScheduleNeeds,
    now: datetime,
    last: datetime | None,
    shown: ShownRun | None,
    nights: list[JobRun],
) -> str:
    if shown is None:
        return STALE
    if shown["replay"]:
        return REPLAY
    state = _state_of_list(settings, now, last, shown, nights)
    if state == STALE:
        return state
    newest, hours = shown["newest_play_at"], settings.schedule.max_data_age_hours
    if newest is None or hours is None:
        return state
    # A play that is still to come says nothing of how old the data is.
    is_old = is_future(newest, now) or now - newest > timedelta(hours=hours)
    return STALE_DATA if is_old else state


def _state_of_list(
    settings: ScheduleNeeds,
    now: datetime,
    last: datetime | None,
    shown: ShownRun,
    nights: list[JobRun],
) -> str:
    if last is None:
        return FRESH
    is_past = not (is_future(shown["published_at"], now) or is_future(shown["as_of"], now))

    def is_there(due: datetime) -> bool:
        made_it = any(_is_shown(night, shown) for night in _done_since(nights, due))
        return made_it or (is_past and shown["published_at"] >= due)

    if is_there(last):
        return FRESH
    if _done_since(nights, last):
        # Its list was made, and someone went back to an older one: nothing is waited for.
        return STALE
    failed = any(night["due_at"] == last and night["status"] == FAILED for night in nights)
    before = last_due(settings.schedule.cron, settings.zone_of_schedule, last - MICROSECOND)
    has_time = now < last + timedelta(minutes=settings.schedule.job_limit_minutes)
    return DUE if has_time and not failed and (before is None or is_there(before)) else STALE


def _done_since(nights: list[JobRun], due: datetime) -> list[JobRun]:
    return [night for night in nights if night["status"] == DONE and night["started_at"] >= due]


def _is_shown(night: JobRun, shown: ShownRun) -> bool:
    """Whether apps read the list that a night made or found unchanged."""
    return night["run_id"] in (None, shown["run_id"])


def _shown(run: Row[Any]) -> ShownRun:
    return {
        "run_id": run.run_id,
        "replay": run.replay,
        "as_of": run.as_of,
        "newest_play_at": run.newest_play_at,
        "model_version": run.model_version,
        "published_at": run.published_at,
        "users": run.users,
        "rows": run.rows,
    }
