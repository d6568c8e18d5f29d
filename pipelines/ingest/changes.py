"""When raw files changed after their first load, since a replay cannot leave out what they then brought.

Rows of a raw file count as known from the start, whenever they were written there; only deliveries bear the
instant of their arrival. So what is known of a night whose raw files have since changed is not all that is
read for it, and a replay says so, unless only plays have changed that happened later.
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

    earliest is None for files of other things than plays, or where that is not known.

    Attributes:
        earliest: when the first play happened that differs.
    """

    at: datetime
    earliest: datetime | None

    def matters(self, known_at: datetime, as_of: datetime) -> bool:
        """Whether what a night of this instant reads may be more than what was known then."""
        return self.at > known_at and (self.earliest is None or self.earliest < as_of)


def note_changes(paths: Paths, digests: Mapping[str, str], earliest: Mapping[str, datetime]) -> None:
    """Compare raw files with what they were, and record which have changed by now.

    Nothing has changed where there is no record yet.

    Args:
        digests: of the files that are there, by name.
        earliest: of those of plays, when the first happened that differs.
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
    """The raw files that may have brought, after `known_at`, what lists as of an instant are made of.

    With each file the last instant at which such a change was found.
    """
    found = []
    for name, (_, changes) in sorted((_read(paths) or {}).items()):
        matter = [change.at for change in changes if change.matters(known_at, as_of)]
        if matter:
            found.append((name, max(matter)))
    return found


def has_changed(paths: Paths, name: str, digest: str) -> bool:
    """Whether a raw file is known to have been another before."""
    known, _ = (_read(paths) or {}).get(name, (None, []))
    return known not in (None, digest)


def first_difference(name: str, before: pl.DataFrame | None, plays: pl.DataFrame) -> dict[str, datetime]:
    """When the first play happened that is not in both of two tables in order of time, under the file's name.

    Args:
        before: None where it is not there any more; then nothing is said.
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
    """The last ones; those before them as one that matters whenever one of them would."""
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
