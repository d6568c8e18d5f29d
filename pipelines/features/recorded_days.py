"""A record, beside the files kept for the next night, of the days that they were made from."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from nightreel.core.checksums import is_usable

_RECORD = "record.json"


def write_record(folder: Path, decisive: str, days: Mapping[date, str]) -> None:
    """Record the content of a folder of kept values.

    Args:
        decisive: a digest of what decides it besides the plays.
        days: the digest of each day's plays.
    """
    record = {"decisive": decisive, "days": {str(day): digest for day, digest in days.items()}}
    (folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")


def recorded_days(folder: Path, decisive: str, files: Iterable[Path]) -> dict[date, str]:
    """The days from which the folder's files were made, with their digests; empty if these are unusable."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["decisive"] != decisive:
            return {}
        days = {date.fromisoformat(day): digest for day, digest in record["days"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return days if all(path.is_file() and is_usable(path) for path in files) else {}


def only_later_days(known: Mapping[date, str], now: Mapping[date, str]) -> bool:
    """Whether the known days are the same now, and all others come after them."""
    if not known or any(now.get(day) != digest for day, digest in known.items()):
        return False
    return all(day > max(known) for day in now.keys() - known.keys())
