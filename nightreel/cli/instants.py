"""Instants and days as typed; refused at once if they are incomplete or in the future."""

from contextlib import suppress
from datetime import UTC, date, datetime

from nightreel.core.clock import UNIX_PER_SECOND, UNIX_UNITS, require_not_future
from nightreel.core.errors import InputError


def parse_instant(text: str | None, option: str = "--as-of", *, may_come: bool = False) -> datetime | None:
    """The instant that an option's value names; with `may_come`, it may be in the future."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            instant.astimezone(UTC)  # the first and the last day may not exist there
    except (ValueError, OverflowError):
        raise InputError(f"{option} {text}: not an instant.", _written_as(text)) from None
    if instant.tzinfo is None:
        whole = instant.isoformat()
        raise InputError(
            f"{option} {text}: the zone is missing.", f"Write it like {whole}+08:00, or {whole}Z."
        )
    # Checked before any work: otherwise `run` would fail an hour later.
    if not may_come:
        require_not_future(option, instant, datetime.now(UTC))
    return instant


def parse_day(text: str, option: str) -> date:
    """The day that an option's value names."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}: not a day.", "Write it like 2020-08-15.") from None


def _written_as(text: str) -> str:
    """How to write an instant; a Unix time that was given serves as the example."""
    with suppress(ValueError, OverflowError, OSError):
        number = float(text)
        unit = next((unit for unit, least in UNIX_UNITS.items() if number >= least), None)
        if unit is not None:
            instant = datetime.fromtimestamp(number / UNIX_PER_SECOND[unit], UTC)
            return f"These Unix {unit} are written {instant.replace(tzinfo=None).isoformat()}Z."
    return "Write it like 2020-08-15T02:00:00+08:00."
