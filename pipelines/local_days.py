"""When a local day has ended: the instant from which the values of that day may be used.

Instants are compared with day borders as whole microseconds in UTC, so a play belongs to the day whose
borders enclose it, whatever daylight saving does to the clock on the wall.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from nightreel.core.instants import MICROSECOND

INSTANT = pl.Datetime("us", "UTC")
ALWAYS_KNOWN = datetime(1970, 1, 1, tzinfo=UTC)  # the stamp of what has no time: user and caption files
NEVER = datetime(2200, 1, 1, tzinfo=UTC)  # the stamp of what no row is to see

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the local day begins in `zone`."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the local day is over: the start of the next one."""
    return start_of_day(day + timedelta(days=1), zone)


def ends_of_days(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each instant (INSTANT, no nulls) the end of its local day: the first border after it."""
    if instants.is_empty():
        return instants.cast(INSTANT)
    ends, position = _ends(instants, zone)
    return ends.gather(position).alias(instants.name)


def days_of(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each instant (INSTANT, no nulls) its local day: pl.Date."""
    if instants.is_empty():
        return instants.cast(pl.Date)
    ends, position = _ends(instants, zone)
    # Of each day once: a calendar is slow.
    days = (ends - MICROSECOND).dt.convert_time_zone(zone.key).dt.date()
    return days.gather(position).alias(instants.name)


def days_after(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each instant (INSTANT, no nulls) the local day that begins with the end of its own: pl.Date."""
    if instants.is_empty():
        return instants.cast(pl.Date)
    ends, position = _ends(instants, zone)
    return ends.dt.convert_time_zone(zone.key).dt.date().gather(position).alias(instants.name)


def _ends(instants: pl.Series, zone: ZoneInfo) -> tuple[pl.Series, np.ndarray]:
    """Ends of days, ascending, and the position among them of each instant's."""
    first, last = instants.min(), instants.max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    # One day more on each side, for clocks that go back across midnight.
    start = first.astimezone(zone).date() - timedelta(days=1)
    days = (last.astimezone(zone).date() - start).days + 3
    borders = np.array(
        [(start_of_day(start + timedelta(days=n), zone) - _EPOCH) // MICROSECOND for n in range(days)],
        dtype=np.int64,
    )
    position = np.searchsorted(borders, instants.cast(INSTANT).to_physical().to_numpy(), side="right")
    return pl.Series(borders).cast(INSTANT), position


def ends_of_dates(dates: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each local date (pl.Date) the instant at which it has ended; null stays null."""
    return _by_date(dates, lambda day: end_of_day(day, zone))


def starts_of_dates(dates: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each local date (pl.Date) the instant at which it begins; null stays null."""
    return _by_date(dates, lambda day: start_of_day(day, zone))


def _by_date(dates: pl.Series, instant_of: Callable[[date], datetime]) -> pl.Series:
    distinct = dates.unique().drop_nulls().sort()
    instants = pl.Series([instant_of(day) for day in distinct], dtype=INSTANT)
    return dates.replace_strict(distinct, instants, default=None, return_dtype=INSTANT)
