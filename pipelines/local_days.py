"""When a local day has ended: the instant from which the values of that day may be used.

Instants are compared with day borders as whole microseconds in UTC, so a play belongs to the day whose
borders enclose it, whatever daylight saving does to the clock on the wall.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from nightreel.core.instants import DAY_US, MICROSECOND, unix_us

INSTANT = pl.Datetime("us", "UTC")
ALWAYS_KNOWN = datetime(1970, 1, 1, tzinfo=UTC)  # the stamp of data without times: user and caption files
_EPOCH = ALWAYS_KNOWN.date()
# Days around a UTC day, as offsets, with one to spare: one of them begins at the first border after any
# instant of the UTC day.
_NEARBY = np.arange(-2, 4)
NEVER = datetime(2200, 1, 1, tzinfo=UTC)  # the stamp of data that no row may see


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the local day begins in `zone`."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the local day is over: the start of the next one."""
    return start_of_day(day + timedelta(days=1), zone)


def day_before(instant: datetime, zone: ZoneInfo) -> date:
    """The local day of the microsecond before an instant: at a border the day that ends there."""
    return (instant - MICROSECOND).astimezone(zone).date()


def ends_of_days(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each instant (INSTANT, no nulls) the end of its local day: the first border after it."""
    return _of_days(instants, zone, INSTANT, lambda ends: ends)


def days_of(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each instant (INSTANT, no nulls) its local day: pl.Date."""
    return _of_days(instants, zone, pl.Date(), lambda ends: _dates(ends - MICROSECOND, zone))


def days_after(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """For each instant (INSTANT, no nulls) the local day that begins with the end of its own: pl.Date."""
    return _of_days(instants, zone, pl.Date(), lambda ends: _dates(ends, zone))


def _of_days(
    instants: pl.Series, zone: ZoneInfo, kind: pl.DataType, made: Callable[[pl.Series], pl.Series]
) -> pl.Series:
    """Values computed from each instant's local day; once per day, as a calendar is slow."""
    if instants.is_empty():
        return instants.cast(kind)
    at_us = instants.cast(INSTANT).to_physical()
    # Only borders near an instant are computed: ALWAYS_KNOWN is 18,000 days before the plays.
    of_utc = (at_us // DAY_US).unique().to_numpy()
    days = np.unique(of_utc[:, np.newaxis] + _NEARBY)
    ends = np.array([unix_us(start_of_day(_EPOCH + timedelta(days=n), zone)) for n in days.tolist()])
    position = np.searchsorted(ends, at_us.to_numpy(), side="right")
    return made(pl.Series(ends).cast(INSTANT)).gather(position).alias(instants.name)


def _dates(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    return instants.dt.convert_time_zone(zone.key).dt.date()


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
