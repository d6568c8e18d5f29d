"""Late plays: a few that arrive after their fit was made wait for the next one.

Every night brings some plays of earlier days. Making all fits since then again for a handful of them takes as
long as the rest of the features. So each fit sees what had arrived by an instant of its own. What arrives
later waits until it is more than WAITING_SHARE of what the fit saw; then the fit sees all of it. A fit also
sees whatever the fit before it saw.

The instant follows from plays before the cutoff and from when they arrived, in order of arrival. So a home
that starts anew, or that replays an earlier night, has the same fits.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.play_days import digests_of_days, files_by_day
from pipelines.local_days import ALWAYS_KNOWN, INSTANT, start_of_day

WAITING_SHARE = 0.001
_CREATED = columns.CREATED_TIMESTAMP


@dataclass(frozen=True)
class Arrivals:
    """How many plays of each local day arrived when, for the days of a table."""

    files: Mapping[date, Path]
    digests: Mapping[date, str]
    plays: Mapping[date, Mapping[datetime, int]]

    @classmethod
    def of(cls, interactions: Path) -> "Arrivals":
        """Read from the files' footers; a day's column of arrivals only if it has several."""
        files = files_by_day(interactions)
        plays = {day: _arrivals_in(path) for day, path in files.items()}
        return cls(files, digests_of_days(interactions), plays)

    def seen_until(self, cutoffs: Sequence[datetime], zone: ZoneInfo) -> list[datetime]:
        """For each cutoff, ascending, the instant by which the plays that its fit sees had arrived."""
        found: list[datetime] = []
        for cutoff in cutoffs:
            arrived: dict[datetime, int] = {}
            for day, plays in self.plays.items():
                if start_of_day(day, zone) < cutoff:
                    for instant, n in plays.items():
                        arrived[instant] = arrived.get(instant, 0) + n
            found.append(max([_seen_until(arrived), *found[-1:]]))
        return found

    def digests_before(self, cutoff: datetime, seen_until: datetime, zone: ZoneInfo) -> dict[date, str]:
        """A digest of what a fit sees of each day before its cutoff: of the file, if it sees all."""
        found = {}
        for day, path in self.files.items():
            arrived = self.plays[day]
            if start_of_day(day, zone) >= cutoff or min(arrived) > seen_until:
                continue
            found[day] = self.digests[day] if max(arrived) <= seen_until else _digest_until(path, seen_until)
        return found


def _seen_until(arrived: Mapping[datetime, int]) -> datetime:
    until, seen, waiting = ALWAYS_KNOWN, 0, 0
    for instant, plays in sorted(arrived.items()):
        waiting += plays
        if waiting > WAITING_SHARE * seen:
            until, seen, waiting = instant, seen + waiting, 0
    return until


def _arrivals_in(path: Path) -> dict[datetime, int]:
    metadata = pq.read_metadata(path)
    names = metadata.schema.names
    if _CREATED not in names:
        return {ALWAYS_KNOWN: metadata.num_rows}
    at = names.index(_CREATED)
    of_groups = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
    if all(one is not None and one.has_min_max for one in of_groups):
        bounds = {one.min for one in of_groups} | {one.max for one in of_groups}
        if len(bounds) == 1:
            return {bounds.pop(): metadata.num_rows}
    counts = pl.read_parquet(path, columns=[_CREATED])[_CREATED].value_counts()
    return dict(counts.iter_rows())


def _digest_until(path: Path, seen_until: datetime) -> str:
    """The digest of a day's file as it was before its late plays; otherwise the fit is made again."""
    plays = pl.read_parquet(path).filter(pl.col(_CREATED) <= pl.lit(seen_until, dtype=INSTANT))
    file = BytesIO()
    plays.rechunk().write_parquet(file, statistics=True)
    return hashlib.sha256(file.getbuffer()).hexdigest()
