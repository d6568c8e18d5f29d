"""When raw files changed after their first load, since a replay cannot leave out what they then brought.

Rows of a raw file count as known from the start, whenever they were written there; only deliveries carry the
instant of their arrival. So if raw files have changed since a night, its replay may read more than the night
knew, and says so, unless only later plays have changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.settings import Paths

_FILE = "raw_changes.json"
_KEPT = 400


@dataclass(frozen=True)
class Change:
    """A raw file was found changed at an instant.

    Attributes:
        earliest: when the first differing play happened; None for a file without plays or where unknown.
    """

    at: datetime
    earliest: datetime | None

    def matters(self, known_at: datetime, as_of: datetime) -> bool:
        """Whether a replay of this instant may read more than was known then."""
        return self.at > known_at and (self.earliest is None or self.earliest < as_of)


def note_changes(paths: Paths, digests: Mapping[str, str], earliest: Mapping[str, datetime]) -> None:
    """Compare raw files with the last record, and record which have changed by now.

    Without a record yet, nothing counts as changed.

    Args:
        digests: by name, of the files that exist.
        earliest: by name of a file of plays, when its first differing play happened.
    """
    now = datetime.now(UTC)
    before = _read(paths)
    found: dict[str, Any] = {}
    for name in sorted({*digests, *(before or {})}):
        digest, changes = (before or {}).get(name, (None, []))
        if before is not None and digest != digests.get(name):
            changes = [*changes, Change(now, earliest.get(name))]
        written = [
            (one.at.isoformat(), one.earliest.isoformat() if one.earliest else None)
            for one in _shortened(changes)
        ]
        found[name] = {"digest": digests.get(name), "changes": written}
    with atomic_write(paths.state / _FILE) as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")


def changed_since(paths: Paths, known_at: datetime, as_of: datetime) -> list[tuple[str, datetime]]:
    """The raw files whose changes after `known_at` may alter the lists as of an instant.

    Each comes with the last instant at which such a change was found.
    """
    found = []
    for name, (_, changes) in sorted((_read(paths) or {}).items()):
        matter = [change.at for change in changes if change.matters(known_at, as_of)]
        if matter:
            found.append((name, max(matter)))
    return found


def has_changed(paths: Paths, name: str, digest: str) -> bool:
    """Whether a raw file is known to have had other content before."""
    known, _ = (_read(paths) or {}).get(name, (None, []))
    return known not in (None, digest)


def first_difference(name: str, before: pl.DataFrame | None, plays: pl.DataFrame) -> dict[str, datetime]:
    """When the first play that is in only one of two tables happened, by the file's name.

    Args:
        before: the older table, in order of time; None if it is gone, which gives an empty result.
        plays: the newer table, in order of time.
    """
    if before is None or before.columns != plays.columns:
        return {}
    common = min(before.height, plays.height)
    differs = np.zeros(common, dtype=bool)
    for column in plays.columns:
        differs |= before[column].head(common).ne_missing(plays[column].head(common)).to_numpy()
    position = int(differs.argmax()) if differs.any() else common
    instants = [
        table[columns.EVENT_TIMESTAMP][position] for table in (before, plays) if position < table.height
    ]
    return {name: min(instants)} if instants else {}


def _shortened(changes: list[Change]) -> list[Change]:
    """The last changes; earlier ones are merged into one that matters whenever any of them would."""
    old, kept = changes[:-_KEPT], changes[-_KEPT:]
    if not old:
        return kept
    earliest = [change.earliest for change in old]
    known = [instant for instant in earliest if instant is not None]
    return [Change(old[-1].at, min(known) if len(known) == len(earliest) else None), *kept]


def _change(at: str, earliest: str | None) -> Change:
    return Change(datetime.fromisoformat(at), datetime.fromisoformat(earliest) if earliest else None)


def _read(paths: Paths) -> dict[str, tuple[str | None, list[Change]]] | None:
    """The digest and the changes of each raw file by its name; None where there is no record."""
    try:
        found = json.loads((paths.state / _FILE).read_text(encoding="utf-8"))
        return {
            name: (one["digest"], [_change(*change) for change in one["changes"]])
            for name, one in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
