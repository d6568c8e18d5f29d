"""Whether last night's list is there, for people, monitors and the heartbeat file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.clock import SKEW, is_future
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import ScheduleNeeds
from nightreel.operations.after_now import records_after
from nightreel.operations.due import last_due, next_due
from nightreel.operations.jobs import NIGHT, RETRAIN, latest_jobs
from pipelines.known import deliveries_after
from scoring.database.connection import database_exists, reading
from scoring.database.kept_runs import shown_run
from scoring.database.schema import recorded_version, require_current
from scoring.database.tables import DONE, FAILED
from scoring.outcomes.scorecard import alarms

FRESH = "fresh"  # the list of the last night that was due is there
DUE = "due"  # tonight's is not there yet, and has still time; the one before is there
STALE = "stale"  # a night that was due has left no list, or another list than its own is shown
STALE_DATA = "stale data"  # the list is there, but its newest play is older than max_data_age_hours
REPLAY = "replay"  # apps read a replay that was published on purpose, not the last night's list
NOT_FRESH = (STALE, STALE_DATA, REPLAY)
HEARTBEAT_S = 15
_JOB_SHOWN = ("due_at", "status", columns.RUN_ID, "attempts", "started_at", "ended_at", "remarks", "error")
_RUN_SHOWN = (
    columns.RUN_ID,
    "replay",
    "as_of",
    "newest_play_at",
    "model_version",
    "published_at",
    "users",
    "rows",
)


@dataclass(frozen=True)
class Status:
    """One of the states above, and the JSON-able facts (except for instants) that it follows from."""

    state: str
    facts: Mapping[str, Any]


def status(settings: ScheduleNeeds, now: datetime) -> Status:
    """Whether apps read the lists that they should, as of `now`.

    Raises:
        InputError: the database has another schema version.
        NightreelError: the database cannot be read.
    """
    shown: Mapping[str, Any] | None = None
    jobs: dict[str, list[Mapping[str, Any]]] = {NIGHT: [], RETRAIN: []}
    future: list[str] = []
    out_of_band: list[str] = []
    if database_exists(settings):
        with reading(settings) as connection:
            if recorded_version(connection) is not None:
                require_current(connection)
                run = shown_run(connection)
                shown = None if run is None else run._asdict()
                jobs = {
                    name: [row._asdict() for row in latest_jobs(connection, name, 20, by=now)]
                    for name in jobs
                }
                future = records_after(connection, now)
                out_of_band = alarms(connection)
    zone = settings.zone_of_schedule
    last = last_due(settings.schedule.cron, zone, now)
    facts: dict[str, Any] = {
        "state": _state(settings, now, last, shown, jobs[NIGHT]),
        "last_due": last,
        "next_due": next_due(settings.schedule.cron, zone, now),
        "shown": None if shown is None else {name: shown[name] for name in _RUN_SHOWN},
        NIGHT: _shown_job(jobs[NIGHT]),
    }
    if settings.schedule.retrain is not None:
        facts[RETRAIN] = _shown_job(jobs[RETRAIN])
    facts["scheduler"] = beat_said = read_heartbeat(settings.paths, now)
    if beat_said is not None and is_future(datetime.fromisoformat(beat_said["at"]), now):
        future.append(f"the scheduler's heartbeat says {beat_said['at']}, after now")
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
    shown: Mapping[str, Any] | None,
    nights: list[Mapping[str, Any]],
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
    shown: Mapping[str, Any],
    nights: list[Mapping[str, Any]],
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
    before = last_due(settings.schedule.cron, settings.zone_of_schedule, last - timedelta(microseconds=1))
    has_time = now < last + timedelta(minutes=settings.schedule.job_limit_minutes)
    return DUE if has_time and not failed and (before is None or is_there(before)) else STALE


def _done_since(nights: list[Mapping[str, Any]], due: datetime) -> list[Mapping[str, Any]]:
    return [night for night in nights if night["status"] == DONE and night["started_at"] >= due]


def _is_shown(night: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    """Whether apps read the list that a night made or found unchanged."""
    return night[columns.RUN_ID] in (None, shown[columns.RUN_ID])


def _shown_job(jobs: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not jobs:
        return None
    stages = json.loads(jobs[0]["stages"] or "{}")
    seconds = {name: facts.get("seconds") for name, facts in stages.items()}
    return {name: jobs[0][name] for name in _JOB_SHOWN} | {"seconds": seconds}


def heartbeat_file(paths: Paths) -> Path:
    """The file in which the scheduler says that it is alive."""
    return paths.state / "heartbeat.json"


def beat(paths: Paths, facts: Mapping[str, Any]) -> None:
    """Write the heartbeat file atomically."""
    with atomic_write(heartbeat_file(paths)) as temporary:
        text = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **facts}, default=str)
        temporary.write_text(text, encoding="utf-8")


def read_heartbeat(paths: Paths, now: datetime) -> dict[str, Any] | None:
    """The scheduler's last heartbeat, and whether it is recent enough for the scheduler to be alive."""
    try:
        said: dict[str, Any] = json.loads(heartbeat_file(paths).read_text(encoding="utf-8"))
        age = now - datetime.fromisoformat(said["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # What is said of after now is of a clock that was wrong.
    return said | {"alive": -SKEW <= age < timedelta(seconds=4 * HEARTBEAT_S)}
