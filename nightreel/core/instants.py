"""Instants as whole microseconds of Unix time, the unit of every stored timestamp."""

from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
# The smallest difference between two stored instants.
MICROSECOND = timedelta(microseconds=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_us(instant: datetime) -> int:
    """The instant in microseconds of Unix time; it must have a time zone."""
    return (instant - _EPOCH) // MICROSECOND
