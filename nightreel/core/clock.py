"""Instants after now: a clock that was wrong has written them, and they count for nothing."""

from datetime import datetime, timedelta

from nightreel.core.errors import InputError

# The clocks of two machines on one database may differ by this much.
SKEW = timedelta(minutes=5)
# A present-day Unix time is at least this large, by its unit; then how many of the unit make a second.
UNIX_UNITS = {"nanoseconds": 1e17, "microseconds": 1e14, "milliseconds": 1e11, "seconds": 1e8}
UNIX_PER_SECOND = {"nanoseconds": 1e9, "microseconds": 1e6, "milliseconds": 1e3, "seconds": 1}


def is_future(instant: datetime | None, now: datetime) -> bool:
    """Whether the instant is after `now`, with a tolerance for clocks that differ."""
    return instant is not None and instant > now + SKEW


def require_not_future(what: str, instant: datetime, now: datetime) -> None:
    """Raise InputError if an instant that a user gave by option `what` is after now."""
    if instant > now:
        raise InputError(
            f"{what} {instant.isoformat()}: in the future; this machine's clock says "
            f"{now.isoformat(timespec='seconds')}.",
            "Choose an instant that has passed, or set the clock right.",
        )
