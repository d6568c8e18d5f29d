"""The plays that the days of a table have gained since others were recorded.

Most nights bring a few late plays to many earlier days. What was made from such a day can then be corrected
for these plays, instead of being made again from all of its plays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Self

import polars as pl

from nightreel.core import columns
from nightreel.core.checksums import require_as_written
from nightreel.core.play_days import digests_of_days, files_by_day, rows_of
from pipelines.arrivals import until_digest
from pipelines.local_days import INSTANT


@dataclass(frozen=True)
class GainedPlays:
    """A table of plays, and which of them had been there when its days were recorded.

    Attributes:
        files: of all days.
        known: the recorded days.
        until: for each recorded day that has only gained plays since, when the last of its earlier plays
            arrived.
        lost: the recorded days that have lost or changed a play since.
    """

    files: Mapping[date, Path]
    known: frozenset[date]
    until: Mapping[date, datetime]
    lost: frozenset[date]

    @classmethod
    def since(cls, recorded: Mapping[date, str], interactions: Path) -> Self:
        """Compare a table with the digests that its days had."""
        files, digests = files_by_day(interactions), digests_of_days(interactions)
        changed = {day for day, digest in recorded.items() if digests.get(day) != digest}
        there = {day: until_digest(files[day], recorded[day]) for day in changed & files.keys()}
        until = {day: instant for day, instant in there.items() if instant is not None}
        return cls(files, frozenset(recorded), until, frozenset(changed - until.keys()))

    @property
    def days(self) -> list[date]:
        """The days with plays that were not recorded, ascending; without those of `lost`."""
        return [day for day in self.files if day not in self.known or day in self.until]

    @property
    def rows_at_most(self) -> int:
        """The number of plays on these days."""
        return rows_of(self.files[day] for day in self.days)

    def new(self, day: date, names: Sequence[str]) -> pl.DataFrame:
        """Columns of a day's plays that were not recorded, in order of time.

        Raises:
            InputError: if a file is not as ingest wrote it.
        """
        require_as_written([self.files[day]])
        return self.scan_new(day).select(names).collect()

    def scan_new(self, day: date) -> pl.LazyFrame:
        """The same plays with all columns; their file is not compared with its checksum."""
        return self._scan(day, is_new=True)

    def before(self, day: date, names: Sequence[str], users: pl.Series) -> pl.DataFrame:
        """Columns of the recorded plays of some users on a recorded day, in order of time.

        Raises:
            InputError: if a file is not as ingest wrote it.
        """
        require_as_written([self.files[day]])
        of_users = pl.col(columns.USER_ID).is_in(users.implode())
        return self._scan(day, is_new=False).filter(of_users).select(names).collect()

    def _scan(self, day: date, *, is_new: bool) -> pl.LazyFrame:
        scan = pl.scan_parquet(self.files[day], hive_partitioning=False)
        if day not in self.until:
            return scan
        arrived, until = pl.col(columns.CREATED_TIMESTAMP), pl.lit(self.until[day], dtype=INSTANT)
        return scan.filter(arrived > until if is_new else arrived <= until)
