"""Instants after now: a clock that was wrong has written them, and they count for nothing."""

from datetime import datetime, timedelta

from nightreel.errors import InputError

# By how much the clocks of two machines on one database may differ.
SKEW = timedelta(minutes=5)


def is_future(instant: datetime | None, now: datetime) -> bool:
    """Whether the instant is later than any clock that is right could have said by now."""
    return instant is not None and instant > now + SKEW


def require_not_future(what: str, instant: datetime, now: datetime) -> None:
    """Raise InputError where an instant that a user gave (`what`: by which option) is after now."""
    if instant > now:
        raise InputError(
            f"{what} {instant.isoformat()}: in the future; this machine's clock says "
            f"{now.isoformat(timespec='seconds')}.",
            "Choose an instant that has passed, or set the clock right.",
        )
