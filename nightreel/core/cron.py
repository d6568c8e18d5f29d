"""Cron expressions with cron's meaning, on APScheduler's triggers.

If both the day of the month and the weekday are restricted, cron is due on either of them; APScheduler
requires both. As in cron, a field that begins with `*` counts as unrestricted here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger

_DAY, _WEEKDAY = 2, 4
# Every expression that is ever due is due after this, 29 February included.
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def cron_triggers(cron: str) -> tuple[CronTrigger, ...]:
    """The triggers of an expression, on a wall clock treated as UTC: it is due when any of them is.

    Raises:
        ValueError: the expression is invalid; the message says why.
    """
    if not cron.isascii():
        raise ValueError("write digits and names in ASCII")
    fields = cron.split()
    if any(character.isdigit() for character in "".join(fields[-1:])):
        # APScheduler counts weekdays from Monday, cron itself from Sunday.
        raise ValueError("write weekdays as names: mon, tue, wed, thu, fri, sat, sun")
    both = CronTrigger.from_crontab(cron, timezone=UTC)
    if fields[_DAY].startswith("*") or fields[_WEEKDAY].startswith("*"):
        return (both,)
    any_weekday = " ".join([*fields[:_WEEKDAY], "*"])
    any_day = " ".join([*fields[:_DAY], "*", *fields[_DAY + 1 :]])
    return tuple(CronTrigger.from_crontab(each, timezone=UTC) for each in (any_weekday, any_day))


def require_coming(cron: str) -> None:
    """Raise ValueError, with the reason, for an expression that is invalid or never due."""
    if next_fire(cron_triggers(cron), _EPOCH) is None:
        raise ValueError(f"{cron!r}: never occurs: no month that it names has such a day")


def next_fire(triggers: Sequence[CronTrigger], wall: datetime) -> datetime | None:
    """The first time, not before `wall`, at which any of the triggers is due; None if there is none."""
    fires = [trigger.get_next_fire_time(None, wall) for trigger in triggers]
    return min((time for time in fires if time is not None), default=None)
