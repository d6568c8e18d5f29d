"""When the plays of a local day arrived, and what its file was before some of them did."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.checksums import DAY_PREFIX
from pipelines.local_days import ALWAYS_KNOWN, INSTANT

_CREATED = columns.CREATED_TIMESTAMP


def arrivals_in(path: Path) -> dict[datetime, int]:
    """The number of a day's plays by the instant of their arrival.

    If all arrived at once, only the file's footer is read.
    """
    metadata = pq.read_metadata(path)
    names = metadata.schema.names
    if _CREATED not in names or not metadata.num_rows:
        return {ALWAYS_KNOWN: metadata.num_rows}
    at = names.index(_CREATED)
    of_groups = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
    if all(one is not None and one.has_min_max for one in of_groups):
        bounds = {one.min for one in of_groups} | {one.max for one in of_groups}
        if len(bounds) == 1:
            return {bounds.pop(): metadata.num_rows}
    counts = pl.read_parquet(path, columns=[_CREATED])[_CREATED].value_counts()
    return dict(counts.iter_rows())


def digest_until(path: Path, instant: datetime) -> str:
    """The digest of a day's file without the plays that arrived after an instant.

    Ingest has noted what the file's digest was before each delivery; otherwise the file is written once more.
    If another one was recorded at that instant, the day has lost or changed plays since, or an older
    nightreel wrote the file.
    """
    interactions, day = path.parent.parent, path.parent.name.removeprefix(DAY_PREFIX)
    noted = read_earlier_digests(interactions).get(date.fromisoformat(day), {})
    last = max((one for one in arrivals_in(path) if one <= instant), default=None) if noted else None
    if last in noted:
        return noted[last]
    plays = pl.read_parquet(path).filter(pl.col(_CREATED) <= pl.lit(instant, dtype=INSTANT))
    file = BytesIO()
    plays.rechunk().write_parquet(file, statistics=True)
    return hashlib.sha256(file.getbuffer()).hexdigest()


def until_digest(path: Path, digest: str) -> datetime | None:
    """When the last play of a day's file with this digest arrived; None if it never had the digest."""
    earlier = sorted(arrivals_in(path))[:-1]
    return next((instant for instant in reversed(earlier) if digest_until(path, instant) == digest), None)


def earlier_digests_file(interactions: Path) -> Path:
    """Where ingest notes the digests that days' files had before late plays arrived."""
    return interactions.parent / "keys" / interactions.name / "earlier_digests.json"


def read_earlier_digests(interactions: Path) -> dict[date, dict[datetime, str]]:
    """For each day with late plays, the digest of its file by when the last play in it had arrived."""
    try:
        content = json.loads(earlier_digests_file(interactions).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        date.fromisoformat(day): {
            datetime.fromisoformat(instant): digest for instant, digest in noted.items()
        }
        for day, noted in content.items()
    }


def write_earlier_digests(path: Path, noted: Mapping[date, Mapping[datetime, str]]) -> None:
    """Note these digests, as `read_earlier_digests` gives them, in the file that will be the table's."""
    content = {
        day.isoformat(): {instant.isoformat(): digest for instant, digest in of_day.items()}
        for day, of_day in sorted(noted.items())
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
