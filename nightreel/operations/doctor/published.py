"""Inspections of the published lists: the database, its newest run, and the outcomes of the lists."""

from datetime import datetime
from typing import TYPE_CHECKING

from nightreel.core.settings.needs import DatabaseNeeds, ScheduleNeeds
from nightreel.operations.doctor.finding import Finding

if TYPE_CHECKING:
    from nightreel.operations.status import Status


def database(settings: DatabaseNeeds) -> Finding:
    """Whether the lists' database can be read and has this nightreel's schema."""
    from scoring.database.connection import reading
    from scoring.database.schema import SCHEMA_VERSION, recorded_version, require_not_newer
    from scoring.database.url import database_exists, database_url, masked

    where = masked(database_url(settings))
    if not database_exists(settings):
        return Finding("database", "warning", f"{where}: not there yet.", "`nightreel run` makes it.")
    with reading(settings) as connection:
        version = recorded_version(connection)
    require_not_newer(version)
    if version is None:
        return Finding(
            "database", "warning", f"{where}: no tables of nightreel yet.", "`nightreel run` makes them."
        )
    if version < SCHEMA_VERSION:
        return Finding(
            "database",
            "wrong",
            f"{where}: schema version {version}, this nightreel's is {SCHEMA_VERSION}.",
            "Run `nightreel db upgrade`; no data is lost.",
        )
    return Finding("database", "ok", f"{where}, schema version {version}")


def freshness(settings: ScheduleNeeds, now: datetime) -> Finding:
    """Whether apps read last night's lists, and no run or job is dated after now."""
    from nightreel.operations.status import status

    said = status(settings, now)
    finding = _freshness(said)
    later = said.facts.get("after_now", [])
    if not later:
        return finding
    clock = (
        f"See that the clock is right: {now:%Y-%m-%d %H:%M} UTC. What a wrong one recorded settles no night."
    )
    return Finding(
        finding.inspection,
        "warning" if finding.state == "ok" else finding.state,
        f"{finding.found}; {'; '.join(later)}",
        f"{finding.remedy} {clock}".strip(),
    )


def _freshness(said: "Status") -> Finding:
    from nightreel.operations.status import DUE, FRESH, REPLAY, STALE_DATA

    shown = said.facts["shown"]
    if shown is None:
        return Finding("freshness", "wrong", "nothing is published yet.", "Run `nightreel run`.")
    found = f"{said.state}: run {shown['run_id']}, published {shown['published_at']:%Y-%m-%d %H:%M} UTC"
    if said.state == FRESH:
        return Finding("freshness", "ok", found)
    if said.state == DUE:
        return Finding("freshness", "ok", f"{found}; tonight's is due and has time")
    if said.state == REPLAY:
        return Finding(
            "freshness",
            "wrong",
            f"{found}, a replay as of {shown['as_of']:%Y-%m-%d %H:%M} UTC",
            "`nightreel rollback RUN_ID` shows another run at once; the next night shows its own list.",
        )
    if said.state == STALE_DATA:
        return Finding(
            "freshness",
            "wrong",
            f"{found}; its newest play is of {shown['newest_play_at']:%Y-%m-%d %H:%M} UTC",
            "See why no newer plays arrive; if none are to come, set [schedule] max_data_age_hours = 0.",
        )
    night = said.facts["night"]
    if night is not None and night["status"] == "done" and night["run_id"] not in (None, shown["run_id"]):
        return Finding(
            "freshness",
            "wrong",
            f"{found}; the last night made run {night['run_id']}, which is not shown",
            f"`nightreel rollback {night['run_id']}` shows it; the next night shows its own list.",
        )
    return Finding(
        "freshness",
        "wrong",
        found,
        "See why with `nightreel status` and `nightreel runs`; `nightreel schedule --once` makes it now.",
    )


def outcomes(settings: DatabaseNeeds) -> Finding:
    """Whether the outcomes of the last nights' lists are within the band of earlier nights."""
    from scoring.database.connection import reading
    from scoring.database.schema import SCHEMA_VERSION, recorded_version
    from scoring.database.url import database_exists
    from scoring.outcomes.scorecard import newest_judged

    night = None
    if database_exists(settings):
        with reading(settings) as connection:
            if recorded_version(connection) == SCHEMA_VERSION:
                night = newest_judged(connection)
    if night is None:
        return Finding("outcomes", "ok", "no night's outcome is known yet")
    run = f"run {night.run_id}"
    if not night.band:
        return Finding("outcomes", "ok", f"{run}: as the nights before it")
    remedy = "See `nightreel scorecard`; whether all plays arrived; and what changed that night."
    return Finding("outcomes", "warning", f"{run}: {'; '.join(night.band)}", remedy)
