"""The status as sentences for someone woken by it: what apps read, what is wrong, and what to type next."""

from datetime import datetime, timedelta

from nightreel.core.settings import DataSettings, ScheduleSettings
from nightreel.operations.jobs import JobRun
from nightreel.operations.status import (
    DUE,
    FRESH,
    REPLAY,
    STALE_DATA,
    ShownRun,
    Status,
    StatusFacts,
)
from scoring.database.tables import DONE, FAILED, RUNNING

_ONCE = "nightreel schedule --once"
_LOOK = "nightreel status"


def in_words(found: Status, data: DataSettings, schedule: ScheduleSettings, now: datetime) -> list[str]:
    """Two or three lines: the state, the reason, and `Next:` with a command."""
    facts = found.facts
    shown = facts["shown"]
    if shown is None:
        return _nothing_yet(facts)
    reads = (
        f"Apps read run {shown['run_id']}: {shown['users'] or 0:,} users, with what was known at "
        f"{_instant(shown['as_of'])}, published {_ago(now - shown['published_at'])}."
    )
    problem, command = _problem(found, data, schedule, now, shown)
    lines = [f"{problem} {reads}".strip()]
    for remarks, words, look in (
        (facts.get("out_of_band"), "The outcome of the last lists is unusual", "nightreel scorecard"),
        (facts.get("after_now"), "A clock was wrong", "nightreel doctor"),
    ):
        if remarks:
            lines.append(f"{words}: {'; '.join(remarks)}.")
            command = command or look
    if command:
        return [*lines, f"Next: {command}"]
    coming = facts["next_due"]
    until = (
        "" if coming is None else f" The next night is due at {_instant(coming)} (in {_span(coming - now)})."
    )
    return [*lines, f"Next: nothing to do.{until}"]


def _nothing_yet(facts: StatusFacts) -> list[str]:
    night = facts["night"]
    if night is not None and night["status"] == RUNNING:
        return ["Apps have no list yet; the first is being made.", f"Next: wait, then {_LOOK}"]
    if night is not None and night["status"] == FAILED:
        return [
            f"Apps have no list yet: the night failed. {_sentence(night['error'])}",
            f"Next: mend that, then {_ONCE}",
        ]
    return ["Apps have no list yet: nothing was ever published.", "Next: nightreel run"]


def _problem(
    found: Status, data: DataSettings, schedule: ScheduleSettings, now: datetime, shown: ShownRun
) -> tuple[str, str]:
    """What is wrong, and what to type; both empty where nothing is."""
    night = found.facts["night"]
    if found.state == FRESH:
        return "All is well.", ""
    if found.state == DUE:
        doing = "is being made" if night is not None and night["status"] == RUNNING else "is due"
        last = found.facts["last_due"]
        assert last is not None, "a night that is due was due at an instant"
        until = _instant(last + timedelta(minutes=schedule.job_limit_minutes))
        problem = f"All is well so far: tonight's list {doing}, and has time until {until}."
        return problem, f"wait, then {_LOOK}"
    if found.state == REPLAY:
        return "Apps read a replay that was published on purpose, not last night's list.", _ONCE
    if found.state == STALE_DATA:
        newest = shown["newest_play_at"]
        age = "" if newest is None else f" its newest play is {_span(now - newest)} old;"
        return (
            f"The list is made, but of old data:{age} [schedule] max_data_age_hours allows "
            f"{schedule.max_data_age_hours:g} h."
        ), f"see why no newer plays are in {data.raw_dir / 'incoming'}, then {_ONCE}"
    return _why_stale(found.facts, night, shown)


def _why_stale(facts: StatusFacts, night: JobRun | None, shown: ShownRun) -> tuple[str, str]:
    old = "Apps read an old list."
    scheduler = facts["scheduler"]
    lives = scheduler is not None and scheduler["alive"]
    last = facts["last_due"]
    is_of_last = night is not None and last is not None and night["due_at"] >= last
    if night is not None and night["status"] == DONE and night["run_id"] not in (None, shown["run_id"]):
        made = night["run_id"]
        return f"{old} The last night made run {made}, and someone went back.", f"nightreel rollback {made}"
    if night is not None and is_of_last and night["status"] == RUNNING and lives:
        tries = f", try {night['attempts']}" if night["attempts"] > 1 else ""
        return f"{old} The night is late but still running{tries}.", f"wait, then {_LOOK}"
    if night is not None and is_of_last and night["status"] == FAILED:
        return f"{old} Last night failed: {_sentence(night['error'])}", f"mend that, then {_ONCE}"
    if not lives:
        return (
            f"{old} The scheduler is not running, so no list was made.",
            f"start it (nightreel schedule), or make the list now: {_ONCE}",
        )
    return f"{old} No night was made when it was due.", _ONCE


def _sentence(text: str | None) -> str:
    said = " ".join((text or "no reason was kept").split())
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _instant(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _ago(passed: timedelta) -> str:
    return "in the future" if passed < timedelta(minutes=-1) else f"{_span(passed)} ago"


def _span(passed: timedelta) -> str:
    """A rough duration, in its largest useful unit."""
    minutes = max(0, int(passed.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
