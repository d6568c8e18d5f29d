"""When a job is due: a cron expression on the local wall clock, each time once despite daylight saving.

A wall time that a clock change skips is due at the instant it would have had without the change (02:30, which
does not exist, comes at 03:30); one that occurs twice is due the first time only.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from nightreel.core.cron import cron_triggers, next_fire
from nightreel.core.instants import MICROSECOND

# A clock change moves the wall by less than this.
_SLACK = timedelta(hours=4)
# 29 February may come once in eight years.
_LOOKBACK_DAYS_MAX = 7_000


def latest_due(cron: str, zone: ZoneInfo, now: datetime, within: timedelta) -> datetime | None:
    """The last instant (UTC) at which the job was due, not after `now` and at most `within` ago."""
    found = [due for due in _dues(cron, zone, now - within, now) if now - within <= due <= now]
    return max(found, default=None)


def last_due(cron: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """The last instant (UTC) in the last 18 years at which the job was due; None if there was none."""
    days = 1
    while days <= _LOOKBACK_DAYS_MAX:
        found = latest_due(cron, zone, now, timedelta(days=days))
        if found is not None:
            return found
        days *= 3
    return None


def next_due(cron: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """The first instant (UTC) after `now` at which the job is due; None if it never is again."""
    for due in _dues(cron, zone, now, None):
        if due > now:
            return due
    return None


def _dues(cron: str, zone: ZoneInfo, first: datetime, last: datetime | None) -> Iterator[datetime]:
    # The wall clock runs as if it were UTC: nothing skips or repeats there.
    triggers = cron_triggers(cron)
    wall = _wall(first, zone) - _SLACK
    end = None if last is None else _wall(last, zone) + _SLACK
    while True:
        fires = next_fire(triggers, wall)
        if fires is None or (end is not None and fires > end):
            return
        yield fires.replace(tzinfo=zone, fold=0).astimezone(UTC)
        wall = fires + MICROSECOND


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=UTC, fold=0)
